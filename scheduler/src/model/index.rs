//! The state's indexes: kept by apply, built anew after a snapshot. Not here: anything a snapshot holds.

use dawn_proto::v1::NodeState;
use dawn_proto::{SpecId, TaskState, Timestamp};

use super::{Job, JobId, Spec, State, Status, Task};

impl State {
    /// Builds every index anew: for a state read from a snapshot. Tasks must name jobs and specs that are there.
    pub fn reindexed(mut self) -> State {
        self.job_by_key = self.jobs.values().map(|job| (job.key.clone(), job.id)).collect();
        self.agent_by_id = self.agents.values().map(|agent| (agent.id.clone(), agent.no)).collect();
        let not_up = self.agents.values().filter(|agent| agent.state != NodeState::Up);
        self.agents_not_up = not_up.map(|agent| agent.no).collect();
        (self.tasks_on, self.pending, self.throttled, self.spec_uses) = Default::default();
        (self.in_transit, self.deadlines, self.unsettled, self.ended_jobs, self.cron_due) = Default::default();
        let kept: Vec<SpecId> = self.jobs.values().flat_map(|job| &job.versions).map(|version| version.spec).collect();
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
        match &task.status {
            Status::Pending { .. } => _ = self.pending.insert(task.id),
            Status::Throttled { ready_at } => _ = self.throttled.insert((*ready_at, task.id)),
            _ => {}
        }
        if is_in_transit(task.state()) {
            self.in_transit.insert((task.since(), task.id));
        }
        if let Some(deadline) = deadline(task, self.spec_of(task)) {
            self.deadlines.insert((deadline, task.id));
        }
        if let Some(agent) = task.held_on() {
            self.tasks_on.entry(agent).or_default().insert(task.id);
        }
        if !task.state().is_terminal() {
            self.job_mut(task.job).living += 1;
        }
    }

    pub(super) fn unindex_task(&mut self, task: &Task) {
        match &task.status {
            Status::Pending { .. } => _ = self.pending.remove(&task.id),
            Status::Throttled { ready_at } => _ = self.throttled.remove(&(*ready_at, task.id)),
            _ => {}
        }
        if is_in_transit(task.state()) {
            self.in_transit.remove(&(task.since(), task.id));
        }
        if let Some(deadline) = deadline(task, self.spec_of(task)) {
            self.deadlines.remove(&(deadline, task.id));
        }
        if let Some(agent) = task.held_on()
            && let Some(tasks) = self.tasks_on.get_mut(&agent)
        {
            tasks.remove(&task.id);
            if tasks.is_empty() {
                self.tasks_on.remove(&agent);
            }
        }
        if !task.state().is_terminal() {
            self.job_mut(task.job).living -= 1;
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
        if let Some(fires) = fires {
            self.cron_due.insert((fires, id));
        }
    }

    pub(super) fn unindex_job(&mut self, id: JobId) {
        let Some(job) = self.jobs.get(&id) else { return };
        let fires = self.fires_next(job);
        self.unsettled.remove(&id);
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
