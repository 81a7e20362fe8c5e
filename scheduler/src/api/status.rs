//! Refusals as gRPC statuses: the one place that chooses their codes.

use std::time::Duration;

use dawn_proto::JobKeyError;
use dawn_proto::validate::FieldError;
use tonic::metadata::MetadataValue;
use tonic::{Code, Status};

use super::reads::ReadError;
use crate::drive::InboxFull;
use crate::model::{FlowRefusal, Refusal};
use crate::shares::Refused;

pub fn of_refusal(refusal: &Refusal) -> Status {
    let message = refusal.to_string();
    match refusal {
        Refusal::OneOfMany { refusal, .. } => Status::new(of_refusal(refusal).code(), message),
        Refusal::NoWrites { .. } => Status::unavailable(message),
        Refusal::NoSuchJob { .. } | Refusal::NoSuchInstance { .. } | Refusal::NoSuchAgent { .. } => {
            Status::not_found(message)
        }
        Refusal::JobEnded { .. }
        | Refusal::Differs { .. }
        | Refusal::StillEnding { .. }
        | Refusal::NotCron { .. }
        | Refusal::RunAlive { .. }
        | Refusal::OverQuota { .. }
        | Refusal::Updating { .. }
        | Refusal::NotUpdating { .. }
        | Refusal::UpdateState { .. }
        | Refusal::NotUpdatable { .. }
        | Refusal::NotScalable { .. }
        | Refusal::UpkeepMove { .. }
        | Refusal::NothingAhead { .. }
        | Refusal::Full { .. } => Status::failed_precondition(message),
        Refusal::Flow(FlowRefusal::Circle { .. })
        | Refusal::GuaranteeAboveLimit { .. }
        | Refusal::SurgeAtMostOne { .. }
        | Refusal::TooLarge { .. }
        | Refusal::BadCount { .. } => Status::invalid_argument(message),
        Refusal::Flow(_) | Refusal::Loss(_) => Status::failed_precondition(message),
    }
}

pub fn of_read_error(error: &ReadError) -> Status {
    match error {
        ReadError::NoSuchJob(_)
        | ReadError::NoSuchVersion { .. }
        | ReadError::NoSuchAgent(_)
        | ReadError::NoSuchUpdate { .. } => Status::not_found(error.to_string()),
        ReadError::PageToken(_) => Status::invalid_argument(error.to_string()),
    }
}

/// Every error on a line of its own, "path: message".
pub fn of_field_errors(errors: &[FieldError]) -> Status {
    Status::invalid_argument(errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
}

pub fn of_key_error(path: &str, error: &JobKeyError) -> Status {
    Status::invalid_argument(format!("{path}: {error}"))
}

pub fn missing(path: &str) -> Status {
    Status::invalid_argument(format!("{path}: is missing"))
}

pub fn of_inbox(error: InboxFull) -> Status {
    match error {
        InboxFull::Full | InboxFull::FullOfBytes { .. } => Status::resource_exhausted(error.to_string()),
        InboxFull::Stopping => Status::unavailable(error.to_string()),
    }
}

/// Metadata of a follower's refusal: the leader's host:port, or nothing while there is none. And of the answer of one that
/// left: who was elected after it.
pub const LEADER: &str = "dawn-leader";

/// Only the leader can do it.
pub fn not_leader(leader: Option<&str>) -> Status {
    let mut status = Status::unavailable(match leader {
        Some(leader) => format!("this scheduler follows; the leader is {leader}"),
        None => "no scheduler leads just now; try again in a few seconds".to_string(),
    });
    if let Ok(leader) = leader.unwrap_or_default().parse() {
        status.metadata_mut().insert(LEADER, leader);
    }
    status
}

/// All places of a kind are taken, and this client holds most of them.
pub fn taken(refused: &Refused) -> Status {
    Status::resource_exhausted(refused.to_string())
}

/// The same refusal with what was being done before it.
pub fn about(doing: &str, refused: &Status) -> Status {
    Status::new(refused.code(), format!("{doing}: {}", refused.message()))
}

/// Metadata of the refusal of what needs a node that is out of reach, so that it is not taken for a scheduler's own: the
/// node's host name, or nothing where that can't be metadata.
pub const NODE: &str = "dawn-node";

/// How the link to agents says it.
const NOT_CONNECTED: &str = "its agent is not connected";

/// What could not be done on a node.
pub fn on_node(doing: &str, host: &str, refused: &Status) -> Status {
    if refused.code() != Code::Unavailable {
        return about(doing, refused);
    }
    let why = match refused.message() {
        // The node that is out of reach says as much.
        NOT_CONNECTED => String::new(),
        words => format!("; {doing}: {words}"),
    };
    let mut status = Status::unavailable(format!("node {host} is out of reach{why}"));
    status.metadata_mut().insert(NODE, host.parse().unwrap_or_else(|_| MetadataValue::from_static("")));
    status
}

/// The same where it breaks off later: whatever else its agent says is passed on as it is.
pub fn broken_off(doing: &str, host: &str, refused: Status) -> Status {
    if refused.code() == Code::Unavailable { on_node(doing, host, &refused) } else { refused }
}

/// The journal takes nothing now.
pub fn no_writes(trouble: &str) -> Status {
    of_refusal(&Refusal::NoWrites { trouble: trouble.into() })
}

/// The scheduler ended while a command was on its way.
pub fn stopped() -> Status {
    Status::unavailable("the scheduler stopped before it answered; the command may or may not stand: look, then repeat")
}

pub fn too_slow(waited: Duration) -> Status {
    let waited = dawn_proto::amounts::whole_seconds(waited);
    Status::deadline_exceeded(format!(
        "no answer within {waited}: the journal is slow; the command may stand yet: look before you repeat it"
    ))
}

/// A read panicked; the state is untouched by it.
pub fn read_failed() -> Status {
    Status::internal("the read failed inside the scheduler; its log says why")
}
