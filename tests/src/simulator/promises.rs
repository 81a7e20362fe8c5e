//! What must always hold, looked at after every step, and what must have come true in the end.

use std::collections::{BTreeMap, BTreeSet};

use dawn_proto::v1::{JobKind, TaskState};
use dawn_proto::{Resources, TaskId, Timestamp};
use dawn_scheduler::model::{AgentNo, Batch, Mutation, State, Task};

use super::World;

/// Longest a task may take to get on, the longest backoff included, once nothing fails any more.
const STUCK_MS: u64 = 15_000;

/// What was seen so far.
#[derive(Default)]
pub(super) struct Promises {
    ended: BTreeMap<TaskId, TaskState>,
    /// Every machine a task was ever durably placed on.
    intents: BTreeSet<(TaskId, AgentNo)>,
    /// Tasks whose stop was durably decided.
    stops: BTreeSet<TaskId>,
}

impl Promises {
    /// A batch becomes durable on top of `before`.
    pub fn batch(&mut self, before: &State, batch: &Batch) -> Result<(), String> {
        if batch.index != before.index + 1 {
            return Err(format!("S11: batch {} follows {}", batch.index, before.index));
        }
        if batch.epoch < before.epoch {
            return Err(format!("S1: epoch {} after {}", batch.epoch, before.epoch));
        }
        for mutation in &batch.mutations {
            match mutation {
                Mutation::TaskAssigned { task, agent, .. } => {
                    self.intents.insert((*task, *agent));
                    self.alive(*task, TaskState::Assigned)?;
                }
                Mutation::TaskMoved { task, to, .. } => {
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
        Ok(())
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

    /// Committed resources and ports never exceed an agent's.
    pub fn state(&self, state: &State) -> Result<(), String> {
        for (agent, tasks) in &state.tasks_on {
            let Some(owner) = state.agents.get(agent) else {
                return Err(format!("S5: tasks on {agent}, which is none"));
            };
            let (mut sum, mut ports) = (Resources::default(), BTreeSet::new());
            for id in tasks {
                let task = &state.tasks[id];
                sum.add(&state.spec_of(task).job.demand);
                for port in task.status.place().iter().flat_map(|place| place.ports.iter()) {
                    if !ports.insert(*port) {
                        return Err(format!("S5: port {port} of {agent} is given twice"));
                    }
                }
            }
            if let Some(lack) = owner.total.lacks(&sum) {
                return Err(format!("S5: {agent} is overcommitted: {lack}"));
            }
        }
        Ok(())
    }
}

impl World {
    /// What the machines really run, against what was decided.
    pub(super) fn check_world(&self) -> Result<(), String> {
        let durable = &self.leader.durable;
        for (number, machine) in self.machines.iter().enumerate() {
            for (task, executor) in machine.executors.iter().filter(|(_, executor)| executor.living() > 0) {
                let agent = durable.agents.values().find(|agent| agent.hostname == format!("node{number}"));
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
        let durable = &self.leader.durable;
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
            let Some(job) = self.leader.durable.job(&wanted.key) else {
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
        let state = self.leader.state().ok_or("no leader at the end")?;
        for wanted in self.load.jobs.iter().filter(|wanted| wanted.acknowledged) {
            let job = state.job(&wanted.key).ok_or_else(|| format!("S3: {} is gone", wanted.key))?;
            let living: Vec<_> =
                job.tasks.iter().map(|id| &state.tasks[id]).filter(|task| !task.state().is_terminal()).collect();
            let service = wanted.spec.kind() == JobKind::Service;
            if wanted.kill_asked && !wanted.killed {
                continue;
            }
            let expected = if service && !wanted.killed { wanted.spec.instances as usize } else { 0 };
            // An instance may be between two lives, but not for long.
            let stuck = |task: &&&Task| {
                task.state() != TaskState::Running && Timestamp(self.wall_ms()).since_ms(task.since()) > STUCK_MS
            };
            if living.len() != expected || living.iter().any(|task| stuck(&task)) {
                let states: Vec<_> = living.iter().map(|task| (task.id, task.state(), task.since())).collect();
                return Err(format!("liveness: {} has {states:?}, {expected} expected", wanted.key));
            }
        }
        for (number, machine) in self.machines.iter().enumerate() {
            for task in machine.executors.iter().filter(|(_, executor)| executor.living() > 0).map(|(task, _)| task) {
                let placed = state.tasks.get(task).is_some_and(|task| task.held_on().is_some());
                if !placed {
                    return Err(format!("liveness: {task} still runs on machine {number}, and nobody asks for it"));
                }
            }
        }
        Ok(())
    }
}

/// Its agent was out of reach: it may run until the agent comes back.
fn excused(state: TaskState) -> bool {
    state == TaskState::Partitioned || state == TaskState::Lost
}
