//! Simulated agents over real gRPC: they register, beat, take launches, report STARTING and RUNNING (and, when tasks have
//! a lifetime, FINISHED), are told to kill, and come back to whoever leads, as `dawn agent` does. Many share one HTTP/2
//! connection. They start nothing and keep nothing on disk.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use dawn_proto::v1::agent_link_client::AgentLinkClient;
use dawn_proto::v1::agent_message::Message as Up;
use dawn_proto::v1::scheduler_message::Message as Down;
use dawn_proto::v1::{self, Reason, TaskState};
use dawn_proto::{HeldDigest, TaskId};
use tokio::sync::mpsc;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Endpoint};

use crate::mix::Mix;
use crate::options::Options;

/// As the real agent waits.
const FIRST_BACKOFF: Duration = Duration::from_millis(100);
const LONGEST_BACKOFF: Duration = Duration::from_secs(5);
/// Sequence numbers of a task's reports.
const STARTING: u64 = 1;
const RUNNING: u64 = 2;
const ENDED: u64 = 3;

/// What happened to all of them.
#[derive(Default)]
pub struct Counts {
    /// Under the newest epoch seen.
    pub registered: AtomicU64,
    pub asked_for_list: AtomicU64,
    pub epoch: AtomicU64,
    pub launches: AtomicU64,
    /// RUNNING is durable.
    pub running: AtomicU64,
    pub ended: AtomicU64,
    /// The first launch of the newest epoch.
    pub first_launch: Mutex<Option<Instant>>,
}

impl Counts {
    pub fn get(counter: &AtomicU64) -> u64 {
        counter.load(Ordering::Relaxed)
    }

    fn registered(&self, epoch: u64) {
        if self.epoch.fetch_max(epoch, Ordering::SeqCst) < epoch {
            self.registered.store(0, Ordering::SeqCst);
            *self.first_launch.lock().expect("no agent panicked") = None;
        }
        self.registered.fetch_add(1, Ordering::SeqCst);
    }

    fn launched(&self) {
        self.launches.fetch_add(1, Ordering::Relaxed);
        let mut first = self.first_launch.lock().expect("no agent panicked");
        first.get_or_insert_with(Instant::now);
    }
}

/// All agents; they live as long as the runtime.
pub struct Fleet {
    pub counts: Arc<Counts>,
    /// Agents below this number, once set, say nothing and hear nothing.
    pub silent: Arc<Silent>,
}

#[derive(Default)]
pub struct Silent {
    below: AtomicU64,
    now: AtomicBool,
}

impl Silent {
    pub fn set(&self, below: u64) {
        self.below.store(below, Ordering::SeqCst);
        self.now.store(true, Ordering::SeqCst);
    }

    pub fn clear(&self) {
        self.now.store(false, Ordering::SeqCst);
    }

    fn is(&self, number: usize) -> bool {
        self.now.load(Ordering::Relaxed) && (number as u64) < self.below.load(Ordering::Relaxed)
    }
}

impl Fleet {
    /// Starts them all; they dial the addresses in turn.
    pub fn start(options: &Options, mix: &mut Mix, addresses: &[String]) -> anyhow::Result<Fleet> {
        let fleet = Fleet { counts: Arc::default(), silent: Arc::default() };
        let mut channels: Vec<Channel> = Vec::new();
        for number in 0..options.agents as usize {
            if number % options.agents_per_connection == 0 {
                let connect = |address: &String| {
                    let endpoint = Endpoint::from_shared(format!("http://{address}"))?;
                    Ok(endpoint.tcp_nodelay(true).connect_timeout(Duration::from_secs(3)).connect_lazy())
                };
                channels = addresses.iter().map(connect).collect::<Result<_, tonic::transport::Error>>()?;
            }
            let agent = Agent {
                number,
                register: mix.register(number as u32),
                compared: false,
                tasks: Vec::new(),
                ends: VecDeque::new(),
                lifetime: Duration::from_millis(options.lifetime_ms),
                counts: fleet.counts.clone(),
                silent: fleet.silent.clone(),
            };
            tokio::spawn(agent.live(channels.clone(), addresses.to_vec()));
        }
        Ok(fleet)
    }
}

struct Task {
    id: u64,
    state: TaskState,
    sequence: u64,
}

struct Agent {
    number: usize,
    register: v1::Register,
    compared: bool,
    tasks: Vec<Task>,
    ends: VecDeque<(tokio::time::Instant, u64)>,
    lifetime: Duration,
    counts: Arc<Counts>,
    silent: Arc<Silent>,
}

/// How a session ended.
struct Ended {
    talked: bool,
    next: Option<String>,
}

impl Agent {
    async fn live(mut self, channels: Vec<Channel>, addresses: Vec<String>) {
        let (mut turn, mut backoff, mut next) = (0, FIRST_BACKOFF, None);
        let mut seed = self.number as u64 + 1;
        loop {
            let at = match next.take().and_then(|next: String| addresses.iter().position(|one| *one == next)) {
                Some(named) => named,
                None => {
                    turn += 1;
                    (turn - 1) % addresses.len()
                }
            };
            let ended = self.session(channels[at].clone()).await;
            backoff = if ended.talked { FIRST_BACKOFF } else { (backoff * 2).min(LONGEST_BACKOFF) };
            next = ended.next;
            seed = seed.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
            let jitter = (seed >> 33) as f64 / f64::from(1u32 << 31);
            tokio::time::sleep(backoff / 2 + backoff.mul_f64(jitter / 2.0)).await; // poll
        }
    }

    fn register(&self) -> v1::Register {
        let held = || self.tasks.iter().map(|task| (TaskId(task.id), task.state)).collect::<HeldDigest>();
        v1::Register {
            tasks: if self.compared { Vec::new() } else { self.tasks.iter().map(report).collect() },
            held: self.compared.then(|| held().into()),
            ..self.register.clone()
        }
    }

    async fn session(&mut self, channel: Channel) -> Ended {
        let (up, outgoing) = mpsc::channel::<Box<v1::AgentMessage>>(1024);
        say(&up, Up::Register(self.register())).await;
        let stream = ReceiverStream::new(outgoing).map(|message| *message);
        let mut client = AgentLinkClient::new(channel).max_decoding_message_size(16 << 20);
        let Ok(answer) = client.link(stream).await else { return Ended { talked: false, next: None } };
        let mut down = answer.into_inner();
        let mut interval = Duration::from_secs(10);
        let (mut beat_at, mut beats) = (tokio::time::Instant::now() + interval, 0);
        loop {
            let wake = self.ends.front().map_or(beat_at, |(at, _)| beat_at.min(*at));
            tokio::select! {
                message = down.message() => {
                    let Ok(Some(v1::SchedulerMessage { message: Some(message) })) = message else {
                        return Ended { talked: true, next: None };
                    };
                    if self.silent.is(self.number) {
                        continue;
                    }
                    match message {
                        Down::Registered(registered) => {
                            interval = Duration::from_millis(registered.heartbeat_interval_ms);
                            beat_at = tokio::time::Instant::now() + interval;
                        self.compared = true;
                            self.register.cluster_id = registered.cluster_id;
                            self.register.epoch_seen = registered.epoch;
                            self.counts.registered(registered.epoch);
                        }
                        Down::Refused(refused) => {
                            let next = Some(refused.leader_address).filter(|address| !address.is_empty());
                            return Ended { talked: true, next };
                        }
                        message => self.obey(&up, message).await,
                    }
                }
                () = tokio::time::sleep_until(wake) => {
                    let now = tokio::time::Instant::now();
                    if now >= beat_at {
                        beat_at = now + interval;
                        beats += 1;
                        if !self.silent.is(self.number) {
                            say(&up, Up::Heartbeat(v1::Heartbeat { sequence: beats, ..Default::default() })).await;
                        }
                    }
                    self.end_due(&up, now).await;
                }
            }
        }
    }

    async fn obey(&mut self, up: &Out, message: Down) {
        match message {
            Down::Launch(launch) => self.launch(up, launch.task_id).await,
            Down::Kill(kill) => self.end(up, kill.task_id, TaskState::Killed).await,
            Down::Ack(ack) => {
                self.counts.running.fetch_add(u64::from(ack.sequence == RUNNING), Ordering::Relaxed);
                if ack.sequence == ENDED {
                    self.counts.ended.fetch_add(1, Ordering::Relaxed);
                    self.tasks.retain(|task| task.id != ack.task_id);
                }
            }
            Down::Reconcile(reconcile) => {
                for id in reconcile.task_ids {
                    let known = self.tasks.iter().find(|task| task.id == id).map(report);
                    let none = v1::TaskReport {
                        task_id: id,
                        sequence: u64::MAX,
                        state: TaskState::Lost.into(),
                        reason: Reason::NotOnAgent.into(),
                        ..Default::default()
                    };
                    say(up, Up::Report(known.unwrap_or(none))).await;
                }
            }
            Down::TellTasks(_) => {
                self.counts.asked_for_list.fetch_add(1, Ordering::Relaxed);
                let tasks = self.tasks.iter().map(report).collect();
                say(up, Up::HeldTasks(v1::HeldTasks { tasks })).await;
            }
            _ => {}
        }
    }

    async fn launch(&mut self, up: &Out, id: u64) {
        if self.tasks.iter().any(|task| task.id == id) {
            return;
        }
        self.counts.launched();
        self.tasks.push(Task { id, state: TaskState::Starting, sequence: STARTING });
        self.move_to(up, id, TaskState::Starting, STARTING).await;
        self.move_to(up, id, TaskState::Running, RUNNING).await;
        if !self.lifetime.is_zero() {
            self.ends.push_back((tokio::time::Instant::now() + self.lifetime, id));
        }
    }

    async fn end_due(&mut self, up: &Out, now: tokio::time::Instant) {
        while self.ends.front().is_some_and(|(at, _)| *at <= now) {
            if let Some((_, id)) = self.ends.pop_front() {
                self.end(up, id, TaskState::Finished).await;
            }
        }
    }

    async fn end(&mut self, up: &Out, id: u64, state: TaskState) {
        self.move_to(up, id, state, ENDED).await;
    }

    async fn move_to(&mut self, up: &Out, id: u64, state: TaskState, sequence: u64) {
        let Some(task) = self.tasks.iter_mut().find(|task| task.id == id) else { return };
        (task.state, task.sequence) = (state, sequence);
        let report = report(task);
        say(up, Up::Report(report)).await;
    }
}

type Out = mpsc::Sender<Box<v1::AgentMessage>>;

async fn say(up: &Out, message: Up) {
    // A stream that broke is seen by its reader.
    _ = up.send(Box::new(v1::AgentMessage { message: Some(message) })).await;
}

fn report(task: &Task) -> v1::TaskReport {
    v1::TaskReport {
        task_id: task.id,
        sequence: task.sequence,
        state: task.state.into(),
        at_ms: 1,
        reason: Reason::None.into(),
        ..Default::default()
    }
}
