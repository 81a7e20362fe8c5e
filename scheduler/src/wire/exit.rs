//! How a process ended, both ways: at most one of two numbers is set.

use crate::model::Exit;

/// (exit code, signal).
pub(super) fn exit_to_wire(exit: Option<Exit>) -> (Option<i32>, Option<i32>) {
    match exit {
        Some(Exit::Code(code)) => (Some(code), None),
        Some(Exit::Signal(signal)) => (None, Some(signal)),
        None => (None, None),
    }
}

/// A signal counts where both are set: a process that a signal ended has no exit code of its own.
pub(super) fn exit_from_wire(exit_code: Option<i32>, signal: Option<i32>) -> Option<Exit> {
    signal.map(Exit::Signal).or(exit_code.map(Exit::Code))
}
