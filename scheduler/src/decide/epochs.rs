//! Agents that know more than this leader: they have obeyed a higher epoch, or hold tasks that its journal does not know
//! yet. Either this leader was deposed, or its journal went back in time. No number that anyone names ends a leader: it
//! asks the journal's home whether its own key is still there.
//!
//! | the own key | what follows |
//! | --- | --- |
//! | is gone, or another's | another leads: this one steps down |
//! | is there | the agent is refused, runs on and dials again; while such agents hold tasks, nothing is placed and nothing is given up, until they are gone or an operator raises the epoch |

use dawn_proto::{Epoch, TaskId};

use super::agents::is_silent;
use super::step::Step;
use crate::model::{
    Alarm, Answer, Effect, LinkId, Live, Mutation, Now, Refusal, Registration, RestoreMutation, Restored,
};

/// How often the own key is looked at, however many claim a higher epoch.
const LOOK_EVERY_MS: u64 = 1_000;
/// No cluster counts so far. A claim above it can't be true, and leaves room to raise the epoch above any that can.
const MAX_EPOCH: Epoch = Epoch(1 << 61);

/// Whether the registration is of an agent that knows more than this leader; it is refused then.
pub(super) fn is_ahead(step: &mut Step, link: LinkId, registration: &Registration) -> bool {
    let (seen, ours) = (registration.epoch_seen, step.state.epoch);
    if seen <= ours {
        return false;
    }
    let id = &registration.id;
    if registration.cluster_id.is_empty() {
        let reason = format!("agent {id} has seen epoch {seen} of no cluster; this scheduler leads under {ours}");
        refuse(step, link, reason);
        return true;
    }
    look(step);
    let reason = match seen > MAX_EPOCH {
        true => {
            format!("agent {id} says that it has seen epoch {seen}; no cluster counts so far, its agent.state is wrong")
        }
        false => format!(
            "agent {id} has seen epoch {seen}; this scheduler leads under {ours}. Either another one leads, or the \
             journal went back in time: then see `dawn admin epoch raise`"
        ),
    };
    let words = format!(
        "agent {id} of {} has obeyed epoch {seen}, above {ours}, under which this scheduler leads; it is not taken in, and \
         its tasks run on",
        registration.hostname
    );
    note(step, registration, words, seen.min(MAX_EPOCH), seen <= MAX_EPOCH);
    refuse(step, link, reason);
    true
}

/// Whether the newest of an agent's tasks can't be: its number would be given to another one. Only a journal that lost
/// its end does not know it. The agent is refused then.
pub(super) fn holds_unknown(
    step: &mut Step,
    link: LinkId,
    registration: &Registration,
    newest: Option<TaskId>,
) -> bool {
    let (id, next) = (&registration.id, step.state.next_task);
    let Some(task) = newest.filter(|task| *task >= next && *task > TaskId(0)) else { return false };
    look(step);
    let reason = unknown(&id.to_string(), task, next);
    note(step, registration, reason.clone(), step.state.epoch, true);
    refuse(step, link, reason);
    true
}

/// Why a task can't be taken that an agent names later.
pub(super) fn unknown(id: &str, task: TaskId, next: TaskId) -> String {
    format!(
        "agent {id} holds {task}, newer than any task of this journal (next {next}); was the journal restored from an \
         older backup? See `dawn admin epoch raise`"
    )
}

fn refuse(step: &mut Step, link: LinkId, reason: String) {
    step.effects.push(Effect::Refuse { link, reason, slowly: true });
}

fn look(step: &mut Step) {
    let due = step.live.looked_ms.is_none_or(|at| step.now.mono_ms.saturating_sub(at) >= LOOK_EVERY_MS);
    if due && !step.effects.contains(&Effect::LookAtOwnKey) {
        step.effects.push(Effect::LookAtOwnKey);
    }
}

/// Remembers the agent, and says so: once for each that the journal knows, and once for all that hold tasks.
fn note(step: &mut Step, registration: &Registration, words: String, epoch: Epoch, can_be_true: bool) {
    let known = step.state.agent(&registration.id).map(|agent| agent.no);
    let named = registration.tasks.iter().any(|report| !report.state.is_terminal());
    let in_short = registration.held.is_some_and(|held| held.tasks > 0);
    let in_state = known.is_some_and(|agent| step.state.tasks_on.get(&agent).is_some_and(|tasks| !tasks.is_empty()));
    let holds_tasks = can_be_true && (named || in_short || in_state);
    let agent = registration.id.clone();
    // The agent itself is heard, and has obeyed this leader: somebody else speaks in its name.
    let is_here = known.is_some_and(|agent| step.live.agents.get(&agent).is_some_and(|live| live.link.is_some()))
        && known.is_some_and(|agent| !is_silent(step, step.live.heard_ms(agent)));
    let holds_tasks = holds_tasks && !is_here;
    if !is_here {
        step.effects.push(Effect::NoteAhead { agent, epoch, holds_tasks });
    }
    if let Some(agent) = known {
        step.effects.push(Effect::Alarm { alarm: Alarm::EpochAhead(agent), words: Some(words.clone()) });
    }
    if holds_tasks && !step.live.is_behind(step.now.mono_ms) {
        let words = format!(
            "the journal went back in time: {words}. Nothing is placed and nothing is given up while agents that hold tasks \
             say so; if no other scheduler leads, `dawn admin epoch raise` goes on from here and asks agents what they hold"
        );
        step.effects.push(Effect::Alarm { alarm: Alarm::JournalBehind, words: Some(words) });
    }
}

/// The agent is welcome: it knows no more than this leader.
pub(super) fn welcomed(step: &mut Step, agent: crate::model::AgentNo) {
    let alarm = Alarm::EpochAhead(agent);
    if step.live.alarms.contains_key(&alarm) {
        step.effects.push(Effect::Alarm { alarm, words: None });
    }
}

/// What the journal's home said of the own key.
pub(super) fn own_key_seen(step: &mut Step, is_there: bool) {
    if !is_there {
        let reason =
            format!("this scheduler's own leader key is gone, under which it led as epoch {}", step.state.epoch);
        step.effects.push(Effect::StepDown { reason });
    }
}

/// Alarms end when nobody gives cause for them any more.
pub(super) fn tick(step: &mut Step) {
    let mono_ms = step.now.mono_ms;
    let ahead = |agent: &crate::model::AgentNo| {
        let id = step.state.agents.get(agent).map(|agent| &agent.id);
        id.is_some_and(|id| step.live.still_ahead(mono_ms).any(|(other, _)| other == id))
    };
    let over = step.live.alarms.keys().filter(|alarm| match alarm {
        Alarm::EpochAhead(agent) => !ahead(agent),
        Alarm::JournalBehind => !step.live.is_behind(mono_ms),
        _ => false,
    });
    let over: Vec<Alarm> = over.copied().collect();
    step.effects.extend(over.into_iter().map(|alarm| Effect::Alarm { alarm, words: None }));
}

/// Whether nothing is to be placed or given up: agents that hold tasks know more than the journal.
pub fn is_behind(live: &Live, now: Now) -> bool {
    live.is_behind(now.mono_ms)
}

/// The operator's word that the journal went back in time: this leader goes on above every epoch shown, and as after a
/// restore, since what was counted since is not known either.
pub(super) fn raise(step: &mut Step) -> Result<Answer, Refusal> {
    let ours = step.state.epoch;
    let ahead: Vec<Epoch> = step.live.still_ahead(step.now.mono_ms).map(|(_, ahead)| ahead.epoch).collect();
    let highest = ahead.iter().copied().max().ok_or(Refusal::NothingAhead { epoch: ours })?;
    let floor = highest.max(ours);
    let epoch = Epoch(floor.0.saturating_add(1));
    step.mutations.push(Mutation::Restore(RestoreMutation::EpochRaised { floor }));
    let restored = Restored::in_place(step.state, step.now.wall);
    step.mutations.push(Mutation::Restore(RestoreMutation::Restored(restored)));
    step.mutations.push(Mutation::EpochBegun { epoch });
    Ok(Answer::EpochRaised { epoch, agents: u32::try_from(ahead.len()).unwrap_or(u32::MAX) })
}
