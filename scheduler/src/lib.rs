//! Dawn's scheduler: decides where tasks run and keeps the truth about them.
//! Floor plan: model (nouns) <- decide (verbs, pure) <- drive (pulse) <- edges (hands) <- run (wiring).

pub mod decide;
pub mod drive;
pub mod model;
