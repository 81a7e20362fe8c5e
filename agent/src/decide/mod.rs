//! Verbs: what to do when something happens. Pure: from state, an event and the time to mutations and effects; no I/O, clock,
//! randomness or async, and nothing is changed here.

#![cfg_attr(not(test), deny(clippy::disallowed_methods, clippy::disallowed_types))]

pub mod admit;
pub mod attach;
mod begin;
mod drain;
pub mod fence;
mod launch;
mod leader;
mod lease;
mod life;
pub mod phase;
mod room;
pub mod space;
mod step;
pub mod stop;
pub mod sweep;
mod tick;

use std::sync::Arc;

use crate::model::{Effect, Event, Launch, LinkEvent, MachineEvent, Mutation, Now, Reachable, Recovered, Spec, State};
use step::Step;

/// What is to change, what is to be done, in order, and what is decided next on the state as it is then.
#[derive(Debug, Default)]
pub struct Decision {
    pub mutations: Vec<Mutation>,
    pub effects: Vec<Effect>,
    pub next: Vec<Next>,
}

/// What a decision leaves to be decided once its mutations are applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    Admit(Box<Launch>, Arc<Spec>),
    /// Launches that wait for room, if what ended tasks have left must go first.
    BeginWaiting,
    /// Those for which there is room now.
    GiveRoom,
    RememberBoot,
    ResendAll,
    /// What time brings beyond the silence of a scheduler.
    Duties,
    Sweep,
    Observe,
}

/// Decides on what a starting agent finds of its tasks.
pub fn begin(state: &State, found: Vec<Recovered>, now: Now) -> Decision {
    let mut step = Step::new(state, now);
    begin::take_in(&mut step, found);
    step.decision
}

/// Before anything else of a step: what must not live without a lease is stopped, and stays so if the lease comes back in
/// this very step.
pub fn hold_to_lease(state: &State, now: Now) -> Decision {
    let mut step = Step::new(state, now);
    lease::hold(&mut step);
    step.decision
}

/// Decides one event.
pub fn decide(state: &State, event: &Event, now: Now) -> Decision {
    let mut step = Step::new(state, now);
    match event {
        Event::Link(event) => {
            step.change(Mutation::LinkHeard { at_ms: now.mono_ms });
            said(&mut step, event);
        }
        Event::Machine(event) => happened(&mut step, event),
        Event::Tick => tick::tick(&mut step),
        Event::Drain => drain::drain_tasks(&mut step),
    }
    step.decision
}

/// Decides what an earlier decision has left to be decided.
pub fn go_on(state: &State, next: Next, now: Now) -> Decision {
    let mut step = Step::new(state, now);
    match next {
        Next::Admit(launch, spec) => launch::admit_launch(&mut step, *launch, spec),
        Next::BeginWaiting => room::begin_waiting(&mut step),
        Next::GiveRoom => room::give(&mut step),
        Next::RememberBoot => begin::remember_boot(&mut step),
        Next::ResendAll => tick::resend(&mut step, true),
        Next::Duties => tick::duties(&mut step),
        Next::Sweep => tick::sweep(&mut step),
        Next::Observe => tick::observe(&mut step),
    }
    step.decision
}

fn said(step: &mut Step, event: &LinkEvent) {
    match event {
        LinkEvent::Up { session } => leader::link_came_up(step, *session),
        LinkEvent::Down { session, why } => leader::link_went_down(step, *session, why),
        LinkEvent::Registered(welcomed) => leader::agent_registered(step, welcomed),
        LinkEvent::Refused { reason, leader_address, slowly } => {
            leader::registration_refused(step, reason, leader_address, *slowly);
        }
        LinkEvent::Spec(spec) => launch::spec_came(step, spec),
        LinkEvent::BadSpec { spec, why } => launch::spec_is_bad(step, *spec, why),
        LinkEvent::Launch(launch) => launch::take_launch(step, launch),
        LinkEvent::Kill(kill) => life::kill(step, kill),
        LinkEvent::Ack { task, sequence } => leader::acknowledged(step, *task, *sequence),
        LinkEvent::Reconcile { epoch, tasks } => leader::reconcile(step, *epoch, tasks),
        LinkEvent::TellTasks { epoch } => leader::tell_tasks(step, *epoch),
        LinkEvent::Inspect { request } => leader::inspect(step, *request),
        LinkEvent::Describe { epoch, tasks, finished } => leader::describe(step, *epoch, tasks, finished),
        LinkEvent::OpenTunnel { tunnel, log } => {
            let is_held = step.state.tasks.get(&log.task).is_some_and(|task| task.is_on_disk());
            let known = if is_held { Ok(()) } else { Err(step.state.space.why_gone(log.task)) };
            step.act(Effect::OpenTunnel { tunnel: *tunnel, log: log.clone(), known });
        }
        LinkEvent::Reach { tunnel, task } => {
            let about = task.map_or(Reachable::Agent, |task| step.state.reachable(task));
            step.act(Effect::Reach { tunnel: *tunnel, about });
        }
        LinkEvent::HeartbeatAck { sequence, epoch, without_lease } => {
            if leader::obeys(step, *epoch, "a heartbeat's answer") && !without_lease {
                lease::heartbeat_answered(step, *sequence);
            }
        }
    }
}

fn happened(step: &mut Step, event: &MachineEvent) {
    match event {
        MachineEvent::Vetted { task, result } => launch::user_vetted(step, *task, result),
        MachineEvent::Checkpointed { task, result } => launch::plan_checkpointed(step, *task, result),
        MachineEvent::Prepared { task, result } => launch::sandbox_prepared(step, *task, result),
        MachineEvent::Progress { task, sequence, message } => launch::report_fetching(step, *task, *sequence, message),
        MachineEvent::Fetched { task, result } => launch::artifacts_fetched(step, *task, result),
        MachineEvent::Spawned { task, result } => launch::executor_spawned(step, *task, result),
        MachineEvent::Heard { task, event } => life::heard(step, *task, event),
        MachineEvent::Gone { task } => life::gone(step, *task),
        MachineEvent::Recorded { task } => life::recorded(step, *task),
        MachineEvent::Cleaned { task, bytes } => life::cleaned(step, *task, *bytes),
        MachineEvent::Deleted { task } => room::directory_gone(step, *task),
        MachineEvent::Free(free) => room::free_told(step, free),
    }
}
