//! What follows from the truth: kept by apply, built anew after a snapshot. Not here: anything a snapshot holds.

use std::collections::{BTreeMap, BTreeSet};

use dawn_proto::v1::{JobKind, NodeState};
use dawn_proto::{AgentId, JobKey, SpecId, TaskId, TaskState, Timestamp};

use super::tally::AfterFailure;
use super::{
    Agent, AgentNo, Job, JobId, JobTasks, Numbered, Spec, Standing, State, Status, Tally, Task, Truth, Waiting,
};

static NO_TASKS: JobTasks = JobTasks::NONE;

/// Each is the same whether it was kept or built anew.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Index {
    pub job_by_key: BTreeMap<JobKey, JobId>,
    pub agent_by_id: BTreeMap<AgentId, AgentNo>,
    /// What all agents offer, in bytes.
    pub offered_bytes: usize,
    /// Agents that are UNREACHABLE or DOWN.
    pub agents_not_up: BTreeSet<AgentNo>,
    /// Tasks that hold resources, by agent.
    pub tasks_on: Numbered<AgentNo, BTreeSet<TaskId>>,
    pub pending: BTreeSet<TaskId>,
    /// By when they become pending.
    pub throttled: BTreeSet<(Timestamp, TaskId)>,
    /// ASSIGNED and stopping tasks, by since when: an answer of their agent is awaited.
    pub in_transit: BTreeSet<(Timestamp, TaskId)>,
    /// By when their time is over: started tasks of a job with a longest run time, PARTITIONED ones to be replaced.
    pub deadlines: BTreeSet<(Timestamp, TaskId)>,
    /// Jobs that are not settled.
    pub unsettled: BTreeSet<JobId>,
    /// Jobs with an update under way.
    pub updating: BTreeSet<JobId>,
    /// Agents with something planned for them.
    pub upkept: BTreeSet<AgentNo>,
    /// Agents that are avoided, or were and are not forgiven.
    pub avoided: BTreeSet<AgentNo>,
    /// By when a job may go to the agent again.
    pub kept_off_ends: BTreeSet<(Timestamp, JobId, AgentNo, SpecId)>,
    /// Ended jobs by when they ended.
    pub ended_jobs: BTreeSet<(Timestamp, JobId)>,
    /// Active cron jobs by when they fire next, jitter included.
    pub cron_due: BTreeSet<(Timestamp, JobId)>,
    /// Active jobs that wait for others, by the key of each of those.
    pub dependents: BTreeMap<JobKey, BTreeSet<JobId>>,
    /// Active jobs with a deadline, by it.
    pub job_deadlines: BTreeSet<(Timestamp, JobId)>,
    /// Active daemon jobs.
    pub daemons: BTreeSet<JobId>,
    /// What each job's tasks come to in numbers.
    pub tallies: Numbered<JobId, Tally>,
    /// How many kept versions and tasks point to each spec.
    pub spec_uses: Numbered<SpecId, u32>,
    /// What a job's tasks are; also of a job that has none.
    pub job_tasks: Numbered<JobId, JobTasks>,
}

impl Index {
    /// Builds every index anew. Tasks must name jobs and specs that are there.
    pub fn of(truth: &Truth) -> Index {
        let agents = || truth.agents.values();
        let mut index = Index {
            job_by_key: truth.jobs.values().map(|job| (job.key.clone(), job.id)).collect(),
            agent_by_id: agents().map(|agent| (agent.id.clone(), agent.no)).collect(),
            offered_bytes: agents().map(Agent::offered_bytes).sum(),
            agents_not_up: agents().filter(|agent| agent.state != NodeState::Up).map(|agent| agent.no).collect(),
            upkept: agents().filter(|agent| agent.upkeep.is_some()).map(|agent| agent.no).collect(),
            avoided: agents().filter(|agent| agent.avoided.is_some()).map(|agent| agent.no).collect(),
            job_tasks: truth.jobs.keys().map(|job| (*job, JobTasks::NONE)).collect(),
            ..Index::default()
        };
        truth.jobs.values().flat_map(held_specs).for_each(|spec| index.use_spec(truth, spec));
        for task in truth.tasks.values() {
            index.use_spec(truth, task.spec);
            index.add_task(truth, task);
        }
        for job in truth.jobs.keys() {
            index.keep_off(truth, *job, true);
            index.recount(truth, *job);
            index.add_job(truth, *job);
        }
        index
    }

    pub fn tasks_of(&self, job: JobId) -> &JobTasks {
        self.job_tasks.get(&job).unwrap_or(&NO_TASKS)
    }

    pub(super) fn use_spec(&mut self, truth: &Truth, spec: SpecId) {
        assert!(truth.specs.contains_key(&spec), "{spec} is used but gone");
        *self.spec_uses.or_default(spec) += 1;
    }

    fn tasks_of_mut(&mut self, job: JobId) -> &mut JobTasks {
        self.job_tasks.get_mut(&job).unwrap_or_else(|| panic!("{job} is not in the index"))
    }

    /// A task that is new here.
    pub(super) fn add_task(&mut self, truth: &Truth, task: &Task) {
        let tasks = self.tasks_of_mut(task.job);
        tasks.ids.insert(task.id);
        tasks.slots.insert((task.run_at, task.instance, task.id));
        let entries = Entries::of(task, truth.spec_of(task));
        self.change_task(truth, task.id, task.job, Entries::default(), entries);
    }

    /// An ended task that is forgotten.
    pub(super) fn remove_task(&mut self, task: &Task) {
        let tasks = self.tasks_of_mut(task.job);
        tasks.ids.remove(&task.id);
        tasks.slots.remove(&(task.run_at, task.instance, task.id));
    }

    /// Changes what is said of a task; most moves change little of it.
    pub(super) fn change_task(&mut self, truth: &Truth, id: TaskId, job: JobId, before: Entries, after: Entries) {
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
            (false, true) => self.tasks_of_mut(job).living += 1,
            (true, false) => self.tasks_of_mut(job).living -= 1,
            _ => return,
        }
        if self.tasks_of(job).window != u32::MAX {
            self.note_settling(truth, job);
        }
    }

    fn let_go(&mut self, agent: AgentNo, task: TaskId) {
        let Some(tasks) = self.tasks_on.get_mut(&agent) else { return };
        tasks.remove(&task);
        if tasks.is_empty() {
            self.tasks_on.remove(&agent);
        }
    }

    /// What a job's own fields say.
    pub(super) fn add_job(&mut self, truth: &Truth, id: JobId) {
        let Some(job) = truth.jobs.get(&id) else { return };
        self.keep_flow(truth, job, true);
        if let Some(ended) = &job.ended {
            self.ended_jobs.insert((ended.at, id));
        }
        if job.changes.active().is_some() {
            self.updating.insert(id);
        }
        if let Some(fires) = truth.fires_next(job) {
            self.cron_due.insert((fires, id));
        }
    }

    /// The same is taken out.
    pub(super) fn remove_job(&mut self, truth: &Truth, id: JobId) {
        let Some(job) = truth.jobs.get(&id) else { return };
        self.keep_flow(truth, job, false);
        self.unsettled.remove(&id);
        self.updating.remove(&id);
        if let Some(ended) = &job.ended {
            self.ended_jobs.remove(&(ended.at, id));
        }
        if let Some(fires) = truth.fires_next(job) {
            self.cron_due.remove(&(fires, id));
        }
    }

    /// What follows from the spec's flow: kept, or taken out.
    fn keep_flow(&mut self, truth: &Truth, job: &Job, keep: bool) {
        let Some(spec) = truth.current_spec(job) else { return };
        let (id, deadline) = (job.id, truth.job_deadline(job));
        let is_daemon = job.ended.is_none() && spec.job.kind == JobKind::Daemon;
        let waits_for = if job.waits_for_others(&spec.job) { &spec.job.flow.after[..] } else { &[] };
        if keep {
            self.job_deadlines.extend(deadline.map(|at| (at, id)));
            self.daemons.extend(is_daemon.then_some(id));
            for dependency in waits_for {
                self.dependents.entry(dependency.job.clone()).or_default().insert(id);
            }
            self.tasks_of_mut(id).window = spec.job.flow.max_running.unwrap_or(u32::MAX);
            return self.note_settling(truth, id);
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
    fn note_settling(&mut self, truth: &Truth, id: JobId) {
        let Some(job) = truth.jobs.get(&id) else { return };
        let tasks = self.tasks_of(id);
        let waits = |job: &Job| {
            let for_others = truth.current_spec(job).is_some_and(|spec| job.waits_for_others(&spec.job));
            job.ended.is_none() && (for_others || tasks.living >= tasks.window)
        };
        match job.settled != Job::SETTLED && !waits(job) {
            true => self.unsettled.insert(id),
            false => self.unsettled.remove(&id),
        };
    }

    /// Keeps, or takes out, what is said of the agents that a job keeps off.
    pub(super) fn keep_off(&mut self, truth: &Truth, id: JobId, keep: bool) {
        let Some(job) = truth.jobs.get(&id) else { return };
        for kept in &job.kept_off {
            let entry = (kept.until, id, kept.agent, kept.spec);
            match keep {
                true => self.kept_off_ends.insert(entry),
                false => self.kept_off_ends.remove(&entry),
            };
        }
    }
}

impl State {
    pub(super) fn index_job(&mut self, id: JobId) {
        self.indexes.add_job(&self.truth, id);
    }

    pub(super) fn unindex_job(&mut self, id: JobId) {
        self.indexes.remove_job(&self.truth, id);
    }
}

impl Truth {
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
