//! The executor on real processes, in real cgroups where they can be made. The executor's process is this test program
//! itself, started again.

mod executor_process;
mod groups;
mod rig;

mod checks;
mod disk;
mod entered;
mod escapes;
mod faults;
mod first;
mod kills;
mod life;
mod limits;
mod order;
mod output;
mod restart;
mod walls;

#[path = "../../../tests/src/skip.rs"]
mod skip;
