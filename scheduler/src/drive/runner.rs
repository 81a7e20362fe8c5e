//! Drives the pulse in real time: gathers events, appends batches (several may be in flight), and hands on what became
//! durable. Ends with an error when an append fails: the memory is void then.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dawn_proto::{Epoch, Timestamp};
use futures_util::StreamExt;
use futures_util::stream::FuturesOrdered;
use tokio::sync::{mpsc, watch};

use super::inbox::Look;
use super::{AppendError, Clock, Gauges, Inboxes, Journal, Pulse, Vitals};
use crate::model::{AgentLive, AgentNo, Alarm, Batch, Effect, Event, Now, Reading};

/// Most events of each queue in one step.
const STEP_EVENTS: usize = 512;
/// Batches in flight at most. While so many are, events wait and make a larger batch.
const IN_FLIGHT: usize = 4;
/// Durable steps waiting for their hands at most; then the pulse waits.
const UNDONE: usize = 256;
const TICK: Duration = Duration::from_millis(250);
/// While a job is made or ended in slices.
const SETTLING_TICK: Duration = Duration::from_millis(20);
/// How often who is connected is published, unless it changes.
const LIVE_EVERY_MS: u64 = 1000;
/// A change of it is published at once, but every so many agents put it off by a millisecond: they are all copied.
const LIVE_AGENTS_PER_MS: usize = 100;

/// Does what was decided, in order and only once it is durable. Must not wait for anything slow.
pub trait Hands: Send + 'static {
    /// `batches` became durable (followers apply them first), `effects` are to be done.
    fn act(&mut self, batches: &[Arc<Batch>], effects: Vec<Effect>);
}

/// Who is connected, at one moment.
#[derive(Clone, Debug, Default)]
pub struct LiveView {
    pub now: Now,
    pub agents: BTreeMap<AgentNo, AgentLive>,
    /// Alarms that stand, with their words.
    pub alarms: BTreeMap<Alarm, String>,
}

impl LiveView {
    pub fn is_connected(&self, agent: AgentNo) -> bool {
        self.agents.get(&agent).is_some_and(|live| live.link.is_some())
    }

    /// When the agent was last heard under this leader.
    pub fn heard(&self, agent: AgentNo) -> Option<Timestamp> {
        let ago_ms = self.now.mono_ms.saturating_sub(self.agents.get(&agent)?.heard_ms);
        Some(Timestamp(self.now.wall.0.saturating_sub(i64::try_from(ago_ms).unwrap_or(i64::MAX))))
    }
}

/// Why the pulse ended.
#[derive(Debug, thiserror::Error)]
pub enum DriveError {
    #[error("a decision could not be made durable; ending, so that nothing is done on its strength")]
    Append(#[from] AppendError),
    #[error(
        "{reason}: another scheduler leads, or the journal was restored from an older backup; ending, nothing was \
         launched or stopped. If no other one leads, restore a newer backup"
    )]
    Outranked { reason: String },
    #[error("the part that carries out decisions has ended unexpectedly")]
    HandsGone,
}

type Done = (Vec<Arc<Batch>>, Vec<Effect>);

/// The pulse with its journal, clock and queues.
pub struct Runner<J, C> {
    pulse: Pulse,
    journal: J,
    clock: C,
    inboxes: Inboxes,
    looks: mpsc::Receiver<Look>,
    live: watch::Sender<Arc<LiveView>>,
    gauges: Arc<Gauges>,
    vitals: Arc<Vitals>,
    ticked_ms: u64,
    live_ms: u64,
    published_changes: u64,
}

impl<J: Journal, C: Clock> Runner<J, C> {
    pub fn new(pulse: Pulse, journal: J, clock: C, mut inboxes: Inboxes) -> Self {
        let looks = inboxes.looks.take().unwrap_or_else(|| mpsc::channel(1).1);
        let (live, _) = watch::channel(Arc::default());
        let (gauges, vitals) = Default::default();
        Runner {
            pulse,
            journal,
            clock,
            inboxes,
            looks,
            live,
            gauges,
            vitals,
            ticked_ms: 0,
            live_ms: 0,
            published_changes: 0,
        }
    }

    /// Who is connected, at most a second old; changes sooner.
    pub fn live(&self) -> watch::Receiver<Arc<LiveView>> {
        self.live.subscribe()
    }

    /// Publishes who is connected there instead: readers may have subscribed before this leadership began.
    pub fn publish_to(mut self, live: watch::Sender<Arc<LiveView>>) -> Self {
        self.live = live;
        self
    }

    /// Counts there what it does.
    pub fn count_in(mut self, gauges: Arc<Gauges>) -> Self {
        self.gauges = gauges;
        self
    }

    /// Shows there that it turns.
    pub fn shown_in(mut self, vitals: Arc<Vitals>) -> Self {
        self.vitals = vitals;
        self
    }

    /// Leads under `epoch` until `stop` resolves; then what is in flight is finished.
    ///
    /// # Errors
    /// When a batch could not be made durable.
    pub async fn lead(
        mut self,
        epoch: Epoch,
        fresh_cluster_id: String,
        mut hands: impl Hands,
        stop: impl Future<Output = ()>,
    ) -> Result<(), DriveError> {
        let (acts, mut acts_out) = mpsc::channel::<Done>(UNDONE);
        let vitals = self.vitals.clone();
        let worker = tokio::spawn(async move {
            while let Some((batches, effects)) = acts_out.recv().await {
                vitals.hands_turn();
                hands.act(&batches, effects);
                vitals.hands_rest();
            }
        });
        let led = self.pump(Event::Elected { epoch, fresh_cluster_id }, &acts, stop).await;
        self.vitals.pulse_ended();
        drop(acts);
        match worker.await {
            Ok(()) => led,
            Err(_) => led.and(Err(DriveError::HandsGone)),
        }
    }

    async fn pump(
        &mut self,
        elected: Event,
        acts: &mpsc::Sender<Done>,
        stop: impl Future<Output = ()>,
    ) -> Result<(), DriveError> {
        let mut stop = pin!(stop);
        let mut in_flight = FuturesOrdered::new();
        let mut events = vec![elected];
        loop {
            let room = in_flight.len() < IN_FLIGHT;
            self.vitals.pulse_turns(!room);
            if room && (!events.is_empty() || self.pulse.is_hungry()) {
                // What the last step had no room for comes first.
                if !self.pulse.is_behind() {
                    self.inboxes.take_waiting(&mut events, STEP_EVENTS);
                }
                // After what is to be answered came in: an answer then proves that nobody led when it was asked for. What
                // must not live twice is counted on it (`decide::lease`).
                if !self.journal.is_leading() {
                    return Err(AppendError::NotLeader { index: self.pulse.state().index + 1 }.into());
                }
                let now = self.clock.now();
                if let Some(batch) = self.step(&mut events, now) {
                    let (appended, begun) = (self.journal.append(batch.clone()), Instant::now());
                    let gauges = self.gauges.clone();
                    in_flight.push_back(async move {
                        appended.await?;
                        gauges.appended(begun.elapsed());
                        Ok::<_, AppendError>(batch)
                    });
                }
                self.publish_live(self.pulse.now(now));
                self.hand_on(Vec::new(), acts).await?;
                continue;
            }
            let wait = self.wait(self.clock.now());
            tokio::select! {
                biased;
                Some(batch) = in_flight.next() => self.hand_on(vec![batch?], acts).await?,
                () = &mut stop => break,
                Some(look) = self.looks.recv(), if room => (look.0)(self.pulse.state()),
                open = self.inboxes.take_first(&mut events), if room => {
                    if !open { break }
                }
                () = self.clock.passed(wait), if room => events.push(Event::Tick),
            }
        }
        while let Some(batch) = in_flight.next().await {
            self.hand_on(vec![batch?], acts).await?;
        }
        Ok(())
    }

    /// One step with what was gathered, and a tick when one is due: a flood of events must not keep time away.
    fn step(&mut self, events: &mut Vec<Event>, now: Reading) -> Option<Arc<Batch>> {
        let has_tick = events.iter().any(|event| matches!(event, Event::Tick));
        let is_due = now.mono_ms.saturating_sub(self.ticked_ms) >= TICK.as_millis() as u64;
        if !has_tick && is_due {
            events.push(Event::Tick);
        }
        if has_tick || is_due {
            self.ticked_ms = now.mono_ms;
        }
        let count = events.len();
        let batch = self.pulse.step(events.drain(..), now);
        self.gauges.step(count, batch.as_ref().map_or(0, |batch| batch.mutations.len()));
        batch
    }

    /// Until the next tick, or the next moment the state itself names.
    fn wait(&self, now: Reading) -> Duration {
        let now = self.pulse.now(now);
        let since_tick = Duration::from_millis(now.mono_ms.saturating_sub(self.ticked_ms));
        let every = if self.pulse.is_settling() { SETTLING_TICK } else { TICK };
        let tick = every.saturating_sub(since_tick);
        let deadline = self.pulse.next_deadline().map(|at| Duration::from_millis(at.since_ms(now.wall)));
        deadline.map_or(tick, |deadline| deadline.max(Duration::from_millis(1)).min(tick))
    }

    async fn hand_on(&mut self, batches: Vec<Arc<Batch>>, acts: &mpsc::Sender<Done>) -> Result<(), DriveError> {
        let effects = match batches.last() {
            Some(batch) => self.pulse.durable(batch.index),
            None => self.pulse.released(),
        };
        if batches.is_empty() && effects.is_empty() {
            return Ok(());
        }
        acts.send((batches, effects)).await.map_err(|_| DriveError::HandsGone)
    }

    fn publish_live(&mut self, now: Now) {
        let since_ms = now.mono_ms.saturating_sub(self.live_ms);
        let changed = self.pulse.link_changes() != self.published_changes;
        let least_ms = (self.pulse.live().agents.len() / LIVE_AGENTS_PER_MS) as u64;
        if since_ms < LIVE_EVERY_MS && !(changed && since_ms >= least_ms) {
            return;
        }
        (self.live_ms, self.published_changes) = (now.mono_ms, self.pulse.link_changes());
        let (agents, alarms) = (self.pulse.live().agents.clone(), self.pulse.live().alarms.clone());
        self.live.send_replace(Arc::new(LiveView { now, agents, alarms }));
    }
}

#[cfg(test)]
mod tests;
