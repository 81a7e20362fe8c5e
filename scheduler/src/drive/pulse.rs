//! One step of the scheduler: decide each event, apply at once, and hold effects until they are durable. Synchronous
//! and without I/O: the runner gives it time and a journal, a simulator gives it others.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use dawn_proto::{TaskId, Timestamp};

use super::PulseSettings;
use super::decider::Decider;
use crate::model::{Batch, Effect, Event, JobId, Live, Mutation, Now, State};

pub struct Pulse {
    state: State,
    live: Live,
    decider: Decider,
    /// Effects with the batch they wait for, in order.
    held: VecDeque<(u64, Vec<Effect>)>,
    /// The last batch known to be durable.
    durable: u64,
    /// The last step left placement work undone.
    hungry: bool,
    link_changes: u64,
}

impl Pulse {
    /// Goes on from a replayed, durable state.
    pub fn new(state: State, settings: PulseSettings) -> Self {
        let decider = Decider::new(&state, settings);
        let durable = state.index;
        Pulse { state, live: Live::default(), decider, held: VecDeque::new(), durable, hungry: false, link_changes: 0 }
    }

    /// Decides the events in turn, each seeing what those before it changed, then places. What it decided is applied
    /// and returned as one batch, to be appended; its effects wait for [`Pulse::durable`].
    pub fn step(&mut self, events: impl IntoIterator<Item = Event>, now: Now) -> Option<Arc<Batch>> {
        let (mut mutations, mut effects) = (Vec::new(), Vec::new());
        for event in events {
            self.live_before(&event, now);
            let decision = self.decider.decide(&self.state, &self.live, &event, now);
            self.take(decision.mutations, now.wall, &mut mutations);
            self.live_after(&event, &decision.effects, now);
            effects.extend(decision.effects);
        }
        let (placed, hungry) = self.decider.place(&self.state, &self.live, now);
        self.hungry = hungry;
        self.take(placed.mutations, now.wall, &mut mutations);
        effects.extend(placed.effects);
        let batch = (!mutations.is_empty()).then(|| self.seal(mutations, now.wall));
        if !effects.is_empty() {
            // Without a batch of its own it waits for the last one: it may speak of what that one decided.
            self.held.push_back((self.state.index, effects));
        }
        batch
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

    /// Whether a step should follow at once: placement stopped at its bound.
    pub fn is_hungry(&self) -> bool {
        self.hungry
    }

    /// When the state itself asks for a tick, if before the next one: the end of a backoff, a task's last moment, a cron
    /// tick. What was due at the last tick was looked at then, and is not due again.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        fn next<Id: Ord + Copy>(due: &BTreeSet<(Timestamp, Id)>, after: Timestamp, least: Id) -> Option<Timestamp> {
            due.range((after.plus_ms(1), least)..).next().map(|(at, _)| *at)
        }
        let (state, ticked) = (&self.state, self.live.ticked.wall);
        let tasks = [&state.throttled, &state.deadlines].map(|due| next(due, ticked, TaskId(0)));
        tasks.into_iter().chain([next(&state.cron_due, ticked, JobId(0))]).flatten().min()
    }

    /// Whether a job is still being made or ended, slice by slice.
    pub fn is_settling(&self) -> bool {
        !self.state.unsettled.is_empty()
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

    fn take(&mut self, decided: Vec<Mutation>, at: Timestamp, all: &mut Vec<Mutation>) {
        for mutation in decided {
            self.decider.before(&self.state, &mutation);
            self.state.apply_one(&mutation, at);
            self.decider.after(&self.state, &mutation);
            all.push(mutation);
        }
    }

    fn seal(&mut self, mutations: Vec<Mutation>, at: Timestamp) -> Arc<Batch> {
        let batch = Batch { index: self.state.index + 1, epoch: self.state.epoch, at, mutations };
        self.state.seal(&batch);
        Arc::new(batch)
    }

    /// Whoever speaks was heard, whatever is decided about it.
    fn live_before(&mut self, event: &Event, now: Now) {
        match event {
            Event::Elected { .. } => self.live = Live { elected_ms: now.mono_ms, ..Live::default() },
            Event::Heartbeat { link, .. } | Event::Offered { link, .. } | Event::Reported { link, .. } => {
                self.live.heard(*link, now.mono_ms);
            }
            Event::Tick | Event::Command { .. } | Event::Registered { .. } | Event::LinkClosed { .. } => {}
        }
    }

    /// A link is an agent's once it is welcomed, and nobody's once it is closed.
    fn live_after(&mut self, event: &Event, effects: &[Effect], now: Now) {
        for effect in effects {
            if let Effect::Welcome { link, agent, .. } = effect {
                self.live.bind(*link, *agent, now.mono_ms);
                self.decider.connected(*agent, true);
                self.link_changes += 1;
            }
        }
        if let Event::LinkClosed { link } = event
            && let Some(agent) = self.live.links.get(link).copied()
        {
            self.live.closed(*link);
            self.decider.connected(agent, false);
            self.link_changes += 1;
        }
    }
}
