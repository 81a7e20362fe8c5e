//! A pulse that really stands still is told from one that works, waits for its journal, or has nothing to do.

use std::sync::MutexGuard;

use super::*;
use crate::drive::{Health, Role, SystemClock};

/// Far more than a loaded machine keeps a working part from turning, in a test that waits for it.
const WEDGED_AFTER: Duration = Duration::from_secs(2);
const PATIENCE: Duration = Duration::from_secs(60);

/// What the part stands still at that is named so, as it would at a lock that nobody gives back.
static HANDS: Mutex<()> = Mutex::new(());
static CLOCK: Mutex<()> = Mutex::new(());

struct StuckHands;

impl Hands for StuckHands {
    fn act(&mut self, _: &[Arc<Batch>], _: Vec<Effect>) {
        drop(HANDS.lock().unwrap());
    }
}

struct StuckClock(SystemClock);

impl Clock for StuckClock {
    fn now(&self) -> Reading {
        drop(CLOCK.lock().unwrap());
        self.0.now()
    }

    fn passed(&self, duration: Duration) -> impl Future<Output = ()> + Send + 'static {
        self.0.passed(duration)
    }
}

/// What was appended, each with the sender by which the test says that it is durable.
type Appends = mpsc::UnboundedReceiver<(Arc<Batch>, Done)>;

/// Leads with these; what it appends is durable when the test says so.
fn lead(hands: impl Hands, clock: impl Clock) -> (Arc<Vitals>, Inbox, Appends) {
    let vitals = Arc::new(Vitals::wedged_after(WEDGED_AFTER));
    let (inbox, inboxes) = Inbox::new();
    let (appended, appends) = mpsc::unbounded_channel();
    let pulse = Pulse::new(State::default(), Settings::default(), PulseSettings::default());
    let runner = Runner::new(pulse, held_journal(appended), clock, inboxes).shown_in(vitals.clone());
    tokio::spawn(runner.lead(Epoch(1), "cluster".into(), hands, std::future::pending()));
    (vitals, inbox, appends)
}

async fn until(vitals: &Vitals, what: &str, wanted: impl Fn(&Health) -> bool) {
    let reached = async {
        while !wanted(&vitals.health()) {
            tokio::task::yield_now().await;
        }
    };
    let reached = tokio::time::timeout(PATIENCE, reached).await;
    reached.unwrap_or_else(|_| panic!("wanted {what}, have {:?}", vitals.health()));
}

/// Wedged while it is held, and well again once it is not.
#[expect(clippy::await_holding_lock, reason = "the lock is what the part under test hangs at")]
async fn while_held(vitals: &Vitals, held: MutexGuard<'static, ()>, words: &str) {
    until(vitals, words, |health| health.wedged.as_ref().is_some_and(|wedged| wedged.contains(words))).await;
    let health = vitals.health();
    assert_eq!(health.waits_for, health.wedged, "a wedged one is not ready");
    drop(held);
    until(vitals, "no part wedged", |health| health.wedged.is_none()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
#[expect(clippy::await_holding_lock, reason = "the lock is what the part under test hangs at")]
async fn hands_that_stand_still_are_told_from_hands_that_have_nothing_to_do() {
    let (vitals, inbox, mut appends) = lead(StuckHands, SystemClock::default());
    appends.recv().await.unwrap().1.send(Ok(())).unwrap();
    // Longer than a wedge would take to show: nobody asks for anything, and nothing is wedged.
    let idle = tokio::time::Instant::now() + WEDGED_AFTER * 2;
    until(&vitals, "time to pass", |health| {
        assert_eq!(health.wedged, None);
        tokio::time::Instant::now() > idle
    })
    .await;
    let held = HANDS.lock().unwrap();
    submit(&inbox, 1, "web").unwrap();
    appends.recv().await.unwrap().1.send(Ok(())).unwrap();
    while_held(&vitals, held, "the part that carries out decisions has not turned for").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_decision_that_does_not_end_is_a_wedged_pulse() {
    let (vitals, _inbox, mut appends) = lead(Notes::default(), StuckClock(SystemClock::default()));
    appends.recv().await.unwrap().1.send(Ok(())).unwrap();
    let held = CLOCK.lock().unwrap();
    while_held(&vitals, held, "the part that decides has not turned for").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn waiting_for_the_journal_is_not_being_wedged_but_not_being_ready() {
    let (vitals, inbox, mut appends) = lead(Notes::default(), SystemClock::default());
    let (role, (trouble, told)) = (watch::Sender::new(Role::Leading), watch::channel(String::new()));
    vitals.serves(role.subscribe(), told);
    let first = Some("its first decisions are not durable yet");
    until(&vitals, "a leader that is not ready yet", |health| health.waits_for.as_deref() == first).await;
    appends.recv().await.unwrap().1.send(Ok(())).unwrap();
    until(&vitals, "a ready leader", |health| health.waits_for.is_none() && health.doing == "leads").await;
    // One that hangs is enough: whoever submitted waits for it, whether the journal would take more or not.
    for most in [1, IN_FLIGHT as u64] {
        let mut held = Vec::new();
        for number in 0..most {
            submit(&inbox, number, &format!("web{most}-{number}")).unwrap();
            held.push(appends.recv().await.unwrap().1);
        }
        let beyond = tokio::time::Instant::now() + WEDGED_AFTER * 2;
        until(&vitals, "a leader that waits", |health| {
            assert_eq!(health.wedged, None);
            let waits = health.waits_for.as_deref().is_some_and(|what| what.contains("nothing has become durable for"));
            waits && tokio::time::Instant::now() > beyond
        })
        .await;
        held.into_iter().for_each(|done| done.send(Ok(())).unwrap());
        until(&vitals, "a ready leader", |health| health.waits_for.is_none()).await;
    }
    trouble.send("etcd is full".into()).unwrap();
    until(&vitals, "a leader in trouble", |health| health.waits_for.as_deref() == Some("etcd is full")).await;
    assert_eq!(vitals.health().wedged, None);
}
