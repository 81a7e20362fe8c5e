//! The verbs: from state and an event to mutations and effects. Pure: time, ids and chance come in as arguments.
//! Not here: where tasks go (`place`), which runs after the events of a step were decided.
//!
//! A step of the pulse: `decide` -> `State::apply` -> `observe` -> `effects_of` each mutation; once the batch is durable
//! the decision's effects go out, then the derived ones.

#![cfg_attr(not(test), deny(clippy::disallowed_methods, clippy::disallowed_types))]

mod agents;
mod avoid;
mod brake;
pub mod clock;
mod copies;
mod cron;
mod daemon;
mod depend;
mod dispatch;
mod effects;
mod epochs;
mod follow;
mod forgive;
mod found_numbers;
mod kill;
mod lease;
mod liveness;
mod loss;
mod numbers;
pub mod place;
mod prune;
mod quota;
mod report;
mod resend;
mod restore;
pub mod retry;
mod settle;
mod sla;
mod step;
mod submit;
mod submit_all;
#[cfg(test)]
mod tests;
mod timers;
mod transition;
mod unheard;
mod update;
mod upkeep;
pub mod verify;

pub use brake::{Brake, brake};
pub use effects::effects_of;
pub use epochs::is_behind;
pub use liveness::observe;
pub use quota::{Asked, asked};
pub use sla::{Heed, heed, standing};
pub use transition::{Rule, Then, rule};
pub use unheard::correct_end_times;
pub use update::{
    Diff, cause_of, diff, has_instance, held_by_sla, is_surplus, is_switched, never_healthy, never_permits, target,
    waits, words_of_held,
};

use crate::model::bounds::{DECISION_BYTES, STEP_BYTES};
use crate::model::{
    Alarm, Answer, BATCH_BYTES, ClusterMade, Command, Effect, EpochBegun, Event, Live, Mutation, Now, Refusal,
    Settings, State,
};
use crate::model::{UpdateCommand, bytes_of};
use step::Step;

/// What a step wants: mutations are applied and appended first; effects wait until they are durable.
/// Launches and kills that follow from the mutations are not among the effects: see [`effects_of`].
#[derive(Debug, Default)]
pub struct Decision {
    pub mutations: Vec<Mutation>,
    pub effects: Vec<Effect>,
    /// What the mutations add to a batch.
    pub bytes: usize,
}

impl Decision {
    /// A decision that can't be written is not taken, whole: a command is refused, of anything else an alarm tells. No record
    /// may be larger than a step, whatever asks for it: nothing could be appended after it.
    fn measured(mut self, event: &Event, live: &Live, state: &State) -> Decision {
        self.bytes = bytes_of(&self.mutations);
        let most = STEP_BYTES - BATCH_BYTES;
        let largest = || self.mutations.iter().map(Mutation::bytes).max().unwrap_or(0);
        let (bytes, most) = match event {
            Event::Command { .. } if self.bytes > DECISION_BYTES => (self.bytes, DECISION_BYTES),
            _ if self.bytes > most && largest() > most => (largest(), most),
            _ => return self,
        };
        let effect = match event {
            Event::Command { reply, .. } => {
                Effect::Reply { to: *reply, answer: Err(Refusal::TooLarge { bytes, most }) }
            }
            other => {
                let words = format!(
                    "{} would have made a record of {bytes} bytes; at most {most} can be written, so it was left out",
                    source_of(other, live, state)
                );
                Effect::Alarm { alarm: Alarm::DecisionTooLarge, words: Some(words) }
            }
        };
        Decision { mutations: Vec::new(), effects: vec![effect], bytes: 0 }
    }
}

/// Where an event that is no command came from, for people.
fn source_of(event: &Event, live: &Live, state: &State) -> String {
    let link = match event {
        Event::Described { link, .. }
        | Event::Offered { link, .. }
        | Event::Reported { link, .. }
        | Event::TasksTold { link, .. } => *link,
        Event::Registered { registration, .. } => return format!("the registration of agent {}", registration.id),
        _ => return "what time brought".into(),
    };
    let agent = live.links.get(&link).and_then(|agent| state.agents.get(agent));
    agent.map_or_else(|| "what an agent said".into(), |agent| format!("what agent {} said", agent.id))
}

/// Decides one event. `live` is as it was before the event; [`observe`] brings it up to date afterwards.
pub fn decide(state: &State, live: &Live, event: &Event, now: Now, settings: &Settings) -> Decision {
    let mut step = Step::new(state, live, now, settings);
    match event {
        Event::Elected { epoch, fresh_cluster_id } => {
            if state.cluster_id.is_empty() {
                step.mutations.push(Mutation::ClusterMade(ClusterMade { cluster_id: fresh_cluster_id.clone() }));
            }
            step.mutations.push(Mutation::EpochBegun(EpochBegun { epoch: *epoch }));
            brake::carry_over(&mut step);
            copies::elected(&mut step);
            epochs::elected(&mut step);
            update::elected(&mut step);
        }
        Event::Tick => tick(&mut step),
        Event::Command { reply, command } => {
            let answer = match command {
                Command::Submit { spec, author, message } => submit::submit(&mut step, spec, author, message),
                Command::SubmitAll { specs, author, message } => {
                    submit_all::submit_all(&mut step, specs, author, message)
                }
                Command::Kill { key, instances, author, message } => {
                    kill::kill(&mut step, key, instances, author, message)
                }
                Command::StartCron { key, .. } => cron::start(&mut step, key),
                Command::DescheduleCron { key, author } => cron::deschedule(&mut step, key, author),
                Command::Update(command) => update_command(&mut step, command),
                Command::Upkeep(command) => upkeep::set(&mut step, command),
                Command::Forgive(command) => forgive::forgive(&mut step, command),
                Command::RaiseEpoch => epochs::raise(&mut step),
                Command::SetQuota { role, guarantee, limit, weight, author } => {
                    quota::set(&mut step, role, (*guarantee, *limit, *weight), author)
                }
                Command::Flow(command) => dispatch::decide(&mut step, command),
                Command::Loss(command) => loss::decide(&mut step, command),
            };
            step.effects.push(Effect::Reply { to: *reply, answer });
        }
        Event::Registered { link, registration } => agents::registered(&mut step, *link, registration),
        Event::TasksTold { link, tasks } => agents::tasks_told(&mut step, *link, tasks),
        Event::Heartbeat { link, sequence, welcome, .. } => {
            agents::heartbeat(&mut step, *link, *sequence, *welcome);
        }
        Event::Offered { link, offer } => agents::offered(&mut step, *link, offer),
        Event::Reported { link, report } => report::reported(&mut step, *link, report),
        Event::Described { link, description } => restore::described(&mut step, *link, description),
        Event::OwnKeySeen { is_there } => epochs::own_key_seen(&mut step, *is_there),
        Event::LinkClosed { .. } | Event::Coordinated { .. } => {}
    }
    follow::decide_consequences(&mut step);
    let Step { mutations, effects, .. } = step;
    Decision { mutations, effects, bytes: 0 }.measured(event, live, state)
}

fn update_command(step: &mut Step, command: &UpdateCommand) -> Result<Answer, Refusal> {
    match command {
        UpdateCommand::Start { spec, instances, author, message } => {
            update::start(step, spec, instances, (author, message))
        }
        UpdateCommand::Restart { key, instances, policy, author, message } => {
            update::restart(step, key, instances, policy.as_ref(), (author, message))
        }
        UpdateCommand::Scale { key, to, author, message } => update::scale(step, key, *to, (author, message)),
        UpdateCommand::Control { key, action, author, message } => {
            update::control(step, key, *action, (author, message))
        }
    }
}

/// What time brings, in the order in which it matters: what is given up frees room, what is due asks for it.
fn tick(step: &mut Step) {
    epochs::tick(step);
    copies::tick(step);
    if restore::waits(step) || is_behind(step.state, step.live, step.now) {
        liveness::notice(step);
        return resend::tick(step);
    }
    liveness::tick(step);
    avoid::tick(step);
    timers::tick(step);
    update::tick(step);
    upkeep::tick(step);
    depend::tick(step);
    daemon::tick(step);
    settle::tick(step);
    cron::tick(step);
    prune::tick(step);
    resend::tick(step);
}
