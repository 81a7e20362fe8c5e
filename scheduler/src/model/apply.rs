//! State::apply: the only code that changes State. Broken invariants end the process with their values.

mod blame;
mod clock;
mod ending;
mod flow;
mod loss;
mod restore;
mod update;
mod upkeep;
mod welcome;

use std::collections::{BTreeSet, VecDeque};

use dawn_proto::v1::{NodeState, Reason};
use dawn_proto::{SpecId, TaskId, TaskState, Timestamp};

use super::{
    Agent, AgentAvoided, AgentMoved, AgentNo, AgentSeen, Avoided, Batch, Changes, Ended, Flow, InstancesStopped, Job,
    JobEnded, JobId, JobSettled, JobVersioned, Mutation, Nominated, Place, PlacedState, Quota, QuotaSet, State, Status,
    Task, TaskAssigned,
};
use super::{TaskMade, TaskMoved, Tick, Ticked, Transition, Version, Waiting, index::Entries};

impl State {
    /// Applies a batch whose index follows the last one; a part of a step with the last of them.
    ///
    /// # Panics
    /// When the batch does not follow, or does not fit the state: the journal and this code disagree.
    pub fn apply(&mut self, batch: &Batch) {
        let Some(parts) = self.gather(batch) else { return };
        for mutation in parts.iter().chain([batch]).flat_map(|part| &part.mutations) {
            self.apply_one(mutation, batch.at);
        }
        self.seal(batch);
    }

    /// Closes a batch whose mutations were applied one by one.
    ///
    /// # Panics
    /// When the batch does not follow the last one.
    pub fn seal(&mut self, batch: &Batch) {
        assert_eq!(batch.index, self.truth.index + 1, "batch does not follow the state");
        self.truth.index = batch.index;
        self.truth.epoch = batch.epoch;
        self.truth.at = batch.at;
        self.truth.parts.clear();
    }

    /// Applies one mutation without moving the index: for a decision that must see its own earlier mutations.
    pub fn apply_one(&mut self, mutation: &Mutation, at: Timestamp) {
        match mutation {
            Mutation::ClusterMade(made) => self.truth.cluster_id.clone_from(&made.cluster_id),
            Mutation::EpochBegun(begun) => self.truth.epoch = begun.epoch,
            Mutation::JobMade(made) => self.make_job(made.job, made.key.clone(), at),
            Mutation::JobVersioned(versioned) => self.version_job(versioned, at),
            Mutation::JobEnded(ended) => self.end_job(ended, at),
            Mutation::Update(mutation) => self.apply_update(mutation, at),
            Mutation::Upkeep(mutation) => self.apply_upkeep(mutation, at),
            Mutation::Blame(mutation) => self.apply_blame(mutation),
            Mutation::InstancesStopped(stopped) => self.stop_instances(stopped),
            Mutation::JobSettled(JobSettled { job, to }) => self.change_job(*job, |job| job.settled = *to),
            Mutation::JobForgotten(forgotten) => self.forget_job(forgotten.job),
            Mutation::TaskMade(made) => self.make_task(made, at),
            Mutation::TaskAssigned(assigned) => self.assign_task(assigned, at),
            Mutation::TaskMoved(TaskMoved { task, to, reason, message, exit, ended }) => {
                let at = ended.map_or(at, |ended| self.date_of_end(*task, ended, at));
                let moved = Transition { to: *to, at, reason: *reason, message: message.clone(), exit: *exit };
                self.move_task(*task, moved, |status| status.moved(*to));
            }
            Mutation::EndDated(dated) => self.date_end(dated, at),
            Mutation::TaskForgotten(forgotten) => self.forget_task(forgotten.task),
            Mutation::AgentSeen(seen) => self.see_agent(seen, at),
            Mutation::AgentMoved(moved) => self.move_agent(moved, at),
            Mutation::AgentForgotten(forgotten) => self.forget_agent(forgotten.agent),
            Mutation::Ticked(Ticked { job, scheduled, outcome }) => {
                let tick = Tick { scheduled: *scheduled, decided: at, outcome: *outcome };
                self.change_job(*job, |job| job.note_tick(tick));
            }
            Mutation::Nominated(Nominated { task, agent, until }) => {
                let task = self.task_mut(*task);
                assert_eq!(task.state(), TaskState::Pending, "{} is nominated", task.id);
                task.status = Status::Waiting(Waiting::Pending { nominated: Some((*agent, *until)) });
            }
            Mutation::AgentAvoided(AgentAvoided { agent, until, why, times }) => {
                let avoided = until.map(|until| Avoided { until, why: why.clone(), times: *times });
                self.avoid_agent(*agent, avoided);
            }
            Mutation::Restore(mutation) => self.apply_restore(mutation, at),
            Mutation::Welcome(mutation) => self.apply_welcome(mutation, at),
            Mutation::QuotaSet(set) => self.set_quota(set),
            Mutation::Flow(mutation) => self.apply_flow(mutation, at),
            Mutation::ClockShifted(shift) => self.shift_clock(*shift, at),
            Mutation::Loss(mutation) => self.apply_loss(mutation, at),
        }
    }

    pub(super) fn job_mut(&mut self, job: JobId) -> &mut Job {
        self.truth.jobs.get_mut(&job).unwrap_or_else(|| panic!("{job} is not in the state"))
    }

    fn task_mut(&mut self, task: TaskId) -> &mut Task {
        self.truth.tasks.get_mut(&task).unwrap_or_else(|| panic!("{task} is not in the state"))
    }

    fn agent_mut(&mut self, agent: AgentNo) -> &mut Agent {
        self.truth.agents.get_mut(&agent).unwrap_or_else(|| panic!("{agent} is not in the state"))
    }

    fn make_job(&mut self, id: JobId, key: dawn_proto::JobKey, at: Timestamp) {
        assert!(id >= self.truth.next_job && !self.indexes.job_by_key.contains_key(&key), "{id} {key} is made twice");
        self.truth.next_job = JobId(id.0 + 1);
        self.indexes.job_by_key.insert(key.clone(), id);
        let job = Job {
            id,
            key,
            created: at,
            versions: VecDeque::new(),
            ended: None,
            ticks: VecDeque::new(),
            stopped: BTreeSet::new(),
            settled: 0,
            flow: Flow::default(),
            changes: Changes::default(),
            kept_off: Vec::new(),
        };
        self.truth.jobs.insert(id, job);
        self.indexes.tallies.or_default(id);
        self.indexes.job_tasks.or_default(id);
        self.index_job(id);
    }

    /// Changes a job and keeps the indexes.
    fn change_job(&mut self, id: JobId, change: impl FnOnce(&mut Job)) {
        self.unindex_job(id);
        change(self.job_mut(id));
        self.index_job(id);
    }

    fn end_job(&mut self, ended: &JobEnded, at: Timestamp) {
        let JobEnded { job, author, message, not_needed } = ended;
        let id = *job;
        self.unindex_job(id);
        if self.job_mut(id).changes.active().is_some() {
            let why = format!("the job ended{}{message}", if message.is_empty() { "" } else { ": " });
            self.move_update(id, dawn_proto::v1::UpdateState::Aborted, at, author.clone(), why);
        }
        self.set_pins(id, Default::default());
        let job = self.job_mut(id);
        job.ended = Some(Ended { at, by: author.clone(), message: message.clone(), not_needed: *not_needed });
        job.settled = 0;
        self.index_job(id);
    }

    fn stop_instances(&mut self, stopped: &InstancesStopped) {
        let InstancesStopped { job: id, instances } = stopped;
        let id = *id;
        let wanted = self.truth.jobs.get(&id).map_or(0, |job| self.wanted_bound(job));
        self.change_job(id, |job| {
            // Ranges reach at most to the last instance, so that a record can't make the set grow without bound.
            job.stopped
                .extend(instances.iter().flat_map(|(first, last)| *first..(*last).saturating_add(1).min(wanted)));
            job.settled = job.settled.min(wanted);
        });
    }

    fn version_job(&mut self, versioned: &JobVersioned, at: Timestamp) {
        let JobVersioned { job: id, spec, author, message } = versioned;
        let (id, author, message) = (*id, author.clone(), message.clone());
        assert!(spec.id >= self.truth.next_spec, "{} is made twice", spec.id);
        self.truth.next_spec = SpecId(spec.id.0 + 1);
        self.truth.specs.insert(spec.id, spec.clone());
        self.use_spec(spec.id);
        let mut oldest = None;
        self.change_job(id, |job| {
            if job.ended.is_some() {
                (job.flow.released, job.flow.paused) = (false, None);
            }
            // What was not yet replaced everywhere is replaced by this one.
            let is_half = job.ended.is_none() && job.settled != Job::SETTLED;
            let replaces = is_half && job.current().is_some_and(|current| current.replaces);
            let (version, spec, was_healthy) = (spec.version, spec.id, false);
            job.versions.push_back(Version { version, spec, at, author, message, was_healthy, replaces });
            (job.ended, job.settled) = (None, 0);
            job.stopped.clear();
            let counted = job.changes.restored.take();
            if job.versions.len() > Job::KEPT_VERSIONS {
                // The one that counted until now may be gone back to.
                let before = counted.or(job.versions.iter().rev().nth(1).map(|version| version.version));
                let at = job.versions.iter().position(|version| Some(version.version) != before);
                oldest = at.and_then(|at| job.versions.remove(at));
            }
        });
        if let Some(oldest) = oldest {
            self.drop_spec(oldest.spec);
        }
        self.indexes.recount(&self.truth, id);
    }

    fn use_spec(&mut self, spec: SpecId) {
        self.indexes.use_spec(&self.truth, spec);
    }

    fn drop_spec(&mut self, spec: SpecId) {
        let uses = self.indexes.spec_uses.get_mut(&spec).unwrap_or_else(|| panic!("{spec} has no uses"));
        *uses -= 1;
        if *uses == 0 {
            self.indexes.spec_uses.remove(&spec);
            self.truth.specs.remove(&spec);
        }
    }

    fn forget_job(&mut self, id: JobId) {
        self.unindex_job(id);
        self.indexes.keep_off(&self.truth, id, false);
        let job = self.truth.jobs.remove(&id).unwrap_or_else(|| panic!("{id} is not in the state"));
        assert!(
            job.ended.is_some() && self.tasks_of(id).ids.is_empty(),
            "{id} {} is forgotten while it lives",
            job.key
        );
        assert!(
            job.changes.pins.is_empty() && job.changes.active().is_none(),
            "{id} {} is forgotten half updated",
            job.key
        );
        self.indexes.job_by_key.remove(&job.key);
        self.indexes.tallies.remove(&id);
        self.indexes.job_tasks.remove(&id);
        for version in &job.versions {
            self.drop_spec(version.spec);
        }
    }

    fn make_task(&mut self, made: &TaskMade, at: Timestamp) {
        let TaskMade { task: id, job, spec, instance, attempt, failures, restarts, run_at, ready_at, reason } = made;
        assert!(*id >= self.truth.next_task, "{id} is made twice");
        self.truth.next_task = TaskId(id.0 + 1);
        self.use_spec(*spec);
        let status = match ready_at {
            None => Status::PENDING,
            Some(ready_at) => Status::Waiting(Waiting::Throttled { ready_at: *ready_at }),
        };
        let first = Transition { to: status.state(), at, reason: *reason, message: "".into(), exit: None };
        let task = Task {
            id: *id,
            job: *job,
            spec: *spec,
            instance: *instance,
            attempt: *attempt,
            failures: *failures,
            restarts: *restarts,
            run_at: *run_at,
            status,
            history: Task::history_from(first),
        };
        self.indexes.add_task(&self.truth, &task);
        self.truth.tasks.insert(*id, task);
        self.tally_made(*id, *job, *run_at, *instance);
    }

    fn assign_task(&mut self, assigned: &TaskAssigned, at: Timestamp) {
        let TaskAssigned { task, agent, ports, devices } = assigned;
        let place = Place { agent: *agent, ports: ports.clone(), devices: devices.clone() };
        let moved = Transition { to: TaskState::Assigned, at, reason: Reason::None, message: "".into(), exit: None };
        self.move_task(*task, moved, |_| Some(Status::Placed(PlacedState::Assigned, place)));
    }

    fn move_task(&mut self, id: TaskId, moved: Transition, to: impl FnOnce(Status) -> Option<Status>) {
        let reason = moved.reason;
        let task = self.truth.tasks.get_mut(&id).unwrap_or_else(|| panic!("{id} is not in the state"));
        let spec = self.truth.specs.get(&task.spec).unwrap_or_else(|| panic!("{} of {id} is gone", task.spec));
        let from = task.state();
        assert!(!from.is_terminal(), "{id} moves after its end in {from:?}");
        let (before, job, slot) = (Entries::of(task, spec), task.job, (task.run_at, task.instance));
        let status = std::mem::replace(&mut task.status, Status::PENDING);
        task.status = to(status).unwrap_or_else(|| panic!("{id} can't move from {from:?} with {reason:?}"));
        task.history.push(moved);
        if task.history.len() > Task::KEPT_TRANSITIONS {
            task.history.remove(1);
        }
        let after = Entries::of(task, spec);
        let has_ended = task.state().is_terminal();
        self.indexes.change_task(&self.truth, id, job, before, after);
        if has_ended {
            self.tally_end(id, job);
        }
        self.tally_moved(job, slot);
        if from == TaskState::Running {
            self.note_health(id);
        }
        self.count_failure(id, reason);
    }

    fn forget_task(&mut self, id: TaskId) {
        let tallied = self.tallied(id);
        let task = self.truth.tasks.remove(&id).unwrap_or_else(|| panic!("{id} is not in the state"));
        assert!(task.state().is_terminal(), "{id} is forgotten in {:?}", task.state());
        self.indexes.remove_task(&task);
        self.tally_forgotten(&task, tallied);
        self.drop_spec(task.spec);
    }

    fn see_agent(&mut self, seen: &AgentSeen, at: Timestamp) {
        let AgentSeen {
            agent: no,
            id,
            hostname,
            version,
            isolation,
            boot_id,
            total,
            attributes,
            ports,
            max_tasks,
            taken_ports,
            offer_epoch,
        } = seen;
        let before = self.truth.agents.get(no);
        let first_task_of_boot = match before {
            Some(before) if before.boot_id == *boot_id => before.first_task_of_boot,
            Some(_) => self.truth.next_task,
            None => TaskId(0),
        };
        let agent = Agent {
            no: *no,
            id: id.clone(),
            hostname: hostname.clone(),
            version: version.clone(),
            isolation: isolation.clone(),
            boot_id: boot_id.clone(),
            first_task_of_boot,
            total: total.clone(),
            attributes: attributes.clone(),
            ports: ports.clone(),
            max_tasks: *max_tasks,
            taken_ports: taken_ports.clone(),
            offer_epoch: *offer_epoch,
            state: before.map_or(NodeState::Up, |agent| agent.state),
            since: before.map_or(at, |agent| agent.since),
            registered_at: before.map_or(at, |agent| agent.registered_at),
            avoided: before.and_then(|agent| agent.avoided.clone()),
            blames: before.map(|agent| agent.blames.clone()).unwrap_or_default(),
            upkeep: before.and_then(|agent| agent.upkeep.clone()),
            declared_down: before.and_then(|agent| agent.declared_down.clone()),
            welcome: before.map(|agent| agent.welcome.clone()).unwrap_or_default(),
        };
        self.truth.next_agent = self.truth.next_agent.max(AgentNo(no.0 + 1));
        self.indexes.agent_by_id.insert(id.clone(), *no);
        self.indexes.offered_bytes += agent.offered_bytes();
        if let Some(before) = self.truth.agents.insert(*no, agent) {
            self.indexes.offered_bytes -= before.offered_bytes();
        }
    }

    fn move_agent(&mut self, moved: &AgentMoved, at: Timestamp) {
        let AgentMoved { agent: no, to } = moved;
        let agent = self.agent_mut(*no);
        (agent.state, agent.since) = (*to, at);
        if *to == NodeState::Up {
            agent.declared_down = None;
        }
        match to {
            NodeState::Up => self.indexes.agents_not_up.remove(no),
            _ => self.indexes.agents_not_up.insert(*no),
        };
    }

    fn set_quota(&mut self, set: &QuotaSet) {
        match set.quota == Quota::default() {
            true => self.truth.quotas.remove(&set.role),
            false => self.truth.quotas.insert(set.role.clone(), set.quota),
        };
    }

    fn forget_agent(&mut self, no: AgentNo) {
        let agent = self.truth.agents.remove(&no).unwrap_or_else(|| panic!("{no} is not in the state"));
        assert!(!self.indexes.tasks_on.contains_key(&no), "{no} {} is forgotten with tasks", agent.id);
        self.indexes.agent_by_id.remove(&agent.id);
        self.indexes.offered_bytes -= agent.offered_bytes();
        self.indexes.agents_not_up.remove(&no);
        self.indexes.avoided.remove(&no);
        self.indexes.upkept.remove(&no);
    }
}
