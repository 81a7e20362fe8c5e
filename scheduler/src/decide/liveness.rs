//! Who is heard and who fell silent: leases, and agents given up. Not here: the brake against giving up too many (`brake`),
//! agents that an operator gives up (`loss`).

use dawn_proto::TaskState;
use dawn_proto::v1::{NodeState, Reason};

use super::agents::{is_silent, tasks_on};
use super::brake::{self, JustSilent};
use super::step::Step;
use super::{Decision, daemon, lease, loss, retry};
use crate::model::{
    Agent, AgentForgotten, AgentMoved, AgentNo, Ahead, Earlier, Effect, Event, Live, LossMutation, Mutation, Now,
};
use crate::model::{Registration, RestoreMutation, State};

/// Brings `live` up to date with an event and what was decided about it. To be called after the decision is applied:
/// an agent's link is bound by the welcome it gets, whose number the decision may just have given.
pub fn observe(live: &mut Live, event: &Event, decision: &Decision, now: Now) {
    match event {
        Event::Elected { .. } => {
            let (alarms, cron_hold) = (std::mem::take(&mut live.alarms), live.cron_hold);
            *live = Live {
                elected_ms: now.mono_ms,
                asked_since_ms: now.mono_ms,
                ticked: now,
                alarms,
                cron_hold,
                ..Live::default()
            };
        }
        Event::Tick => {
            live.ticked = now;
            live.fresh.clear();
            live.forget_old_answers(now.mono_ms);
            live.contested.retain(|_, contest| !contest.is_over(now.mono_ms));
            live.ahead.retain(|_, ahead| now.mono_ms.saturating_sub(ahead.shown_ms) < Ahead::KEPT_MS);
            for earlier in live.earlier_boots.values_mut().chain(live.earlier_links.values_mut()) {
                earlier.asked |= now.mono_ms > earlier.until_ms;
            }
        }
        Event::Heartbeat { link, wall, .. } => {
            live.heard(*link, now.mono_ms);
            live.told_wall(*link, *wall, now.mono_ms);
        }
        Event::Offered { link, .. }
        | Event::Reported { link, .. }
        | Event::TasksTold { link, .. }
        | Event::Described { link, .. } => {
            live.heard(*link, now.mono_ms);
        }
        Event::LinkClosed { link } => live.closed(*link),
        Event::Coordinated { task, answer } => live.coordinated(*task, answer, now.mono_ms),
        Event::Registered { .. } | Event::Command { .. } | Event::OwnKeySeen { .. } => {}
    }
    event.reports().for_each(|report| live.told_end(report, now));
    note(live, &decision.effects, now);
    if let Event::Registered { registration, .. } = event {
        registered(live, registration, decision);
    }
    for mutation in &decision.mutations {
        match mutation {
            Mutation::AgentForgotten(AgentForgotten { agent }) => live.forget(*agent),
            Mutation::Loss(LossMutation::BrakeReleased { for_ms, .. }) => {
                live.brake_back_ms = Some(now.mono_ms.saturating_add(*for_ms));
            }
            Mutation::Loss(LossMutation::BrakeBack) => live.brake_back_ms = None,
            Mutation::Restore(RestoreMutation::Restored(_)) => live.asked_since_ms = now.mono_ms,
            // Ticks in which nothing could be placed have looked at none of the agents that came.
            Mutation::Restore(RestoreMutation::Over | RestoreMutation::BehindOver) => {
                live.fresh.extend(live.agents.keys().copied());
            }
            Mutation::AgentSeen(seen) => _ = live.fresh.insert(seen.agent),
            Mutation::AgentMoved(AgentMoved { agent, to: NodeState::Up }) => _ = live.fresh.insert(*agent),
            _ => {}
        }
    }
}

/// Notes what effects say about who is connected, and what was asked.
fn note(live: &mut Live, effects: &[Effect], now: Now) {
    for effect in effects {
        match effect {
            Effect::Welcome { link, agent, is_doubted, wait_ms, .. } => {
                welcomed(live, *agent, *is_doubted, *wait_ms, now);
                live.bind(*link, *agent, now.mono_ms);
                live.fresh.insert(*agent);
            }
            Effect::NoteAhead { agent, ahead } => live.note_ahead(agent, *ahead),
            Effect::LookAtOwnKey => live.looked_ms = Some(now.mono_ms),
            Effect::AskCoordinator { task, .. } => live.asked(*task, now.mono_ms),
            Effect::Alarm { alarm, words } => live.alarmed(*alarm, words.as_ref()),
            _ => {}
        }
    }
}

/// When what an earlier boot or link of the machine has left can live no more.
fn welcomed(live: &mut Live, agent: AgentNo, is_doubted: bool, wait_ms: Option<u64>, now: Now) {
    live.contested.remove(&agent);
    let is_first = !live.agents.contains_key(&agent);
    let Some(wait_ms) = wait_ms else { return };
    let heard_ms = live.heard_ms(agent);
    let until_ms = heard_ms.saturating_add(wait_ms);
    let earlier = Earlier { heard_ms, welcomed_at: now.wall, until_ms, asked: false };
    live.earlier_links.insert(agent, earlier);
    // A leader that has just begun does not know whether the boot is the one that was last heard.
    if is_doubted || is_first {
        live.earlier_boots.insert(agent, earlier);
    }
}

/// An agent that is taken in is ahead no more; one whose other boot is still heard contests it.
fn registered(live: &mut Live, registration: &Registration, decision: &Decision) {
    if decision.effects.iter().any(|effect| matches!(effect, Effect::Welcome { .. })) {
        live.ahead.remove(&registration.id);
    }
    for effect in &decision.effects {
        if let Effect::NoteContested { agent, contest } = effect {
            live.contested.insert(*agent, *contest);
        }
    }
}

pub(super) fn not_up(state: &State) -> impl Iterator<Item = &Agent> {
    state.indexes().agents_not_up.iter().filter_map(|agent| state.agents.get(agent))
}

pub(super) fn tick(step: &mut Step) {
    // Those that fall silent in this very tick count too: a cut that takes most agents at once shows in one tick, and some
    // tasks' waits may be over in it.
    let just_silent = notice(step);
    loss::tick(step);
    if brake::is_released(step) || brake::brake_but_for_release(step.state, step.settings, just_silent).is_none() {
        give_up(step);
    }
}

/// Silent agents are out of reach. Answers how many have become so.
pub(super) fn notice(step: &mut Step) -> JustSilent {
    let mut just = JustSilent::default();
    // Both are in the order of their numbers: one walk along each, however many agents there are.
    let mut live = step.live.agents.iter().peekable();
    for agent in step.state.agents.values() {
        while live.next_if(|(no, _)| **no < agent.no).is_some() {}
        let heard_ms = live.next_if(|(no, _)| **no == agent.no).map_or(step.live.elected_ms, |(_, live)| live.heard_ms);
        if agent.state == NodeState::Up && is_silent(step, heard_ms) {
            out_of_reach(step, agent);
            just.nodes += 1;
            just.with_tasks += usize::from(brake::held(step.state, agent) > 0);
        }
    }
    just
}

pub(super) fn out_of_reach(step: &mut Step, agent: &Agent) {
    step.mutations.push(Mutation::AgentMoved(AgentMoved { agent: agent.no, to: NodeState::Unreachable }));
    for task in tasks_on(step, agent.no) {
        if matches!(task.state(), TaskState::Assigned | TaskState::Starting | TaskState::Running) {
            step.move_task(task, TaskState::Partitioned, Reason::AgentLost, "its node is out of reach");
        }
    }
}

/// The agent is given up; what of its tasks may be is given up by those who call.
pub(super) fn down(step: &mut Step, agent: &Agent) {
    step.mutations.push(Mutation::AgentMoved(AgentMoved { agent: agent.no, to: NodeState::Down }));
    daemon::given_up(step, agent.no);
}

/// Gives up silent agents and the tasks whose wait is over, no faster than the rate allows.
fn give_up(step: &mut Step) {
    let mut allowed = allowance(step);
    for agent in not_up(step.state).filter(|agent| agent.declared_down.is_none()) {
        let silent_ms = step.now.mono_ms.saturating_sub(step.live.heard_ms(agent.no));
        if silent_ms <= step.settings.down_after_ms {
            continue;
        }
        if agent.state == NodeState::Unreachable {
            down(step, agent);
        }
        // Told to stop, and no way to hear that they did: given up with their agent.
        for task in tasks_on(step, agent.no).filter(|task| task.state().is_stopping()) {
            if lease::may_live(step, task, agent.no) {
                continue;
            }
            if allowed == 0 {
                return;
            }
            allowed -= 1;
            retry::end(step, task, TaskState::Lost, Reason::AgentLost, "its node was given up");
        }
    }
    let due = step.state.indexes().deadlines.range(..=(step.now.wall, dawn_proto::TaskId(u64::MAX)));
    for task in due.filter_map(|(_, id)| step.state.tasks.get(id)) {
        // A leader that has just begun gives agents time to find it.
        let silent = task
            .held_on()
            .is_some_and(|agent| is_silent(step, step.live.heard_ms(agent)) && !lease::may_live(step, task, agent));
        if task.state() != TaskState::Partitioned || !silent || !step.is_living(task) {
            continue;
        }
        if allowed == 0 {
            return;
        }
        allowed -= 1;
        retry::end(step, task, TaskState::Lost, Reason::AgentLost, "its node stayed out of reach");
    }
}

/// How many tasks the rate allows since the last tick.
fn allowance(step: &Step) -> u64 {
    let rate = step.settings.lost_tasks_per_s;
    let until = |mono_ms: u64| u128::from(mono_ms) * u128::from(rate) / 1000;
    let allowed = until(step.now.mono_ms).saturating_sub(until(step.live.ticked.mono_ms));
    // A long pause between ticks is no licence for a storm.
    u64::try_from(allowed).unwrap_or(u64::MAX).min(rate)
}
