//! How tasks ended, in words for people: one place, so that the same end reads alike everywhere.

use dawn_proto::TaskState;
use dawn_proto::v1::Reason;
use dawn_proto::words;

use super::{Exit, Transition};

/// "health check" for HEALTH_CHECK; empty for none.
pub fn reason_words(reason: Reason) -> String {
    words::reason(reason)
}

/// Of a task that ended well although its job is to go on.
pub const ENDED_ALTHOUGH_TO_GO_ON: &str = "its process ended, but a service is to go on";

/// How a life that counts as failed ended: that of a service that ended with 0 too.
pub fn failure_words(end: &Transition) -> String {
    match end.to {
        TaskState::Finished if end.message.is_empty() => format!("{ENDED_ALTHOUGH_TO_GO_ON} ({})", end_words(end)),
        _ => end_words(end),
    }
}

/// What is known of an end: its reason and message, or else the exit code or signal.
pub fn end_words(end: &Transition) -> String {
    let exit = match end.exit {
        Some(Exit::Code(code)) => format!("exit code {code}"),
        Some(Exit::Signal(signal)) => format!("ended by signal {signal}"),
        None => String::new(),
    };
    let said = if end.message.is_empty() { exit } else { end.message.to_string() };
    match words::end(end.reason, &said) {
        nothing if nothing.is_empty() => words::of(end.to.plain_name()),
        words => words,
    }
}
