//! Signs of life: the agent's loop says that it turns, and whoever asks is told whether it is wedged, and what keeps the
//! agent from being ready. Nothing is decided on it.
//!
//! Live: the loop, which is never idle for longer than a tick, turns. Ready: a scheduler has registered the agent.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A loop that does not turn for so long is wedged.
const WEDGED_AFTER: Duration = Duration::from_secs(15);

/// What an agent says of its health.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// Since when the loop stands still; None: it turns.
    pub wedged: Option<String>,
    /// What it waits for; None: it is ready.
    pub waits_for: Option<String>,
    /// It has found its tasks and looks after them, registered or not.
    pub started: bool,
}

/// The signs of life of one agent.
#[derive(Debug)]
pub struct Vitals {
    began: Instant,
    wedged_after: Duration,
    /// Milliseconds since the process began, plus one; 0: never.
    turned: AtomicU64,
    registered: AtomicBool,
    /// Why the scheduler that was asked last did not register it.
    refused: Mutex<Option<String>>,
    stops: AtomicBool,
    panics: AtomicU64,
}

impl Default for Vitals {
    fn default() -> Self {
        Vitals::wedged_after(WEDGED_AFTER)
    }
}

impl Vitals {
    /// A loop that stands still for so long is wedged.
    pub fn wedged_after(wedged_after: Duration) -> Vitals {
        Vitals {
            began: Instant::now(),
            wedged_after,
            turned: AtomicU64::new(0),
            registered: AtomicBool::new(false),
            refused: Mutex::default(),
            stops: AtomicBool::new(false),
            panics: AtomicU64::new(0),
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX - 1) + 1
    }

    pub(super) fn turns(&self) {
        self.turned.store(self.now(), Ordering::Relaxed);
    }

    /// Whether a scheduler has registered the agent.
    pub fn registered(&self, registered: bool) {
        self.registered.store(registered, Ordering::Relaxed);
        if registered {
            *self.refusal() = None;
        }
    }

    /// A scheduler would not register it.
    pub(super) fn refused(&self, reason: &str) {
        *self.refusal() = Some(reason.to_string());
    }

    fn refusal(&self) -> MutexGuard<'_, Option<String>> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner)
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

    fn unregistered(&self) -> String {
        match &*self.refusal() {
            None => "no scheduler has registered it".into(),
            Some(reason) => format!("no scheduler has registered it; it was refused: {reason}"),
        }
    }

    pub fn health(&self) -> Health {
        let turned = self.turned.load(Ordering::Relaxed);
        let still = Duration::from_millis(if turned > 0 { self.now().saturating_sub(turned) } else { 0 });
        let wedged = (still > self.wedged_after)
            .then(|| format!("its loop has not turned for {}", dawn_proto::amounts::whole_seconds(still)));
        let waits_for = match () {
            () if wedged.is_some() => wedged.clone(),
            () if turned == 0 => Some("it is starting".into()),
            () if self.stops.load(Ordering::Relaxed) => Some("it is stopping".into()),
            () if !self.registered.load(Ordering::Relaxed) => Some(self.unregistered()),
            () => None,
        };
        Health { wedged, waits_for, started: turned > 0 }
    }
}
