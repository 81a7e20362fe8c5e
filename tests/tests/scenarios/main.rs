//! Whole stories on a real cluster: real processes, real control groups, real faults.

mod client;
mod crashes;
mod isolation;
mod journal;
mod life;
mod loss;
mod misbehaving;
mod placing;
mod updates;
