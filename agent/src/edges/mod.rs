//! Hands: what touches the machine and the network. Edges never import each other; `run` puts them together.

pub mod artifacts;
pub mod cgroup;
pub mod checkpoint;
pub mod discover;
pub mod executors;
pub mod images;
pub mod link;
pub mod reach;
pub mod sandbox;
pub mod space;
pub mod tunnel;
pub mod vet;
pub mod web;
