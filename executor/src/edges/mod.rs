//! The hands: files, sockets, processes, cgroups. None imports another; run.rs ties them together.

pub mod check;
pub mod disk;
pub mod events;
pub mod group;
pub mod logs;
pub mod os;
pub mod pidfd;
pub mod socket;
pub mod spawn;
pub mod zygote;
