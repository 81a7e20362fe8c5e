//! An update of a service: what it is about and how far it is. Not here: how it goes on (`decide::update`).

use std::collections::{BTreeMap, VecDeque};

use dawn_proto::v1::{UpdateKind, UpdateState, UpdateStrategy};
use dawn_proto::{SpecId, TaskId, Timestamp, fields};

use super::{Instances, JobId};

/// How a service's instances go from one version to the next; every default filled in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpdatePolicy {
    pub strategy: UpdateStrategy,
    /// At least one, none zero.
    pub group_sizes: Vec<u32>,
    pub canaries: u32,
    pub manual_promotion: bool,
    pub pause_between: bool,
    /// Least time an instance is RUNNING without a break before it counts as healthy.
    pub watch_ms: u64,
    pub max_instance_failures: u32,
    pub max_failed_instances: u32,
    pub no_rollback: bool,
    pub progress_deadline_ms: u64,
    /// None: no pulse is needed.
    pub pulse_interval_ms: Option<u64>,
    pub sla_aware: bool,
    /// Most instances that live twice; 0: the old one goes first.
    pub surge: u32,
    pub sticky: bool,
}

impl UpdatePolicy {
    pub const WATCH_MS: u64 = fields::update_policy::WATCH_MS.default_number().unsigned_abs();
    pub const PROGRESS_DEADLINE_MS: u64 = fields::update_policy::PROGRESS_DEADLINE_MS.default_number().unsigned_abs();
}

/// One change of an update's state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpdateEvent {
    pub state: UpdateState,
    pub at: Timestamp,
    /// Empty: by itself.
    pub author: String,
    pub message: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Update {
    /// From 1, by job.
    pub number: u32,
    pub kind: UpdateKind,
    pub to: SpecId,
    pub from_version: u32,
    pub to_version: u32,
    pub policy: UpdatePolicy,
    pub author: String,
    pub message: String,
    /// Those it is about. When it rolls back: those it had changed.
    pub instances: Instances,
    /// What instances wanted before, as inclusive ranges, ascending; those that are missing wanted what the target wants.
    /// Emptied at the end.
    pub before: Vec<(u32, u32, Option<SpecId>)>,
    pub began: Timestamp,
    /// Tasks from here on were made under it.
    pub first_task: TaskId,
    pub state: UpdateState,
    /// Those that want what its direction wants for them.
    pub advanced: Instances,
    /// Of them: healthy there, or gone as wanted.
    pub passed: Instances,
    /// Of them: failed more often than they may.
    pub gave_up: Instances,
    /// Failures by instance while it is advanced and neither passed nor given up.
    pub failures: BTreeMap<u32, u32>,
    pub promoted: bool,
    /// Groups opened so far.
    pub group: u32,
    pub pulsed: Timestamp,
    /// When an instance last passed, or the state changed.
    pub progress: Timestamp,
    /// Latest last, at most [`Update::KEPT_EVENTS`]; the oldest but the first is dropped.
    pub events: VecDeque<UpdateEvent>,
}

impl Update {
    pub const KEPT_EVENTS: usize = 20;

    pub fn is_active(&self) -> bool {
        !is_over(self.state)
    }

    pub fn is_back(&self) -> bool {
        is_back(self.state)
    }

    /// Whether it goes on by itself, either way.
    pub fn is_rolling(&self) -> bool {
        matches!(self.state, UpdateState::RollingForward | UpdateState::RollingBack)
    }

    /// Advanced and not yet judged.
    pub fn is_in_progress(&self, instance: u32) -> bool {
        self.advanced.contains(instance) && !self.passed.contains(instance) && !self.gave_up.contains(instance)
    }

    pub fn in_progress(&self) -> impl Iterator<Item = u32> {
        self.advanced.iter().filter(|instance| !self.passed.contains(*instance) && !self.gave_up.contains(*instance))
    }

    /// What an instance wanted before the update; None: what the target wants.
    pub fn before(&self, instance: u32) -> Option<Option<SpecId>> {
        let at = self.before.partition_point(|(_, last, _)| *last < instance);
        self.before.get(at).filter(|(first, ..)| *first <= instance).map(|(_, _, spec)| *spec)
    }
}

/// Final: nothing follows.
pub fn is_over(state: UpdateState) -> bool {
    use UpdateState::*;
    matches!(state, RolledForward | RolledBack | Aborted | UpdateState::Failed | UpdateState::Error)
}

pub fn is_back(state: UpdateState) -> bool {
    use UpdateState::*;
    matches!(state, RollingBack | RollBackPaused | RollBackAwaitingPulse | RolledBack | UpdateState::Error)
}

/// A job's changes of version: the one that counts, exceptions to it, and updates.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// The version that counts; None: the last one.
    pub restored: Option<u32>,
    /// Instances that want another spec than the current version has for them; None: nothing. Every pin counts as a use.
    pub pins: BTreeMap<u32, Option<SpecId>>,
    /// Latest last, at most [`Changes::KEPT_UPDATES`]. At most the last one is active.
    pub updates: VecDeque<Update>,
}

impl Changes {
    pub const KEPT_UPDATES: usize = 10;

    /// The update that is under way.
    pub fn active(&self) -> Option<&Update> {
        self.updates.back().filter(|update| update.is_active())
    }
}

/// What the journal says of a job's update.
#[derive(Clone, Debug, PartialEq)]
pub struct UpdateMutation {
    pub job: JobId,
    pub what: UpdateChange,
}

#[derive(Clone, Debug, PartialEq)]
pub enum UpdateChange {
    /// `began`, `first_task` and all that grows is set when it is applied.
    Begun(Box<Update>),
    Advanced(Instances),
    Passed(Instances),
    GaveUp(Instances),
    Moved {
        to: UpdateState,
        author: String,
        message: String,
    },
    Pulsed,
    Promoted,
    /// So many groups are open.
    Group(u32),
    /// They keep a life that they have, and want what it runs; None: nothing. Of an update under way: where nothing is left of what
    /// it brings, the version before is in force again.
    Kept {
        instances: Instances,
        spec: Option<SpecId>,
    },
    /// The latest version takes the place of what never was healthy, everywhere at once. An update under way is over.
    Replaced {
        author: String,
    },
}

/// What a client asks for about updates.
#[derive(Clone, Debug)]
pub enum UpdateCommand {
    Start {
        spec: Box<super::JobSpec>,
        /// Inclusive ranges; empty: all.
        instances: Vec<(u32, u32)>,
        author: String,
        message: String,
    },
    Restart {
        key: dawn_proto::JobKey,
        instances: Vec<(u32, u32)>,
        /// None: the job's own.
        policy: Option<UpdatePolicy>,
        author: String,
        message: String,
    },
    Scale {
        key: dawn_proto::JobKey,
        to: Scale,
        author: String,
        message: String,
    },
    Control {
        key: dawn_proto::JobKey,
        action: dawn_proto::v1::UpdateAction,
        author: String,
        message: String,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    To(u32),
    By(u32),
}
