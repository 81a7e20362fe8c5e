//! Drives the pulse in real time: gathers events, appends batches (several may be in flight), and hands on what became
//! durable. While the journal takes no appends nothing new is decided, commands are refused, and heartbeats are answered.
//! Ends with an error when an append fails: the memory is void then.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::{Duration, Instant};

use dawn_proto::Epoch;
use futures_util::StreamExt;
use futures_util::stream::FuturesOrdered;
use tokio::sync::{mpsc, watch};

use super::beats::Beats;
use super::inbox::Look;
use super::{AppendError, Clock, Gauges, Inboxes, Journal, LiveView, Pulse, Vitals};
use crate::model::{Batch, Effect, Event, Now, Reading, Refusal};

/// Most events of each queue in one step.
const STEP_EVENTS: usize = 512;
/// Batches in flight at most. While so many are, events wait and make a larger batch.
const IN_FLIGHT: usize = 4;
/// Durable steps waiting for their hands at most; then the pulse waits.
const UNDONE: usize = 256;
/// A stop waits so long for what is in flight to become durable.
const FINISH_WITHIN: Duration = Duration::from_secs(5);
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

/// Why the pulse ended.
#[derive(Debug, thiserror::Error)]
pub enum DriveError {
    #[error("this scheduler leads no more: {why}. What it had decided and told nobody is void")]
    Deposed { why: String },
    #[error("a decision could not be made durable; ending, so that nothing is done on its strength")]
    Append(#[source] AppendError),
    #[error(
        "stopped without batches {first} to {last}: they were not durable after {} ({trouble}). Nobody was told that what \
         they decide stands",
        dawn_proto::amounts::whole_seconds(FINISH_WITHIN)
    )]
    Unfinished { first: u64, last: u64, trouble: String },
    #[error("{reason}: another scheduler leads; ending, nothing was launched or stopped since")]
    Outranked { reason: String },
    #[error("the part that carries out decisions has ended unexpectedly")]
    HandsGone,
}

impl DriveError {
    /// The leader's lease is over, by its own clock or by etcd's word.
    pub fn lease_is_over() -> DriveError {
        let why = "its lease in etcd is over, since it was not renewed in time; another scheduler may lead".into();
        DriveError::Deposed { why }
    }

    /// A change of leader, as happens whenever etcd or a scheduler was away for a while: nothing is wrong with this one.
    pub fn is_deposed(&self) -> bool {
        matches!(self, DriveError::Deposed { .. })
    }
}

impl From<AppendError> for DriveError {
    fn from(error: AppendError) -> DriveError {
        match error {
            AppendError::NotLeader { .. } | AppendError::Yields { .. } => {
                DriveError::Deposed { why: error.to_string() }
            }
            AppendError::Failed { .. } => DriveError::Append(error),
        }
    }
}

type Done = (Vec<Arc<Batch>>, Vec<Effect>);
type Appending = Pin<Box<dyn Future<Output = Result<Arc<Batch>, AppendError>> + Send>>;
type InFlight = FuturesOrdered<Appending>;

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
    beats: Beats,
    /// What holds appends up, as the journal says; empty: nothing does.
    trouble: watch::Receiver<String>,
    ticked_ms: u64,
    live_ms: u64,
    published_changes: u64,
}

impl<J: Journal, C: Clock> Runner<J, C> {
    pub fn new(pulse: Pulse, journal: J, clock: C, mut inboxes: Inboxes) -> Self {
        let looks = inboxes.looks.take().unwrap_or_else(|| mpsc::channel(1).1);
        let (live, _) = watch::channel(Arc::new(LiveView::of_follower()));
        let (gauges, vitals, beats, trouble) = (Arc::default(), Arc::default(), Beats::default(), journal.trouble());
        Runner {
            pulse,
            journal,
            clock,
            inboxes,
            looks,
            live,
            gauges,
            vitals,
            beats,
            trouble,
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
            self.hear();
            let waits = !self.trouble.borrow().is_empty();
            if waits {
                self.refuse(&mut events, acts).await?;
            }
            let room = in_flight.len() < IN_FLIGHT && !waits;
            self.vitals.pulse_turns(!room);
            if room && (!events.is_empty() || self.beats.has_undecided() || self.pulse.is_hungry()) {
                if let Some(appending) = self.decide(&mut events)? {
                    in_flight.push_back(appending);
                }
                self.hand_on(Vec::new(), acts).await?;
                continue;
            }
            let wait = self.wait(self.clock.now());
            tokio::select! {
                biased;
                Some(batch) = in_flight.next() => self.hand_on(vec![batch?], acts).await?,
                proved = self.beats.proved() => {
                    let answers = proved.map_err(|_| DriveError::lease_is_over())?;
                    acts.send((Vec::new(), answers)).await.map_err(|_| DriveError::HandsGone)?;
                }
                () = &mut stop => break,
                Ok(()) = self.trouble.changed() => {}
                Some(look) = self.looks.recv(), if room => (look.0)(self.pulse.state()),
                event = self.inboxes.next(room || waits, room) => match event {
                    Some(beat @ Event::Heartbeat { .. }) => self.hear_one(&beat, self.clock.now()),
                    Some(event) => events.push(event),
                    None => break,
                },
                () = self.clock.passed(wait), if room => events.push(Event::Tick),
            }
        }
        self.finish(in_flight, acts).await
    }

    /// Waits until what is decided is durable, parts that were not appended yet too, but not for ever.
    async fn finish(&mut self, mut in_flight: InFlight, acts: &mpsc::Sender<Done>) -> Result<(), DriveError> {
        while let Some(batch) = self.pulse.take_sealed() {
            in_flight.push_back(self.append(batch));
        }
        let mut patience = pin!(self.clock.passed(FINISH_WITHIN));
        let mut done = self.pulse.durable_index();
        loop {
            tokio::select! {
                biased;
                batch = in_flight.next() => match batch {
                    Some(batch) => {
                        let batch = batch?;
                        done = batch.index;
                        self.hand_on(vec![batch], acts).await?;
                    }
                    None => return Ok(()),
                },
                () = &mut patience => {
                    let trouble = match self.trouble.borrow().as_str() {
                        "" => "the journal is slow".to_string(),
                        trouble => format!("the scheduler {trouble}"),
                    };
                    return Err(DriveError::Unfinished { first: done + 1, last: self.pulse.state().index, trouble });
                }
            }
        }
    }

    /// Takes up all heartbeats that wait, before anything is decided: their agents count as heard.
    fn hear(&mut self) {
        let mut beats = Vec::new();
        self.inboxes.take_beats(&mut beats);
        let now = self.clock.now();
        beats.iter().for_each(|beat| self.hear_one(beat, now));
        self.beats.ask(&mut self.journal);
        self.publish_live(self.pulse.now(now));
    }

    fn hear_one(&mut self, beat: &Event, now: Reading) {
        let Event::Heartbeat { link, .. } = beat else { return };
        let (answer, is_undecided) = self.pulse.heartbeat(beat, now);
        if let Some(answer) = answer {
            self.beats.answer(*link, answer);
        }
        if is_undecided {
            self.beats.decide(*link, beat.clone());
        }
    }

    /// Commands that nothing was decided about get the reason why, at once. Everything else waits.
    async fn refuse(&mut self, events: &mut Vec<Event>, acts: &mpsc::Sender<Done>) -> Result<(), DriveError> {
        events.extend(self.pulse.take_commands());
        self.inboxes.take_commands(events);
        let trouble = self.trouble.borrow().clone();
        let (mut replies, mut others) = (Vec::new(), Vec::new());
        for event in events.drain(..) {
            match event {
                Event::Command { reply: to, .. } => {
                    let refusal = Refusal::NoWrites { trouble: trouble.clone() };
                    replies.push(Effect::Reply { to, answer: Err(refusal) });
                }
                other => others.push(other),
            }
        }
        *events = others;
        if replies.is_empty() {
            return Ok(());
        }
        acts.send((Vec::new(), replies)).await.map_err(|_| DriveError::HandsGone)
    }

    /// One step with all that waits; its batch on its way.
    fn decide(&mut self, events: &mut Vec<Event>) -> Result<Option<Appending>, DriveError> {
        // What the last step had no room for comes first.
        if !self.pulse.is_behind() {
            self.inboxes.take_waiting(events, STEP_EVENTS);
            events.extend(self.beats.take_undecided());
        }
        // After what is to be decided came in: a welcome then proves that nobody led when it was asked for. What must not
        // live twice is counted on it (`decide::lease`).
        if !self.journal.is_leading() {
            return Err(DriveError::lease_is_over());
        }
        let batch = self.step(events, self.clock.now());
        Ok(batch.map(|batch| self.append(batch)))
    }

    fn append(&mut self, batch: Arc<Batch>) -> Appending {
        let (appended, begun) = (self.journal.append(batch.clone()), Instant::now());
        self.vitals.append_begins();
        let (gauges, vitals) = (self.gauges.clone(), self.vitals.clone());
        Box::pin(async move {
            appended.await?;
            vitals.append_ends();
            gauges.appended(begun.elapsed());
            Ok(batch)
        })
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
        self.live.send_replace(Arc::new(LiveView { now, agents, alarms, are_links_unknown: false }));
    }
}

#[cfg(test)]
mod tests;
