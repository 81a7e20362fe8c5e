//! Why a command is refused.

use dawn_proto::amounts::count;
use dawn_proto::v1::{JobKind, MaintenanceMode, UpdateState};
use dawn_proto::{Epoch, JobKey, Timestamp, words};

use super::{Bound, FlowRefusal, Instances, LossRefusal, amount, amount_of};

/// "drained", "cordoned"; of a node that no plan is made for, "in use".
fn upkeep(mode: MaintenanceMode) -> String {
    match mode {
        MaintenanceMode::None => "in use".to_string(),
        MaintenanceMode::Draining => "draining".to_string(),
        mode => words::of(mode.plain_name()),
    }
}

/// Each says what is wrong and what to do instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Nothing is decided while the journal takes no appends.
    #[error("the scheduler takes no writes now: it {trouble}; running tasks run on, try again later")]
    NoWrites { trouble: String },
    #[error("there is no job {key}")]
    NoSuchJob { key: JobKey },
    #[error("{key} has ended")]
    JobEnded { key: JobKey },
    #[error("{key} runs version {version} with another spec, and is not changed while it runs")]
    Differs { key: JobKey, version: u32 },
    #[error(
        "update {number} of {key} by {author} is under way ({}, {done} of {of} instances done)",
        words::of(state.plain_name())
    )]
    Updating { key: JobKey, number: u32, state: UpdateState, author: String, done: u32, of: u32 },
    #[error("{key} has no update under way")]
    NotUpdating { key: JobKey },
    #[error("update {number} of {key} is {} and can't be {what}", words::of(state.plain_name()))]
    UpdateState { key: JobKey, number: u32, state: UpdateState, what: &'static str },
    #[error(
        "{key} is of kind {}; only services and daemon jobs are updated. A cron job's template is replaced when it is submitted \
         again, a batch job is killed and submitted again",
        words::of(kind.plain_name())
    )]
    NotUpdatable { key: JobKey, kind: JobKind },
    #[error("{key} is of kind daemon: it has one instance on each node that its constraints match")]
    NotScalable { key: JobKey },
    #[error("{key} is marked at_most_one: no instance may live twice, so there is no surge")]
    SurgeAtMostOne { key: JobKey },
    #[error("a job has 1 to {most} instances, not {instances}")]
    BadCount { instances: u32, most: u32 },
    #[error("there is no node {agent:?}")]
    NoSuchAgent { agent: String },
    #[error("node {agent} is {} and can't become {}; uncordon it first", upkeep(*from), upkeep(*to))]
    UpkeepMove { agent: String, from: MaintenanceMode, to: MaintenanceMode },
    #[error(
        "no agent shows an epoch above {epoch}, under which this scheduler leads: there is nothing to raise it above"
    )]
    NothingAhead { epoch: Epoch },
    #[error("{} of {key} must still be told to stop; try again in a second", count(*tasks, "task"))]
    StillEnding { key: JobKey, tasks: u32 },
    #[error("{key} is no cron job")]
    NotCron { key: JobKey },
    #[error("{key} still has a live run of {at}; its overlap policy allows no second one")]
    RunAlive {
        key: JobKey,
        run_at: Timestamp,
        /// The same as people write it, in the time zone of the job's schedule.
        at: String,
    },
    #[error("{key} has no instance {instance}; it has {}", numbered(instances))]
    NoSuchInstance { key: JobKey, instance: u32, instances: Instances },
    #[error(
        "what is asked for takes {bytes} bytes in the journal, at most {most} are allowed at once; ask for fewer instances \
         or nodes at a time"
    )]
    TooLarge { bytes: usize, most: usize },
    #[error("the scheduler holds {have} {what}, its limit; remove some first")]
    Full { what: &'static str, have: usize },
    #[error(
        "role {role} asks for {}{}, {} more than its {bound} of {} (used {})",
        amount_of(dimension, *asks),
        bound.of_what(),
        amount(dimension, asks.saturating_sub(*have)),
        amount(dimension, *have),
        amount(dimension, *used)
    )]
    OverQuota {
        role: String,
        bound: Bound,
        dimension: &'static str,
        have: u64,
        /// By the role's other jobs, and this one as it is.
        used: u64,
        /// By all of them with this one as it will be.
        asks: u64,
    },
    #[error(
        "the guarantee of {} is more than the limit of {}: production tasks count for both; raise the limit",
        amount_of(dimension, *guarantee),
        amount_of(dimension, *limit)
    )]
    GuaranteeAboveLimit { dimension: &'static str, guarantee: u64, limit: u64 },
    /// One of many that are submitted together.
    #[error("{key}: {refusal}. None of the {of} jobs was submitted")]
    OneOfMany { key: JobKey, of: usize, refusal: Box<Refusal> },
    #[error(transparent)]
    Flow(#[from] FlowRefusal),
    #[error(transparent)]
    Loss(#[from] LossRefusal),
}

/// How many instances there are, and their numbers where they have gaps.
fn numbered(instances: &Instances) -> String {
    let (have, bound) = (instances.len(), instances.bound());
    match bound as usize == have {
        true => format!("{have}, numbered from 0"),
        false => format!("{have}: {instances}"),
    }
}
