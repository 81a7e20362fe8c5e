//! What tests the rooms together: the tidy rules, a cluster of real processes, and the benchmarks' loops.
//! Not here: unit tests, which lie beside the code they test.

pub mod bench;
pub mod cluster;
pub mod runbook;
pub mod simulator;
pub mod skip;
pub mod tidy;
