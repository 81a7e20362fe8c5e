//! The whole state of a cluster: what replaying the journal gives. Only `apply` changes it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use dawn_proto::v1::JobKind;
use dawn_proto::{AgentId, Epoch, JobKey, SpecId, TaskId, Timestamp};

use super::Update;
use super::{Agent, AgentNo, Batch, BrakeRelease, Job, JobId, Numbered, Quota, Restores, Spec, Tally, Task};

#[derive(Clone, Debug, Default)]
pub struct State {
    pub cluster_id: String,
    /// Of the leader that wrote the last batch.
    pub epoch: Epoch,
    /// Of the last batch applied; 0 before any.
    pub index: u64,
    /// Time of the last batch applied.
    pub at: Timestamp,
    pub next_task: TaskId,
    pub next_spec: SpecId,
    pub next_job: JobId,
    pub next_agent: AgentNo,
    /// Those that a kept version or task points to.
    pub specs: Numbered<SpecId, Arc<Spec>>,
    pub jobs: Numbered<JobId, Job>,
    pub tasks: Numbered<TaskId, Task>,
    pub agents: Numbered<AgentNo, Agent>,
    /// By role; [`Quota::EVERYBODY`] for those without one.
    pub quotas: BTreeMap<String, Quota>,
    pub restores: Restores,
    /// None: the brake works as it should.
    pub brake_release: Option<BrakeRelease>,
    /// Of a step whose last part is still to come: they have no effect without it.
    pub parts: Vec<Batch>,

    // Indexes: follow from the above, not part of a snapshot.
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
}

impl State {
    /// All that a snapshot holds, without the indexes: taken in a moment, since it shares what it holds with this one.
    pub fn frozen(&self) -> State {
        // Every field is named, so that a new one can't be forgotten here.
        State {
            cluster_id: self.cluster_id.clone(),
            epoch: self.epoch,
            index: self.index,
            at: self.at,
            next_task: self.next_task,
            next_spec: self.next_spec,
            next_job: self.next_job,
            next_agent: self.next_agent,
            specs: self.specs.clone(),
            jobs: self.jobs.clone(),
            tasks: self.tasks.clone(),
            agents: self.agents.clone(),
            quotas: self.quotas.clone(),
            restores: self.restores.clone(),
            brake_release: self.brake_release.clone(),
            parts: self.parts.clone(),
            job_by_key: BTreeMap::new(),
            agent_by_id: BTreeMap::new(),
            offered_bytes: 0,
            agents_not_up: BTreeSet::new(),
            tasks_on: Numbered::default(),
            pending: BTreeSet::new(),
            throttled: BTreeSet::new(),
            in_transit: BTreeSet::new(),
            deadlines: BTreeSet::new(),
            unsettled: BTreeSet::new(),
            updating: BTreeSet::new(),
            upkept: BTreeSet::new(),
            avoided: BTreeSet::new(),
            kept_off_ends: BTreeSet::new(),
            ended_jobs: BTreeSet::new(),
            cron_due: BTreeSet::new(),
            dependents: BTreeMap::new(),
            job_deadlines: BTreeSet::new(),
            daemons: BTreeSet::new(),
            tallies: Numbered::default(),
            spec_uses: Numbered::default(),
        }
    }

    pub fn job(&self, key: &JobKey) -> Option<&Job> {
        self.jobs.get(self.job_by_key.get(key)?)
    }

    pub fn agent(&self, id: &AgentId) -> Option<&Agent> {
        self.agents.get(self.agent_by_id.get(id)?)
    }

    /// The quota that counts for a role.
    pub fn quota_of(&self, role: &str) -> Quota {
        self.quotas.get(role).or_else(|| self.quotas.get(Quota::EVERYBODY)).copied().unwrap_or_default()
    }

    /// The jobs of a role, ended ones too, in the order of their keys.
    pub fn jobs_of_role<'a>(&'a self, role: &str) -> impl Iterator<Item = &'a Job> {
        // No part of a key sorts before "0".
        let least = JobKey::new(role, "0", "0").ok();
        let from = least.into_iter().flat_map(|least| self.job_by_key.range(least..));
        let role = role.to_string();
        from.take_while(move |(key, _)| key.role() == role).filter_map(|(_, id)| self.jobs.get(id))
    }

    /// The current spec of a job.
    pub fn current_spec(&self, job: &Job) -> Option<&Arc<Spec>> {
        self.specs.get(&job.current()?.spec)
    }

    /// The spec that an active job wants an instance to run, other than by runs of cron; None: it wants none there. Of a
    /// daemon job, where its agent is wanted.
    pub fn wanted_spec(&self, job: &Job, instance: u32) -> Option<&Arc<Spec>> {
        if job.ended.is_some() || job.stopped.contains(&instance) {
            return None;
        }
        match job.changes.pins.get(&instance) {
            Some(pinned) => self.specs.get(&(*pinned)?),
            None => self.current_spec(job).filter(|current| self.may_have(current, instance)),
        }
    }

    /// Instances of a spec are numbered below this: a daemon job's as agents are.
    pub fn numbered(&self, spec: &Spec) -> u32 {
        if spec.job.kind == JobKind::Daemon { self.next_agent.0 } else { spec.bound() }
    }

    /// Whether a spec has an instance of that number; of a daemon job, whether there was ever such an agent.
    pub fn may_have(&self, spec: &Spec, instance: u32) -> bool {
        if spec.job.kind == JobKind::Daemon { instance < self.next_agent.0 } else { spec.has(instance) }
    }

    /// What an instance is to run in the direction an update of its job has now.
    pub fn goal(&self, job: &Job, update: &Update, instance: u32) -> Option<&Arc<Spec>> {
        let usual = || self.current_spec(job).filter(|current| self.may_have(current, instance));
        match update.before(instance).filter(|_| update.is_back()) {
            Some(before) => self.specs.get(&before?),
            None => usual(),
        }
    }

    /// No instance from here on is wanted.
    pub fn wanted_bound(&self, job: &Job) -> u32 {
        let pinned = job.changes.pins.last_key_value().map_or(0, |(last, _)| last + 1);
        self.current_spec(job).map_or(0, |current| self.numbered(current)).max(pinned)
    }

    /// The spec a task was made from; kept as long as the task is.
    pub fn spec_of(&self, task: &Task) -> &Arc<Spec> {
        // invariant: apply keeps a spec while a task points to it.
        self.specs.get(&task.spec).unwrap_or_else(|| panic!("{} of {} is gone", task.spec, task.id))
    }

    /// Living tasks of a job, oldest first.
    pub fn living<'a>(&'a self, job: &'a Job) -> impl Iterator<Item = &'a Task> {
        job.tasks.iter().filter_map(|id| self.tasks.get(id)).filter(|task| !task.state().is_terminal())
    }
}
