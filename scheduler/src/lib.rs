//! Dawn's scheduler: decides where tasks run and keeps the truth about them.
//! Floor plan: model (nouns) <- decide (verbs, pure) <- drive (pulse, followers) <- edges (journal, api, link, coordinator: hands)
//! <- run (wiring); wire translates between messages and model for every edge. Edges don't know each other.

#![warn(clippy::expect_used, clippy::unwrap_used)]

pub mod api;
pub mod coordinator;
pub mod decide;
pub mod drive;
pub mod etcd;
pub mod journal;
pub mod link;
pub mod listen;
pub mod metrics;
pub mod model;
pub mod run;
pub mod shares;
pub mod wire;

#[cfg(test)]
#[path = "../../tests/src/skip.rs"]
mod skip;
