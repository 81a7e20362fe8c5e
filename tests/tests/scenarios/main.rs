//! Whole stories on a real cluster: real processes, real control groups, real faults.

mod client;
mod crashes;
mod journal;
mod life;
mod misbehaving;
mod placing;
