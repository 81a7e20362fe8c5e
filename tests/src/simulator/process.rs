//! One life of a scheduler: its real parts but for sockets and the journal's home, in a runtime that runs only when told.

use std::collections::BTreeMap;
use std::collections::VecDeque;
use std::future::{Future, pending};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dawn_proto::{Epoch, v1};
use dawn_scheduler::api::Replies;
use dawn_scheduler::drive::{AppendError, Clock, DriveError, Follower, Inbox, Journal, PulseSettings, Role};
use dawn_scheduler::link::{FreshNumber, LinkService};
use dawn_scheduler::model::{Answer, Batch, Command, Reading, Refusal, State};
use dawn_scheduler::run::{Config, Lead, OwnKey, Signs};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::Status;

use super::clock::SimClock;
use super::settings::settings;

/// So often everything that is awake is run in one turn: what one part hands to the next is taken up, and what they hand
/// on in turn.
pub(super) const ROUNDS: usize = 12;

/// Looks at the own leader key that have no answer yet.
type Looking = Arc<Mutex<VecDeque<oneshot::Sender<bool>>>>;

pub(super) type Done = oneshot::Sender<Result<(), AppendError>>;

/// What a scheduler did in a turn, for the world to carry on.
#[derive(Default)]
pub(super) struct News {
    /// By link; None: it closed the link.
    pub to_agents: Vec<(u64, Option<v1::SchedulerMessage>)>,
    /// None: nobody answered.
    pub answers: Vec<(u64, Option<Result<Answer, Refusal>>)>,
    pub appended: VecDeque<(Arc<Batch>, Done)>,
    /// Each wants to know that the leader's lease lives now.
    pub proofs: Vec<oneshot::Sender<bool>>,
    /// It wants to know whether its own leader key is there.
    pub looks: usize,
}

#[derive(Clone, Default)]
struct Desk(Arc<Mutex<News>>);

impl Desk {
    fn news(&self) -> MutexGuard<'_, News> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How a leadership ended.
pub(super) enum Ended {
    Deposed(String),
    /// Never allowed.
    Broken(String),
}

pub(super) struct Process {
    runtime: Runtime,
    clock: SimClock,
    pub follower: Arc<Follower>,
    service: LinkService,
    inbox: Inbox,
    replies: Arc<Replies>,
    signs: Arc<Signs>,
    lead: Option<Lead>,
    leading: Option<JoinHandle<Result<(), DriveError>>>,
    desk: Desk,
    /// What holds appends up.
    trouble: watch::Sender<String>,
    looking: Looking,
    incoming: BTreeMap<u64, mpsc::UnboundedSender<Result<v1::AgentMessage, Status>>>,
}

impl Process {
    pub fn new(state: State, pulse: PulseSettings, fresh_number: FreshNumber) -> Process {
        let follower = Follower::new(state);
        let (inbox, inboxes) = Inbox::new();
        let (replies, signs) = (Arc::<Replies>::default(), Arc::<Signs>::default());
        let service = LinkService {
            links: Arc::default(),
            tunnels: Arc::default(),
            inspections: Arc::default(),
            words: Arc::default(),
            inbox: inbox.clone(),
            follower: follower.clone(),
            role: signs.role.subscribe(),
            fresh_number,
        };
        let (desk, looking) = (Desk::default(), Looking::default());
        let (asked, waiting) = (desk.clone(), looking.clone());
        let own_key: OwnKey = Arc::new(move || {
            let (answer, answered) = oneshot::channel();
            asked.news().looks += 1;
            waiting.lock().unwrap_or_else(PoisonError::into_inner).push_back(answer);
            Box::pin(async move { answered.await.ok() })
        });
        let mut config = Config::new(SocketAddr::from(([127, 0, 0, 1], 0)), PathBuf::new());
        config.settings = settings();
        config.pulse = pulse;
        let lead = Lead {
            config,
            follower: follower.clone(),
            links: service.links.clone(),
            replies: replies.clone(),
            inbox: inbox.clone(),
            inboxes,
            signs: signs.clone(),
            own_key,
        };
        Process {
            // Time is there for what never runs out in a simulation: no timer of its ever fires.
            runtime: Builder::new_current_thread().enable_time().build().expect("a runtime without I/O"),
            clock: SimClock::default(),
            follower,
            service,
            inbox,
            replies,
            signs,
            lead: Some(lead),
            leading: None,
            desk,
            looking,
            trouble: watch::Sender::default(),
            incoming: BTreeMap::new(),
        }
    }

    pub fn is_leading(&self) -> bool {
        self.leading.is_some()
    }

    pub fn follows(&self, leader: Option<String>) {
        if !self.is_leading() {
            self.signs.role.send_replace(Role::Following { leader });
        }
    }

    /// Begins to lead. `good_until_ms`: nobody else leads before, on its monotonic clock.
    pub fn lead(&mut self, epoch: u64, state: State, good_until_ms: Arc<AtomicU64>, early: bool, now: Reading) {
        let Some(lead) = self.lead.take() else { return };
        self.clock.set(now);
        let (desk, clock) = (self.desk.clone(), self.clock.clone());
        let trouble = self.trouble.subscribe();
        let journal = SimJournal { desk, clock: clock.clone(), good_until_ms, early, trouble };
        let led = lead.under(Epoch(epoch), "simulated".into(), state, journal, clock, pending());
        self.leading = Some(self.runtime.spawn(led));
    }

    pub fn accept(&mut self, link: u64) {
        let _context = self.runtime.enter();
        let (say, said) = mpsc::unbounded_channel();
        self.incoming.insert(link, say);
        let mut outgoing = self.service.accept(UnboundedReceiverStream::new(said));
        let desk = self.desk.clone();
        self.runtime.spawn(async move {
            while let Some(Ok(message)) = outgoing.next().await {
                desk.news().to_agents.push((link, Some(message)));
            }
            desk.news().to_agents.push((link, None));
        });
    }

    pub fn hear(&mut self, link: u64, message: v1::AgentMessage) {
        if let Some(say) = self.incoming.get(&link) {
            // It may have closed the link.
            _ = say.send(Ok(message));
        }
    }

    pub fn link_lost(&mut self, link: u64) {
        self.incoming.remove(&link);
    }

    /// A client asks; `number` comes back with the answer.
    pub fn command(&mut self, number: u64, command: Command) {
        let mut waiting = self.replies.wait();
        if !self.is_leading() || self.inbox.command(waiting.reply, command).is_err() {
            return self.desk.news().answers.push((number, None));
        }
        let desk = self.desk.clone();
        self.runtime.spawn(async move {
            let answered = (&mut waiting.answered).await.ok();
            desk.news().answers.push((number, answered.map(|answered| answered.answer)));
        });
    }

    /// Says what holds appends up; empty: nothing does.
    pub fn waits(&self, trouble: &str) {
        self.trouble.send_if_modified(|told| {
            let changed = *told != trouble;
            *told = trouble.to_string();
            changed
        });
    }

    /// What etcd says of its own leader key.
    pub fn own_key_seen(&self, is_there: bool) {
        if let Some(answer) = self.looking.lock().unwrap_or_else(PoisonError::into_inner).pop_front() {
            _ = answer.send(is_there);
        }
    }

    /// Runs everything that is awake, or for fewer rounds a part of it.
    pub fn turn(&mut self, now: Reading, rounds: usize) -> (News, Option<Ended>) {
        self.clock.set(now);
        self.runtime.block_on(async {
            for _ in 0..rounds {
                tokio::task::yield_now().await;
            }
        });
        let ended = self.leading.take_if(|leading| leading.is_finished());
        let ended = ended.map(|led| match self.runtime.block_on(led) {
            Ok(Err(DriveError::HandsGone)) => Ended::Broken("the hands of a scheduler panicked".into()),
            Ok(Err(error)) => Ended::Deposed(error.to_string()),
            Ok(Ok(())) => Ended::Broken("a scheduler stopped, and nobody told it to".into()),
            Err(_) => Ended::Broken("a part of a scheduler panicked; its message is above".into()),
        });
        (std::mem::take(&mut *self.desk.news()), ended)
    }

    /// When a timer of its own wakes it, on its monotonic clock.
    pub fn wakes_ms(&self) -> Option<u64> {
        self.clock.next_ms()
    }
}

/// The journal as the runner sees it: the world writes what it is handed.
struct SimJournal {
    desk: Desk,
    clock: SimClock,
    good_until_ms: Arc<AtomicU64>,
    /// Planted: durable when decided.
    early: bool,
    trouble: watch::Receiver<String>,
}

impl Journal for SimJournal {
    fn is_leading(&self) -> bool {
        self.clock.now().mono_ms < self.good_until_ms.load(Ordering::Relaxed)
    }

    fn confirm(&mut self) -> impl Future<Output = bool> + Send + 'static {
        let (proof, proved) = oneshot::channel();
        self.desk.news().proofs.push(proof);
        async move { proved.await.unwrap_or(false) }
    }

    fn trouble(&self) -> watch::Receiver<String> {
        self.trouble.clone()
    }

    fn append(&mut self, batch: Arc<Batch>) -> impl Future<Output = Result<(), AppendError>> + Send + 'static {
        let (done, answer) = oneshot::channel();
        let (index, early) = (batch.index, self.early);
        self.desk.news().appended.push_back((batch, done));
        async move {
            if early {
                return Ok(());
            }
            answer.await.unwrap_or(Err(AppendError::NotLeader { index }))
        }
    }
}
