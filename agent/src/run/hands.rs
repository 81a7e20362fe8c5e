//! Effects to deeds: each is handed to its edge, slow ones to a few threads, and what becomes of it comes back as an event.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use dawn_proto::TaskId;
use tokio::sync::{Semaphore, mpsc};
use tracing::{debug, error, warn};

use super::fetch::{Fetches, Wish};
use super::imaging::Imaging;
use super::inspect;
use super::launching;
use super::logs;
use super::notes;
use super::reach::{self, Board};
use super::remembering::Remembering;
use crate::config::Config;
use crate::drive::pulse::Hands;
use crate::edges::artifacts::Fetcher;
use crate::edges::cgroup::Tree;
use crate::edges::checkpoint::Tasks;
use crate::edges::executors::{self, Command, Spawned, Starter, Watched};
use crate::edges::images::Images;
use crate::edges::link::LinkHandle;
use crate::edges::sandbox;
use crate::edges::vet::Vetting;
use crate::model::{Effect, Event, Gpus, Inspection, MachineEvent, Message, Refusal, Report};

/// Steps of launches at once: they wait for the disk.
const MAX_LAUNCH_JOBS: usize = 8;
/// Executors that begin at once, at least.
const MIN_STARTS: usize = 2;
/// Clean-ups at once: they wait for processes to die.
const MAX_CLEAN_JOBS: usize = 32;
/// Logs read at once; more are refused by not being opened.
pub(super) const MAX_TUNNELS: usize = 256;
/// Clients' sessions at once; more are refused by not being opened.
pub(super) const MAX_SESSIONS: usize = 256;
/// Tasks whose artifacts are fetched at once; more wait, alive.
const MAX_FETCHES: usize = 16;
/// Descriptions of tasks are sent within this time, with a pause where the way is full.
const DESCRIBE_WITHIN: Duration = Duration::from_secs(30);
const DESCRIBE_PAUSE: Duration = Duration::from_millis(20);
/// Orders waiting for one executor; more are dropped and told again.
const MAX_COMMANDS: usize = 8;

/// What the deeds need, shared with their threads.
pub(super) struct Shared {
    pub config: Config,
    pub tree: Option<Tree>,
    pub tasks: Tasks,
    pub board: Board,
    pub sessions: Semaphore,
    pub fetcher: Fetcher,
    pub fetching: Semaphore,
    pub starter: Starter,
    vetting: Vetting,
    pub(super) gpus: Gpus,
    /// The file system of the sandboxes keeps limits of disk by itself.
    pub(super) has_quotas: bool,
    pub(super) images: Images,
    pub(super) imaging: Imaging,
    pub(super) launching: Semaphore,
    /// Executors that have not begun yet.
    starting: Arc<Semaphore>,
    cleaning: Semaphore,
    pub(super) tunnels: Semaphore,
}

/// All edges together.
pub(super) struct Edges {
    shared: Arc<Shared>,
    link: LinkHandle,
    events: mpsc::Sender<Event>,
    /// Dropped with the agent, which ends the watching, not the executors.
    watchers: BTreeMap<TaskId, futures_channel::mpsc::Sender<Command>>,
    fetches: Fetches,
    prune_at: usize,
    remembering: Remembering,
}

impl Edges {
    pub(super) fn new(shared: Arc<Shared>, link: LinkHandle, events: mpsc::Sender<Event>) -> Self {
        Edges {
            shared,
            link,
            events,
            watchers: BTreeMap::new(),
            fetches: Fetches::default(),
            prune_at: 64,
            remembering: Remembering::default(),
        }
    }

    /// Runs a deed on a thread; its event comes back.
    fn job(
        &self,
        pool: fn(&Shared) -> &Semaphore,
        deed: impl FnOnce(&Shared) -> Option<MachineEvent> + Send + 'static,
    ) {
        let (shared, events) = (self.shared.clone(), self.events.clone());
        tokio::spawn(async move {
            // Closed never.
            let Ok(_permit) = pool(&shared).acquire().await else { return };
            let worker = shared.clone();
            match tokio::task::spawn_blocking(move || deed(&worker)).await {
                Ok(Some(event)) => {
                    let _ = events.send(Event::Machine(event)).await;
                }
                Ok(None) => {}
                Err(error) => error!(%error, "a deed of the agent broke down"),
            }
        });
    }

    /// What becomes of a deed in several steps comes back as an event.
    fn tell(&self, deed: impl Future<Output = Option<MachineEvent>> + Send + 'static) {
        let events = self.events.clone();
        tokio::spawn(async move {
            if let Some(event) = deed.await {
                let _ = events.send(Event::Machine(event)).await;
            }
        });
    }

    fn launch_job(&self, deed: impl FnOnce(&Shared) -> MachineEvent + Send + 'static) {
        self.job(|shared| &shared.launching, |shared| Some(deed(shared)));
    }

    fn clean_job(&self, deed: impl FnOnce(&Shared) -> Option<MachineEvent> + Send + 'static) {
        self.job(|shared| &shared.cleaning, deed);
    }

    fn tell_executor(&mut self, task: TaskId, command: Command) {
        let told = self.watchers.get_mut(&task).is_some_and(|watcher| watcher.try_send(command).is_ok());
        if !told {
            debug!(%task, ?command, "the executor can't be told now");
        }
    }

    fn watcher(&mut self, task: TaskId) -> futures_channel::mpsc::Receiver<Command> {
        if self.watchers.len() >= self.prune_at {
            self.watchers.retain(|_, watcher| !watcher.is_closed());
            self.prune_at = (self.watchers.len() * 2).max(64);
        }
        // There is one for each task: unlike tokio's it takes no room before something is said.
        let (sender, commands) = futures_channel::mpsc::channel(MAX_COMMANDS);
        self.watchers.insert(task, sender);
        commands
    }

    /// Starts and watches in one: the child belongs to whoever collects its exit.
    fn spawn(&mut self, task: TaskId) {
        self.shared.board.began(task);
        let commands = self.watcher(task);
        let (shared, events) = (self.shared.clone(), self.events.clone());
        tokio::spawn(async move {
            let Ok(turn) = shared.starting.clone().acquire_owned().await else { return };
            let (worker, dir) = (shared.clone(), shared.tasks.dir(task));
            let started = dir.clone();
            let spawned = tokio::task::spawn_blocking(move || worker.starter.start(&started)).await;
            let child = match spawned {
                Ok(Ok(Spawned::Started(pid))) => Ok(Some(pid)),
                Ok(Ok(Spawned::Already)) => Ok(None),
                Ok(Err(error)) => Err(Refusal::Executor { message: chain(&error) }),
                Err(error) => Err(Refusal::Executor { message: error.to_string() }),
            };
            let result = child.as_ref().map(|_| ()).map_err(Clone::clone);
            let _ = events.send(Event::Machine(MachineEvent::Spawned { task, result })).await;
            if let Ok(child) = child {
                executors::watch(Watched { dir, heard: 0, child, turn: Some(turn) }, commands, events).await;
            }
        });
    }

    fn attach(&mut self, task: TaskId, heard: u64) {
        self.shared.board.began(task);
        let commands = self.watcher(task);
        let dir = self.shared.tasks.dir(task);
        tokio::spawn(executors::watch(Watched { dir, heard, child: None, turn: None }, commands, self.events.clone()));
    }
}

impl Hands for Edges {
    fn act(&mut self, effect: Effect) {
        match effect {
            Effect::Remember(memory) => self.remembering.remember(memory, &self.shared.config.work_dir),
            Effect::Send { session, message } => {
                if !self.remembering.is_durable(&self.shared.config.work_dir) {
                    self.link.hang_up(session, None, true);
                } else if !self.link.send(session, message) {
                    debug!("the way to the scheduler is full; said again later");
                }
            }
            Effect::Hangup { session, next, slowly } => self.link.hang_up(session, next, slowly),
            Effect::Vet { task, user, ports } => {
                self.launch_job(move |shared| MachineEvent::Vetted { task, result: shared.vetting.vet(&user, &ports) })
            }
            Effect::Checkpoint(record) => self.tell(launching::checkpoint(self.shared.clone(), record)),
            Effect::Prepare { task, limits, identity } => {
                self.tell(launching::prepare(self.shared.clone(), task, limits, identity))
            }
            Effect::Fetch { task, identity, artifacts, disk_bytes } => {
                let wish = Wish { task, identity, artifacts, disk_bytes };
                self.fetches.begin(&self.shared, &self.events, wish);
            }
            Effect::StopFetch { task } => self.fetches.stop(task),
            Effect::Spawn { task } => self.spawn(task),
            Effect::Attach { task, heard } => self.attach(task, heard),
            Effect::TellKill { task, reason, grace_period_ms } => {
                self.tell_executor(task, Command::Kill { reason, grace_period_ms })
            }
            Effect::Renew { task, until_ms } => self.tell_executor(task, Command::Renew { until_ms }),
            Effect::LookAtDisk { task, tasks } => self.tell_executor(task, Command::LookAtDisk { tasks }),
            Effect::KillExecutor { task } => self.tell_executor(task, Command::KillExecutor),
            Effect::ForceKill { task, processes } => self.clean_job(move |shared| {
                shared.kill(task, &processes);
                None
            }),
            Effect::Record(report) => self.launch_job(move |shared| {
                let task = report.task;
                if let Err(error) = shared.tasks.write_verdict(&report) {
                    error!(%task, error = chain(&error), "the verdict is not durable");
                }
                MachineEvent::Recorded { task }
            }),
            Effect::CleanUp { task, processes } => {
                self.shared.board.ended(task);
                self.clean_job(move |shared| Some(shared.clean_up(task, &processes)))
            }
            Effect::Release { task } => self.release(task),
            Effect::Delete { task } => self.delete(task),
            Effect::Inspect { session, inspection } => self.inspect(session, inspection),
            Effect::Describe { session, reports } => self.describe(session, reports),
            Effect::OpenTunnel { tunnel, log, known } => {
                // The scheduler that asked is the one connected: its address is tried first.
                if let Some(address) = self.link.address() {
                    tokio::spawn(logs::serve(self.shared.clone(), address, tunnel, log, known));
                }
            }
            Effect::Reach { tunnel, about } => {
                // The scheduler that asked is the one connected.
                if let Some(address) = self.link.address() {
                    tokio::spawn(reach::serve(self.shared.clone(), address, tunnel, about));
                }
            }
            Effect::Observe(observed) => self.shared.observe(*observed),
            Effect::Note(note) => notes::write(&note),
        }
    }
}

impl Edges {
    fn release(&self, task: TaskId) {
        if let Err(error) = self.shared.tasks.mark_released(task) {
            warn!(%task, error = chain(&error), "its end will be reported once more after a restart");
        }
    }

    fn inspect(&self, session: u64, mut inspection: Box<Inspection>) {
        let (shared, link) = (self.shared.clone(), self.link.clone());
        tokio::task::spawn_blocking(move || {
            inspect::look(&mut inspection, shared.tree.as_ref(), |task| shared.tasks.dir(task));
            if !link.send(session, Message::Inspection(inspection)) {
                debug!("the way to the scheduler is full; it will ask again");
            }
        });
    }

    /// Sends as fast as the way to the scheduler takes it: what is dropped is not asked for again.
    fn describe(&self, session: u64, reports: Vec<Report>) {
        let (shared, link) = (self.shared.clone(), self.link.clone());
        tokio::spawn(async move {
            let until = tokio::time::Instant::now() + DESCRIBE_WITHIN;
            for report in reports {
                let (worker, task) = (shared.clone(), report.task);
                let plan = tokio::task::spawn_blocking(move || worker.tasks.plan(task)).await;
                let Ok(Some(plan)) = plan else { continue };
                let message = Message::Description { report, plan };
                while !link.send(session, message.clone()) {
                    if tokio::time::Instant::now() > until {
                        return warn!(%task, "the scheduler does not take what it asked for");
                    }
                    tokio::time::sleep(DESCRIBE_PAUSE).await;
                }
            }
        });
    }

    fn delete(&self, task: TaskId) {
        if self.shared.has_quotas {
            sandbox::quota::lift(&self.shared.tasks.dir(task).sandbox());
        }
        match self.shared.tasks.discard(task) {
            Ok(()) => self.clean_job(move |shared| {
                if let Err(error) = shared.tasks.empty_trash() {
                    warn!(error = chain(&error), "can't empty the trash");
                }
                // What can't be removed still takes its room.
                shared.tasks.is_gone(task).then_some(MachineEvent::Deleted { task })
            }),
            Err(error) => warn!(%task, error = chain(&error), "its directory stays"),
        }
    }
}

impl Shared {
    pub(super) fn new(config: Config, tree: Option<Tree>, tasks: Tasks, images: Images, fetcher: Fetcher) -> Self {
        Shared {
            vetting: Vetting { run_as_self: config.run_as_self },
            gpus: super::start::gpus(&config, tree.is_some()),
            has_quotas: super::start::has_quotas(&config),
            starter: Starter::new(config.executor.clone(), config.zygote),
            config,
            tree,
            tasks,
            images,
            imaging: Imaging::default(),
            fetcher,
            board: Board::default(),
            sessions: Semaphore::new(MAX_SESSIONS),
            fetching: Semaphore::new(MAX_FETCHES),
            launching: Semaphore::new(MAX_LAUNCH_JOBS),
            starting: Arc::new(Semaphore::new(executors_at_once())),
            cleaning: Semaphore::new(MAX_CLEAN_JOBS),
            tunnels: Semaphore::new(MAX_TUNNELS),
        }
    }

    fn kill(&self, task: TaskId, processes: &[crate::model::ProcessIdentity]) {
        match &self.tree {
            Some(tree) => {
                if let Err(error) = tree.kill(task) {
                    error!(%task, error = chain(&error), "can't kill its processes");
                }
            }
            None => executors::kill_processes(processes),
        }
    }

    fn clean_up(&self, task: TaskId, processes: &[crate::model::ProcessIdentity]) -> MachineEvent {
        match &self.tree {
            Some(tree) => {
                if let Err(error) = tree.remove(task) {
                    error!(%task, error = chain(&error), "its cgroup is left");
                }
            }
            None => executors::kill_processes(processes),
        }
        self.images.release(task);
        MachineEvent::Cleaned { task, bytes: sandbox::measure(&self.tasks.dir(task)) }
    }
}

/// A start is work for a processor; more at once only wait for each other inside the kernel.
fn executors_at_once() -> usize {
    std::thread::available_parallelism().map_or(MIN_STARTS, |cpus| cpus.get().max(MIN_STARTS))
}

/// Runs what blocks on a thread for it. None: it broke down.
pub(super) async fn blocking<T: Send + 'static>(deed: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let done = tokio::task::spawn_blocking(deed).await;
    done.inspect_err(|error| error!(%error, "a deed of the agent broke down")).ok()
}

/// An error with its causes, for a report or a log line.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let said = inner.to_string();
        if !text.ends_with(&said) {
            text = format!("{text}: {said}");
        }
        cause = inner.source();
    }
    text
}
