//! The executor's decisions and pulse over a simulated machine with a clock of its own: no process, no file.

mod sim;

mod chance;
mod crossing;
mod graph;
mod ladder;
mod lease;
mod well;
