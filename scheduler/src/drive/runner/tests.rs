//! The runner over a journal that the test holds back or breaks.

mod held;
mod wedged;

use std::sync::Mutex;

use dawn_proto::v1::JobKind;
use tokio::sync::oneshot;

use super::*;
use crate::drive::{Inbox, PulseSettings};
use crate::model::{Command, ReplyTo, Settings, State};
use crate::wire::sample::{registered, spec};

type Done = oneshot::Sender<Result<(), AppendError>>;

/// Appends wait until the test says they are durable, proofs until it gives them.
struct HeldJournal {
    appended: mpsc::UnboundedSender<(Arc<Batch>, Done)>,
    proofs: mpsc::UnboundedSender<oneshot::Sender<bool>>,
    trouble: watch::Receiver<String>,
}

impl Journal for HeldJournal {
    fn confirm(&mut self) -> impl Future<Output = bool> + Send + 'static {
        let (proof, proved) = oneshot::channel();
        self.proofs.send(proof).unwrap();
        async move { proved.await.unwrap_or(false) }
    }

    fn trouble(&self) -> watch::Receiver<String> {
        self.trouble.clone()
    }

    fn append(&mut self, batch: Arc<Batch>) -> impl Future<Output = Result<(), AppendError>> + Send + 'static {
        let (done, answer) = oneshot::channel();
        let index = batch.index;
        self.appended.send((batch, done)).unwrap();
        async move { answer.await.unwrap_or(Err(AppendError::NotLeader { index })) }
    }
}

/// One that proves nothing and says nothing.
fn held_journal(appended: mpsc::UnboundedSender<(Arc<Batch>, Done)>) -> HeldJournal {
    HeldJournal { appended, proofs: mpsc::unbounded_channel().0, trouble: watch::channel(String::new()).1 }
}

/// The machine's clocks, but for a stop's patience, which is over when nothing else happens any more.
#[derive(Default)]
struct HastyClock(crate::drive::SystemClock);

impl Clock for HastyClock {
    fn now(&self) -> Reading {
        self.0.now()
    }

    fn passed(&self, duration: Duration) -> impl Future<Output = ()> + Send + 'static {
        let time = if duration == FINISH_WITHIN { duration / 20 } else { duration };
        self.0.passed(time)
    }
}

/// Notes what was done, in order: "batch 3", "Launch".
#[derive(Clone, Default)]
struct Notes(Arc<Mutex<Vec<String>>>);

impl Hands for Notes {
    fn act(&mut self, batches: &[Arc<Batch>], effects: Vec<Effect>) {
        let mut notes = self.0.lock().unwrap();
        notes.extend(batches.iter().map(|batch| format!("batch {}", batch.index)));
        notes.extend(effects.iter().map(|effect| format!("{effect:?}").split([' ', '{']).next().unwrap().to_string()));
    }
}

impl Notes {
    fn taken(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

struct Led {
    inbox: Inbox,
    appends: mpsc::UnboundedReceiver<(Arc<Batch>, Done)>,
    proofs: mpsc::UnboundedReceiver<oneshot::Sender<bool>>,
    trouble: watch::Sender<String>,
    live: watch::Receiver<Arc<LiveView>>,
    notes: Notes,
    stop: Option<oneshot::Sender<()>>,
    ended: tokio::task::JoinHandle<Result<(), DriveError>>,
}

fn lead() -> Led {
    lead_in_steps_of(PulseSettings::default().step_bytes)
}

fn lead_in_steps_of(step_bytes: usize) -> Led {
    let (inbox, inboxes) = Inbox::new();
    let (appended, appends) = mpsc::unbounded_channel();
    let (proofs, proofs_out) = mpsc::unbounded_channel();
    let trouble = watch::Sender::default();
    let notes = Notes::default();
    let (stop, stopped) = oneshot::channel::<()>();
    let bounds = PulseSettings { step_bytes, ..PulseSettings::default() };
    let pulse = Pulse::new(State::default(), Settings::default(), bounds);
    let journal = HeldJournal { appended, proofs, trouble: trouble.subscribe() };
    let runner = Runner::new(pulse, journal, HastyClock::default(), inboxes);
    let live = runner.live();
    let stop_led = async move { _ = stopped.await };
    let ended = tokio::spawn(runner.lead(Epoch(1), "cluster".into(), notes.clone(), stop_led));
    Led { inbox, appends, proofs: proofs_out, trouble, live, notes, stop: Some(stop), ended }
}

fn submit(inbox: &Inbox, reply: u64, name: &str) -> Result<(), crate::drive::InboxFull> {
    let spec = Box::new(spec(name, JobKind::Service, 1));
    inbox.command(ReplyTo(reply), Command::Submit { spec, author: String::new(), message: String::new() })
}

impl Led {
    async fn append(&mut self) -> (Arc<Batch>, Done) {
        tokio::time::timeout(Duration::from_secs(10), self.appends.recv()).await.unwrap().unwrap()
    }

    /// Leads with an agent there and everything durable.
    async fn settled() -> Led {
        let mut led = lead();
        let (_, done) = led.append().await;
        done.send(Ok(())).unwrap();
        led.inbox.link_event(registered(1, 1, Vec::new())).await.unwrap();
        let (_, done) = led.append().await;
        done.send(Ok(())).unwrap();
        led.until(&["batch 1", "batch 2", "Welcome"]).await;
        led
    }

    async fn until(&self, wanted: &[&str]) {
        let reached = async {
            while self.notes.taken() != wanted {
                tokio::task::yield_now().await;
            }
        };
        let reached = tokio::time::timeout(Duration::from_secs(10), reached).await;
        reached.unwrap_or_else(|_| panic!("wanted {wanted:?}, have {:?}", self.notes.taken()));
    }
}

#[tokio::test]
async fn nothing_is_done_before_the_journal_has_it_and_the_follower_has_it_first() {
    let mut led = Led::settled().await;
    submit(&led.inbox, 1, "web").unwrap();
    let (batch, done) = led.append().await;
    assert_eq!(batch.index, 3);
    // More happens meanwhile; it waits behind the first.
    submit(&led.inbox, 2, "sum").unwrap();
    let (second, second_done) = led.append().await;
    second_done.send(Ok(())).unwrap();
    assert_eq!(led.notes.taken(), ["batch 1", "batch 2", "Welcome"], "not even what is durable out of order");
    done.send(Ok(())).unwrap();
    assert_eq!(second.index, 4);
    let start = ["batch 1", "batch 2", "Welcome"];
    led.until(&[&start[..], &["batch 3", "Reply", "Launch", "batch 4", "Reply", "Launch"]].concat()).await;
}

#[tokio::test]
async fn events_that_come_while_appends_are_in_flight_share_the_next_batch() {
    let mut led = Led::settled().await;
    let mut held = Vec::new();
    for number in 0..IN_FLIGHT as u64 {
        submit(&led.inbox, number, &format!("web{number}")).unwrap();
        held.push(led.append().await.1);
    }
    for number in 10..20 {
        submit(&led.inbox, number, &format!("web{number}")).unwrap();
    }
    for done in held {
        done.send(Ok(())).unwrap();
    }
    let (batch, done) = led.append().await;
    let made = batch.mutations.iter().filter(|m| matches!(m, crate::model::Mutation::JobMade(_))).count();
    assert_eq!(made, 10);
    done.send(Ok(())).unwrap();
}

#[tokio::test]
async fn a_refused_append_ends_it_and_nothing_of_it_is_done() {
    let mut led = Led::settled().await;
    submit(&led.inbox, 1, "web").unwrap();
    let (_, done) = led.append().await;
    done.send(Err(AppendError::NotLeader { index: 3 })).unwrap();
    let ended = tokio::time::timeout(Duration::from_secs(10), led.ended).await.unwrap().unwrap();
    assert!(matches!(&ended, Err(DriveError::Deposed { why }) if why.contains("batch 3")), "{ended:?}");
    assert_eq!(led.notes.taken(), ["batch 1", "batch 2", "Welcome"]);
}

#[tokio::test]
async fn a_stop_finishes_what_is_in_flight() {
    let mut led = Led::settled().await;
    submit(&led.inbox, 1, "web").unwrap();
    let (_, done) = led.append().await;
    led.stop.take().unwrap().send(()).unwrap();
    done.send(Ok(())).unwrap();
    tokio::time::timeout(Duration::from_secs(10), led.ended).await.unwrap().unwrap().unwrap();
    let notes = led.notes.taken();
    assert_eq!(notes[3..], ["batch 3", "Reply", "Launch"]);
}

#[tokio::test]
async fn a_full_inbox_refuses_commands() {
    let mut led = lead();
    // The first append is never answered; then nothing but the queue takes commands.
    let mut held = vec![led.append().await];
    let mut number = 0;
    let full = loop {
        tokio::task::yield_now().await;
        while let Ok(append) = led.appends.try_recv() {
            held.push(append);
        }
        number += 1;
        if let Err(refused) = submit(&led.inbox, number, &format!("web{number}")) {
            break refused;
        }
        assert!(number < 20_000, "it never is full");
    };
    assert_eq!(full.to_string(), "1024 commands wait already; try again in a moment");
    assert!(held.len() <= IN_FLIGHT, "{} appends in flight", held.len());
}
