//! The state's indexes: kept by apply, built anew after a snapshot. Not here: anything a snapshot holds.

use std::collections::BTreeSet;

use dawn_proto::v1::{JobKind, NodeState};
use dawn_proto::{SpecId, TaskId, TaskState, Timestamp};

use super::tally::AfterFailure;
use super::{Agent, AgentNo, Job, JobId, Spec, Standing, State, Status, Task, Waiting};

impl State {
    /// Builds every index anew: for a state read from a snapshot. Tasks must name jobs and specs that are there.
    pub fn reindexed(mut self) -> State {
        self.job_by_key = self.jobs.values().map(|job| (job.key.clone(), job.id)).collect();
        self.agent_by_id = self.agents.values().map(|agent| (agent.id.clone(), agent.no)).collect();
        self.offered_bytes = self.agents.values().map(Agent::offered_bytes).sum();
        let not_up = self.agents.values().filter(|agent| agent.state != NodeState::Up);
        self.agents_not_up = not_up.map(|agent| agent.no).collect();
        (self.tasks_on, self.pending, self.throttled, self.spec_uses) = Default::default();
        (self.in_transit, self.deadlines, self.unsettled, self.ended_jobs, self.cron_due) = Default::default();
        (self.dependents, self.job_deadlines, self.daemons) = Default::default();
        (self.updating, self.upkept) = Default::default();
        (self.avoided, self.kept_off_ends, self.tallies) = Default::default();
        self.avoided.extend(self.agents.values().filter(|agent| agent.avoided.is_some()).map(|agent| agent.no));
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
        jobs.iter().for_each(|job| self.index_kept_off(*job, true));
        jobs.iter().for_each(|job| self.recount(*job));
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
        if (before.standing, before.after_failure) != (after.standing, after.after_failure) {
            let tally = self.tallies.or_default(job);
            tally.remove(before.standing, before.after_failure, id);
            tally.add(after.standing, after.after_failure, id);
        }
        match (before.standing.is_some(), after.standing.is_some()) {
            (false, true) => self.job_mut(job).living += 1,
            (true, false) => self.job_mut(job).living -= 1,
            _ => return,
        }
        if self.job_mut(job).window != u32::MAX {
            self.note_settling(job);
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
        self.index_flow(id, true);
        let Some(job) = self.jobs.get(&id) else { return };
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
        self.index_flow(id, false);
        self.unsettled.remove(&id);
        self.updating.remove(&id);
        let Some(job) = self.jobs.get(&id) else { return };
        if let Some(ended) = &job.ended {
            self.ended_jobs.remove(&(ended.at, id));
        }
        if let Some(fires) = fires {
            self.cron_due.remove(&(fires, id));
        }
    }

    /// What follows from the spec's flow: kept, or taken out.
    fn index_flow(&mut self, id: JobId, keep: bool) {
        let Some(job) = self.jobs.get(&id) else { return };
        let Some(spec) = self.current_spec(job).cloned() else { return };
        let deadline = self.job_deadline(job);
        let is_daemon = job.ended.is_none() && spec.job.kind == JobKind::Daemon;
        let waits_for = if job.waits_for_others(&spec.job) { &spec.job.flow.after[..] } else { &[] };
        if keep {
            self.job_deadlines.extend(deadline.map(|at| (at, id)));
            self.daemons.extend(is_daemon.then_some(id));
            for dependency in waits_for {
                self.dependents.entry(dependency.job.clone()).or_default().insert(id);
            }
            self.job_mut(id).window = spec.job.flow.max_running.unwrap_or(u32::MAX);
            return self.note_settling(id);
        }
        if let Some(at) = deadline {
            self.job_deadlines.remove(&(at, id));
        }
        self.daemons.remove(&id);
        for dependency in waits_for {
            if let Some(jobs) = self.dependents.get_mut(&dependency.job) {
                jobs.remove(&id);
                if jobs.is_empty() {
                    self.dependents.remove(&dependency.job);
                }
            }
        }
    }

    /// Whether the next slice of a job's settling is for the next tick: not while something else must come first.
    fn note_settling(&mut self, id: JobId) {
        let Some(job) = self.jobs.get(&id) else { return };
        let waits = |job: &Job| {
            let for_others = self.current_spec(job).is_some_and(|spec| job.waits_for_others(&spec.job));
            job.ended.is_none() && (for_others || job.living >= job.window)
        };
        match job.settled != Job::SETTLED && !waits(job) {
            true => self.unsettled.insert(id),
            false => self.unsettled.remove(&id),
        };
    }

    /// When an active cron job fires next, its jitter included.
    pub fn fires_next(&self, job: &Job) -> Option<Timestamp> {
        if job.ended.is_some() || job.flow.paused.is_some() {
            return None;
        }
        let cron = self.current_spec(job)?.job.cron.as_ref()?;
        let next = cron.schedule.next_after(self.schedule_from(job)?)?;
        Some(next.plus_ms(cron.jitter_of(&job.key)))
    }

    /// The instant up to which a cron job's schedule is decided: its last tick, or its current version's birth or the end of
    /// its last pause when that is later. A clock that goes back moves neither, so no tick comes twice.
    pub fn schedule_from(&self, job: &Job) -> Option<Timestamp> {
        Some(job.current()?.at.max(job.flow.resumed_at).max(job.last_scheduled().unwrap_or_default()))
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
    /// Of a living task.
    standing: Option<Standing>,
    after_failure: Option<AfterFailure>,
}

impl Entries {
    pub fn of(task: &Task, spec: &Spec) -> Entries {
        let throttled = match task.status {
            Status::Waiting(Waiting::Throttled { ready_at }) => Some(ready_at),
            _ => None,
        };
        Entries {
            pending: task.state() == TaskState::Pending,
            throttled,
            in_transit: is_in_transit(task.state()).then(|| task.since()),
            deadline: deadline(task, spec),
            held_on: task.held_on(),
            standing: task.standing_alive(),
            after_failure: task.after_failure(),
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
