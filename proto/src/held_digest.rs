//! What an agent holds, in one number that both ends can make: equal sets of (task, state) have equal digests.

use crate::{TaskId, TaskState, v1};

/// A digest of the tasks on an agent, whatever their order.
///
/// Each (task, state) is mixed to 64 bits (splitmix64's finisher, which is one to one) and the sum is kept beside the
/// count. Two different sets meet by chance once in 2^64, nobody gains by making them meet (an agent that lies can as well
/// send a lying list), and what a meeting would hide comes out at the next reconciliation, which asks for every task by
/// name. Sequences are no part of it: they only order reports, and those not acknowledged are sent again anyway.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HeldDigest {
    pub tasks: u64,
    pub sum: u64,
    /// The newest of them; 0: none.
    pub newest: TaskId,
}

impl HeldDigest {
    pub fn add(&mut self, task: TaskId, state: TaskState) {
        self.tasks = self.tasks.wrapping_add(1);
        self.sum = self.sum.wrapping_add(mix(mix(task.0) ^ u64::from(state as i32 as u32)));
        self.newest = self.newest.max(task);
    }
}

impl FromIterator<(TaskId, TaskState)> for HeldDigest {
    fn from_iter<I: IntoIterator<Item = (TaskId, TaskState)>>(tasks: I) -> Self {
        let mut digest = HeldDigest::default();
        tasks.into_iter().for_each(|(task, state)| digest.add(task, state));
        digest
    }
}

fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

impl From<HeldDigest> for v1::HeldDigest {
    fn from(digest: HeldDigest) -> Self {
        v1::HeldDigest { tasks: digest.tasks, sum: digest.sum, newest_task_id: digest.newest.0 }
    }
}

impl From<v1::HeldDigest> for HeldDigest {
    fn from(wire: v1::HeldDigest) -> Self {
        HeldDigest { tasks: wire.tasks, sum: wire.sum, newest: TaskId(wire.newest_task_id) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_does_not_count_and_everything_else_does() {
        let all = [(TaskId(1), TaskState::Running), (TaskId(2), TaskState::Starting), (TaskId(3), TaskState::Running)];
        let digest = |tasks: &[(TaskId, TaskState)]| tasks.iter().copied().collect::<HeldDigest>();
        let mut turned = all;
        turned.reverse();
        assert_eq!(digest(&all), digest(&turned));
        assert_eq!(digest(&all).newest, TaskId(3));
        let other_state = [all[0], (TaskId(2), TaskState::Running), all[2]];
        let swapped = [(TaskId(1), TaskState::Starting), (TaskId(2), TaskState::Running), all[2]];
        let other_task = [all[0], all[1], (TaskId(4), TaskState::Running)];
        let twice = [all[0], all[1], all[2], all[2]];
        for differs in [&all[..2], &other_state, &swapped, &other_task, &twice, &[]] {
            assert_ne!(digest(&all), digest(differs), "{differs:?}");
        }
    }
}
