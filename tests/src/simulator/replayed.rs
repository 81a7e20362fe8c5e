//! An agent's checkpoints, replayed: what a restart would make of a machine's disk is what the living agent holds.

use dawn_agent::drive::Agent;
use dawn_agent::model::{HeldTask, Index, Memory, Phase, ProcessIdentity, Report, TaskPlan};
use dawn_proto::TaskId;
use dawn_proto::v1::Reason;

use super::World;
use super::machine::Machine;

/// What a restart must find again of a task that is not on its way.
#[derive(Debug, PartialEq)]
struct Kept<'a> {
    is_living: bool,
    plan: &'a TaskPlan,
    heard: u64,
    /// What it stands at, told or not yet.
    stands: Report,
    stopping: Option<Reason>,
    processes: Vec<ProcessIdentity>,
    is_released: bool,
}

impl Kept<'_> {
    fn of(task: &HeldTask) -> Kept<'_> {
        let withheld = task.ending().and_then(|ending| ending.withheld.as_deref());
        let mut stands = withheld.unwrap_or(&task.last).clone();
        stands.forget_words();
        if stands.sequence == 0 {
            // Nothing was ever told: of when, the order and the checkpoint may differ.
            stands.at = dawn_proto::Timestamp(0);
        }
        Kept {
            is_living: task.is_living(),
            plan: &task.plan,
            heard: task.heard,
            stands,
            stopping: task.kill.as_ref().filter(|kill| kill.begun).map(|kill| kill.reason),
            processes: task.processes.identities(),
            is_released: task.released,
        }
    }
}

impl World {
    /// Holds the living agent of a machine, which has just done all that it decided, against its checkpoints.
    pub(super) fn agent_is_as_replayed(&self, machine: usize) -> Result<(), String> {
        let node = &self.machines[machine];
        let Some(agent) = &node.agent else { return Ok(()) };
        let live = agent.state();
        let (again, _) = Agent::new(node.setup(), node.memory.clone(), node.found(false), self.agent_now(machine));
        let again = again.state();
        let broken = |what: String| Err(format!("S11: agent {machine} and its checkpoints disagree: {what}"));
        if remembered(&live.memory) != remembered(&again.memory) {
            return broken(format!("{:?} lives, {:?} is replayed", live.memory, again.memory));
        }
        if let Some(stranger) = again.tasks.keys().find(|task| !live.tasks.contains_key(task)) {
            return broken(format!("{stranger} is on disk and not held"));
        }
        for (id, task) in live.tasks.iter().filter(|(_, task)| task.is_on_disk()) {
            let Some(found) = again.tasks.get(id) else { return broken(format!("{id} is held and not on disk")) };
            // Until the verdicts on what a reboot has ended are durable, a restart takes all for ended by it.
            let is_at_rest = live.memory.boot_id == live.setup.boot_id && node.is_at_rest(*id, task);
            if is_at_rest && Kept::of(task) != Kept::of(found) {
                return broken(format!("{:#?} lives, {:#?} is replayed", Kept::of(task), Kept::of(found)));
            }
        }
        let index = Index::of(&live.tasks);
        match index == live.index {
            true => Ok(()),
            false => broken(format!("{:?} is held, {index:?} follows from the tasks", live.index)),
        }
    }
}

impl Machine {
    /// Whether nothing is under way of a task: the agent has taken in all that its executor wrote, and written all that it
    /// decided itself.
    fn is_at_rest(&self, id: TaskId, task: &HeldTask) -> bool {
        let Some(executor) = self.executors.get(&id) else { return task.phase() == Phase::Over };
        let has_ended = executor.history(id).last.is_some_and(|last| last.state.is_terminal());
        match task.phase() {
            Phase::Live => {
                executor.is_alive() && !has_ended && task.heard == executor.log.len() as u64 && task.heard > 0
            }
            // Given up for dead it may have written its end all the same.
            Phase::Over => {
                !(has_ended && self.files.get(&id).is_some_and(|files| files.verdict.is_some()))
                    && task.heard == executor.log.len() as u64
            }
            _ => false,
        }
    }
}

/// What does not change with each start.
fn remembered(memory: &Memory) -> Memory {
    Memory { offer_epoch: 0, boot_id: String::new(), ..memory.clone() }
}
