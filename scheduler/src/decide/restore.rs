//! After a restore: agents are asked what they hold that the journal has lost, and what they hold is taken into it.
//!
//! A task is lost when it may have been made, or placed, after the backup. What lives is adopted, not stopped, and what
//! has finished is not done again. While agents have their time to come back nothing is placed, replaced or given up, so
//! that there is nothing to fall out with.
//!
//! | the slot of a task that lives on an agent holds | what becomes of it |
//! | --- | --- |
//! | a life that is placed nowhere | it is forgotten, the found one takes its place |
//! | an older life that is placed | the found one proves that it is over: it is stopped, should it live all the same |
//! | a newer life that is placed | made since: the found one is stopped, as one of an agent that was given up |

use std::sync::Arc;

use dawn_proto::v1::{JobKind, Reason, TickOutcome};
use dawn_proto::{TaskId, TaskState};

use super::agents;
use super::found_numbers;
use super::step::{Life, Step};
use crate::model::{
    AgentNo, Description, Effect, Job, JobId, LinkId, Mutation, Report, RestoreMutation, Spec, Task, TaskAdopted,
    Ticked, is_manual,
};

/// How long agents have to come back: so many leases, and longer than the pause between two dials of one that found nobody
/// for long, which is up to a minute.
const WAIT_LEASES: u64 = 2;
const WAIT_MS: u64 = 75_000;
/// Tasks asked about in one message.
const ASKED_AT_ONCE: usize = 1_000;

/// Whether nothing is to be placed, replaced or given up yet. Ends the wait when it is over.
pub(super) fn waits(step: &mut Step) -> bool {
    let waits = step.state.restores.waiting;
    let led_ms = step.now.mono_ms.saturating_sub(step.live.asked_since_ms);
    if waits && led_ms > step.settings.agent_lease_ms.saturating_mul(WAIT_LEASES).max(WAIT_MS) {
        step.mutations.push(Mutation::Restore(RestoreMutation::Over));
        found_numbers::keep(step);
    }
    waits
}

/// Whether the journal can't say what the report is about: its agent is asked before anything is decided about it.
pub(super) fn is_lost(step: &Step, report: &Report) -> bool {
    let lives = matches!(report.state, TaskState::Assigned | TaskState::Starting | TaskState::Running);
    lives
        && match step.state.tasks.get(&report.task) {
            None => step.state.restores.is_lost(report.task),
            Some(task) => was_placed_since(step, task),
        }
}

/// Whether a task that waits may have been placed after the backup.
fn was_placed_since(step: &Step, task: &Task) -> bool {
    let waits = matches!(step.state_of(task), TaskState::Pending | TaskState::Throttled);
    waits && step.state.restores.last().is_some_and(|restored| task.since() <= restored.at)
}

/// Asks an agent about those of its tasks that are lost.
pub(super) fn ask<'r>(step: &mut Step, agent: AgentNo, reports: impl IntoIterator<Item = &'r Report>, all: bool) {
    let Some(last) = step.state.restores.last() else { return };
    // What has finished was acknowledged, and is not reported again.
    let mut finished = if all { vec![(last.first_lost_task, last.next_task)] } else { Vec::new() };
    let lost: Vec<TaskId> = reports.into_iter().filter(|one| is_lost(step, one)).map(|one| one.task).collect();
    let mut rest = &lost[..];
    while !rest.is_empty() || !finished.is_empty() {
        let (tasks, later) = rest.split_at(rest.len().min(ASKED_AT_ONCE));
        rest = later;
        let finished = std::mem::take(&mut finished);
        step.effects.push(Effect::Describe { agent, tasks: tasks.to_vec(), finished });
    }
}

/// The agent says what a task is.
pub(super) fn described(step: &mut Step, link: LinkId, description: &Description) {
    let Some(agent) = agents::heard(step, link) else { return };
    let report = &description.report;
    match step.state.tasks.get(&report.task) {
        Some(task) if is_of_slot(step, task, description) => placed_since(step, agent, task, description),
        Some(task) => given_out_again(step, link, agent, task, description),
        None if !step.state.restores.is_lost(report.task) => {}
        None if !is_of_use(description) => {}
        None => adopt(step, link, agent, description),
    }
}

fn is_of_use(description: &Description) -> bool {
    let once = matches!(description.spec.job.kind, JobKind::Batch | JobKind::Cron);
    match description.report.state {
        TaskState::Assigned | TaskState::Starting | TaskState::Running => true,
        // Of a service nothing follows from the end of a life; its next one is found, or made anew.
        TaskState::Finished => once,
        _ => false,
    }
}

/// Whether the agent's task is a life of the same instance.
fn is_of_slot(step: &Step, task: &Task, found: &Description) -> bool {
    let spec = &step.state.spec_of(task).job;
    (&spec.key, task.instance, task.run_at) == (&found.spec.job.key, found.instance, found.run_at)
}

/// The journal gave the number of a task that it had lost to another one, which waits: that one gets a new number, and the
/// found one is taken in under its own.
fn given_out_again(step: &mut Step, link: LinkId, agent: AgentNo, task: &Task, found: &Description) {
    if !is_lost(step, &found.report) {
        return;
    }
    step.stop(task, Reason::Restored, "its number is that of a task of another instance, found on an agent");
    let goes_on = step.state.jobs.get(&task.job).is_some_and(|job| !step.is_ended(job));
    if goes_on {
        let spec = step.state.spec_of(task);
        let again = Life {
            attempt: task.attempt,
            failures: task.failures,
            restarts: task.restarts,
            reason: Reason::Restored,
            ..Life::first(task.instance, task.run_at)
        };
        step.make_task(task.job, spec, again);
    }
    step.forget(task);
    adopt(step, link, agent, found);
}

/// It waits in the state, and was placed after the backup.
fn placed_since(step: &mut Step, agent: AgentNo, task: &Task, description: &Description) {
    let fits = step.state.spec_of(task).job.ports.len() == description.ports.len();
    if !is_lost(step, &description.report) || !fits {
        return;
    }
    if step.state_of(task) == TaskState::Throttled {
        step.move_task(task, TaskState::Pending, Reason::Restored, "");
    }
    // Its launch follows; the agent answers that it has it, and where it stands.
    step.assign(task, agent, description.ports.clone(), description.devices.clone());
}

fn adopt(step: &mut Step, link: LinkId, agent: AgentNo, description: &Description) {
    let Description { report, instance, attempt, run_at, ports, devices, spec } = description;
    let state = step.state;
    let job = state.job(&spec.job.key);
    let lives = !report.state.is_terminal();
    if let Some(job) = job
        && !clear_slot(step, job, description, lives)
    {
        if lives {
            let (task, reason) = (report.task, Reason::Orphan);
            step.effects.push(Effect::Kill { agent, task, reason, grace_period_ms: None });
        }
        return acknowledge(step, link, report);
    }
    let id = job.map_or(state.next_job, |job| job.id);
    let Some(spec) = adopt_spec(step, id, job, spec) else { return };
    if description.spec.job.kind == JobKind::Cron && !is_manual(*run_at) {
        let noted = job.is_some_and(|job| job.ticks.iter().any(|tick| tick.scheduled == *run_at));
        if !noted {
            let (scheduled, outcome) = (*run_at, TickOutcome::Launched);
            step.mutations.push(Mutation::Ticked(Ticked { job: id, scheduled, outcome }));
        }
    }
    if lives {
        step.found_living(id);
    }
    step.mutations.push(Mutation::Restore(RestoreMutation::TaskAdopted(Box::new(TaskAdopted {
        task: report.task,
        job: id,
        spec,
        instance: *instance,
        attempt: *attempt,
        run_at: *run_at,
        agent,
        ports: ports.clone(),
        devices: devices.clone(),
        state: report.state,
    }))));
    acknowledge(step, link, report);
}

fn acknowledge(step: &mut Step, link: LinkId, report: &Report) {
    step.effects.push(Effect::Ack { link, task: report.task, sequence: report.sequence });
}

/// Makes room for the found task. False: a newer life has it.
fn clear_slot(step: &mut Step, job: &Job, found: &Description, lives: bool) -> bool {
    let state = step.state;
    let slot: Vec<&Task> =
        state.tasks_of(job.id).slot(found.run_at, found.instance).filter_map(|id| state.tasks.get(&id)).collect();
    let newer = |task: &&&Task| task.id > found.report.task && step.is_living(task) && task.held_on().is_some();
    if slot.iter().any(|task| newer(&task)) {
        return false;
    }
    for task in slot {
        if task.held_on().is_none() {
            let newer = task.id > found.report.task;
            step.stop(task, Reason::Restored, "a life of this instance was found on an agent");
            // The newest of a slot says how it goes on: that is the found one.
            if newer {
                step.forget(task);
            }
        } else if step.is_living(task) && lives {
            step.stop(task, Reason::Restored, "a later life of this instance was found on an agent");
        }
    }
    true
}

/// The spec's number in the state. None: it can't be a spec that was lost.
fn adopt_spec(step: &mut Step, id: JobId, job: Option<&Job>, found: &Arc<Spec>) -> Option<dawn_proto::SpecId> {
    let state = step.state;
    let known = state.specs.get(&found.id);
    if known.is_some_and(|known| known.job.same_as(&found.job)) {
        return Some(found.id);
    }
    let kept = job.into_iter().flat_map(|job| &job.versions).filter_map(|version| state.specs.get(&version.spec));
    if let Some(same) = kept.rev().find(|kept| kept.job.same_as(&found.job)) {
        return Some(same.id);
    }
    let lost = state.restores.kept.iter().rev().find(|one| found.id < one.next_spec)?;
    // Its number was given to another spec since: it gets one that was never given out, of those that were left out.
    let unused = (0..lost.next_spec.0).rev().map(dawn_proto::SpecId).find(|id| !state.specs.contains_key(id))?;
    let id_of_spec = if known.is_some() { unused } else { found.id };
    let last = job.and_then(Job::current).map_or(0, |version| version.version);
    let current = job.is_none() || found.version > last;
    let spec = Arc::new(Spec { id: id_of_spec, ..Spec::clone(found) });
    step.mutations.push(Mutation::Restore(RestoreMutation::SpecAdopted { job: id, spec, current }));
    Some(id_of_spec)
}
