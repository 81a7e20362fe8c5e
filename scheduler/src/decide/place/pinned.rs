//! Tasks of daemon jobs, each of which belongs on one agent: the one its instance is numbered after.
//! Not here: which agents a daemon job is for.

use dawn_proto::TaskId;
use dawn_proto::v1::JobKind;

use crate::model::{Agent, JobSpec, State};

use super::elsewhere::Wanted;
use super::fit::View;
use super::numbers::{SlotId, WorkId};
use super::wake::RETRY_MS;
use super::{Placer, Step};

/// Whether a spec's rules about attributes, and its dedication, hold on an agent. Limits are not asked.
pub fn matches(spec: &JobSpec, agent: &Agent) -> bool {
    Wanted::of(spec).match_on(agent)
}

impl Placer {
    /// Places what fits on its agent, plans room for the rest; how many of either. Up to `most`.
    pub(super) fn take_pinned_turn(&mut self, state: &State, number: WorkId, most: usize, step: &mut Step) -> usize {
        self.prepare_for(number);
        let tasks: Vec<TaskId> = self.queue.waiting(number).iter().copied().collect();
        let own_slot = |task: &TaskId| state.tasks.get(task).map(|task| SlotId(task.instance));
        let (mut done, mut left) = (0, Vec::new());
        for task in &tasks {
            let Some(slot) = own_slot(task).filter(|slot| self.fleet.has(*slot)) else { continue };
            if done < most && self.view().misses(slot, number).is_none() {
                self.queue.remove(number, *task);
                self.assign_task(slot, number, *task, step);
                done += 1;
            } else {
                left.push((*task, slot));
            }
        }
        let may_look = self.settings.preemption && self.queue.may_look(number, step.now);
        if left.is_empty() || !may_look {
            return done;
        }
        self.queue.look_again_at(number, step.now.mono_ms + RETRY_MS);
        for (task, slot) in left {
            if done < most
                && let Some(pick) = self.plan_slot(state, number, slot, step)
                && pick.victims.len() <= step.victims
            {
                self.carry_out(task, number, slot, &pick, step);
                done += 1;
            }
        }
        done
    }
}

impl View<'_> {
    pub(super) fn is_pinned(self, number: WorkId) -> bool {
        self.catalogue.work(number).spec.job.kind == JobKind::Daemon
    }
}
