//! The executor's process: ties the edges to the pulse. Not here: any rule about tasks.

mod begin;
mod enter;
mod hands;
mod pump;

use std::path::Path;
use std::process::ExitCode;

pub use enter::enter;

/// Runs one task to its end, as its plan says; for the process that the agent starts beside each task.
///
/// Exit code 0: the task's terminal event is durable (now or before). 1: the task could not be taken over; the reason
/// is in `executor.log` beside the plan, or on standard error if not even that could be opened.
pub fn run(plan_path: &Path) -> ExitCode {
    match begin::begin(plan_path).and_then(|executor| executor.map_or(Ok(()), pump::pump)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            note!("executor: {}", chain(&*error));
            ExitCode::FAILURE
        }
    }
}

type Failure = Box<dyn std::error::Error>;

/// The error and its causes on one line.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
