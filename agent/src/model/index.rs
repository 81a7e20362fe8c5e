//! What follows from the tasks held, so that no decision looks at all of them.

use std::collections::{BTreeMap, BTreeSet};

use dawn_proto::{Resources, TaskId};

use super::{HeldTask, of_each_gpu};

/// Kept up with each change of a task; equal to [`Index::of`] them all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Index {
    /// Demands of all living tasks.
    pub held: Resources,
    pub ports: BTreeMap<u16, TaskId>,
    /// By gpu: thousandths held.
    pub gpus: BTreeMap<u16, u64>,
    pub living: usize,
    /// Tasks with reports that are not acknowledged.
    pub unacked: BTreeSet<TaskId>,
    /// Living tasks with a kill under way.
    pub killing: BTreeSet<TaskId>,
}

impl Index {
    /// The index of these tasks.
    pub fn of(tasks: &BTreeMap<TaskId, Box<HeldTask>>) -> Index {
        let mut index = Index::default();
        tasks.values().for_each(|task| index.hold(task));
        index
    }

    pub(super) fn hold(&mut self, task: &HeldTask) {
        if !task.unacked.is_empty() {
            self.unacked.insert(task.id);
        }
        if !task.is_living() {
            return;
        }
        if task.kill.is_some() {
            self.killing.insert(task.id);
        }
        self.held.add(&task.plan.demand);
        self.ports.extend(task.plan.ports.iter().map(|port| (port.number, task.id)));
        for number in &task.plan.limits.further.gpus {
            *self.gpus.entry(*number).or_default() += of_each_gpu(&task.plan.demand);
        }
        self.living += 1;
    }

    /// What an ended task holds no longer.
    pub(super) fn free(&mut self, task: &HeldTask) {
        self.killing.remove(&task.id);
        self.held.take(&task.plan.demand);
        for port in &task.plan.ports {
            if self.ports.get(&port.number) == Some(&task.id) {
                self.ports.remove(&port.number);
            }
        }
        for number in &task.plan.limits.further.gpus {
            let held_milli = self.gpus.entry(*number).or_default();
            *held_milli = held_milli.saturating_sub(of_each_gpu(&task.plan.demand));
        }
        self.gpus.retain(|_, held_milli| *held_milli > 0);
        self.living = self.living.saturating_sub(1);
    }
}
