//! A gRPC status as an exit code and a message that says what to do next.

use std::time::Duration;

use tonic::{Code, Status};

use super::NODE;
use crate::exit::{Exit, Failure, Missing};
use crate::render::{safe, safe_lines};

/// What a scheduler that could be reached answered.
pub fn failure(status: &Status) -> Failure {
    let message = safe_lines(status.message());
    match status.code() {
        Code::NotFound => not_found(message),
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

/// The scheduler answered, and a node that it needs for more does not.
pub fn of_node(status: &Status) -> Option<Failure> {
    let host = status.metadata().get(NODE)?.to_str().unwrap_or_default();
    let hint = match host {
        "" => "see `dawn node list`".to_string(),
        host => format!("see `dawn node status {}`", safe(host)),
    };
    Some(Failure::new(Exit::Failed, safe_lines(status.message())).hint(hint).passing())
}

/// Why a stream ended before its end; `what` was being read.
pub fn broke_off(what: &str, status: &Status) -> Failure {
    // A status of its own is said in its words; of a connection that broke the innermost cause says most.
    let is_answer = std::error::Error::source(status).is_none() && !status.message().is_empty();
    let why = if is_answer { safe(status.message()) } else { safe(&innermost(status)) };
    of_node(status).unwrap_or_else(|| Failure::new(Exit::Failed, format!("{what} broke off: {why}")))
}

/// Where to look for what was not found. The scheduler's message begins with the kind of thing that it did not find.
fn not_found(message: String) -> Failure {
    let word = |text: &str| text.split([' ', ';']).next().unwrap_or_default().trim_matches('"').to_string();
    let failure = |hint: &str| Failure::new(Exit::NotFound, message.clone()).hint(hint);
    if let Some(key) = message.strip_prefix("there is no job ") {
        return failure("see `dawn job list --all`").missing(Missing::Job(word(key)));
    }
    let node = message.strip_prefix("there is no node ").or_else(|| message.strip_prefix("there is no agent "));
    if let Some(node) = node {
        return failure("see `dawn node list`").missing(Missing::Node(word(node)));
    }
    if message.starts_with("there is no task ") {
        return failure("`dawn job status ROLE/ENV/NAME` names the tasks of a job, and `dawn job history` older ones");
    }
    let key = word(&message);
    if message.contains(" has no version ") {
        return failure(&format!("see `dawn job history {key}`"));
    }
    if message.contains(" has no instance ") {
        return failure(&format!("see `dawn job status {key}`"));
    }
    Failure::new(Exit::NotFound, message)
}

/// Schedulers answer, and none of them leads.
pub fn leaderless(tried: &[(String, String)], waited: Duration) -> Failure {
    if let Some(failure) = no_writes(tried) {
        return failure;
    }
    let message = format!("no leader was found within {}: {}", show_tenths(waited), said(tried));
    let hint = "see that most members of etcd run, and the schedulers' logs";
    Failure::new(Exit::Unreachable, message).hint(hint)
}

/// To a tenth of a second, rounded up.
pub fn show_tenths(time: Duration) -> String {
    let tenths = u64::try_from(time.as_millis()).unwrap_or(u64::MAX).div_ceil(100);
    dawn_proto::amounts::duration(tenths.saturating_mul(100))
}

/// How a leader whose journal takes no writes says it; what follows is why.
const NO_WRITES: &str = "the scheduler takes no writes now: ";

/// There is a leader, and what holds its writes up is what it says.
fn no_writes(tried: &[(String, String)]) -> Option<Failure> {
    let (leader, why) = tried.iter().find_map(|(address, said)| Some((address, said.strip_prefix(NO_WRITES)?)))?;
    let message = format!("the leader {} takes no writes: {}", safe(leader), safe_lines(why));
    Some(Failure::new(Exit::Unreachable, message))
}

fn said(tried: &[(String, String)]) -> String {
    let said: Vec<String> = tried.iter().map(|(address, why)| format!("{} ({})", safe(address), safe(why))).collect();
    said.join(", ")
}

/// Nobody answers: `tried` says who was asked and what became of it.
pub fn unreachable(tried: &[(String, String)]) -> Failure {
    if let Some(failure) = no_writes(tried) {
        return failure;
    }
    let message = format!("no scheduler answered at {}", said(tried));
    let is_here = |address: &str| address.starts_with("127.") || address.starts_with("localhost:");
    let hint = match tried {
        [(address, _)] if is_here(address) => {
            "start one with `dawn dev` or `dawn scheduler`, or name another: --scheduler HOST:PORT"
        }
        [_] => "see that it runs, and that this is its address; --scheduler HOST:PORT,… names others",
        _ => "see that they run, and that these are their addresses; --scheduler HOST:PORT,… names others",
    };
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
