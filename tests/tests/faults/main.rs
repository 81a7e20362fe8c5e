//! Several schedulers over a real etcd, and real faults: what was promised holds.

mod burst;
mod etcd;
mod schedule;
mod storm;
mod stuck;
mod takeover;
