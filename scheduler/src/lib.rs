//! Dawn's scheduler: decides where tasks run and keeps the truth about them.
//! Floor plan: model (nouns) <- decide (verbs, pure) <- drive (pulse) <- wire <- reads <- edges (journal, api, link)
//! <- run (wiring). Edges don't know each other.

pub mod api;
pub mod decide;
pub mod drive;
pub mod journal;
pub mod link;
pub mod model;
pub mod reads;
pub mod run;
pub mod wire;
