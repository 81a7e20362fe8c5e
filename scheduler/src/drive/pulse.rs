//! One step of the scheduler: decide each event, apply at once, and hold effects until they are durable. Synchronous
//! and without I/O: the runner gives it time and a journal, a simulator gives it others.
//!
//! What a decision adds is measured before it is applied. One that does not fit into the step any more is not taken: its
//! event opens the next step, and is decided anew on the state as it is then. One that is larger than a step by itself is a
//! step of several batches, the parts of it.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use dawn_proto::{TaskId, Timestamp};

use super::PulseSettings;
use super::decider::Decider;
use crate::decide::clock::{Clock, Told};
use crate::decide::{self, Decision};
use crate::model::{Alarm, BATCH_BYTES, Batch, Effect, Event, JobId, Live, Mutation, Now, Part, Reading, Settings};
use crate::model::{State, bytes_of, cut};

pub struct Pulse {
    clock: Clock,
    state: State,
    live: Live,
    decider: Decider,
    /// Effects with the batch they wait for, in order.
    held: VecDeque<(u64, Vec<Effect>)>,
    /// The last batch known to be durable.
    durable: u64,
    /// Most bytes of a batch.
    step_bytes: usize,
    /// The last step left placement work undone.
    hungry: bool,
    link_changes: u64,
    /// Events that the last step had no room for.
    waiting: VecDeque<Event>,
    /// Batches that are applied already and not yet handed out.
    sealed: VecDeque<Arc<Batch>>,
}

/// A step while it grows.
struct Step {
    mutations: Vec<Mutation>,
    effects: Vec<Effect>,
    bytes: usize,
}

impl Step {
    /// Whether so many more bytes leave it within so many. The first decision fits whatever its size.
    fn has_room(&self, more: usize, most: usize) -> bool {
        more == 0 || self.mutations.is_empty() || self.bytes + more <= most
    }
}

impl Pulse {
    /// Goes on from a replayed, durable state.
    pub fn new(state: State, settings: Settings, bounds: PulseSettings) -> Self {
        let decider = Decider::new(&state, settings, &bounds);
        let (durable, live) = (state.index, Live::default());
        let clock = Clock::new((state.index > 0).then_some(state.at));
        Pulse {
            clock,
            state,
            live,
            decider,
            held: VecDeque::new(),
            durable,
            step_bytes: bounds.step_bytes,
            hungry: false,
            link_changes: 0,
            waiting: VecDeque::new(),
            sealed: VecDeque::new(),
        }
    }

    /// What Dawn's clock shows.
    pub fn now(&self, reading: Reading) -> Now {
        self.clock.now(reading)
    }

    /// Decides the events in turn, each seeing what those before it changed, then places. What it decided is applied
    /// and returned as a batch, to be appended; its effects wait for [`Pulse::durable`]. While [`Pulse::is_behind`], more
    /// is to come without more events.
    pub fn step(&mut self, events: impl IntoIterator<Item = Event>, reading: Reading) -> Option<Arc<Batch>> {
        self.waiting.extend(events);
        if let Some(batch) = self.sealed.pop_front() {
            return Some(batch);
        }
        let told = self.clock.tell(reading, &self.live, &self.state);
        let now = told.now;
        let (mutations, effects) = self.follow_clock(told);
        let mut step = Step { bytes: BATCH_BYTES + bytes_of(&mutations), mutations, effects };
        while let Some(event) = self.waiting.pop_front() {
            let decision = self.decider.decide(&self.state, &self.live, &event, now);
            if !step.has_room(decision.bytes, self.step_bytes) {
                self.waiting.push_front(event);
                break;
            }
            self.take(&decision.mutations, now.wall);
            self.observe(&event, &decision, now);
            step.bytes += decision.bytes;
            step.mutations.extend(decision.mutations);
            // A heartbeat's answer goes a way of its own: `heartbeat`.
            step.effects.extend(decision.effects.into_iter().filter(|effect| !is_ack(effect)));
        }
        // After a restore agents first say what they hold.
        let (placed, hungry) = match self.state.restores.waiting || decide::is_behind(&self.state, &self.live, now) {
            true => Default::default(),
            false => self.decider.place(&self.state, now),
        };
        self.hungry = hungry;
        let bytes = bytes_of(&placed);
        if !step.has_room(bytes, self.step_bytes) {
            self.close(step, now);
            step = Step { mutations: Vec::new(), effects: Vec::new(), bytes: BATCH_BYTES };
        }
        self.take(&placed, now.wall);
        step.bytes += bytes;
        step.mutations.extend(placed);
        self.close(step, now);
        self.sealed.pop_front()
    }

    /// An agent's heartbeat: the agent counts as heard from now on, whether anything can be decided or not. The answer, to
    /// go out once it is proved that this scheduler led when it came; and whether a step is to decide about it, too.
    pub fn heartbeat(&mut self, event: &Event, reading: Reading) -> (Option<Effect>, bool) {
        let now = self.clock.now(reading);
        let decision = self.decider.decide(&self.state, &self.live, event, now);
        self.observe(event, &Decision::default(), now);
        let is_decided = decision.mutations.is_empty() && decision.effects.iter().all(is_ack);
        (decision.effects.into_iter().find(is_ack), !is_decided)
    }

    /// Every batch up to `index` is durable: the effects that waited for it, in order.
    pub fn durable(&mut self, index: u64) -> Vec<Effect> {
        assert!(index <= self.state.index, "batch {index} is durable but only {} were made", self.state.index);
        self.durable = self.durable.max(index);
        self.released()
    }

    /// Effects that wait for nothing (any more).
    pub fn released(&mut self) -> Vec<Effect> {
        let mut released = Vec::new();
        while self.held.front().is_some_and(|(waits_for, _)| *waits_for <= self.durable) {
            released.extend(self.held.pop_front().into_iter().flat_map(|(_, effects)| effects));
        }
        released
    }

    /// The last batch that is known to be durable.
    pub fn durable_index(&self) -> u64 {
        self.durable
    }

    /// Takes back the commands that no step had room for yet: nothing was decided about them.
    pub fn take_commands(&mut self) -> Vec<Event> {
        let is_command = |event: &Event| matches!(event, Event::Command { .. });
        let (commands, others): (Vec<Event>, Vec<Event>) = self.waiting.drain(..).partition(is_command);
        self.waiting = others.into();
        commands
    }

    /// A batch that was decided and applied already and waits to be handed out, if there is one.
    pub fn take_sealed(&mut self) -> Option<Arc<Batch>> {
        self.sealed.pop_front()
    }

    /// Whether a step should follow at once: placement stopped at its bound, or the last step at its own.
    pub fn is_hungry(&self) -> bool {
        self.hungry || self.is_behind()
    }

    /// Whether events, or batches, wait here for steps to come.
    pub fn is_behind(&self) -> bool {
        !self.waiting.is_empty() || !self.sealed.is_empty()
    }

    /// When the state itself asks for a tick, if before the next one: the end of a backoff, a task's last moment, a cron
    /// tick. What was due at the last tick was looked at then, and is not due again.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        fn next<Id: Ord + Copy>(due: &BTreeSet<(Timestamp, Id)>, after: Timestamp, least: Id) -> Option<Timestamp> {
            due.range((after.plus_ms(1), least)..).next().map(|(at, _)| *at)
        }
        let (state, ticked) = (&self.state, self.live.ticked.wall);
        let tasks = [&state.indexes().throttled, &state.indexes().deadlines].map(|due| next(due, ticked, TaskId(0)));
        let jobs = [&state.indexes().cron_due, &state.indexes().job_deadlines].map(|due| next(due, ticked, JobId(0)));
        tasks.into_iter().chain(jobs).flatten().min()
    }

    /// Whether a job is still being made or ended, slice by slice.
    pub fn is_settling(&self) -> bool {
        !self.state.indexes().unsettled.is_empty()
    }

    /// The state with everything decided, durable or not.
    pub fn state(&self) -> &State {
        &self.state
    }

    pub fn live(&self) -> &Live {
        &self.live
    }

    /// Grows whenever an agent's link comes or goes.
    pub fn link_changes(&self) -> u64 {
        self.link_changes
    }

    /// What the clock demands before anything else is decided.
    fn follow_clock(&mut self, told: Told) -> (Vec<Mutation>, Vec<Effect>) {
        self.live.cron_hold = told.cron_hold;
        let mut effects = Vec::new();
        if self.live.alarms.get(&Alarm::ClockStepped) != told.trouble.as_ref() {
            self.live.alarmed(Alarm::ClockStepped, told.trouble.as_ref());
            effects.push(Effect::Alarm { alarm: Alarm::ClockStepped, words: told.trouble });
        }
        let Some(shift) = told.shift else { return (Vec::new(), effects) };
        let shifted = Mutation::ClockShifted(shift);
        self.state.apply_one(&shifted, told.now.wall);
        let dated = decide::correct_end_times(&self.state, &self.live, shift, told.now);
        dated.iter().for_each(|dated| self.state.apply_one(dated, told.now.wall));
        self.live.ticked.wall = shift.moved(self.live.ticked.wall);
        // Placement keeps instants of its own.
        let connected = self.live.agents.iter().filter(|(_, live)| live.link.is_some());
        self.decider.rebuild(&self.state, connected.map(|(agent, _)| *agent));
        ([vec![shifted], dated].concat(), effects)
    }

    fn take(&mut self, decided: &[Mutation], at: Timestamp) {
        for mutation in decided {
            self.state.apply_one(mutation, at);
            self.decider.observe(&self.state, mutation);
        }
    }

    /// Makes batches of what was decided and applied; its effects wait for the last of them.
    fn close(&mut self, step: Step, now: Now) {
        let Step { mutations, mut effects, bytes } = step;
        effects.extend(mutations.iter().filter_map(|mutation| self.decider.effect_of(&self.state, mutation)));
        if !mutations.is_empty() || decide::clock::is_note_due(&self.state, now) {
            let pieces = if bytes > self.step_bytes { cut(mutations, self.step_bytes) } else { vec![mutations] };
            let of = u32::try_from(pieces.len()).unwrap_or(u32::MAX);
            for (number, mutations) in (1..).zip(pieces) {
                let part = (of > 1).then_some(Part { number, of });
                let (index, epoch, at) = (self.state.index + 1, self.state.epoch, now.wall);
                let batch = Batch { index, epoch, at, part, mutations };
                self.state.seal(&batch);
                self.sealed.push_back(Arc::new(batch));
            }
        }
        if !effects.is_empty() {
            // Without a batch of its own it waits for the last one: it may speak of what that one decided.
            self.held.push_back((self.state.index, effects));
        }
    }

    /// Who is connected follows from the event and what was decided about it; placement is told.
    fn observe(&mut self, event: &Event, decision: &Decision, now: Now) {
        let closed = match event {
            Event::LinkClosed { link } => self.live.links.get(link).copied(),
            _ => None,
        };
        decide::observe(&mut self.live, event, decision, now);
        let welcomed = decision.effects.iter().filter_map(|effect| match effect {
            Effect::Welcome { agent, .. } => Some((*agent, true)),
            _ => None,
        });
        for (agent, connected) in welcomed.chain(closed.map(|agent| (agent, false))) {
            self.decider.connected(&self.state, agent, connected);
            self.link_changes += 1;
        }
    }
}

fn is_ack(effect: &Effect) -> bool {
    matches!(effect, Effect::HeartbeatAck { .. } | Effect::HeartbeatHeard { .. })
}

#[cfg(test)]
mod tests;
