//! A journal that goes on from a backup: what was counted since is unknown here, and known to agents.

use std::sync::Arc;

use dawn_proto::{Epoch, SpecId, TaskId, TaskState, Timestamp};

use super::{AgentNo, Batch, JobId, Mutation, Report, Spec, State};

/// One restore.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    pub at: Timestamp,
    /// Above any that may have led before it.
    pub epoch: Epoch,
    /// Tasks from here up to `next_task` may have been made after the backup.
    pub first_lost_task: TaskId,
    pub next_task: TaskId,
    pub next_spec: SpecId,
}

/// The restores of a cluster's journal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Restores {
    /// Oldest first, at most [`Restores::KEPT`].
    pub kept: Vec<Restored>,
    /// Agents are given time to say what they hold: nothing is placed, replaced or given up.
    pub waiting: bool,
    /// Agents that hold tasks have shown that the journal went back in time, and nobody has decided since: every leader goes
    /// on waiting for them.
    pub behind: bool,
    /// While it is so: tasks from this one on, up to the numbers with which the journal went on, may be known to agents as
    /// others.
    pub first_lost_task: Option<TaskId>,
    /// No epoch at or below it is led under any more: agents may have obeyed it.
    pub epoch_floor: Epoch,
}

#[derive(Clone, Debug, PartialEq)]
pub enum RestoreMutation {
    Restored(Restored),
    /// The agents' time is over.
    Over,
    /// Agents that hold tasks show that the journal went back in time.
    Behind {
        /// What is made from now on has numbers from these on, which were never given out.
        next_task: TaskId,
        next_spec: SpecId,
    },
    /// None does any more.
    BehindOver,
    /// An operator's word: agents have obeyed epochs up to this one, which this journal has lost.
    EpochRaised {
        floor: Epoch,
    },
    /// The spec of tasks found on an agent; `current`: it becomes the job's version, and the job is made when it isn't
    /// there. Otherwise only its tasks keep it.
    SpecAdopted {
        job: JobId,
        spec: Arc<Spec>,
        current: bool,
    },
    /// A task found on an agent, in the state that the agent says.
    TaskAdopted(Box<TaskAdopted>),
}

/// A task found on an agent, in the state that the agent says.
#[derive(Clone, Debug, PartialEq)]
pub struct TaskAdopted {
    pub task: TaskId,
    pub job: JobId,
    pub spec: SpecId,
    pub instance: u32,
    pub attempt: u32,
    pub run_at: Timestamp,
    pub agent: AgentNo,
    pub ports: Box<[u16]>,
    pub devices: Box<[u16]>,
    pub state: TaskState,
}

/// A task as its agent keeps it.
#[derive(Clone, Debug)]
pub struct Description {
    pub report: Report,
    pub instance: u32,
    pub attempt: u32,
    pub run_at: Timestamp,
    pub ports: Box<[u16]>,
    /// Of its gpus; none where an older agent tells of them.
    pub devices: Box<[u16]>,
    pub spec: Arc<Spec>,
}

/// What was counted lies this far behind what is counted after a restore, at least.
const AHEAD: u64 = 1 << 20;

/// Where a count goes on after a restore: above whatever was counted since the backup, by this cluster or by an earlier
/// restore of the same backup, that nobody here knows of. Nothing counts a million a second for as long as the clock runs,
/// so the clock is far enough ahead; 53 bits hold it, which is what a number in JSON has.
fn ahead(counted: u64, at: Timestamp) -> u64 {
    let seconds = u64::try_from(at.0 / 1000).unwrap_or(0);
    counted.saturating_add(AHEAD).max(seconds.saturating_mul(AHEAD))
}

impl Restored {
    /// The state that a restored journal begins with, and its first batch. Task and spec numbers that agents may hold are
    /// not given out again, no epoch that agents have obeyed is led under again, and no follower of the journal as it was
    /// takes a batch of this one for its next.
    pub fn from_backup(mut backup: State, at: Timestamp) -> (State, Batch) {
        let epoch = Epoch(ahead(backup.epoch.0, at));
        let index = ahead(backup.index, at);
        let restored = Restored {
            at,
            epoch,
            first_lost_task: backup.next_task,
            next_task: TaskId(ahead(backup.next_task.0, at)),
            next_spec: SpecId(ahead(backup.next_spec.0, at)),
        };
        backup.truth.index = index;
        backup.truth.parts.clear();
        let mutations = vec![Mutation::Restore(RestoreMutation::Restored(restored))];
        (backup, Batch { index: index + 1, epoch, at, part: None, mutations })
    }
}

impl Restores {
    pub const KEPT: usize = 8;

    /// Whether a task that the state does not know may have been made after a backup.
    pub fn is_lost(&self, task: TaskId) -> bool {
        self.kept.iter().any(|one| (one.first_lost_task..one.next_task).contains(&task))
    }

    /// Since when nothing was lost any more; None: nothing ever was.
    pub fn last(&self) -> Option<&Restored> {
        self.kept.last()
    }
}

impl Restored {
    /// The same for a journal that goes on where it is: it was put back in time under a scheduler that leads.
    pub fn in_place(state: &State, at: Timestamp) -> Restored {
        Restored {
            at,
            // A leader's number counts from the same place as before.
            epoch: state.restores.last().map_or(Epoch(0), |last| last.epoch),
            first_lost_task: state.restores.first_lost_task.unwrap_or(state.next_task),
            next_task: TaskId(ahead(state.next_task.0, at)),
            next_spec: SpecId(ahead(state.next_spec.0, at)),
        }
    }
}

impl RestoreMutation {
    /// Agents show at this time that the journal went back: what they hold has numbers that would be given out again.
    pub fn behind(state: &State, at: Timestamp) -> RestoreMutation {
        RestoreMutation::Behind {
            next_task: TaskId(ahead(state.next_task.0, at)),
            next_spec: SpecId(ahead(state.next_spec.0, at)),
        }
    }
}

impl State {
    /// A cluster's epoch under a leader of this number, which another home of the journal may count from one again: above
    /// the one of the last leader, and above what an operator said that agents have obeyed.
    pub fn epoch_of(&self, number: u64) -> Epoch {
        let counted = self.restores.last().map_or(0, |restored| restored.epoch.0).saturating_add(number);
        let least = self.epoch.max(self.restores.epoch_floor).0.saturating_add(1);
        Epoch(counted.max(least))
    }
}
