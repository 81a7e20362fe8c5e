//! Whole stories on a real cluster: real processes, real control groups, real faults.

mod agents;
mod artifacts;
mod backups;
mod blame;
mod client;
mod clocks;
mod copies;
mod crashes;
mod flow;
mod gpus;
mod health;
mod isolation;
mod journal;
mod leaks;
mod life;
mod limits;
mod loss;
mod misbehaving;
mod operating;
mod placing;
mod reach;
mod rootfs;
mod space;
mod sweep;
mod updates;
mod zygote;
