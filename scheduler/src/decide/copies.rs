//! Two machines that claim to be one agent: a copied work directory or disk image, a machine that is not the one it was.
//!
//! | the registration | what becomes of it |
//! | --- | --- |
//! | names neither the number confirmed last nor the one given last | a copy: refused, and neither machine is given leases until an operator chooses |
//! | the same, of the same boot and host, while the journal is behind | no copy: the journal lost its welcome. It is ahead (`epochs`) |
//! | names the right number, the same boot and host | taken at once; a link that is still open is half dead and replaced. Was it heard within a lease, then what must not live twice is treated as after a reboot |
//! | names the right number, another boot or host | a reboot, or a container made anew: taken once the old link is closed, or silent for two heartbeats |
//! | the same, and the old link is heard again after that | both live: refused, and said |

use super::agents::is_silent;
use super::epochs;
use super::lease;
use super::step::Step;
use crate::model::{Agent, AgentNo, Alarm, Contest, Effect, LinkId, Mutation, Registration, WelcomeMutation};

/// So many heartbeats may be missing before a link that is open counts as dead.
const MISSED_HEARTBEATS: u64 = 2;

pub(super) fn is_copied(step: &Step, agent: AgentNo) -> bool {
    step.state.agents.get(&agent).is_some_and(|agent| agent.welcome.copied.is_some())
}

/// Whether the agent names a number that the welcomed machine can't have; it is refused then.
pub(super) fn is_copy(step: &mut Step, link: LinkId, registration: &Registration) -> bool {
    let Some(known) = step.state.agent(&registration.id) else { return false };
    if known.welcome.knows(registration.welcome) {
        return false;
    }
    if is_lost_welcome(step, known, registration) {
        clear(step, Alarm::AgentCopied(known.no));
        epochs::lost_welcome(step, link, registration);
        return true;
    }
    if known.welcome.copied.is_none() {
        step.mutations.push(Mutation::Welcome(WelcomeMutation::Copied { agent: known.no }));
    }
    alarm(step, known, &registration.hostname);
    let reason = format!(
        "agent {} of {} was welcomed since by another machine's word: one is a copy of the other. Give the copy another \
         work directory, or have an operator choose (dawn node forgive)",
        registration.id, registration.hostname
    );
    step.effects.push(Effect::Refuse { link, reason, slowly: true });
    true
}

/// Whether another machine, or another boot of it, is still there; the agent is refused then.
pub(super) fn is_contested(step: &mut Step, link: LinkId, registration: &Registration) -> bool {
    let Some(known) = step.state.agent(&registration.id) else { return false };
    // An agent that proves nothing is the one it claims to be by its host alone.
    let is_old = registration.welcome == 0;
    let same_host = known.hostname == registration.hostname;
    // Containers of one machine share its boot, and not its name.
    if same_host && known.boot_id == registration.boot_id {
        return false;
    }
    let (now_ms, live) = (step.now.mono_ms, step.live.agents.get(&known.no));
    if live.is_some_and(|live| live.link.is_none_or(|bound| bound == link)) {
        return false;
    }
    // A new leader takes every agent for heard at its election.
    let heard_ms = step.live.heard_ms(known.no);
    let is_dead = match is_old && !same_host {
        true => live.is_none() || is_silent(step, heard_ms),
        false => now_ms.saturating_sub(heard_ms) > step.settings.heartbeat_interval_ms * MISSED_HEARTBEATS,
    };
    if is_dead {
        return false;
    }
    let contest = step.live.contested.get(&known.no).filter(|contest| !contest.is_over(now_ms));
    let first_ms = contest.map(|contest| contest.first_ms);
    let both_live = first_ms.is_some_and(|first_ms| heard_ms > first_ms + step.settings.heartbeat_interval_ms);
    let (id, theirs, host) = (&registration.id, &registration.hostname, &known.hostname);
    let reason = match same_host {
        true => format!("agent {id} of {host} is still heard under its earlier boot; dial again in a moment"),
        false => format!("agent id {id} of {theirs} is in use by {host}; give one of them another work directory"),
    };
    if both_live && known.welcome.copied.is_none() {
        let words = format!(
            "two machines claim to be agent {id}: {host}, which is heard and goes on as it was, and {theirs}, which is refused. \
             Stop the wrong one and give it another work directory"
        );
        step.effects.push(Effect::Alarm { alarm: Alarm::AgentCopied(known.no), words: Some(words) });
    }
    step.effects.push(Effect::NoteContested { agent: known.no, contest: Contest::again(contest, now_ms) });
    step.effects.push(Effect::Refuse { link, reason, slowly: both_live || !same_host });
    true
}

/// Whether an agent of the same boot that is taken in may be a copy of the one before, and that matters, since the one before
/// has what must not live twice: it comes from another host, or its link replaces one that is still heard.
pub(super) fn may_be_one(step: &Step, link: LinkId, known: &Agent, registration: &Registration) -> bool {
    let bound = step.live.agents.get(&known.no).and_then(|live| live.link);
    let is_linked = bound.is_some_and(|bound| bound != link);
    let is_another = known.hostname != registration.hostname;
    (is_another || is_linked && !is_silent(step, step.live.heard_ms(known.no)))
        && lease::longest_life_ms(step, known.no).is_some()
}

/// Whether it is no copy: the journal went back in time and does not know the welcome of what is the same boot of the same
/// host.
fn is_lost_welcome(step: &Step, known: &Agent, registration: &Registration) -> bool {
    let is_same = known.hostname == registration.hostname && known.boot_id == registration.boot_id;
    is_same && epochs::is_behind(step.state, step.live, step.now)
}

fn alarm(step: &mut Step, known: &Agent, host: &str) {
    let words = format!(
        "two machines claim to be agent {}: {} and {host}. Tasks that must not live twice get no lease there and are not \
         placed there, until an operator has chosen: stop the wrong one, then `dawn node forgive {}`",
        known.id, known.hostname, known.id
    );
    step.effects.push(Effect::Alarm { alarm: Alarm::AgentCopied(known.no), words: Some(words) });
}

/// The agent is taken in: nobody contests it any more.
pub(super) fn welcomed(step: &mut Step, agent: AgentNo) {
    if !is_copied(step, agent) {
        clear(step, Alarm::AgentCopied(agent));
    }
}

/// The agent's record goes, and with it what was said of it.
pub(super) fn forgotten(step: &mut Step, agent: AgentNo) {
    clear(step, Alarm::AgentCopied(agent));
    clear(step, Alarm::EpochAhead(agent));
}

fn clear(step: &mut Step, alarm: Alarm) {
    if step.live.alarms.contains_key(&alarm) {
        step.effects.push(Effect::Alarm { alarm, words: None });
    }
}

/// An alarm ends when nobody contests the agent any more.
pub(super) fn tick(step: &mut Step) {
    let goes_on = |agent: AgentNo| {
        let contest = step.live.contested.get(&agent);
        is_copied(step, agent) || contest.is_some_and(|contest| !contest.is_over(step.now.mono_ms))
    };
    let over = step.live.alarms.keys().filter(|alarm| matches!(alarm, Alarm::AgentCopied(agent) if !goes_on(*agent)));
    let over: Vec<Alarm> = over.copied().collect();
    over.into_iter().for_each(|alarm| clear(step, alarm));
}

/// The agent says which number is on its disk.
pub(super) fn confirm(step: &mut Step, agent: AgentNo, named: u64) {
    let Some(known) = step.state.agents.get(&agent) else { return };
    let news = named != 0 && named == known.welcome.issued && named != known.welcome.confirmed;
    if news {
        step.mutations.push(Mutation::Welcome(WelcomeMutation::Confirmed { agent }));
    }
}

/// A leader begins: what was seen before it is said again.
pub(super) fn elected(step: &mut Step) {
    // Which of them are copies is seen once the journal is known to have all.
    let is_copied = |agent: &&Agent| agent.welcome.copied.is_some() && !step.state.restores.behind;
    for agent in step.state.agents.values().filter(is_copied) {
        alarm(step, agent, "another machine");
    }
}

/// An operator has chosen: the agent that is connected is the right one; where none is, whichever comes next.
pub(super) fn forgiven(step: &mut Step, agent: AgentNo) {
    let is_connected = step.live.agents.get(&agent).is_some_and(|live| live.link.is_some());
    if is_copied(step, agent) && !is_connected {
        step.mutations.push(Mutation::Welcome(WelcomeMutation::Forgotten { agent }));
    }
    clear(step, Alarm::AgentCopied(agent));
}
