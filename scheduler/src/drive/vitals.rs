//! Signs of life: parts of a scheduler say that they turn or what they wait for, and whoever asks is told whether one of
//! them is wedged, and what keeps this scheduler from being ready. Nothing is decided on it.
//!
//! Live: no part that has something to do has stood still. Waiting for the journal or etcd is no standing still.
//! Ready: a leader whose first decisions are durable and whose journal takes writes; a follower that etcd answers, which
//! serves reads. A candidate is a follower until it leads.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::Role;

/// A part that works for so long without a turn is wedged.
const WEDGED_AFTER: Duration = Duration::from_secs(15);
/// Waiting for the journal or etcd makes a scheduler unready after this part of it.
const UNREADY_PART: u32 = 3;

/// What a scheduler says of its health.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// Which part is wedged, and since when; None: none is.
    pub wedged: Option<String>,
    /// What it waits for; None: it is ready.
    pub waits_for: Option<String>,
    pub leads: bool,
    /// For people.
    pub doing: String,
}

/// Milliseconds since the process began, plus one; 0: never.
type Moment = AtomicU64;

/// One part that turns.
#[derive(Debug, Default)]
struct Beat {
    turned: Moment,
    works: AtomicBool,
}

/// What waits for something outside, and since when.
#[derive(Debug, Default)]
struct Waiting(Mutex<Option<(u64, String)>>);

/// The signs of life of one scheduler.
#[derive(Debug)]
pub struct Vitals {
    began: Instant,
    wedged_after: Duration,
    pulse: Beat,
    hands: Beat,
    follower: Beat,
    /// The journal takes nothing more for now: there is nothing to turn for.
    journal_full: AtomicBool,
    /// Appends on their way, and since when none of them has become durable; 0: there is none.
    appends: AtomicU64,
    not_durable: Moment,
    etcd: Waiting,
    /// Who acts, and what holds writes up; given once the journal is open.
    signs: OnceLock<(watch::Receiver<Role>, watch::Receiver<String>)>,
    stops: AtomicBool,
    panics: AtomicU64,
}

impl Default for Vitals {
    fn default() -> Self {
        Vitals::wedged_after(WEDGED_AFTER)
    }
}

impl Vitals {
    /// A part that stands still for so long is wedged.
    pub fn wedged_after(wedged_after: Duration) -> Vitals {
        Vitals {
            began: Instant::now(),
            wedged_after,
            pulse: Beat::default(),
            hands: Beat::default(),
            follower: Beat::default(),
            journal_full: AtomicBool::new(false),
            appends: AtomicU64::new(0),
            not_durable: Moment::default(),
            etcd: Waiting::default(),
            signs: OnceLock::new(),
            stops: AtomicBool::new(false),
            panics: AtomicU64::new(0),
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX - 1) + 1
    }

    /// The pulse turns; with `journal_full` it waits until what is in flight is durable.
    pub(super) fn pulse_turns(&self, journal_full: bool) {
        self.pulse.turns(self.now());
        self.journal_full.store(journal_full, Ordering::Relaxed);
    }

    /// Something is to become durable.
    pub(super) fn append_begins(&self) {
        if self.appends.fetch_add(1, Ordering::Relaxed) == 0 {
            self.not_durable.store(self.now(), Ordering::Relaxed);
        }
    }

    /// Something has become durable.
    pub(super) fn append_ends(&self) {
        let others = self.appends.fetch_sub(1, Ordering::Relaxed) > 1;
        self.not_durable.store(if others { self.now() } else { 0 }, Ordering::Relaxed);
    }

    /// It leads no more.
    pub(super) fn pulse_ended(&self) {
        self.appends.store(0, Ordering::Relaxed);
        self.not_durable.store(0, Ordering::Relaxed);
        self.pulse.rests();
        self.journal_full.store(false, Ordering::Relaxed);
    }

    pub(super) fn hands_turn(&self) {
        self.hands.turns(self.now());
    }

    pub(super) fn hands_rest(&self) {
        self.hands.rests();
    }

    /// The follower has something to apply.
    pub fn follower_turns(&self) {
        self.follower.turns(self.now());
    }

    /// It waits for more.
    pub fn follower_rests(&self) {
        self.follower.rests();
    }

    /// etcd answered, or what it did instead.
    pub fn etcd_answered(&self, answered: Result<(), String>) {
        let mut waiting = self.etcd.0.lock().unwrap_or_else(PoisonError::into_inner);
        *waiting = answered.err().map(|words| (waiting.take().map_or_else(|| self.now(), |(since, _)| since), words));
    }

    /// The journal is open: from now on it serves as these say.
    pub fn serves(&self, role: watch::Receiver<Role>, trouble: watch::Receiver<String>) {
        // A second scheduler in the same process has signs of its own.
        _ = self.signs.set((role, trouble));
    }

    /// It was asked to stop.
    pub fn stops(&self) {
        self.stops.store(true, Ordering::Relaxed);
    }

    /// A part of this process panicked: a fault of Dawn, which the part may have survived.
    pub fn panicked(&self) {
        self.panics.fetch_add(1, Ordering::Relaxed);
    }

    /// How many parts have panicked since the process began.
    pub fn panics(&self) -> u64 {
        self.panics.load(Ordering::Relaxed)
    }

    pub fn health(&self) -> Health {
        let now = self.now();
        let wedged = self.wedged(now);
        let leads = self.signs.get().is_some_and(|(role, _)| role.borrow().is_leading());
        let waits_for = wedged.clone().or_else(|| self.waits_for(now, leads));
        let doing = match (&waits_for, leads) {
            // Some say themselves that they wait.
            (Some(what), _) if what.starts_with("waits ") => what.clone(),
            (Some(what), _) => format!("waits: {what}"),
            (None, true) => "leads".into(),
            (None, false) => "follows".into(),
        };
        Health { wedged, waits_for, leads, doing }
    }

    fn wedged(&self, now: u64) -> Option<String> {
        let parts = [
            ("the part that carries out decisions", &self.hands, false),
            ("the part that decides", &self.pulse, self.journal_full.load(Ordering::Relaxed)),
            ("the part that follows the journal", &self.follower, false),
        ];
        parts.into_iter().filter(|(_, _, excused)| !excused).find_map(|(name, beat, _)| {
            let still = beat.stands_still_for(now);
            (still > self.wedged_after)
                .then(|| format!("{name} has not turned for {}", dawn_proto::amounts::whole_seconds(still)))
        })
    }

    fn waits_for(&self, now: u64, leads: bool) -> Option<String> {
        let since = |since: u64| Duration::from_millis(now.saturating_sub(since));
        let etcd = self.etcd.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Some((_, trouble)) = self.signs.get() else {
            return Some(etcd.map_or("the journal is being opened".into(), |(_, words)| words));
        };
        if self.stops.load(Ordering::Relaxed) {
            return Some("it is stopping".into());
        }
        let trouble = trouble.borrow().clone();
        if !trouble.is_empty() {
            return Some(trouble);
        }
        let waits = self.not_durable.load(Ordering::Relaxed);
        if waits > 0 && since(waits) >= self.wedged_after / UNREADY_PART {
            return Some(format!(
                "nothing has become durable for {}",
                dawn_proto::amounts::whole_seconds(since(waits))
            ));
        }
        if leads {
            let acted = self.hands.turned.load(Ordering::Relaxed) > 0;
            return (!acted).then(|| "its first decisions are not durable yet".into());
        }
        etcd.filter(|(failing, _)| since(*failing) >= self.wedged_after / UNREADY_PART).map(|(_, words)| words)
    }
}

impl Beat {
    fn turns(&self, now: u64) {
        self.turned.store(now, Ordering::Relaxed);
        self.works.store(true, Ordering::Release);
    }

    /// There is nothing to do.
    fn rests(&self) {
        self.works.store(false, Ordering::Release);
    }

    fn stands_still_for(&self, now: u64) -> Duration {
        let works = self.works.load(Ordering::Acquire);
        let turned = if works { self.turned.load(Ordering::Relaxed) } else { now };
        Duration::from_millis(now.saturating_sub(turned))
    }
}
