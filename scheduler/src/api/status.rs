//! Refusals as gRPC statuses: the one place that chooses their reasons and what each names.

use std::time::Duration;

use dawn_proto::errors::{self, RefusedRequest, invalid_field, invalid_fields};
use dawn_proto::v1::ErrorReason;
use dawn_proto::validate::FieldError;
use dawn_proto::{JobKey, JobKeyError, TaskId};
use tonic::{Code, Status};

use super::reads::ReadError;
use crate::drive::InboxFull;
use crate::model::{FlowRefusal, LossRefusal, Refusal};
use crate::shares;

/// Tasks of a node that is declared down are given up in the next turns of the scheduler.
const GIVEN_UP_WITHIN_MS: u64 = 1_000;

/// A refusal with what its reason names.
pub fn of_refusal(refusal: &Refusal) -> Status {
    about_refusal(refusal).into_status()
}

/// The refusal before it is a status.
pub fn about_refusal(refusal: &Refusal) -> RefusedRequest {
    let of = |reason| RefusedRequest::new(reason, refusal.to_string());
    match refusal {
        Refusal::OneOfMany { refusal: inner, key, .. } => {
            about_refusal(inner).with("job", key).with_message(refusal.to_string())
        }
        Refusal::NoWrites { trouble } => of(ErrorReason::NoWrites).with("trouble", trouble),
        Refusal::NoSuchJob { key } => of(ErrorReason::NoSuchJob).with("job", key),
        Refusal::NoSuchInstance { key, instance, .. } => {
            of(ErrorReason::NoSuchInstance).with("job", key).with("instance", instance)
        }
        Refusal::NoSuchAgent { agent } => of(ErrorReason::NoSuchNode).with("node", agent),
        Refusal::JobEnded { key } => of(ErrorReason::JobEnded).with("job", key),
        Refusal::Differs { key, version } => of(ErrorReason::JobDiffers).with("job", key).with("version", version),
        Refusal::StillEnding { key, tasks } => of(ErrorReason::JobStillEnding).with("job", key).with("tasks", tasks),
        Refusal::NotCron { key } => of(ErrorReason::NotCron).with("job", key),
        Refusal::RunAlive { key, run_at, at: _ } => {
            of(ErrorReason::CronRunAlive).with("job", key).with("run_at_ms", run_at.0)
        }
        Refusal::NotUpdating { key } => of(ErrorReason::NoUpdateUnderWay).with("job", key),
        Refusal::Updating { key, number, state, author, done, of: instances } => of(ErrorReason::UpdateUnderWay)
            .with("job", key)
            .with("update", number)
            .with("state", state.plain_name())
            .with("author", author)
            .with("done", done)
            .with("instances", instances),
        Refusal::UpdateState { key, number, state, .. } => {
            of(ErrorReason::WrongUpdateState).with("job", key).with("update", number).with("state", state.plain_name())
        }
        Refusal::NotUpdatable { key, kind } => {
            of(ErrorReason::NotUpdatable).with("job", key).with("kind", kind.plain_name())
        }
        Refusal::NotScalable { key } => of(ErrorReason::NotScalable).with("job", key),
        Refusal::SurgeAtMostOne { key } => of(ErrorReason::SurgeAtMostOne).with("job", key),
        Refusal::UpkeepMove { agent, from, to } => of(ErrorReason::WrongMaintenanceMode)
            .with("node", agent)
            .with("from", from.plain_name())
            .with("to", to.plain_name()),
        Refusal::NothingAhead { epoch } => of(ErrorReason::NoHigherEpoch).with("epoch", epoch),
        Refusal::Full { what, have } => of(ErrorReason::LimitReached).with("what", what).with("have", have),
        Refusal::TooLarge { bytes, most } => too_large(*bytes, *most, refusal.to_string()),
        Refusal::BadCount { .. } => {
            dawn_proto::errors::invalid_field("instances", refusal.to_string()).with_message(refusal.to_string())
        }
        Refusal::GuaranteeAboveLimit { dimension, guarantee, limit } => of(ErrorReason::GuaranteeAboveLimit)
            .with("resource", dimension)
            .with("guarantee", guarantee)
            .with("limit", limit),
        Refusal::OverQuota { role, bound, dimension, have, used, asks } => of(ErrorReason::OverQuota)
            .with("role", role)
            .with("bound", bound)
            .with("resource", dimension)
            .with("have", have)
            .with("used", used)
            .with("asks", asks),
        Refusal::Flow(flow) => of_flow(flow),
        Refusal::Loss(loss) => of_loss(loss),
    }
}

fn of_flow(refusal: &FlowRefusal) -> RefusedRequest {
    let of = |reason, key: &JobKey| RefusedRequest::new(reason, refusal.to_string()).with("job", key);
    match refusal {
        FlowRefusal::Circle { key, circle } => of(ErrorReason::DependencyCircle, key).with("circle", circle.join(" ")),
        FlowRefusal::Never { key, .. } => of(ErrorReason::DependencyFailed, key),
        FlowRefusal::NoTemplate { key } => of(ErrorReason::NotTemplate, key),
        FlowRefusal::Changed { key } => of(ErrorReason::JobChanged, key),
        FlowRefusal::OtherContent { made } => of(ErrorReason::DispatchDiffers, made),
    }
}

fn of_loss(refusal: &LossRefusal) -> RefusedRequest {
    let of = |reason| RefusedRequest::new(reason, refusal.to_string());
    match refusal {
        LossRefusal::Heard { agent, .. } | LossRefusal::Up { agent } => {
            of(ErrorReason::NodeConnected).with("node", agent)
        }
        LossRefusal::MayCome { agent, left_ms } => {
            of(ErrorReason::NodeMayComeBack).with("node", agent).with("wait_ms", left_ms)
        }
        LossRefusal::KnowsMore { agent, .. } => of(ErrorReason::NodeKnowsMore).with("node", agent),
        LossRefusal::HoldsTasks { agent, tasks } => {
            of(ErrorReason::NodeHoldsTasks).with("node", agent).with("tasks", tasks)
        }
        LossRefusal::BeingGivenUp { agent, tasks } => {
            of(ErrorReason::NodeHoldsTasks).with("node", agent).with("tasks", tasks).with("wait_ms", GIVEN_UP_WITHIN_MS)
        }
        LossRefusal::MayLive { agent, tasks, wait_ms } => {
            of(ErrorReason::NodeHoldsTasks).with("node", agent).with("tasks", tasks).with("wait_ms", wait_ms)
        }
        LossRefusal::JournalBehind => of(ErrorReason::JournalBehind),
        LossRefusal::BrakeIsOff => of(ErrorReason::BrakeIsOff),
    }
}

pub fn of_read_error(error: &ReadError) -> Status {
    let of = |reason| RefusedRequest::new(reason, error.to_string());
    let refused = match error {
        ReadError::NoSuchJob(key) => of(ErrorReason::NoSuchJob).with("job", key),
        ReadError::NoSuchVersion { key, version, first, last } => of(ErrorReason::NoSuchVersion)
            .with("job", key)
            .with("version", version)
            .with("first", first)
            .with("last", last),
        ReadError::NoSuchAgent(agent) => of(ErrorReason::NoSuchNode).with("node", agent),
        ReadError::NoSuchUpdate { key, number } => {
            of(ErrorReason::NoSuchUpdate).with("job", key).with("update", number)
        }
        ReadError::PageToken(_) => invalid_field("page_token", error.to_string()),
    };
    refused.into_status()
}

/// Every error on a line of its own, "path: message".
pub fn of_field_errors(errors: Vec<FieldError>) -> Status {
    invalid_fields(errors).into_status()
}

pub fn of_key_error(path: &str, error: &JobKeyError) -> Status {
    wrong(path, error.to_string())
}

pub fn missing(path: &str) -> Status {
    wrong(path, "is missing")
}

/// One field is wrong.
pub fn wrong(path: &str, message: impl Into<String>) -> Status {
    invalid_field(path, message).into_status()
}

/// A request takes more room in the journal than one may.
pub fn too_large(bytes: usize, most: usize, message: String) -> RefusedRequest {
    RefusedRequest::new(ErrorReason::TooLarge, message).with("bytes", bytes).with("most", most)
}

pub fn no_such_task(task: TaskId) -> Status {
    RefusedRequest::new(ErrorReason::NoSuchTask, format!("there is no task {task} (any more)"))
        .with("task", task.0)
        .into()
}

pub fn no_such_node(node: &str) -> Status {
    RefusedRequest::new(ErrorReason::NoSuchNode, format!("there is no node {node:?}")).with("node", node).into()
}

/// The task never had processes.
pub fn not_started(task: TaskId, message: String) -> Status {
    RefusedRequest::new(ErrorReason::TaskNotStarted, message).with("task", task.0).into()
}

pub fn of_inbox(error: InboxFull) -> Status {
    let reason = match error {
        InboxFull::Full | InboxFull::FullOfBytes { .. } => ErrorReason::Busy,
        InboxFull::Stopping => ErrorReason::Stopping,
    };
    RefusedRequest::new(reason, error.to_string()).into()
}

/// Only the leader can do it.
pub fn not_leader(leader: Option<&str>) -> Status {
    let message = match leader {
        Some(leader) => format!("this scheduler follows; the leader is {leader}"),
        None => "no scheduler leads just now; try again in a few seconds".to_string(),
    };
    RefusedRequest::new(ErrorReason::NotLeader, message).with("leader", leader.unwrap_or_default()).into()
}

/// All places of a kind are taken, and this client holds most of them.
pub fn taken(refused: &shares::Refused) -> Status {
    busy(refused.to_string())
}

/// Too much is under way.
pub fn busy(message: impl Into<String>) -> Status {
    RefusedRequest::new(ErrorReason::Busy, message).into()
}

/// A fault of Dawn's own.
pub fn internal(message: impl Into<String>) -> Status {
    RefusedRequest::new(ErrorReason::Internal, message).into()
}

/// The same refusal with what was being done before it.
pub fn about(doing: &str, refused: &Status) -> Status {
    let reason = errors::reason(refused).unwrap_or(ErrorReason::NodeRefused);
    RefusedRequest::new(reason, format!("{doing}: {}", refused.message())).with_code(refused.code()).into()
}

/// A cause of NODE_OUT_OF_REACH.
pub const NOT_CONNECTED: &str = "not_connected";

/// What could not be done on a node.
pub fn on_node(doing: &str, host: &str, refused: &Status) -> Status {
    if refused.code() != Code::Unavailable {
        return about(doing, refused);
    }
    let cause = errors::named(refused, "cause").unwrap_or_default();
    let why = match cause.as_str() {
        // The node that is out of reach says as much.
        NOT_CONNECTED => String::new(),
        _ => format!("; {doing}: {}", refused.message()),
    };
    let message = format!("node {host} is out of reach{why}");
    RefusedRequest::new(ErrorReason::NodeOutOfReach, message).with("node", host).with("cause", cause).into()
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
    let message = "the scheduler stopped before it answered; the command may or may not stand: look, then repeat";
    RefusedRequest::new(ErrorReason::Stopping, message).into()
}

pub fn too_slow(waited: Duration) -> Status {
    let waited = dawn_proto::amounts::whole_seconds(waited);
    late(format!(
        "no answer within {waited}: the journal is slow; the command may stand yet: look before you repeat it"
    ))
}

/// Something did not come in time.
pub fn late(message: impl Into<String>) -> Status {
    RefusedRequest::new(ErrorReason::TooSlow, message).into()
}

/// A read panicked; the state is untouched by it.
pub fn read_failed() -> Status {
    internal("the read failed inside the scheduler; its log says why")
}
