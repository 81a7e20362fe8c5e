//! Machines on which nothing can be made for a task, and a job for which nothing can be made anywhere.

use dawn_agent::model::{MachineEvent, Refusal};
use dawn_proto::TaskId;
use rand::Rng;

use super::World;

impl World {
    /// What an unready machine says: a reason that only a machine can cause, or one that a job may.
    pub(super) fn refusal(&mut self) -> Refusal {
        let message = "the machine is unready".to_string();
        match self.chance.random_bool(0.5) {
            true => Refusal::Cgroup { message },
            false => Refusal::Sandbox { message },
        }
    }

    /// Makes what a task needs. No root file system that a job names is there.
    pub(super) fn prepare(&mut self, machine: usize, task: TaskId) {
        let node = &self.machines[machine];
        let has_root = node.record(task).is_some_and(|record| record.spec.root.is_some());
        let result = match &node.unready {
            Some(refusal) => Err(refusal.clone()),
            None if has_root => Err(Refusal::RootFs { message: "root file system: it is not there".into() }),
            None => Ok(()),
        };
        self.answer(machine, MachineEvent::Prepared { task, result });
    }
}
