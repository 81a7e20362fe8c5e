//! Agents come, say what they have, and come back. Not here: agents that fall silent (`liveness`).

use std::collections::BTreeSet;

use dawn_proto::v1::{NodeState, Reason};
use dawn_proto::{AgentId, HeldDigest, TaskId, TaskState};

use super::avoid;
use super::copies;
use super::epochs;
use super::lease;
use super::report;
use super::restore;
use super::retry;
use super::step::{Arrival, Step};
use crate::model::bounds::{AGENTS, OFFERED_BYTES};
use crate::model::{
    Agent, AgentMoved, AgentNo, AgentSeen, Effect, LinkId, Mutation, Offer, Registration, Report, Task, WelcomeMutation,
};

pub(super) fn registered(step: &mut Step, link: LinkId, registration: &Registration) {
    let named = registration.tasks.iter().map(|report| report.task).max();
    let in_short = registration.held.filter(|held| held.tasks > 0).map(|held| held.newest);
    let newest = named.max(in_short);
    if is_of_another_cluster(step, link, registration)
        || epochs::is_ahead(step, link, registration)
        || epochs::holds_unknown(step, link, registration, newest)
        || copies::is_copy(step, link, registration)
        || copies::is_contested(step, link, registration)
        || has_no_room(step, link, &registration.id, &registration.offer)
    {
        return;
    }
    let known = step.state.agent(&registration.id);
    let agent = known.map_or(step.state.next_agent, |agent| agent.no);
    let rebooted = known.is_some_and(|agent| agent.boot_id != registration.boot_id);
    let is_doubted = rebooted || known.is_some_and(|known| copies::may_be_one(step, link, known, registration));
    step.arrival = known.map(|known| Arrival { agent: known.no, is_doubted });
    if known.is_none_or(|known| differs(known, registration)) {
        step.mutations.push(seen(agent, registration));
    }
    if is_doubted && !rebooted {
        step.mutations.push(Mutation::Welcome(WelcomeMutation::Replaced { agent }));
    }
    back_up(step, known);
    avoid::registered(step, agent);
    welcome(step, link, agent, registration);
    restore::ask(step, agent, [], true);
    match &registration.held {
        None => compare(step, link, agent, &registration.tasks, rebooted),
        Some(held) if *held == digest(step, agent) => {}
        Some(_) => step.effects.push(Effect::TellTasks { link }),
    }
}

fn welcome(step: &mut Step, link: LinkId, agent: AgentNo, registration: &Registration) {
    // 0 stands for none.
    let (named, number) = (registration.welcome, registration.fresh_number | 1);
    step.mutations.push(Mutation::Welcome(WelcomeMutation::Issued { agent, named, number }));
    epochs::welcomed(step, agent);
    copies::welcomed(step, agent);
    let leased = !copies::is_copied(step, agent);
    let wait_ms = lease::longest_life_ms(step, agent);
    let epoch = step.state.epoch;
    let is_doubted = step.arrival.is_some_and(|arrival| arrival.is_doubted);
    step.effects.push(Effect::Welcome { link, agent, epoch, number, leased, is_doubted, wait_ms });
}

fn is_of_another_cluster(step: &mut Step, link: LinkId, registration: &Registration) -> bool {
    let (its, ours) = (&registration.cluster_id, &step.state.cluster_id);
    let is_other = !its.is_empty() && its != ours;
    if is_other {
        let reason = format!("agent {} belongs to cluster {its}, this is cluster {ours}", registration.id);
        step.effects.push(Effect::Refuse { link, reason, slowly: true });
    }
    is_other
}

/// Whether the cluster has as many agents as it takes, or they offer as much as it keeps: the agent is told. One that is known
/// already and offers no more than before has room.
fn has_no_room(step: &mut Step, link: LinkId, id: &AgentId, offer: &Offer) -> bool {
    let known = step.state.agent(id);
    let before = known.map_or(0, Agent::offered_bytes);
    let (agents, kept) = (step.state.agents.len(), step.state.indexes().offered_bytes - before);
    let reason = if known.is_none() && agents >= AGENTS {
        format!(
            "the cluster has {agents} agents and takes at most {AGENTS}; `dawn node forget` removes those that are gone"
        )
    } else if offer.bytes() > before && kept + offer.bytes() > OFFERED_BYTES {
        format!(
            "what agent {id} offers (attributes, ports, amounts) has {} bytes; that of all others has {kept}, and at most \
             {OFFERED_BYTES} are kept. Give agents fewer attributes, or remove those that are gone with `dawn node forget`",
            offer.bytes()
        )
    } else {
        return false;
    };
    step.effects.push(Effect::Refuse { link, reason, slowly: true });
    true
}

/// The list that a digest stood for. What it does not name may have been launched since: asking once more harms nothing.
pub(super) fn tasks_told(step: &mut Step, link: LinkId, tasks: &[Report]) {
    let Some(agent) = heard(step, link) else { return };
    let next = step.state.next_task;
    let unknown = tasks.iter().map(|report| report.task).max().filter(|task| *task >= next && *task > TaskId(0));
    let id = step.state.agents.get(&agent).map(|known| known.id.to_string()).unwrap_or_default();
    match unknown {
        Some(task) => {
            let reason = epochs::unknown(&id, task, next);
            step.effects.push(Effect::Refuse { link, reason, slowly: true });
        }
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

pub(super) fn is_silent(step: &Step, heard_ms: u64) -> bool {
    step.now.mono_ms.saturating_sub(heard_ms) > step.settings.agent_lease_ms
}

fn differs(known: &Agent, new: &Registration) -> bool {
    let identity = (&known.hostname, &known.version, &known.isolation, &known.boot_id);
    identity != (&new.hostname, &new.version, &new.isolation, &new.boot_id) || offers_other(known, &new.offer)
}

fn offers_other(known: &Agent, offer: &Offer) -> bool {
    let same = known.total == offer.total && known.attributes == offer.attributes && known.ports == offer.ports;
    let same = same && known.max_tasks == offer.max_tasks && known.taken_ports == offer.taken_ports;
    known.offer_epoch != offer.epoch || !same
}

fn seen(agent: AgentNo, registration: &Registration) -> Mutation {
    let Registration { id, hostname, version, isolation, boot_id, offer, .. } = registration.clone();
    let Offer { epoch: offer_epoch, total, attributes, ports, max_tasks, taken_ports } = offer;
    Mutation::AgentSeen(Box::new(AgentSeen {
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
        taken_ports,
        offer_epoch,
    }))
}

fn back_up(step: &mut Step, known: Option<&Agent>) {
    if let Some(known) = known.filter(|known| known.state != NodeState::Up) {
        step.mutations.push(Mutation::AgentMoved(AgentMoved { agent: known.no, to: NodeState::Up }));
    }
}

/// Tasks the state has there and the agent did not name: launched and stopped again, or asked after by name. Absence
/// alone ends nothing; another boot does, since nothing outlives one. What must not live twice waits all the same until
/// nothing of it can live: another boot is only what the agent claims.
fn ask_for_missing(step: &mut Step, agent: AgentNo, held: &BTreeSet<TaskId>, rebooted: bool) {
    let mut asked = Vec::new();
    for task in tasks_on(step, agent).filter(|task| !held.contains(&task.id)) {
        match step.state_of(task) {
            _ if lease::may_live_under_earlier_boot(step, task, agent) => {}
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
    state.indexes().tasks_on.get(&agent).into_iter().flatten().filter_map(|id| state.tasks.get(id))
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
        step.effects.push(Effect::Refuse { link, reason, slowly: false });
        return None;
    };
    if known.state != NodeState::Up {
        back_up(step, Some(known));
        let tasks = tasks_on(step, known.no).map(|task| task.id).collect();
        ask(step, known.no, tasks);
    }
    Some(known.no)
}

pub(super) fn heartbeat(step: &mut Step, link: LinkId, sequence: u64, welcome: u64) {
    let Some(agent) = heard(step, link) else { return };
    copies::confirm(step, agent, welcome);
    step.effects.push(match copies::is_copied(step, agent) {
        false => Effect::HeartbeatAck { link, sequence },
        true => Effect::HeartbeatHeard { link, sequence },
    });
}

/// Where an earlier boot or link of a machine had its time, its tasks are asked after: by now nothing of it lives.
pub(super) fn ask_after_boots(step: &mut Step) {
    let now_ms = step.now.mono_ms;
    let earlier = step.live.earlier_boots.iter().chain(&step.live.earlier_links);
    let due = earlier.filter(|(_, earlier)| !earlier.asked && now_ms > earlier.until_ms).map(|(agent, _)| *agent);
    for agent in due.filter(|agent| step.is_reachable(*agent)).collect::<BTreeSet<_>>() {
        let at_most_one = tasks_on(step, agent).filter(|task| step.state.spec_of(task).job.at_most_one);
        let living: Vec<&Task> = at_most_one.filter(|task| step.is_living(task)).collect();
        let mut asked = Vec::new();
        for task in living {
            match step.state_of(task) {
                TaskState::Assigned => step.effects.push(Effect::Launch { agent, task: task.id }),
                _ => asked.push(task.id),
            }
        }
        ask(step, agent, asked);
    }
}

pub(super) fn offered(step: &mut Step, link: LinkId, offer: &Offer) {
    let known = heard(step, link).and_then(|agent| step.state.agents.get(&agent));
    let Some(known) = known.filter(|known| offers_other(known, offer)) else { return };
    if has_no_room(step, link, &known.id, offer) {
        return;
    }
    step.mutations.push(Mutation::AgentSeen(Box::new(AgentSeen {
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
        taken_ports: offer.taken_ports.clone(),
        offer_epoch: offer.epoch,
    })));
}
