//! A starting agent: each task that it finds gets its verdict, and is held from then on.

use dawn_proto::TaskState;
use dawn_proto::v1::Reason;

use super::attach::{self, Attach};
use super::step::Step;
use super::{Next, stop};
use crate::model::{
    Effect, Ending, HeldTask, MOST_WITH_WORDS, Memory, Mutation, Note, Now, Recovered, Remains, Report, Stage,
    TaskPlan, last_sequence,
};

/// A directory found at the start stays for so long, however old it seems.
const FOUND_KEPT_MS: u64 = 600_000;

pub(super) fn take_in(step: &mut Step, found: Vec<Recovered>) {
    let is_rebooted = step.state.memory.is_of_another_boot(&step.state.setup.boot_id);
    let mut with_words = 0;
    for one in found {
        let verdict = attach::verdict(&one, is_rebooted, step.now.wall, step.state.last_lease_ms());
        step.note(Note::Found { task: one.task, verdict: format!("{verdict:?}") });
        match verdict {
            Attach::Forget => step.act(Effect::Delete { task: one.task }),
            Attach::Over => take_in_ended(step, one, &mut with_words),
            Attach::Watch => {
                step.act(Effect::Attach { task: one.task, heard: one.heard });
                hold(step, living(one, Stage::Live, step.now));
            }
            Attach::Resume => {
                let held = living(one, Stage::Preparing, step.now);
                let (limits, identity) = (held.plan.limits.clone(), held.plan.identity.clone());
                step.act(Effect::Prepare { task: held.id, limits, identity });
                hold(step, held);
            }
            Attach::Lost { reason, message } => take_in_lost(step, one, is_rebooted, reason, message),
        }
    }
    step.then(Next::RememberBoot);
}

fn hold(step: &mut Step, held: HeldTask) {
    step.change(Mutation::TaskHeld(Box::new(held)));
}

/// A task that can't have lived on: the agent's verdict is durable first.
fn take_in_lost(step: &mut Step, found: Recovered, is_rebooted: bool, reason: Reason, message: String) {
    let mut held = living(found, Stage::Live, step.now);
    let sequence = held.verdict_sequence();
    let report = Report::new(held.id, sequence, TaskState::Lost, step.now.wall, reason, &message);
    held.stage = Stage::Deciding(Box::new(report.clone()));
    step.note(Note::Lost { task: held.id, message });
    if is_rebooted {
        step.change(Mutation::RebootEnds { task: held.id });
    }
    hold(step, held);
    step.act(Effect::Record(report));
}

fn take_in_ended(step: &mut Step, found: Recovered, with_words: &mut usize) {
    let (id, processes) = (found.task, found.processes.values().copied().collect());
    let mut task = ended(found, step.state.setup.keep.age_ms, step.now);
    let is_withheld = task.ending().is_some_and(|ending| ending.withheld.is_some());
    if !task.released && !is_withheld {
        let mut report = task.last.clone();
        if *with_words >= MOST_WITH_WORDS {
            report.forget_words();
        }
        *with_words += 1;
        task.unacked.push_back(report);
    }
    task.last.forget_words();
    // Its end may have come while nobody watched: whatever is left of its group goes now.
    if step.state.setup.adds_what_is_left {
        step.change(Mutation::LeftBefore { task: id });
    }
    hold(step, task);
    step.act(Effect::CleanUp { task: id, processes });
}

/// Forgets the last boot once all it ended is durably so: a crash before must not take the dead for living.
pub(super) fn remember_boot(step: &mut Step) {
    let state = step.state;
    let mut memory = state.memory.clone();
    if state.reboot_verdicts.is_empty() {
        memory.boot_id.clone_from(&state.setup.boot_id);
    }
    remember_leader(step, memory);
}

/// To be durable before anything else is said.
pub(super) fn remember_leader(step: &mut Step, memory: Memory) {
    step.act(Effect::Remember(memory.clone()));
    step.change(Mutation::MemoryChanged(Box::new(memory)));
}

/// The plan as found. What can't be read may be what must not live twice.
fn plan_of(record: Option<TaskPlan>) -> TaskPlan {
    record.unwrap_or_else(|| TaskPlan { at_most_one: true, ..TaskPlan::default() })
}

/// Where a found task's log says that it stands.
fn told(found: &Recovered, plan: &TaskPlan) -> Report {
    let base = last_sequence(plan.artifacts.len());
    match &found.last {
        Some(last) => Report { sequence: base.saturating_add(last.sequence), ..last.clone() },
        None => Report::new(found.task, 0, TaskState::Assigned, found.checkpointed_at, Reason::None, ""),
    }
}

/// A found task that is taken for living.
fn living(found: Recovered, stage: Stage, now: Now) -> HeldTask {
    let plan = plan_of(found.record.clone());
    let last = told(&found, &plan);
    let kill = found.kill_begun.map(|reason| stop::resumed(reason, plan.grace_period_ms, plan.ladder_ms, now.mono_ms));
    let (heard, processes) = (found.heard, found.processes.into());
    HeldTask { heard, last, kill, processes, ..HeldTask::new(found.task, plan, stage, now.wall) }
}

/// A found task that has ended.
fn ended(found: Recovered, keep_ms: u64, now: Now) -> HeldTask {
    let plan = plan_of(found.record.clone());
    let told = told(&found, &plan);
    // The verdict on what must not live twice waits until nothing of it is left.
    let (last, withheld) = match found.verdict {
        Some(verdict) if plan.at_most_one && !found.released => (told, Some(Box::new(verdict))),
        verdict => (verdict.unwrap_or(told), None),
    };
    let ended_at = withheld.as_ref().map_or(last.at, |verdict| verdict.at);
    // Told by the wall clock, which may be wrong just now: nothing goes for its age at once.
    let age_ms = now.wall.since_ms(ended_at).min(keep_ms.saturating_sub(FOUND_KEPT_MS));
    let ended_ms = now.mono_ms.cast_signed().saturating_sub_unsigned(age_ms);
    let stage = Stage::Over(Ending { ended_ms, remains: Remains::Unmeasured, withheld });
    let (heard, released) = (found.heard, found.released);
    HeldTask { heard, last, released, ..HeldTask::new(found.task, plan, stage, now.wall) }
}
