//! The executor on real processes, in real cgroups where they can be made. The executor's process is this test program
//! itself, started again.

mod groups;
mod rig;

mod checks;
mod disk;
mod escapes;
mod faults;
mod first;
mod kills;
mod life;
mod limits;
mod order;
mod output;
mod restart;
mod saturated;
mod walls;

#[path = "../../../tests/src/skip.rs"]
mod skip;

use std::path::Path;
use std::process::ExitCode;

/// Names the plan that this program is to execute instead of running tests.
pub const PLAN_VARIABLE: &str = "DAWN_TEST_EXECUTOR_PLAN";

/// Runs before `main`, and so before the test harness starts threads: the executor takes signals for its whole process,
/// as it may in the real binary.
#[used]
#[unsafe(link_section = ".init_array")]
static BECOME_EXECUTOR: extern "C" fn() = {
    extern "C" fn become_executor() {
        if let Some(plan) = std::env::var_os(PLAN_VARIABLE) {
            let code = dawn_executor::run(Path::new(&plan));
            std::process::exit(i32::from(code != ExitCode::SUCCESS));
        }
    }
    become_executor
};
