//! One step's decision while it is made: what was decided so far, and the state as it will be because of it.

use std::collections::{BTreeMap, BTreeSet};

use dawn_proto::v1::{JobKind, NodeState, Reason, TickOutcome};
use dawn_proto::{TaskId, TaskState, Timestamp};

use super::transition::{Rule, rule};
use crate::model::{
    AgentNo, Effect, Exit, Job, JobEnded, JobId, JobSettled, Live, Mutation, Now, Settings, Spec, State, Task,
    TaskAssigned, TaskForgotten, TaskMade, TaskMoved, Ticked,
};

pub(super) struct Step<'a> {
    pub state: &'a State,
    pub live: &'a Live,
    pub now: Now,
    pub settings: &'a Settings,
    pub mutations: Vec<Mutation>,
    pub effects: Vec<Effect>,
    pub arrival: Option<Arrival>,
    next_task: TaskId,
    moved: BTreeMap<TaskId, TaskState>,
    /// Tasks made less tasks ended, by job.
    living: BTreeMap<JobId, i64>,
    /// Jobs that lost a task.
    touched: BTreeSet<JobId>,
    ended: BTreeSet<JobId>,
    settled: BTreeMap<JobId, u32>,
    /// Jobs that ended in this step and are not yet told to those that wait for them; whether by themselves.
    just_ended: Vec<JobId>,
    by_themselves: BTreeSet<JobId>,
    not_needed: BTreeSet<JobId>,
    /// Jobs released in this step.
    pub released: BTreeSet<JobId>,
    forgotten: BTreeSet<TaskId>,
    /// Instances that count as up, by jobs that were asked for (`sla`).
    pub up: BTreeMap<JobId, u32>,
}

/// A known agent registers in this step.
#[derive(Clone, Copy)]
pub(super) struct Arrival {
    pub agent: AgentNo,
    /// What ran there before may live on: under another boot, or on a machine that this one is a copy of.
    pub is_doubted: bool,
}

/// A task to be made.
pub(super) struct Life {
    pub instance: u32,
    pub run_at: Timestamp,
    pub attempt: u32,
    pub failures: u32,
    pub restarts: u32,
    pub ready_at: Option<Timestamp>,
    pub reason: Reason,
}

impl Life {
    /// The first one of a slot.
    pub fn first(instance: u32, run_at: Timestamp) -> Self {
        Life { instance, run_at, attempt: 1, failures: 0, restarts: 0, ready_at: None, reason: Reason::None }
    }

    /// The one after `task`, at once.
    pub fn after(task: &Task) -> Self {
        Life { attempt: task.attempt.saturating_add(1), ..Life::first(task.instance, task.run_at) }
    }

    /// The same, made from a spec: a restart where its task is the same.
    pub fn again(state: &State, task: &Task, spec: &Spec) -> Self {
        let is_restart = task.spec == spec.id || state.spec_of(task).job.same_task(&spec.job);
        let restarts = if is_restart { task.restarts.saturating_add(1) } else { 0 };
        Life { restarts, ..Life::after(task) }
    }
}

impl<'a> Step<'a> {
    pub fn new(state: &'a State, live: &'a Live, now: Now, settings: &'a Settings) -> Self {
        Step {
            state,
            live,
            now,
            settings,
            mutations: Vec::new(),
            effects: Vec::new(),
            arrival: None,
            next_task: state.next_task,
            moved: BTreeMap::new(),
            living: BTreeMap::new(),
            touched: BTreeSet::new(),
            ended: BTreeSet::new(),
            settled: BTreeMap::new(),
            just_ended: Vec::new(),
            by_themselves: BTreeSet::new(),
            not_needed: BTreeSet::new(),
            released: BTreeSet::new(),
            forgotten: BTreeSet::new(),
            up: BTreeMap::new(),
        }
    }

    /// Jobs that lost tasks since this was last asked.
    pub fn take_touched(&mut self) -> BTreeSet<JobId> {
        std::mem::take(&mut self.touched)
    }

    /// A job that has ended in this step, to be told to those that wait for it: each once.
    pub fn next_ended(&mut self) -> Option<JobId> {
        self.just_ended.pop()
    }

    /// The task's state with this step's moves.
    pub fn state_of(&self, task: &Task) -> TaskState {
        self.moved.get(&task.id).copied().unwrap_or_else(|| task.state())
    }

    pub fn is_living(&self, task: &Task) -> bool {
        !self.state_of(task).is_terminal()
    }

    /// How many tasks of the job live after this step.
    pub fn living(&self, job: &Job) -> u32 {
        let living = i64::from(self.state.tasks_of(job.id).living) + self.living.get(&job.id).copied().unwrap_or(0);
        u32::try_from(living).unwrap_or(0)
    }

    /// The same of a job that may have been made in this step.
    pub fn living_of(&self, id: JobId) -> u32 {
        let before = self.state.jobs.get(&id).map_or(0, |job| i64::from(self.state.tasks_of(job.id).living));
        u32::try_from(before + self.living.get(&id).copied().unwrap_or(0)).unwrap_or(0)
    }

    /// Whether the job has ended, and nobody ended it.
    pub fn ended_by_itself(&self, job: &Job) -> bool {
        self.by_themselves.contains(&job.id) || job.ended.as_ref().is_some_and(|ended| ended.by.is_empty())
    }

    /// Whether the job has ended because the failure that it was to follow did not come.
    pub fn was_not_needed(&self, job: &Job) -> bool {
        self.not_needed.contains(&job.id) || job.ended.as_ref().is_some_and(|ended| ended.not_needed)
    }

    pub fn is_ended(&self, job: &Job) -> bool {
        job.ended.is_some() || self.ended.contains(&job.id)
    }

    pub fn settled(&self, job: &Job) -> u32 {
        self.settled.get(&job.id).copied().unwrap_or(job.settled)
    }

    /// Whether the step has reached its bound; the next tick goes on.
    pub fn is_full(&self) -> bool {
        self.mutations.len() >= self.settings.slice
    }

    /// Whether what is sent to the agent may arrive.
    pub fn is_reachable(&self, agent: AgentNo) -> bool {
        let up = self.state.agents.get(&agent).is_some_and(|agent| agent.state == NodeState::Up);
        up && self.live.agents.get(&agent).is_some_and(|live| live.link.is_some())
    }

    /// Moves a task as the table allows.
    ///
    /// # Panics
    /// When the table doesn't: the caller is wrong.
    pub fn move_task(&mut self, task: &Task, to: TaskState, reason: Reason, message: &str) {
        self.move_task_with(task, to, reason, message, None, None);
    }

    /// The same to an end that a process decided, or that came at another time.
    ///
    /// # Panics
    /// As `move_task`.
    pub fn move_task_with(
        &mut self,
        task: &Task,
        to: TaskState,
        reason: Reason,
        message: &str,
        exit: Option<Exit>,
        ended: Option<Timestamp>,
    ) {
        let from = self.state_of(task);
        assert!(matches!(rule(Some(from), to), Rule::Move(_)), "{} would move from {from:?} to {to:?}", task.id);
        self.mutations.push(Mutation::TaskMoved(TaskMoved {
            task: task.id,
            to,
            reason,
            message: message.into(),
            exit,
            ended,
        }));
        self.moved.insert(task.id, to);
        if to.is_terminal() {
            *self.living.entry(task.job).or_default() -= 1;
            self.touched.insert(task.job);
        }
    }

    /// Has it looked at after the decision (`follow`) what follows for the job.
    pub fn touch(&mut self, job: JobId) {
        self.touched.insert(job);
    }

    /// A task of the job that lives was found.
    pub fn found_living(&mut self, job: JobId) {
        *self.living.entry(job).or_default() += 1;
    }

    /// Places a pending task where it is already.
    pub fn assign(&mut self, task: &Task, agent: AgentNo, ports: Box<[u16]>, devices: Box<[u16]>) {
        self.mutations.push(Mutation::TaskAssigned(TaskAssigned { task: task.id, agent, ports, devices }));
        self.moved.insert(task.id, TaskState::Assigned);
    }

    /// Has a living task stopped: at once when it is nowhere yet, otherwise by its agent. Nothing when it is being
    /// stopped for good already.
    pub fn stop(&mut self, task: &Task, reason: Reason, message: &str) {
        match self.state_of(task) {
            TaskState::Throttled | TaskState::Pending => self.move_task(task, TaskState::Killed, reason, message),
            TaskState::Killing => {}
            state if state.is_terminal() => {}
            _ => self.move_task(task, TaskState::Killing, reason, message),
        }
    }

    /// Makes a task, and forgets the oldest of its slot beyond those kept.
    pub fn make_task(&mut self, job: JobId, spec: &Spec, life: Life) -> TaskId {
        let task = self.next_task;
        self.next_task = TaskId(task.0 + 1);
        let Life { instance, run_at, attempt, failures, restarts, ready_at, reason } = life;
        let spec = spec.id;
        let made = Mutation::TaskMade(TaskMade {
            task,
            job,
            spec,
            instance,
            attempt,
            failures,
            restarts,
            run_at,
            ready_at,
            reason,
        });
        self.mutations.push(made);
        *self.living.entry(job).or_default() += 1;
        let Some(job) = self.state.jobs.get(&job) else { return task };
        let kept = self.settings.kept_ended_tasks;
        let state = self.state;
        for task in
            self.state.tasks_of(job.id).slot(run_at, instance).rev().skip(kept).filter_map(|id| state.tasks.get(&id))
        {
            self.forget(task);
        }
        task
    }

    /// Forgets a task, if it has ended.
    pub fn forget(&mut self, task: &Task) {
        if !self.is_living(task) && self.forgotten.insert(task.id) {
            self.mutations.push(Mutation::TaskForgotten(TaskForgotten { task: task.id }));
        }
    }

    pub fn settle(&mut self, job: JobId, to: u32) {
        self.mutations.push(Mutation::JobSettled(JobSettled { job, to }));
        self.settled.insert(job, to);
    }

    /// Ends a job: nothing more is made for it, not even the cron runs that wait.
    pub fn end_job(&mut self, job: JobId, author: &str, message: &str) {
        self.end_job_as(job, author, message, false);
    }

    /// Ends a job that was to follow a failure which did not come.
    pub fn end_not_needed(&mut self, job: JobId, message: &str) {
        self.not_needed.insert(job);
        self.end_job_as(job, "", message, true);
    }

    fn end_job_as(&mut self, job: JobId, author: &str, message: &str, not_needed: bool) {
        let state = self.state;
        for queued in state.jobs.get(&job).into_iter().flat_map(Job::all_queued) {
            let (scheduled, outcome) = (queued.scheduled, TickOutcome::SkippedOverlap);
            self.mutations.push(Mutation::Ticked(Ticked { job, scheduled, outcome }));
        }
        let (by, words) = (author.into(), message.into());
        self.mutations.push(Mutation::JobEnded(JobEnded { job, author: by, message: words, not_needed }));
        if self.ended.insert(job) {
            self.just_ended.push(job);
        }
        if author.is_empty() {
            self.by_themselves.insert(job);
        }
    }

    /// The job's kind now.
    pub fn kind(&self, job: &Job) -> JobKind {
        self.state.current_spec(job).map_or(JobKind::Unspecified, |spec| spec.job.kind)
    }
}
