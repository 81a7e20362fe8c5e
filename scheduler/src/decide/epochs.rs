//! Agents that know more than this leader: they have obeyed a higher epoch, or hold tasks that its journal does not know
//! yet. Either this leader was deposed, or its journal went back in time. No number that anyone names ends a leader: it
//! asks the journal's home whether its own key is still there.
//!
//! | the own key | what follows |
//! | --- | --- |
//! | is gone, or another's | another leads: this one steps down |
//! | is there | the agent is refused, runs on and dials again; while such agents hold tasks, nothing is placed and nothing is given up, until they are gone or an operator raises the epoch |

use dawn_proto::{AgentId, Epoch, TaskId};

use super::agents::is_silent;
use super::step::Step;
use crate::model::{
    Ahead, Alarm, Answer, Effect, EpochBegun, LinkId, Live, Mutation, Now, Refusal, Registration, RestoreMutation,
    Restored, State, answers,
};

/// How often the own key is looked at, however many claim a higher epoch.
const LOOK_EVERY_MS: u64 = 1_000;
/// No cluster counts so far. A claim above it can't be true, and leaves room to raise the epoch above any that can.
const MAX_EPOCH: u64 = 1 << 61;
/// A million tasks a second are not more by the year 2106; 53 bits hold it twice, which is what a number in JSON has.
const MAX_TASK: u64 = 1 << 52;

/// Whether a number can have been counted. Agents that the journal knows are believed half as much again: what a stranger
/// made an operator raise to is still believed of them.
fn is_possible(number: u64, most: u64, is_known: bool) -> bool {
    number <= most || is_known && number <= most + most / 2
}

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
    let is_possible = is_possible(seen.0, MAX_EPOCH, step.state.agent(id).is_some());
    let reason = match is_possible {
        false => {
            format!("agent {id} says that it has seen epoch {seen}; no cluster counts so far, its agent.state is wrong")
        }
        true => format!(
            "agent {id} has seen epoch {seen}; this scheduler leads under {ours}. Either another one leads, or the \
             journal went back in time: then see `dawn admin epoch raise`"
        ),
    };
    let words = format!(
        "agent {id} of {} has obeyed epoch {seen}, above {ours}, under which this scheduler leads; it is not taken in, and \
         its tasks run on",
        registration.hostname
    );
    note(step, registration, words, Shown { epoch: seen, task: TaskId(0), is_possible });
    refuse(step, link, reason);
    true
}

/// Whether the newest of an agent's tasks can't be: its number would be given to another one. Only a journal that lost
/// its end does not know it, or another cluster's. The agent is refused then.
pub(super) fn holds_unknown(
    step: &mut Step,
    link: LinkId,
    registration: &Registration,
    newest: Option<TaskId>,
) -> bool {
    let (id, next, ours) = (&registration.id, step.state.next_task, step.state.epoch);
    let is_unknown = |task: &TaskId| *task >= next && *task > TaskId(0) || is_of_another(step.state, id, *task);
    let Some(task) = newest.filter(is_unknown) else { return false };
    if registration.cluster_id.is_empty() {
        // It may be of any cluster: nothing follows from it for this one.
        let reason = format!(
            "agent {id} holds {task} of no cluster that it can name, since its agent.state is gone; the newest task of \
             this one is below {next}. Where its tasks are an earlier cluster's, stop it and move `tasks` out of its work \
             directory"
        );
        refuse(step, link, reason);
        return true;
    }
    look(step);
    let is_possible = is_possible(task.0, MAX_TASK, step.state.agent(id).is_some());
    let reason = match is_possible {
        true if task < next => format!(
            "agent {id} holds {task}, which this journal has never placed there; was the journal restored from an older \
             backup, and the number given out again? See `dawn admin epoch raise`"
        ),
        true => unknown(&id.to_string(), task, next),
        false => format!("agent {id} says that it holds {task}; no cluster counts so far, its work directory is wrong"),
    };
    note(step, registration, reason.clone(), Shown { epoch: ours, task, is_possible });
    refuse(step, link, reason);
    true
}

/// Whether the journal has the task as one that lives and was never placed on the agent. A task is launched only where the
/// journal says so, and has one place in its life: the number was given out again, since a journal that lost its end was led
/// on. After a restore numbers go on above all that were lost, and agents are asked.
fn is_of_another(state: &State, id: &AgentId, task: TaskId) -> bool {
    let is_told_apart = state.restores.last().is_none_or(|restored| task >= restored.next_task);
    let known = state.agent(id).map(|agent| agent.no);
    let task = state.tasks.get(&task).filter(|task| is_told_apart && !task.state().is_terminal());
    task.is_some_and(|task| task.status.place().is_none_or(|place| Some(place.agent) != known))
}

/// Why a task can't be taken that an agent names later.
pub(super) fn unknown(id: &str, task: TaskId, next: TaskId) -> String {
    format!(
        "agent {id} holds {task}, newer than any task of this journal (next {next}); was the journal restored from an \
         older backup? See `dawn admin epoch raise`"
    )
}

/// The journal does not know the number under which the agent was welcomed, since it lost its end.
pub(super) fn lost_welcome(step: &mut Step, link: LinkId, registration: &Registration) {
    look(step);
    let id = &registration.id;
    let reason = format!(
        "agent {id} of {} was welcomed since by a leader that this journal does not know; see `dawn admin epoch raise`",
        registration.hostname
    );
    let shown = Shown { epoch: step.state.epoch, task: TaskId(0), is_possible: true };
    note(step, registration, reason.clone(), shown);
    refuse(step, link, reason);
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

/// What an agent shows that this leader does not know.
struct Shown {
    epoch: Epoch,
    task: TaskId,
    is_possible: bool,
}

/// Remembers the agent, and says so: once for each that the journal knows, once for all strangers, and once for all that
/// hold tasks.
fn note(step: &mut Step, registration: &Registration, words: String, shown: Shown) {
    let known = step.state.agent(&registration.id).map(|agent| agent.no);
    let named = registration.tasks.iter().any(|report| !report.state.is_terminal());
    let in_short = registration.held.is_some_and(|held| held.tasks > 0);
    let in_state =
        known.is_some_and(|agent| step.state.indexes().tasks_on.get(&agent).is_some_and(|tasks| !tasks.is_empty()));
    // The agent itself is heard, and has obeyed this leader: somebody else speaks in its name.
    let is_here = known.is_some_and(|agent| step.live.agents.get(&agent).is_some_and(|live| live.link.is_some()))
        && known.is_some_and(|agent| !is_silent(step, step.live.heard_ms(agent)));
    let agent = registration.id.clone();
    let ahead = Ahead {
        epoch: shown.epoch,
        task: shown.task,
        holds_tasks: named || in_short || in_state,
        is_known: known.is_some(),
        is_possible: shown.is_possible,
        is_dismissed: step.live.ahead.get(&agent).is_some_and(|before| before.is_dismissed),
        shown_ms: step.now.mono_ms,
    };
    let is_said = |alarm| step.live.alarms.contains_key(&alarm);
    let say = |alarm, words| Effect::Alarm { alarm, words: Some(words) };
    let halts = ahead.halts() && !is_here;
    match known {
        // What halts everything is one alarm for all that give cause for it.
        Some(known) if halts => welcomed(step, known),
        Some(known) => step.effects.push(say(Alarm::EpochAhead(known), words.clone())),
        None if !is_said(Alarm::StrangerAhead) => {
            let words = format!("{words}; the journal does not know this agent");
            step.effects.push(say(Alarm::StrangerAhead, words));
        }
        None => {}
    }
    if is_here {
        return;
    }
    let others = step.live.still_ahead(step.now.mono_ms).filter(|(id, other)| **id != agent && other.halts()).count();
    let is_new = step.live.ahead.get(&agent).is_none_or(|before| !before.halts());
    step.effects.push(Effect::NoteAhead { agent, ahead });
    if !halts {
        return;
    }
    if !step.state.restores.behind {
        let behind = RestoreMutation::behind(step.state, step.now.wall);
        step.mutations.push(Mutation::Restore(behind));
    }
    if is_new || others == 0 && !step.live.is_behind(step.now.mono_ms) {
        let words = match others {
            0 => words,
            1 => format!("{words}; another agent shows the like"),
            others => format!("{words}; {others} other agents show the like"),
        };
        let way_out = match known {
            Some(_) => {
                format!("stop it, and it is waited for no more after {}", dawn_proto::amounts::duration(Ahead::KEPT_MS))
            }
            None => format!("stop it, then `dawn node forget {}`", registration.id),
        };
        step.effects.push(say(Alarm::JournalBehind, behind(&words, &way_out)));
    }
}

fn behind(words: &str, way_out: &str) -> String {
    format!(
        "the journal went back in time: {words}. Nothing is placed and nothing is given up while agents that hold tasks say \
         so; if no other scheduler leads, `dawn admin epoch raise` goes on from here and asks agents what they hold. If what \
         the agent says is not so, {way_out}"
    )
}

/// How long ago an agent that the journal knows showed that it knows more than the journal, in milliseconds; None: it does
/// not, or not any more. It is there, then, whatever the journal says of it.
pub(super) fn shown_ago_ms(step: &Step, agent: &AgentId) -> Option<u64> {
    let ahead = step.live.still_ahead(step.now.mono_ms).find(|(id, _)| *id == agent)?.1;
    (ahead.is_known && ahead.halts()).then(|| step.now.mono_ms.saturating_sub(ahead.shown_ms))
}

/// A leader begins: agents that showed the one before that the journal went back in time may come only after a while.
pub(super) fn elected(step: &mut Step) {
    if step.state.restores.behind {
        let way_out = "stop it, then `dawn node forget NODE`";
        let words = behind("agents have shown it to the leader before this one", way_out);
        step.effects.push(Effect::Alarm { alarm: Alarm::JournalBehind, words: Some(words) });
    }
}

/// An operator says that what the agent shows is not so. Whether there is anything of the kind.
pub(super) fn dismiss(step: &mut Step, agent: &AgentId) -> bool {
    let ahead = step.live.still_ahead(step.now.mono_ms).find(|(id, _)| *id == agent);
    let Some((_, ahead)) = ahead else { return false };
    let ahead = Ahead { is_dismissed: true, shown_ms: step.now.mono_ms, ..*ahead };
    step.effects.push(Effect::NoteAhead { agent: agent.clone(), ahead });
    true
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
    let is_behind = is_behind(step.state, step.live, step.now);
    let has_stranger = step.live.still_ahead(mono_ms).any(|(_, ahead)| !ahead.is_known && !ahead.is_dismissed);
    let over = step.live.alarms.keys().filter(|alarm| match alarm {
        Alarm::EpochAhead(agent) => !ahead(agent),
        Alarm::StrangerAhead => !has_stranger,
        Alarm::JournalBehind => !is_behind,
        _ => false,
    });
    let over: Vec<Alarm> = over.copied().collect();
    step.effects.extend(over.into_iter().map(|alarm| Effect::Alarm { alarm, words: None }));
    if step.state.restores.behind && !is_behind {
        step.mutations.push(Mutation::Restore(RestoreMutation::BehindOver));
    }
}

/// Whether nothing is to be placed or given up: agents that hold tasks know more than the journal, or did under the leader
/// before this one, and have not had the time yet to say so again.
pub fn is_behind(state: &State, live: &Live, now: Now) -> bool {
    let led_ms = now.mono_ms.saturating_sub(live.elected_ms);
    live.is_behind(now.mono_ms) || state.restores.behind && led_ms < Ahead::KEPT_MS
}

/// The operator's word that the journal went back in time: this leader goes on above every number shown that can be, and
/// as after a restore, since what was counted since is not known either.
pub(super) fn raise(step: &mut Step) -> Result<Answer, Refusal> {
    let ours = step.state.epoch;
    let ahead: Vec<Ahead> = step.live.still_ahead(step.now.mono_ms).map(|(_, ahead)| *ahead).collect();
    let ahead: Vec<Ahead> = ahead.into_iter().filter(Ahead::counts).collect();
    let highest = ahead.iter().map(|ahead| ahead.epoch).max().ok_or(Refusal::NothingAhead { epoch: ours })?;
    let newest = ahead.iter().map(|ahead| ahead.task).max().unwrap_or_default();
    let floor = highest.max(ours);
    let epoch = Epoch(floor.0.saturating_add(1));
    step.mutations.push(Mutation::Restore(RestoreMutation::EpochRaised { floor }));
    let mut restored = Restored::in_place(step.state, step.now.wall);
    restored.next_task = restored.next_task.max(TaskId(newest.0.saturating_add(1)));
    step.mutations.push(Mutation::Restore(RestoreMutation::Restored(restored)));
    step.mutations.push(Mutation::EpochBegun(EpochBegun { epoch }));
    Ok(Answer::EpochRaised(answers::EpochRaised { epoch, agents: u32::try_from(ahead.len()).unwrap_or(u32::MAX) }))
}
