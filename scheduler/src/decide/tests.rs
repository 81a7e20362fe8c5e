//! Decisions, verb by verb, in a world that owns its clock; and random ones, checked against the promises.

mod agents;
mod avoid;
mod blame;
mod brake;
mod copies;
mod cron;
mod daemon;
mod doubts;
mod epochs;
mod fleet;
mod flow;
mod kill;
mod lease;
mod liveness;
mod loss;
mod promises;
mod prune;
mod quota;
mod random;
mod report;
mod restore;
mod retry;
pub mod specs;
mod submit;
mod submit_all;
mod timers;
pub mod world;
