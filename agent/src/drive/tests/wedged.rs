//! An agent's loop that really hangs is told from one that turns with nothing to do.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};

use super::world::setup;
use crate::drive::Agent;
use crate::drive::pulse::{Clock, Hands, Stop, pulse};
use crate::drive::vitals::{Health, Vitals};
use crate::model::{Effect, Event, LinkEvent, Memory};

/// Far more than a loaded machine keeps a working loop from turning, in a test that waits for it.
const WEDGED_AFTER: Duration = Duration::from_secs(2);
const PATIENCE: Duration = Duration::from_secs(60);

/// Stand still while the test holds the lock.
struct StuckHands(Arc<Mutex<()>>);

impl Hands for StuckHands {
    fn act(&mut self, _: Effect) {
        drop(self.0.lock().unwrap());
    }
}

fn until(vitals: &Vitals, what: &str, wanted: impl Fn(&Health) -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !wanted(&vitals.health()) {
        assert!(Instant::now() < deadline, "wanted {what}, have {:?}", vitals.health());
        std::thread::yield_now();
    }
}

#[test]
fn a_loop_that_hangs_is_told_from_one_that_turns() {
    let (vitals, lock) = (Arc::new(Vitals::wedged_after(WEDGED_AFTER)), Arc::new(Mutex::new(())));
    let health = vitals.health();
    assert!(health.wedged.is_none() && !health.started && health.waits_for.as_deref() == Some("it is starting"));
    let (stop, stopped) = oneshot::channel::<()>();
    let (events, inbox) = mpsc::channel(16);
    let (hands, shown) = (StuckHands(lock.clone()), vitals.clone());
    let agent = std::thread::spawn(move || {
        let clock = Clock;
        let (agent, first) = Agent::new(setup(1), Memory::default(), Vec::new(), clock.now());
        let stop = Stop { asked: async { _ = stopped.await }, drain_within: None };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(pulse(agent, first, inbox, hands, clock, stop, &shown));
    });
    let idle = Instant::now() + WEDGED_AFTER * 2;
    until(&vitals, "time to pass", |health| {
        assert_eq!(health.wedged, None, "with nothing to do it turns");
        Instant::now() > idle
    });
    assert_eq!(vitals.health().waits_for.as_deref(), Some("no scheduler has registered it"));
    let refused = LinkEvent::Refused { reason: "of cluster x".into(), leader_address: String::new(), slowly: true };
    events.blocking_send(Event::Link(refused)).unwrap();
    let said = "no scheduler has registered it; it was refused: of cluster x";
    until(&vitals, "the refusal", |health| health.waits_for.as_deref() == Some(said));
    vitals.registered(true);
    assert_eq!(vitals.health().waits_for, None);

    let held = lock.lock().unwrap();
    // Something to do: it registers.
    events.blocking_send(Event::Link(LinkEvent::Up { session: 1 })).unwrap();
    until(&vitals, "a wedged loop", |health| {
        health.wedged.as_ref().is_some_and(|words| words.starts_with("its loop has not turned for"))
    });
    assert_eq!(vitals.health().waits_for, vitals.health().wedged);
    drop(held);
    until(&vitals, "a loop that turns", |health| health.wedged.is_none() && health.waits_for.is_none());
    stop.send(()).unwrap();
    agent.join().unwrap();
}
