//! The hands: files, sockets, processes, cgroups. None imports another; run.rs ties them together.

pub mod check;
pub mod events;
pub mod group;
pub mod logs;
pub mod os;
pub mod socket;
pub mod spawn;
