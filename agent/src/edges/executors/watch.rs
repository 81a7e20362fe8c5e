//! Watching one executor until it is dead: its events in order, each once, and that it is gone.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use dawn_proto::v1::Reason;
use futures_channel::mpsc::Receiver;
use nix::sys::wait::waitpid;
use nix::unistd::Pid;
use rustix::process::{PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::{Instant, sleep, sleep_until};
use tracing::{debug, warn};

use super::connection::Connection;
use super::event_log::{EventLog, started};
use super::{process, spawn};
use crate::model::{Event, ExecutorEvent, MachineEvent, ProcessIdentity, TaskDir};
use crate::wire;

/// First and longest pause between attempts to connect; the log is read at each.
const FIRST_PAUSE: Duration = Duration::from_millis(2);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);
/// An executor that lives on after its final event is killed.
const LINGER: Duration = Duration::from_secs(10);
/// One that needs longer to begin keeps nobody else from it.
const LONGEST_TURN: Duration = Duration::from_millis(100);

/// Asked of the executor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// By the task's lifecycle.
    Kill { reason: Reason, grace_period_ms: Option<u64> },
    /// It may live until then on the boot clock.
    Renew { until_ms: u64 },
    /// What the task takes on disk; dropped where there is no connection.
    LookAtDisk { tasks: u32 },
    /// The executor itself, at once.
    KillExecutor,
}

/// Whom to watch.
#[derive(Debug)]
pub struct Watched {
    pub dir: TaskDir,
    /// Events above this sequence are news.
    pub heard: u64,
    /// A child of this process; otherwise it is found by its log.
    pub child: Option<Pid>,
    /// Given back once it is at work, or takes long: others start then.
    pub turn: Option<OwnedSemaphorePermit>,
}

/// Watches until the executor is dead, or until `commands` is closed.
pub async fn watch(watched: Watched, commands: Receiver<Command>, events: mpsc::Sender<Event>) {
    let task = watched.dir.task;
    let log = EventLog::new(&watched.dir);
    let mut watch = Watch {
        watched,
        log,
        commands,
        events,
        executor: None,
        connection: None,
        kill: None,
        renewal: None,
        linger: None,
        began: Instant::now(),
    };
    let Some(handle) = Box::pin(watch.find()).await else { return };
    if let Some(handle) = handle
        && !watch.follow(&handle).await
    {
        return;
    }
    // Dead: what it left in its log is all there is.
    Box::pin(watch.read_log()).await;
    if let Some(child) = watch.watched.child {
        // It is dead, so this does not wait; it frees the process table's entry.
        if let Err(error) = waitpid(child, None) {
            warn!(%task, %error, "can't collect the executor's exit");
        }
    }
    let _ = watch.events.send(Event::Machine(MachineEvent::Gone { task })).await;
}

enum Found {
    Alive(AsyncFd<OwnedFd>),
    /// No event yet.
    Booting,
    Dead,
}

struct Watch {
    watched: Watched,
    log: EventLog,
    commands: Receiver<Command>,
    events: mpsc::Sender<Event>,
    /// As its log says.
    executor: Option<ProcessIdentity>,
    connection: Option<Connection>,
    /// A kill not yet said.
    kill: Option<Vec<u8>>,
    /// The newest renewal not yet said.
    renewal: Option<Vec<u8>>,
    linger: Option<Instant>,
    began: Instant,
}

impl Watch {
    /// A handle on the executor. Some(None): it is dead. None: the watch is over.
    async fn find(&mut self) -> Option<Option<AsyncFd<OwnedFd>>> {
        let mut pause = FIRST_PAUSE;
        loop {
            match self.try_find().await {
                Ok(Found::Dead) => return Some(None),
                Ok(Found::Alive(handle)) => return Some(Some(handle)),
                Ok(Found::Booting) => {}
                Err(error) => warn!(task = %self.watched.dir.task, %error, "can't watch the executor; trying again"),
            }
            tokio::select! {
                command = self.commands.recv() => self.note(command.ok()?),
                () = sleep(pause) => pause = (pause * 2).min(LONGEST_PAUSE),
            }
        }
    }

    async fn try_find(&mut self) -> io::Result<Found> {
        if let Some(child) = self.watched.child {
            // Our child stays in the process table until collected: the pid is its own.
            let Some(pid) = rustix::process::Pid::from_raw(child.as_raw()) else { return Ok(Found::Dead) };
            return Ok(Found::Alive(asynchronous(pidfd_open(pid, PidfdFlags::empty())?)?));
        }
        let running = spawn::is_running(&self.watched.dir);
        let mut executor = self.read_log_for_start().await;
        if executor.is_none() && matches!(running, Ok(true)) {
            // Its log may have been lost or damaged while it lives: whoever listens on its socket is it.
            let connection = Connection::open(&self.watched.dir, self.watched.heard + 1).await;
            executor = connection.ok().and_then(|connection| connection.peer().ok());
        }
        match executor {
            Some(identity) => match process::open(identity)? {
                Some(handle) => Ok(Found::Alive(asynchronous(handle)?)),
                None => Ok(Found::Dead),
            },
            None if matches!(running, Ok(true)) => Ok(Found::Booting),
            None => {
                if let Err(error) = running {
                    warn!(task = %self.watched.dir.task, %error, "the executor's lock can't be looked at; left aside");
                }
                Ok(Found::Dead)
            }
        }
    }

    async fn read_log_for_start(&mut self) -> Option<ProcessIdentity> {
        let events = self.new_events();
        self.executor = started(&events).or(self.executor);
        for event in events {
            self.emit(event).await;
        }
        self.executor
    }

    /// Until it is dead (true) or the watch is over (false).
    async fn follow(&mut self, handle: &AsyncFd<OwnedFd>) -> bool {
        let mut pause = FIRST_PAUSE;
        Box::pin(self.connect()).await;
        loop {
            let connected = self.connection.is_some();
            let lingering = self.linger;
            tokio::select! {
                _ = handle.readable() => return true,
                event = next_event(&mut self.connection) => {
                    pause = FIRST_PAUSE;
                    Box::pin(self.on_socket(event)).await;
                }
                command = self.commands.recv() => {
                    let Ok(command) = command else { return false };
                    self.note(command);
                    Box::pin(self.obey(command, handle)).await;
                }
                () = sleep(pause), if !connected => {
                    pause = (pause * 2).min(LONGEST_PAUSE);
                    Box::pin(self.connect()).await;
                }
                () = sleep_until(lingering.unwrap_or_else(Instant::now)), if lingering.is_some() => {
                    warn!(task = %self.watched.dir.task, "the executor outlives its task; killing it");
                    self.linger = None;
                    kill_executor(handle);
                }
            }
        }
    }

    fn note(&mut self, command: Command) {
        match command {
            Command::Kill { reason, grace_period_ms } => self.kill = Some(wire::encode_kill(reason, grace_period_ms)),
            Command::Renew { until_ms } => self.renewal = Some(wire::encode_renewal(until_ms)),
            Command::LookAtDisk { .. } | Command::KillExecutor => {}
        }
    }

    async fn obey(&mut self, command: Command, handle: &AsyncFd<OwnedFd>) {
        match command {
            Command::Kill { .. } | Command::Renew { .. } => self.say_waiting().await,
            Command::LookAtDisk { tasks } => {
                if let Some(connection) = &mut self.connection
                    && connection.send(&wire::encode_look_at_disk(tasks)).await.is_err()
                {
                    self.connection = None;
                }
            }
            Command::KillExecutor => kill_executor(handle),
        }
    }

    /// Rarely done: kept apart from what every watch holds for as long as its executor lives.
    async fn connect(&mut self) {
        if self.began.elapsed() > LONGEST_TURN {
            self.watched.turn = None;
        }
        match Connection::open(&self.watched.dir, self.watched.heard + 1).await {
            Ok(connection) => self.connection = Some(connection),
            Err(_) => self.read_log().await,
        }
        self.say_waiting().await;
    }

    /// Says what waits where there is a connection; otherwise it is said at the next one.
    async fn say_waiting(&mut self) {
        for waiting in [&mut self.renewal, &mut self.kill] {
            let Some(connection) = &mut self.connection else { return };
            let Some(request) = waiting.take() else { continue };
            if connection.send(&request).await.is_err() {
                self.connection = None;
                *waiting = Some(request);
            }
        }
    }

    async fn on_socket(&mut self, event: io::Result<ExecutorEvent>) {
        match event {
            // A gap: the log has what is missing, and this.
            Ok(event) if event.sequence() > self.watched.heard + 1 => self.read_log().await,
            Ok(event) => self.emit(event).await,
            Err(error) => {
                debug!(task = %self.watched.dir.task, %error, "the executor's socket");
                self.connection = None;
            }
        }
    }

    fn new_events(&mut self) -> Vec<ExecutorEvent> {
        self.log.read_new().unwrap_or_else(|error| {
            warn!(task = %self.watched.dir.task, %error, "can't read the event log");
            Vec::new()
        })
    }

    async fn read_log(&mut self) {
        for event in self.new_events() {
            self.emit(event).await;
        }
    }

    /// Passes an event on, unless it was before.
    async fn emit(&mut self, event: ExecutorEvent) {
        if event.sequence() <= self.watched.heard {
            return;
        }
        self.watched.heard = event.sequence();
        if event.is_terminal() {
            self.linger = Some(Instant::now() + LINGER);
        }
        let task = self.watched.dir.task;
        // Closed only when the agent stops.
        let _ = self.events.send(Event::Machine(MachineEvent::Heard { task, event })).await;
        self.watched.turn = None;
    }
}

async fn next_event(connection: &mut Option<Connection>) -> io::Result<ExecutorEvent> {
    match connection {
        Some(connection) => connection.next().await,
        None => std::future::pending().await,
    }
}

fn asynchronous(handle: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: the descriptor is owned by `handle`, which AsyncFd keeps and nobody closes or replaces before it.
    unsafe { AsyncFd::register_with_interest(handle, Interest::READABLE) }.map_err(Into::into)
}

fn kill_executor(handle: &AsyncFd<OwnedFd>) {
    // Dead already: nothing to do.
    let _ = pidfd_send_signal(handle.get_ref(), Signal::KILL);
}
