//! The state's indexes: kept by apply, built anew after a snapshot. Not here: anything a snapshot holds.

use std::collections::BTreeSet;

use dawn_proto::v1::NodeState;
use dawn_proto::{SpecId, TaskId, TaskState, Timestamp};

use super::{AgentNo, Job, JobId, Spec, State, Status, Task};

impl State {
    /// Builds every index anew: for a state read from a snapshot. Tasks must name jobs and specs that are there.
    pub fn reindexed(mut self) -> State {
        self.job_by_key = self.jobs.values().map(|job| (job.key.clone(), job.id)).collect();
        self.agent_by_id = self.agents.values().map(|agent| (agent.id.clone(), agent.no)).collect();
        let not_up = self.agents.values().filter(|agent| agent.state != NodeState::Up);
        self.agents_not_up = not_up.map(|agent| agent.no).collect();
        (self.tasks_on, self.pending, self.throttled, self.spec_uses) = Default::default();
        (self.in_transit, self.deadlines, self.unsettled, self.ended_jobs, self.cron_due) = Default::default();
        (self.updating, self.upkept) = Default::default();
        self.upkept.extend(self.agents.values().filter(|agent| agent.upkeep.is_some()).map(|agent| agent.no));
        let kept: Vec<SpecId> = self.jobs.values().flat_map(held_specs).collect();
        kept.into_iter().for_each(|spec| self.use_spec(spec));
        for job in self.jobs.values_mut() {
            (job.tasks, job.slots, job.living) = Default::default();
        }
        let tasks = std::mem::take(&mut self.tasks);
        for task in tasks.values() {
            self.use_spec(task.spec);
            let job = self.job_mut(task.job);
            job.tasks.insert(task.id);
            job.slots.insert((task.run_at, task.instance, task.id));
            self.index_task(task);
        }
        self.tasks = tasks;
        let jobs: Vec<JobId> = self.jobs.keys().copied().collect();
        jobs.into_iter().for_each(|job| self.index_job(job));
        self
    }

    pub(super) fn index_task(&mut self, task: &Task) {
        let entries = Entries::of(task, self.spec_of(task));
        self.reindex_task(task.id, task.job, Entries::default(), entries);
    }

    /// Changes what the indexes say of a task; most moves change little of it.
    pub(super) fn reindex_task(&mut self, id: TaskId, job: JobId, before: Entries, after: Entries) {
        if before.pending != after.pending {
            match after.pending {
                true => self.pending.insert(id),
                false => self.pending.remove(&id),
            };
        }
        turn(&mut self.throttled, id, before.throttled, after.throttled);
        turn(&mut self.in_transit, id, before.in_transit, after.in_transit);
        turn(&mut self.deadlines, id, before.deadline, after.deadline);
        if before.held_on != after.held_on {
            if let Some(agent) = before.held_on {
                self.let_go(agent, id);
            }
            if let Some(agent) = after.held_on {
                self.tasks_on.or_default(agent).insert(id);
            }
        }
        match (before.living, after.living) {
            (false, true) => self.job_mut(job).living += 1,
            (true, false) => self.job_mut(job).living -= 1,
            _ => {}
        }
    }

    fn let_go(&mut self, agent: AgentNo, task: TaskId) {
        let Some(tasks) = self.tasks_on.get_mut(&agent) else { return };
        tasks.remove(&task);
        if tasks.is_empty() {
            self.tasks_on.remove(&agent);
        }
    }

    pub(super) fn index_job(&mut self, id: JobId) {
        let Some(job) = self.jobs.get(&id) else { return };
        let fires = self.fires_next(job);
        if job.settled != Job::SETTLED {
            self.unsettled.insert(id);
        }
        if let Some(ended) = &job.ended {
            self.ended_jobs.insert((ended.at, id));
        }
        if job.changes.active().is_some() {
            self.updating.insert(id);
        }
        if let Some(fires) = fires {
            self.cron_due.insert((fires, id));
        }
    }

    pub(super) fn unindex_job(&mut self, id: JobId) {
        let Some(job) = self.jobs.get(&id) else { return };
        let fires = self.fires_next(job);
        self.unsettled.remove(&id);
        self.updating.remove(&id);
        if let Some(ended) = &job.ended {
            self.ended_jobs.remove(&(ended.at, id));
        }
        if let Some(fires) = fires {
            self.cron_due.remove(&(fires, id));
        }
    }

    /// When an active cron job fires next, its jitter included.
    pub fn fires_next(&self, job: &Job) -> Option<Timestamp> {
        if job.ended.is_some() {
            return None;
        }
        let cron = self.current_spec(job)?.job.cron.as_ref()?;
        let next = cron.schedule.next_after(self.schedule_from(job)?)?;
        Some(next.plus_ms(cron.jitter_of(&job.key)))
    }

    /// The instant up to which a cron job's schedule is decided: its last tick, or its current version's birth when that is
    /// later. A clock that goes back moves neither, so no tick comes twice.
    pub fn schedule_from(&self, job: &Job) -> Option<Timestamp> {
        Some(job.current()?.at.max(job.last_scheduled().unwrap_or_default()))
    }
}

/// What the indexes say of a task.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Entries {
    pending: bool,
    throttled: Option<Timestamp>,
    in_transit: Option<Timestamp>,
    deadline: Option<Timestamp>,
    held_on: Option<AgentNo>,
    living: bool,
}

impl Entries {
    pub fn of(task: &Task, spec: &Spec) -> Entries {
        let throttled = match task.status {
            Status::Throttled { ready_at } => Some(ready_at),
            _ => None,
        };
        Entries {
            pending: task.state() == TaskState::Pending,
            throttled,
            in_transit: is_in_transit(task.state()).then(|| task.since()),
            deadline: deadline(task, spec),
            held_on: task.held_on(),
            living: !task.state().is_terminal(),
        }
    }
}

fn turn(index: &mut BTreeSet<(Timestamp, TaskId)>, task: TaskId, before: Option<Timestamp>, after: Option<Timestamp>) {
    if before == after {
        return;
    }
    if let Some(at) = before {
        index.remove(&(at, task));
    }
    if let Some(at) = after {
        index.insert((at, task));
    }
}

/// Every use a job itself makes of specs.
fn held_specs(job: &Job) -> Vec<SpecId> {
    let versions = job.versions.iter().map(|version| version.spec);
    versions.chain(job.changes.pins.values().flatten().copied()).chain(State::update_specs(job)).collect()
}

/// Its agent owes an answer.
fn is_in_transit(state: TaskState) -> bool {
    state == TaskState::Assigned || state.is_stopping()
}

/// When a task's time is over.
fn deadline(task: &Task, spec: &Spec) -> Option<Timestamp> {
    match task.state() {
        TaskState::Starting | TaskState::Running => Some(task.started_at()?.plus_ms(spec.job.max_run_time_ms?)),
        TaskState::Partitioned if !spec.job.partition_wait => Some(task.since().plus_ms(spec.job.partition_delay_ms)),
        _ => None,
    }
}

impl Task {
    /// When it first was STARTING or RUNNING, as far as its kept history tells.
    pub fn started_at(&self) -> Option<Timestamp> {
        let started = |to: TaskState| matches!(to, TaskState::Starting | TaskState::Running);
        self.history.iter().find(|transition| started(transition.to)).map(|transition| transition.at)
    }
}
