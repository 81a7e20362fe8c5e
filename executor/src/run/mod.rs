//! The executor's process: ties the edges to the pulse. Not here: any rule about tasks.

mod begin;
mod checks;
mod enter;
mod hands;
mod limits;
mod pump;

use std::path::Path;
use std::process::ExitCode;

pub use enter::enter;

use crate::edges::zygote::{self, Side, Title};

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

/// Runs an executor for each plan that comes over standard input, as `run` would, in a process of its own. For the process
/// that the agent starts once; its last argument is room to show the plan in, the one before it is `named`.
///
/// Exit code 0: the agent is gone, or in an executor's process as `run`. 1: orders can't be read.
pub fn zygote(named: &str) -> ExitCode {
    let title = Title::find(named);
    // What asks the processor for its features, which is slow under a hypervisor, asks once for all.
    _ = dawn_proto::write_frame(&mut std::io::sink(), &[]);
    // It keeps no file system busy; plans have absolute paths.
    _ = std::env::set_current_dir("/");
    let executor = loop {
        match zygote::next().and_then(|order| order.map(|order| Ok((zygote::fork()?, order))).transpose()) {
            Ok(None) => return ExitCode::SUCCESS,
            Ok(Some((Side::Zygote, _))) => {}
            Ok(Some((Side::Executor, order))) => break zygote::part(order, title.as_ref()),
            Err(error) => {
                note!("executor: the zygote: {}", chain(&error));
                return ExitCode::FAILURE;
            }
        }
    };
    match executor {
        Ok(plan) => run(&plan),
        Err(error) => {
            note!("executor: {}", chain(&error));
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
