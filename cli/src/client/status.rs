//! A gRPC status as an exit code and a message that says what to do next.

use std::time::Duration;

use dawn_proto::errors;
use dawn_proto::v1::ErrorReason;
use tonic::{Code, Status};

use crate::exit::{Exit, Failure, Missing};
use crate::render::{safe, safe_lines};

/// What a scheduler that could be reached answered.
pub fn failure(status: &Status) -> Failure {
    let message = safe_lines(status.message());
    let failure = match status.code() {
        Code::NotFound => Failure::new(Exit::NotFound, message),
        Code::InvalidArgument | Code::FailedPrecondition | Code::PermissionDenied | Code::AlreadyExists => {
            Failure::new(Exit::Refused, format!("refused by the scheduler: {message}"))
        }
        Code::ResourceExhausted => {
            Failure::new(Exit::Refused, format!("the scheduler is busy: {message}")).hint("try again in a moment")
        }
        Code::Unimplemented => Failure::new(Exit::Refused, format!("the scheduler can't do that: {message}"))
            .hint("compare `dawn version`"),
        // It did what it was asked to, and says what came after.
        _ if errors::reason(status) == Some(ErrorReason::Left) => Failure::new(Exit::Failed, message),
        code => Failure::new(Exit::Failed, format!("the scheduler failed ({code}): {message}")),
    };
    let failure = match errors::reason(status).and_then(|reason| hint(reason, |name| errors::named(status, name))) {
        Some(hint) => failure.hint(hint),
        None => failure,
    };
    match missing(status) {
        Some(missing) => failure.missing(missing),
        None => failure,
    }
}

/// What was not found, where others may have a similar name.
fn missing(status: &Status) -> Option<Missing> {
    match errors::reason(status)? {
        ErrorReason::NoSuchJob => errors::named(status, "job").map(Missing::Job),
        ErrorReason::NoSuchNode => errors::named(status, "node").map(Missing::Node),
        _ => None,
    }
}

/// What to do about a refusal, in this program's words.
pub fn hint(reason: ErrorReason, named: impl Fn(&str) -> Option<String>) -> Option<String> {
    let named = |name: &str| named(name).map(|value| safe(&value));
    let job = || named("job").unwrap_or_else(|| "ROLE/ENV/NAME".to_string());
    let node = || named("node").unwrap_or_else(|| "NODE".to_string());
    Some(match reason {
        ErrorReason::NoSuchJob => "see `dawn job list --all`".to_string(),
        ErrorReason::NoSuchNode => "see `dawn node list`".to_string(),
        ErrorReason::NoSuchTask => {
            "`dawn job status ROLE/ENV/NAME` names the tasks of a job, and `dawn job history` older ones".to_string()
        }
        ErrorReason::NoSuchVersion => format!("see `dawn job history {}`", job()),
        ErrorReason::NoSuchInstance => format!("see `dawn job status {}`", job()),
        // The latest one was asked for.
        ErrorReason::NoSuchUpdate if named("update").as_deref() == Some("0") => return None,
        ErrorReason::NoSuchUpdate => format!("see `dawn update list {}`", job()),
        ErrorReason::JobEnded => "run it again with `dawn job run`".to_string(),
        ErrorReason::JobDiffers => format!("kill it first with `dawn job kill {}`, then run it again", job()),
        ErrorReason::UpdateUnderWay => {
            format!(
                "wait for it with `dawn update wait {0}`, or end it with `dawn update abort {0}` or `rollback`",
                job()
            )
        }
        ErrorReason::OverQuota => {
            let bound = named("bound").unwrap_or_else(|| "limit".to_string());
            let role = named("role").unwrap_or_else(|| "ROLE".to_string());
            format!("ask for less, or have the {bound} raised with `dawn quota set {role}`")
        }
        ErrorReason::NodeConnected => format!("to move its tasks away, run `dawn node drain {}`", node()),
        ErrorReason::NodeHoldsTasks if named("wait_ms").is_some() => return None,
        ErrorReason::NodeHoldsTasks => {
            format!("give them up with `dawn node down {}`, and forget the node once it holds none", node())
        }
        ErrorReason::NodeKnowsMore | ErrorReason::JournalBehind => {
            "`dawn admin epoch raise` has the agents asked what they hold".to_string()
        }
        _ => return None,
    })
}

/// The scheduler answered, and a node that it needs for more does not.
pub fn of_node(status: &Status) -> Option<Failure> {
    let is_of_node = errors::reason(status) == Some(ErrorReason::NodeOutOfReach);
    let host = is_of_node.then(|| errors::named(status, "node").unwrap_or_default())?;
    let hint = match host.as_str() {
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

/// A scheduler that was asked.
pub struct Tried {
    pub address: String,
    /// What became of it.
    pub why: String,
    /// It leads, and this holds its writes up.
    pub no_writes: Option<String>,
}

impl Tried {
    pub fn new(address: String, why: impl Into<String>) -> Tried {
        Tried { address, why: why.into(), no_writes: None }
    }

    /// One that answered with a status.
    pub fn answered(address: String, status: &Status) -> Tried {
        let has_no_writes = errors::reason(status) == Some(ErrorReason::NoWrites);
        let trouble = || errors::named(status, "trouble").unwrap_or_default();
        Tried { no_writes: has_no_writes.then(trouble), ..Tried::new(address, status.message()) }
    }
}

/// Schedulers answer, and none of them leads.
pub fn leaderless(tried: &[Tried], waited: Duration) -> Failure {
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

/// There is a leader, and what holds its writes up is what it says.
fn no_writes(tried: &[Tried]) -> Option<Failure> {
    let (leader, trouble) = tried.iter().find_map(|one| Some((&one.address, one.no_writes.as_ref()?)))?;
    let message =
        format!("the leader {} takes no writes: it {}; running tasks run on", safe(leader), safe_lines(trouble));
    Some(Failure::new(Exit::Unreachable, message))
}

fn said(tried: &[Tried]) -> String {
    let said: Vec<String> = tried.iter().map(|one| format!("{} ({})", safe(&one.address), safe(&one.why))).collect();
    said.join(", ")
}

/// Nobody answers: `tried` says who was asked and what became of it.
pub fn unreachable(tried: &[Tried]) -> Failure {
    if let Some(failure) = no_writes(tried) {
        return failure;
    }
    let message = format!("no scheduler answered at {}", said(tried));
    let is_here = |address: &str| address.starts_with("127.") || address.starts_with("localhost:");
    let hint = match tried {
        [one] if is_here(&one.address) => {
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
