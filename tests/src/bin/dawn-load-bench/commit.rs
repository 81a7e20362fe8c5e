//! Placements decided and durable: the real pulse, journal, follower and clients' commands, with agents in the same process
//! that answer launches at once. What gRPC costs is in `whole`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;
use dawn_proto::v1::Reason;
use dawn_proto::{Epoch, TaskState, Timestamp};
use dawn_scheduler::drive::{Follower, Hands, Inbox, Journal, Pulse, PulseSettings, Runner, SystemClock};
use dawn_scheduler::etcd::{self, EtcdJournal};
use dawn_scheduler::journal::{Embedded, JournalSettings};
use dawn_scheduler::model::{
    AgentNo, Batch, Command, Effect, Event, LinkId, Mutation, ReplyTo, Report, Settings, State, TaskMoved,
};
use dawn_scheduler::wire;
use tokio::sync::mpsc;

use crate::homes::{Etcd, members_of};
use crate::memory::{cpu_s, mib, resident};
use crate::mix::Mix;
use crate::options::Options;

#[derive(Default)]
struct Counts {
    welcomed: AtomicU64,
    assigned: AtomicU64,
    running: AtomicU64,
    mutations: AtomicU64,
    batches: AtomicU64,
}

/// Applies and counts; launches are answered by the agents behind `launched`.
struct Counting {
    follower: Arc<Follower>,
    counts: Arc<Counts>,
    links: BTreeMap<AgentNo, LinkId>,
    launched: mpsc::UnboundedSender<(LinkId, dawn_proto::TaskId)>,
}

impl Hands for Counting {
    fn act(&mut self, batches: &[Arc<Batch>], effects: Vec<Effect>) {
        self.follower.apply(batches);
        for batch in batches {
            let assigned = |one: &&Mutation| matches!(one, Mutation::TaskAssigned(_));
            let running =
                |one: &&Mutation| matches!(one, Mutation::TaskMoved(TaskMoved { to: TaskState::Running, .. }));
            let count = |counter: &AtomicU64, of: usize| _ = counter.fetch_add(of as u64, Ordering::Relaxed);
            count(&self.counts.assigned, batch.mutations.iter().filter(assigned).count());
            count(&self.counts.running, batch.mutations.iter().filter(running).count());
            count(&self.counts.mutations, batch.mutations.len());
            count(&self.counts.batches, 1);
        }
        for effect in effects {
            match effect {
                Effect::Welcome { link, agent, .. } => {
                    self.links.insert(agent, link);
                    self.counts.welcomed.fetch_add(1, Ordering::Relaxed);
                }
                Effect::Launch { agent, task } => {
                    if let Some(link) = self.links.get(&agent) {
                        _ = self.launched.send((*link, task));
                    }
                }
                _ => {}
            }
        }
    }
}

pub async fn run(options: &Options) -> anyhow::Result<()> {
    let folder = tempfile::tempdir().context("a folder for the journal")?;
    match members_of(options.home())? {
        None => {
            let (journal, state) = Embedded::open(folder.path(), JournalSettings::default())?;
            measure(options, journal, state).await
        }
        Some(members) => {
            let etcd = Etcd::start(members, folder.path(), options.lease_ms).await?;
            let leadership = etcd::campaign(&etcd.store, &etcd.config, "bench").await?;
            let head = etcd::head(&etcd.store).await?;
            let journal = EtcdJournal::start(etcd.store.clone(), &leadership, head);
            measure(options, journal, State::default()).await
        }
    }
}

async fn measure(options: &Options, journal: impl Journal, state: State) -> anyhow::Result<()> {
    let (inbox, inboxes) = Inbox::new();
    let (launched, answered) = mpsc::unbounded_channel();
    let counts = Arc::<Counts>::default();
    let follower = Follower::new(state.clone());
    let hands = Counting { follower, counts: counts.clone(), links: BTreeMap::new(), launched };
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let pulse = pulse(options, state);
    let leading = tokio::spawn(async move {
        let runner = Runner::new(pulse, journal, SystemClock::default(), inboxes);
        runner.lead(Epoch(1), "bench".into(), hands, async move { _ = stopped.await }).await
    });
    tokio::spawn(answer(inbox.clone(), answered));
    let mut mix = Mix::new(options.agents, options.tasks);
    for agent in 0..options.agents {
        let registration = Box::new(wire::registration(mix.register(agent))?);
        inbox.link_event(Event::Registered { link: LinkId(u64::from(agent)), registration }).await?;
    }
    until(&counts.welcomed, u64::from(options.agents)).await;
    tokio::spawn(beat(inbox.clone(), options.agents));
    let (mut jobs, mut asked) = (Vec::new(), 0);
    while asked < options.tasks {
        let job = mix.job(options.tasks - asked);
        asked += job.instances;
        jobs.push(wire::parse_job_spec(job).map_err(|errors| anyhow::anyhow!("{errors:?}"))?);
    }
    let me = std::process::id();
    let (begun, cpu, before) = (Instant::now(), cpu_s(me), resident(me));
    let submitting = inbox.clone();
    tokio::spawn(async move {
        for (at, spec) in jobs.into_iter().enumerate() {
            let command =
                || Command::Submit { spec: Box::new(spec.clone()), author: "bench".into(), message: String::new() };
            while submitting.command(ReplyTo(at as u64), command()).is_err() {
                tokio::time::sleep(Duration::from_millis(1)).await; // poll
            }
        }
    });
    let wanted = u64::from(options.tasks);
    until(&counts.assigned, wanted).await;
    let placed = begun.elapsed();
    until(&counts.running, wanted).await;
    let took = begun.elapsed();
    let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    println!("{} agents, {} tasks of the mix, journal {}", options.agents, options.tasks, options.home());
    println!("| what | measured |\n| --- | --- |");
    let rate = |took: Duration| wanted as f64 / took.as_secs_f64();
    println!("| placements decided and durable, while reports come back | {:.0}/s |", rate(placed));
    println!("| the same until the last RUNNING is durable | {:.0}/s |", rate(took));
    let (mutations, batches) = (get(&counts.mutations), get(&counts.batches));
    println!("| mutations durable | {:.0}/s in {batches} batches |", mutations as f64 / took.as_secs_f64());
    let cpu = cpu_s(me) - cpu;
    println!(
        "| cpu time of all threads | {:.1} us a task ({:.1} cores) |",
        cpu * 1e6 / wanted as f64,
        cpu / took.as_secs_f64()
    );
    let grown = resident(me).saturating_sub(before);
    println!(
        "| grown by (pulse, follower, placer; this program's own work too) | {} a task, {} |",
        grown / wanted,
        mib(grown)
    );
    _ = stop.send(());
    leading.await??;
    Ok(())
}

fn pulse(options: &Options, state: State) -> Pulse {
    let mut pulse = PulseSettings::default();
    if options.placements_per_step > 0 {
        pulse.placements_per_step = options.placements_per_step;
    }
    Pulse::new(state, Settings::default(), pulse)
}

async fn until(counter: &AtomicU64, wanted: u64) {
    while counter.load(Ordering::Relaxed) < wanted {
        tokio::time::sleep(Duration::from_millis(5)).await; // poll
    }
}

/// Each launch is STARTING and RUNNING at once.
async fn answer(inbox: Inbox, mut launched: mpsc::UnboundedReceiver<(LinkId, dawn_proto::TaskId)>) {
    while let Some((link, task)) = launched.recv().await {
        for (sequence, state) in [(1, TaskState::Starting), (2, TaskState::Running)] {
            let (at, reason, message) = (Timestamp(1), Reason::None, String::new());
            let report = Report { task, sequence, state, at, reason, message, exit: None };
            if inbox.link_event(Event::Reported { link, report }).await.is_err() {
                return;
            }
        }
    }
}

/// Every agent every three seconds.
async fn beat(inbox: Inbox, agents: u32) {
    loop {
        for slice in 0..30 {
            for agent in (slice..agents).step_by(30) {
                let beat = Event::Heartbeat {
                    link: LinkId(u64::from(agent)),
                    sequence: 1,
                    welcome: 0,
                    wall: Default::default(),
                };
                if inbox.link_event(beat).await.is_err() {
                    return;
                }
            }
            tokio::time::sleep(Duration::from_millis(100)).await; // poll
        }
    }
}
