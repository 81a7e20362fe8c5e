//! The executor's process is the test program itself, started again.

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
