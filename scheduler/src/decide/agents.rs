//! Agents come, say what they have, and come back. Not here: agents that fall silent (`liveness`).

use std::collections::BTreeSet;

use dawn_proto::v1::{NodeState, Reason};
use dawn_proto::{AgentId, HeldDigest, TaskId, TaskState};

use super::avoid;
use super::report;
use super::restore;
use super::retry;
use super::step::Step;
use crate::model::{Agent, AgentNo, Effect, LinkId, Mutation, Offer, Registration, Report, Task};

pub(super) fn registered(step: &mut Step, link: LinkId, registration: &Registration) {
    if outranks(step, registration) {
        let (id, seen, ours) = (&registration.id, registration.epoch_seen, step.state.epoch);
        let reason = format!("agent {id} of this cluster has obeyed epoch {seen}, this scheduler leads under {ours}");
        step.effects.push(Effect::StepDown { reason });
    }
    if let Err((reason, is_final)) = admit(step, link, registration) {
        step.effects.push(Effect::Refuse { link, reason, is_final });
        return;
    }
    let known = step.state.agent(&registration.id);
    let agent = known.map_or(step.state.next_agent, |agent| agent.no);
    let rebooted = known.is_some_and(|agent| agent.boot_id != registration.boot_id);
    if known.is_none_or(|known| differs(known, registration)) {
        step.mutations.push(seen(agent, registration));
    }
    back_up(step, known);
    avoid::registered(step, agent);
    step.effects.push(Effect::Welcome { link, agent, epoch: step.state.epoch });
    restore::ask(step, agent, [], true);
    match &registration.held {
        None => compare(step, link, agent, &registration.tasks, rebooted),
        Some(held) if *held == digest(step, agent) => {}
        Some(_) => step.effects.push(Effect::TellTasks { link }),
    }
}

/// The list that a digest stood for. What it does not name may have been launched since: asking once more harms nothing.
pub(super) fn tasks_told(step: &mut Step, link: LinkId, tasks: &[Report]) {
    let Some(agent) = heard(step, link) else { return };
    let newest = tasks.iter().map(|report| report.task).max();
    match step.state.agents.get(&agent).and_then(|known| unknown_task(step, &known.id, newest)) {
        Some(reason) => step.effects.push(Effect::Refuse { link, reason, is_final: true }),
        None => compare(step, link, agent, tasks, false),
    }
}

/// What the agent's digest would be if it held what the state says it holds, as the state says it.
fn digest(step: &Step, agent: AgentNo) -> HeldDigest {
    tasks_on(step, agent).map(|task| (task.id, step.state_of(task))).collect()
}

/// Holds every task the agent has against the state.
fn compare(step: &mut Step, link: LinkId, agent: AgentNo, tasks: &[Report], rebooted: bool) {
    for report in tasks {
        report::take(step, link, agent, report);
    }
    restore::ask(step, agent, tasks, false);
    let held: BTreeSet<TaskId> = tasks.iter().map(|report| report.task).collect();
    ask_for_missing(step, agent, &held, rebooted);
}

/// An agent of this cluster has obeyed a later leader: this one was deposed, or its journal went back in time.
fn outranks(step: &Step, registration: &Registration) -> bool {
    registration.epoch_seen > step.state.epoch && registration.cluster_id == step.state.cluster_id
}

/// Why an agent is not let in, and whether trying again is useless.
fn admit(step: &Step, link: LinkId, registration: &Registration) -> Result<(), (String, bool)> {
    let (state, id) = (step.state, &registration.id);
    if !registration.cluster_id.is_empty() && registration.cluster_id != state.cluster_id {
        let (its, ours) = (&registration.cluster_id, &state.cluster_id);
        return Err((format!("agent {id} belongs to cluster {its}, this is cluster {ours}"), true));
    }
    if registration.epoch_seen > state.epoch {
        let (seen, ours) = (registration.epoch_seen, state.epoch);
        return Err((format!("agent {id} has seen epoch {seen}; this scheduler's is {ours}, it leads no more"), false));
    }
    let named = registration.tasks.iter().map(|report| report.task).max();
    if let Some(reason) = unknown_task(step, id, named.max(registration.held.map(|held| held.newest))) {
        return Err((reason, true));
    }
    let Some(known) = state.agent(id) else { return Ok(()) };
    let other_link = step.live.agents.get(&known.no).filter(|live| live.link.is_some_and(|bound| bound != link));
    let alive = other_link.is_some_and(|live| !is_silent(step, live.heard_ms));
    if alive && known.hostname != registration.hostname {
        let (theirs, host) = (&registration.hostname, &known.hostname);
        return Err((
            format!("agent id {id} of {theirs} is in use by {host}; give one of them another work directory"),
            true,
        ));
    }
    Ok(())
}

/// Why an agent's newest task can't be: its number would be given to another one. Only a journal that lost its end does
/// not know it.
fn unknown_task(step: &Step, id: &AgentId, newest: Option<TaskId>) -> Option<String> {
    let (task, next) = (newest?, step.state.next_task);
    let why = "was the journal restored from an older backup?";
    let words = || format!("agent {id} holds {task}, newer than any task of this journal (next {next}); {why}");
    (task >= next && task > TaskId(0)).then(words)
}

pub(super) fn is_silent(step: &Step, heard_ms: u64) -> bool {
    step.now.mono_ms.saturating_sub(heard_ms) > step.settings.agent_lease_ms
}

fn differs(known: &Agent, new: &Registration) -> bool {
    let identity = (&known.hostname, &known.version, &known.isolation, &known.boot_id);
    identity != (&new.hostname, &new.version, &new.isolation, &new.boot_id) || offers_other(known, &new.offer)
}

fn offers_other(known: &Agent, offer: &Offer) -> bool {
    let same = known.total == offer.total && known.attributes == offer.attributes && known.ports == offer.ports;
    let same = same && known.max_tasks == offer.max_tasks;
    known.offer_epoch != offer.epoch || !same
}

fn seen(agent: AgentNo, registration: &Registration) -> Mutation {
    let Registration { id, hostname, version, isolation, boot_id, offer, .. } = registration.clone();
    let Offer { epoch: offer_epoch, total, attributes, ports, max_tasks } = offer;
    Mutation::AgentSeen {
        agent,
        id,
        hostname,
        version,
        isolation,
        boot_id,
        total,
        attributes,
        ports,
        max_tasks,
        offer_epoch,
    }
}

fn back_up(step: &mut Step, known: Option<&Agent>) {
    if let Some(known) = known.filter(|known| known.state != NodeState::Up) {
        step.mutations.push(Mutation::AgentMoved { agent: known.no, to: NodeState::Up });
    }
}

/// Tasks the state has there and the agent did not name: launched and stopped again, or asked after by name. Absence
/// alone ends nothing; another boot does, since nothing outlives one.
fn ask_for_missing(step: &mut Step, agent: AgentNo, held: &BTreeSet<TaskId>, rebooted: bool) {
    let mut asked = Vec::new();
    for task in tasks_on(step, agent).filter(|task| !held.contains(&task.id)) {
        match step.state_of(task) {
            TaskState::Assigned => step.effects.push(Effect::Launch { agent, task: task.id }),
            state if state.is_placed() && rebooted => {
                retry::end(step, task, TaskState::Lost, Reason::AgentRebooted, "its machine was rebooted");
            }
            state if state.is_placed() => {
                if state.is_stopping() {
                    step.effects.push(kill_again(agent, task));
                }
                asked.push(task.id);
            }
            _ => {}
        }
    }
    ask(step, agent, asked);
}

/// Tasks that the state has on an agent before this step.
pub(super) fn tasks_on<'a>(step: &Step<'a>, agent: AgentNo) -> impl Iterator<Item = &'a Task> + use<'a> {
    let state = step.state;
    state.tasks_on.get(&agent).into_iter().flatten().filter_map(|id| state.tasks.get(id))
}

/// The kill that brought a stopping task into its state.
pub(super) fn kill_again(agent: AgentNo, task: &Task) -> Effect {
    let reason = task.history.last().map_or(Reason::None, |last| last.reason);
    Effect::Kill { agent, task: task.id, reason, grace_period_ms: None }
}

pub(super) fn ask(step: &mut Step, agent: AgentNo, tasks: Vec<TaskId>) {
    if !tasks.is_empty() {
        step.effects.push(Effect::Reconcile { agent, tasks });
    }
}

/// The agent of a link that is its own. Hearing of one that was silent brings it back up: its link lived on, nothing
/// registers, so its tasks are asked after. None for any other link, which is told so.
pub(super) fn heard(step: &mut Step, link: LinkId) -> Option<AgentNo> {
    let known = step.live.links.get(&link).and_then(|agent| step.state.agents.get(agent));
    let Some(known) = known else {
        let reason = "this link is not the agent's; register again".into();
        step.effects.push(Effect::Refuse { link, reason, is_final: false });
        return None;
    };
    if known.state != NodeState::Up {
        back_up(step, Some(known));
        let tasks = tasks_on(step, known.no).map(|task| task.id).collect();
        ask(step, known.no, tasks);
    }
    Some(known.no)
}

pub(super) fn heartbeat(step: &mut Step, link: LinkId, sequence: u64) {
    if heard(step, link).is_some() {
        step.effects.push(Effect::HeartbeatAck { link, sequence });
    }
}

pub(super) fn offered(step: &mut Step, link: LinkId, offer: &Offer) {
    let known = heard(step, link).and_then(|agent| step.state.agents.get(&agent));
    let Some(known) = known.filter(|known| offers_other(known, offer)) else { return };
    step.mutations.push(Mutation::AgentSeen {
        agent: known.no,
        id: known.id.clone(),
        hostname: known.hostname.clone(),
        version: known.version.clone(),
        isolation: known.isolation.clone(),
        boot_id: known.boot_id.clone(),
        total: offer.total.clone(),
        attributes: offer.attributes.clone(),
        ports: offer.ports.clone(),
        max_tasks: offer.max_tasks,
        offer_epoch: offer.epoch,
    });
}
