//! A gRPC status as an exit code and a message that says what to do next.

use std::time::Duration;

use tonic::{Code, Status};

use crate::exit::{Exit, Failure};
use crate::render::{safe, safe_lines};

/// What a scheduler that could be reached answered.
pub fn failure(status: &Status) -> Failure {
    let message = safe_lines(status.message());
    match status.code() {
        Code::NotFound => Failure::new(Exit::NotFound, message).hint("see `dawn job list --all` or `dawn node list`"),
        Code::InvalidArgument | Code::FailedPrecondition | Code::PermissionDenied | Code::AlreadyExists => {
            Failure::new(Exit::Refused, format!("refused by the scheduler: {message}"))
        }
        Code::ResourceExhausted => {
            Failure::new(Exit::Refused, format!("the scheduler is busy: {message}")).hint("try again in a moment")
        }
        Code::Unimplemented => Failure::new(Exit::Refused, format!("the scheduler can't do that: {message}"))
            .hint("compare `dawn version`"),
        code => Failure::new(Exit::Failed, format!("the scheduler failed ({code}): {message}")),
    }
}

/// Schedulers answer, and none of them leads.
pub fn leaderless(tried: &[(String, String)], waited: Duration) -> Failure {
    let message = format!("no leader was found within {} s: {}", waited.as_secs_f32(), said(tried));
    let hint = "see that most members of etcd run, and the schedulers' logs";
    Failure::new(Exit::Unreachable, message).hint(hint)
}

fn said(tried: &[(String, String)]) -> String {
    let said: Vec<String> = tried.iter().map(|(address, why)| format!("{} ({})", safe(address), safe(why))).collect();
    said.join(", ")
}

/// Nobody answers: `tried` says who was asked and what became of it.
pub fn unreachable(tried: &[(String, String)]) -> Failure {
    let message = format!("no scheduler answered at {}", said(tried));
    let hint = "start one with `dawn dev` or `dawn scheduler`, or name another: --scheduler HOST:PORT";
    Failure::new(Exit::Unreachable, message).hint(hint)
}

/// The last cause: of a connection error all that people need.
pub fn innermost(error: &dyn std::error::Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    let text = error.to_string();
    if text.contains("grpc-status header missing") {
        return "something answers there, but no scheduler".to_string();
    }
    // "Connection refused (os error 111)"
    text.split(" (os error").next().unwrap_or_default().to_lowercase()
}
