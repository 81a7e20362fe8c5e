//! The agent's core on a simulated machine: plain stories, and a crash at every step of a launch and of a kill.

mod describe;
mod fetch;
mod lease;
mod machine;
mod room;
mod stories;
mod sweep;
mod wedged;
mod words;
mod world;
