//! The executor's process is the test program itself, started again.

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

/// Names the plan that this program is to execute instead of running tests.
pub const PLAN_VARIABLE: &str = "DAWN_TEST_EXECUTOR_PLAN";

/// The arguments, a line each, of a command that this program is to run inside a task.
pub const ENTER_VARIABLE: &str = "DAWN_TEST_EXECUTOR_ENTER";

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
        if let Some(arguments) = std::env::var_os(ENTER_VARIABLE) {
            let arguments: Vec<OsString> = arguments.to_string_lossy().lines().map(Into::into).collect();
            let code = dawn_executor::enter(&arguments);
            std::process::exit(i32::from(code != ExitCode::SUCCESS));
        }
    }
    become_executor
};
