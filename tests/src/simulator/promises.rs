//! What must always hold, looked at after every step, and what must have come true in the end.

use std::collections::{BTreeMap, BTreeSet};

use dawn_proto::v1::{self, JobKind, NodeState, Reason, TaskState};
use dawn_proto::{Resources, TaskId, Timestamp};
use dawn_scheduler::model::{Agent, AgentNo, Batch, Job, Mutation, State, Task, TaskAssigned, TaskMoved};

use super::load::{Ask, Wanted};
use super::{WALL_START_MS, World};

mod changing;
mod cron;
mod placing;

pub use changing::Counts as Updates;
pub use cron::Counts;
pub(super) use cron::Ledger as CronLedger;

/// Longest a task may take to get on, the longest backoff included, once nothing fails any more.
const STUCK_MS: u64 = 15_000;

/// Longest that the work of a batch task takes from its beginning: three tries of 15 s, with backoff between them.
const REDONE_MS: u64 = 60_000;

/// Once every clock has shown the right time for so long, Dawn's does.
const RIGHT_WITHIN_MS: u64 = 75_000;
/// Clocks drift, and small differences are followed slowly.
const RIGHT_MS: u64 = 4_000;

/// What the world's own clock shows.
#[derive(Clone, Copy, Debug)]
pub(super) struct TrueTime {
    pub now: Timestamp,
    /// Since when every node's clock is right.
    pub right_since: Option<Timestamp>,
}

/// Whatever the clocks showed before: cron, deadlines and what waits go by the right time again.
fn told_right(batch: &Batch, time: TrueTime) -> Result<(), String> {
    let is_owed = time.right_since.is_some_and(|since| time.now.since_ms(since) > RIGHT_WITHIN_MS);
    let wrong_ms = batch.at.0.abs_diff(time.now.0);
    match is_owed && wrong_ms > RIGHT_MS {
        true => Err(format!("clock: batch {} is of {:?}, {wrong_ms} ms off", batch.index, batch.at)),
        false => Ok(()),
    }
}

/// What was seen so far.
#[derive(Default)]
pub(super) struct Promises {
    ended: BTreeMap<TaskId, TaskState>,
    /// Every machine a task was ever durably placed on.
    intents: BTreeSet<(TaskId, AgentNo)>,
    /// Tasks whose stop was durably decided.
    stops: BTreeSet<TaskId>,
    pub cron: cron::Ledger,
    placing: placing::Ledger,
    changing: changing::Ledger,
}

impl Promises {
    /// A batch becomes durable on top of `before`.
    pub fn batch(&mut self, before: &State, batch: &Batch, world: TrueTime) -> Result<(), String> {
        told_right(batch, world)?;
        if batch.index != before.index + 1 {
            return Err(format!("S11: batch {} follows {}", batch.index, before.index));
        }
        if batch.epoch < before.epoch {
            return Err(format!("S1: epoch {} after {}", batch.epoch, before.epoch));
        }
        for mutation in &batch.mutations {
            match mutation {
                Mutation::TaskAssigned(TaskAssigned { task, agent, .. }) => {
                    self.intents.insert((*task, *agent));
                    self.alive(*task, TaskState::Assigned)?;
                }
                Mutation::TaskMoved(TaskMoved { task, to, .. }) => {
                    self.alive(*task, *to)?;
                    if to.is_terminal() || to.is_stopping() {
                        self.stops.insert(*task);
                    }
                    if to.is_terminal() {
                        self.ended.insert(*task, *to);
                    }
                }
                _ => {}
            }
        }
        self.cron.batch(batch)?;
        self.changing.batch(before, batch);
        self.placing.batch(before, batch)
    }

    /// How updates have ended so far.
    pub fn updates(&self) -> Updates {
        self.changing.ended
    }

    fn alive(&self, task: TaskId, to: TaskState) -> Result<(), String> {
        match self.ended.get(&task) {
            Some(end) => Err(format!("S6: {task} moves to {to:?} after it was {end:?}")),
            None => Ok(()),
        }
    }

    /// A task is about to be stopped.
    pub fn stopped(&self, durable: &State, task: TaskId) -> Result<(), String> {
        match self.stops.contains(&task) || !durable.tasks.contains_key(&task) {
            true => Ok(()),
            false => Err(format!("S9: {task} is stopped, and nobody decided so")),
        }
    }

    /// What the batch made of the state: committed resources, ports and devices never exceed an agent's, and what was
    /// placed may be there.
    pub fn state(&self, state: &State, batch: &Batch) -> Result<(), String> {
        placing::placed(state, batch)?;
        changing::bounded(state, batch)?;
        for mutation in &batch.mutations {
            match mutation {
                Mutation::TaskAssigned(assigned) => committed(state, assigned.agent)?,
                Mutation::AgentSeen(seen) => committed(state, seen.agent)?,
                _ => {}
            }
        }
        Ok(())
    }
}

/// S5.
fn committed(state: &State, agent: AgentNo) -> Result<(), String> {
    let Some(tasks) = state.indexes().tasks_on.get(&agent) else { return Ok(()) };
    let Some(owner) = state.agents.get(&agent) else {
        return Err(format!("S5: tasks on {agent}, which is none"));
    };
    let (mut sum, mut ports, mut devices) = (Resources::default(), BTreeSet::new(), BTreeMap::<u16, u64>::new());
    for id in tasks {
        let task = &state.tasks[id];
        let job = &state.spec_of(task).job;
        sum.add(&job.demand);
        let Some((own, shares)) = task.status.place().map(|place| place.numbers(job.ports.len())) else { continue };
        if let Some(port) = own.iter().find(|port| !ports.insert(**port)) {
            return Err(format!("S5: port {port} of {agent} is given twice"));
        }
        shares.iter().for_each(|device| *devices.entry(*device).or_default() += job.demand.gpu_milli.min(1_000));
    }
    if let Some((device, share)) = devices.iter().find(|(_, share)| **share > 1_000) {
        return Err(format!("S5: {share} thousandths of device {device} of {agent} are given"));
    }
    match owner.total.lacks(&sum) {
        Some(lack) => Err(format!("S5: {agent} is overcommitted: {lack}")),
        None => Ok(()),
    }
}

impl World {
    /// What the machines really run, against what was decided.
    pub(super) fn check_world(&self) -> Result<(), String> {
        let durable = &self.truth;
        for (number, machine) in self.machines.iter().enumerate() {
            for (task, executor) in machine.executors.iter().filter(|(_, executor)| executor.living() > 0) {
                let agent = durable.agents.values().find(|agent| agent.id.as_str() == machine.name());
                let intended = agent.is_some_and(|agent| self.promises.intents.contains(&(*task, agent.no)));
                if !intended {
                    return Err(format!("S4: {task} runs on machine {number} without a durable intent"));
                }
                if executor.living() > 1 {
                    return Err(format!("S2: {task} has {} processes", executor.living()));
                }
            }
        }
        self.check_twice()?;
        self.check_acknowledged()
    }

    /// No instance runs twice, unless its agent was out of reach or given up; one that must not, never does.
    fn check_twice(&self) -> Result<(), String> {
        let durable = &self.truth;
        let mut seen = BTreeMap::new();
        for machine in &self.machines {
            for task in machine.executors.iter().filter(|(_, executor)| executor.living() > 0).map(|(task, _)| task) {
                let Some(known) = durable.tasks.get(task) else { continue };
                if excused(known.state()) && !durable.spec_of(known).job.at_most_one {
                    continue;
                }
                if let Some(other) = seen.insert((known.job, known.instance, known.run_at), *task) {
                    return Err(format!("S2: {other} and {task} are one instance and both run"));
                }
            }
        }
        Ok(())
    }

    /// What was acknowledged is there.
    fn check_acknowledged(&self) -> Result<(), String> {
        for wanted in self.load.jobs.iter().filter(|wanted| wanted.acknowledged) {
            let Some(job) = self.truth.job(&wanted.key) else {
                return Err(format!("S3: {} was acknowledged and is gone", wanted.key));
            };
            if wanted.killed && job.ended.is_none() {
                return Err(format!("S3: the kill of {} was acknowledged and is gone", wanted.key));
            }
        }
        Ok(())
    }

    /// After the calm everything asked for is true, and nothing else runs.
    pub(super) fn check_end(&self) -> Result<(), String> {
        let leader = self.leading().ok_or("liveness: no leader at the end")?;
        for (number, node) in self.nodes.iter().enumerate() {
            let process = node.process.as_ref().ok_or_else(|| format!("liveness: scheduler {number} is not there"))?;
            process.follower.read(|state| self.same_as_truth(number, state))?;
        }
        let live = self.truth.agents.values().filter(|agent| agent.state == NodeState::Up).count();
        // One has burnt down, and is known for dead.
        if live != self.machines.iter().filter(|machine| !machine.gone).count() {
            return Err(format!("liveness: {live} agents are up under scheduler {leader}"));
        }
        let unasked = |ask: &Ask| matches!(ask, Ask::Run { .. } | Ask::Kill { .. } | Ask::Change { .. });
        if let Some(ask) = self.load.unanswered().find(|ask| unasked(ask)) {
            return Err(format!("liveness: nobody has answered {ask:?}"));
        }
        for wanted in self.load.jobs.iter().filter(|wanted| wanted.acknowledged) {
            self.came_true(wanted)?;
        }
        self.promises.placing.end(&self.truth)?;
        self.promises.cron.end(&self.truth)?;
        self.promises.changing.end(&self.truth)?;
        self.nothing_unasked()
    }

    fn came_true(&self, wanted: &Wanted) -> Result<(), String> {
        let state = &self.truth;
        let job = state.job(&wanted.key).ok_or_else(|| format!("S3: {} is gone", wanted.key))?;
        let living: Vec<_> = state.living(job).collect();
        let expected = match wanted.spec.kind() {
            _ if wanted.killed => Some(0),
            JobKind::Service => Some(wanted.spec.instances as usize),
            JobKind::Daemon => Some(state.agents.values().filter(|agent| is_of(&wanted.spec, agent)).count()),
            // Runs come and go.
            JobKind::Cron => None,
            // Services that come back push it aside, and then it begins anew.
            _ if self.is_pushed_aside(job) => None,
            _ => Some(0),
        };
        // An instance may be between two lives, but not for long.
        let now = self.wall();
        let waits_long = |task: &Task| task.state() != TaskState::Running && now.since_ms(task.since()) > STUCK_MS;
        let stuck = |task: &&&Task| waits_long(task) && !placing::is_full_for_daemon(state, task);
        if expected.is_some_and(|expected| living.len() != expected) || living.iter().any(|task| stuck(&task)) {
            let states: Vec<_> = living.iter().map(|task| (task.id, task.state(), task.since())).collect();
            return Err(format!("liveness: {} has {states:?}, {expected:?} expected", wanted.key));
        }
        match is_broken(&wanted.spec) && !wanted.killed {
            true => self.failed_for_good(job),
            false => Ok(()),
        }
    }

    /// What starts nowhere has ended, each instance as FAILED, for that reason or because machines were unready.
    fn failed_for_good(&self, job: &Job) -> Result<(), String> {
        let ended = job.ended.as_ref().is_some_and(|ended| ended.by.is_empty());
        let newest = |instance| {
            self.truth.tasks_of(job.id).newest(Timestamp(0), instance).and_then(|id| self.truth.tasks.get(&id))
        };
        let instances = self.truth.current_spec(job).map_or(0, |spec| spec.job.instances);
        let failed = |task: &Task| {
            let last = task.history.last().map(|last| last.reason);
            let reasons = [Reason::RootFsFailed, Reason::SandboxFailed];
            task.state() == TaskState::Failed && last.is_some_and(|last| reasons.contains(&last))
        };
        let bad = (0..instances).find(|instance| !newest(*instance).is_some_and(failed));
        match (ended, bad) {
            (true, None) => Ok(()),
            (_, bad) => Err(format!("liveness: {} starts nowhere, and has not failed: {ended}, {bad:?}", job.key)),
        }
    }

    /// The true time.
    pub(super) fn true_time(&self) -> TrueTime {
        // What was decided before etcd was full is durable when it is not any more.
        let full_until_ms = self.scenario.full_ms.map_or(0, |(_, until_ms)| until_ms);
        let since = if self.scenario.faults { self.scenario.busy_ms } else { full_until_ms };
        let calm = self.now_ms >= since;
        let at = |ms: u64| Timestamp(WALL_START_MS + i64::try_from(ms).unwrap_or(i64::MAX));
        TrueTime { now: at(self.now_ms), right_since: calm.then(|| at(since)) }
    }

    fn wall(&self) -> Timestamp {
        Timestamp(WALL_START_MS + i64::try_from(self.now_ms).unwrap_or(i64::MAX))
    }

    /// Whether a task of the job made way for another a short while ago.
    fn is_pushed_aside(&self, job: &Job) -> bool {
        let now = self.wall();
        let mut lives =
            self.truth.tasks_of(job.id).ids.iter().filter_map(|id| self.truth.tasks.get(id)?.history.first());
        lives.any(|first| first.reason == Reason::Preempted && now.since_ms(first.at) < REDONE_MS)
    }

    fn nothing_unasked(&self) -> Result<(), String> {
        for (number, machine) in self.machines.iter().enumerate() {
            for task in machine.executors.iter().filter(|(_, executor)| executor.living() > 0).map(|(task, _)| task) {
                let placed = self.truth.tasks.get(task).is_some_and(|task| task.held_on().is_some());
                if !placed {
                    return Err(format!("liveness: {task} still runs on machine {number}, and nobody asks for it"));
                }
            }
        }
        Ok(())
    }
}

/// Whether a job starts on no machine.
fn is_broken(spec: &v1::JobSpec) -> bool {
    spec.task.as_ref().is_some_and(|task| task.root_fs.is_some())
}

/// Whether an agent is to have a task of a daemon job, by the one rule that the load gives it.
fn is_of(spec: &v1::JobSpec, agent: &Agent) -> bool {
    let in_rack = |rack: &str| agent.attributes.get("rack").is_some_and(|racks| racks.iter().any(|one| one == rack));
    agent.state == NodeState::Up && (spec.constraints.is_empty() || in_rack("r0"))
}

/// Its agent was out of reach: it may run until the agent comes back.
fn excused(state: TaskState) -> bool {
    state == TaskState::Partitioned || state == TaskState::Lost
}
