//! Three schedulers on etcd, six agents and four hundred tasks under kills, restarts, stopped processes, clock steps, full
//! disks and bursts of submissions, always two of them at once. Then all is mended, and what was promised is checked.
//! It runs where `DAWN_STORM_SECONDS` says how long; `DAWN_SEED` repeats the choice of faults.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, mpsc};
use std::time::{Duration, Instant};

use dawn_proto::JobKey;
use dawn_proto::v1::{self, TaskState};
use dawn_tests::cluster::{
    Api, Daemon, Doubles, FakeClock, Patience, Several, SeveralPlan, SmallDisk, Spec, Who, batch, service, skip,
};
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

const LANES: u64 = 2;
/// So long a fault lasts: for some beyond the leader's lease, for some beyond the agents'.
const FAULT_MS: std::ops::Range<u64> = 500..8_000;
/// Of each client between two submissions.
const CLIENT_PAUSE: Duration = Duration::from_millis(400);
const CLIENTS: usize = 2;
/// Of a burst: many small jobs, some large ones, of which every other can't be compressed.
const SMALL_JOBS: usize = 150;
const LARGE_JOBS: usize = 4;
const VARIABLE_BYTES: usize = 100 << 10;
const LARGE_VARIABLES: usize = 5;
/// Large jobs of the whole storm at most: each is kept for a day.
const MOST_LARGE: usize = 120;
const AGENT_DISK_MIB: u64 = 192;
/// etcd makes files of 64 MiB for its log, and keeps some of them beside its database.
const MEMBER_DISK_MIB: u64 = 768;
/// Between two looks at all processes for one that is there twice.
const LOOK_EVERY: Duration = Duration::from_millis(500);

fn seed() -> u64 {
    match std::env::var("DAWN_SEED") {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("DAWN_SEED={text:?} is no number")),
        Err(_) => SmallRng::from_os_rng().random_range(0..1_000_000),
    }
}

/// How long it is to last; None, said aloud: nobody asked for it.
fn length() -> Option<Duration> {
    let Ok(text) = std::env::var("DAWN_STORM_SECONDS") else {
        skip("is a long one; set DAWN_STORM_SECONDS to have a storm");
        return None;
    };
    let seconds = text.parse().unwrap_or_else(|_| panic!("DAWN_STORM_SECONDS={text:?} is no number"));
    Some(Duration::from_secs(seconds))
}

/// What may be done to a daemon, or to the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fault {
    Kill,
    Restart,
    Stop,
    ClockStep,
    FullDisk,
    Burst,
    Leave,
}

/// What stands for as long as the storm does.
struct Storm<'a> {
    several: &'a Several,
    /// One of each scheduler.
    clocks: Vec<FakeClock>,
    /// Of agents, then of members.
    disks: BTreeMap<String, SmallDisk>,
    /// Daemons that a fault is done to: nobody else touches them.
    busy: Mutex<BTreeSet<String>>,
    acknowledged: Mutex<Vec<JobKey>>,
    large: AtomicUsize,
    bursts: AtomicUsize,
    counts: Mutex<BTreeMap<Fault, usize>>,
    is_over: Mutex<bool>,
    over: Condvar,
}

impl Storm<'_> {
    /// Waits until the storm is over, but no longer; whether it is.
    fn is_over_within(&self, time: Duration) -> bool {
        let is_over = self.is_over.lock().expect("no thread panicked");
        *self.over.wait_timeout_while(is_over, time, |is_over| !*is_over).expect("no thread panicked").0
    }

    fn end(&self) {
        *self.is_over.lock().expect("no thread panicked") = true;
        self.over.notify_all();
    }

    /// Submits until it is acknowledged or the patience is over; what was not acknowledged may be there or not.
    fn submit(&self, spec: Spec) -> bool {
        let (key, marked) = spec.marked(&self.several.name);
        let answered = self.several.try_ask(Patience(Duration::from_secs(8)), |api| api.submit(marked.clone()));
        if answered.is_ok() {
            self.acknowledged.lock().expect("no thread panicked").push(key);
        }
        answered.is_ok()
    }

    fn client(&self, client: usize) {
        for number in 0.. {
            self.submit(small(&format!("load{client}-{number}")));
            if self.is_over_within(CLIENT_PAUSE) {
                return;
            }
        }
    }

    fn burst(&self, chance: &mut SmallRng) {
        let burst = self.bursts.fetch_add(1, Ordering::Relaxed);
        let large = (0..LARGE_JOBS).filter(|_| self.large.fetch_add(1, Ordering::Relaxed) < MOST_LARGE);
        let large: Vec<Spec> = large
            .map(|number| {
                let mut text = || match number % 2 {
                    0 => "x".repeat(VARIABLE_BYTES),
                    _ => (0..VARIABLE_BYTES).map(|_| char::from(chance.random_range(b'!'..b'~'))).collect(),
                };
                small(&format!("large{burst}-{number}")).with(|job| {
                    let padding = (0..LARGE_VARIABLES).map(|number| (format!("PADDING_{number}"), text()));
                    job.task.get_or_insert_default().env.extend(padding);
                })
            })
            .collect();
        std::thread::scope(|scope| {
            for spec in large {
                scope.spawn(move || self.submit(spec));
            }
            for part in 0..4 {
                scope.spawn(move || {
                    for number in (part..SMALL_JOBS).step_by(4) {
                        self.submit(small(&format!("burst{burst}-{number}")));
                        if self.is_over_within(Duration::ZERO) {
                            return;
                        }
                    }
                });
            }
        });
    }

    /// Takes a daemon for itself; None: the other lane has it.
    fn take(&self, who: Who) -> Option<Busy<'_>> {
        let name = self.several.daemon(who).name.clone();
        let is_free = self.busy.lock().expect("no thread panicked").insert(name.clone());
        is_free.then(|| Busy { busy: &self.busy, name })
    }

    fn one(&self, chance: &mut SmallRng, starts: &mpsc::Sender<Who>, story: &mut Vec<String>) {
        use Fault::{Burst, ClockStep, FullDisk, Kill, Leave, Restart, Stop};
        let fault = *[Kill, Kill, Restart, Restart, Stop, Stop, ClockStep, FullDisk, Burst, Leave]
            .choose(chance)
            .expect("not empty");
        let scheduler = Who::Scheduler(chance.random_range(0..3));
        let agent = Who::Agent(chance.random_range(0..6));
        let member = Who::Member(chance.random_range(0..3));
        let who = match fault {
            ClockStep | Leave => scheduler,
            FullDisk => *[agent, member].choose(chance).expect("not empty"),
            Restart => *[scheduler, agent].choose(chance).expect("not empty"),
            Kill | Stop | Burst => *[scheduler, agent, member].choose(chance).expect("not empty"),
        };
        let Some(busy) = self.take(who) else { return };
        let daemon = self.several.daemon(who);
        if !daemon.is_alive() {
            return;
        }
        let lasts = Duration::from_millis(chance.random_range(FAULT_MS));
        story.push(format!("{fault:?} {} {lasts:?}", busy.name));
        *self.counts.lock().expect("no thread panicked").entry(fault).or_default() += 1;
        match fault {
            Kill => {
                daemon.kill_9();
                self.is_over_within(lasts);
            }
            Restart => daemon.terminate_amid_faults(),
            Stop => {
                daemon.pause();
                self.is_over_within(lasts);
                daemon.resume();
            }
            ClockStep => {
                let Who::Scheduler(number) = who else { unreachable!("chosen above") };
                let seconds = *[-7_200, -180, 300, 7_200, 3 * 86_400].choose(chance).expect("not empty");
                self.clocks[number].step(seconds);
                self.is_over_within(lasts);
                self.clocks[number].step(0);
            }
            FullDisk => {
                // A member that can't write ends; its supervisor starts it again.
                if matches!(who, Who::Member(_)) {
                    daemon.allow_end();
                }
                self.disks[&busy.name].fill();
                self.is_over_within(lasts);
                self.disks[&busy.name].free();
            }
            Burst => self.burst(chance),
            Leave => self.leave(),
        }
        if !daemon.is_alive() {
            starts.send(who).expect("the supervisor lives as long as the lanes");
        }
        drop(busy);
    }

    /// `dawn scheduler leave` says what it did: another one leads, or it failed.
    fn leave(&self) {
        let before = self.several.leading();
        let output = self.several.dawn(&["--timeout", "30s", "scheduler", "leave"]);
        let Some((leader, epoch)) = before else { return };
        // It may fail, and end the leader all the same.
        self.several.schedulers[leader].allow_end();
        if output.code == Some(0) {
            self.several.eventually("another one leads after a leave that said so", Patience::LONG, || {
                let now = self.several.leading().ok_or("nobody leads")?;
                (now.1 > epoch).then_some(()).ok_or(format!("{now:?} leads, as before"))
            });
        }
    }
}

/// Given back when dropped.
struct Busy<'a> {
    busy: &'a Mutex<BTreeSet<String>>,
    name: String,
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        if let Ok(mut busy) = self.busy.lock() {
            busy.remove(&self.name);
        }
    }
}

fn small(name: &str) -> Spec {
    batch(name).shell("echo done").cpu_milli(10).memory_mib(8).backoff_ms(50, 500).max_failures(50).with(tiny_disk)
}

fn tiny_disk(job: &mut v1::JobSpec) {
    let resources = job.task.get_or_insert_default().resources.get_or_insert_default();
    resources.disk_bytes = 1 << 20;
}

fn lasting(name: &str, instances: u32) -> Spec {
    service(name).instances(instances).cpu_milli(10).memory_mib(8).backoff_ms(50, 500).grace_ms(300).with(tiny_disk)
}

#[test]
fn promises_hold_after_a_storm_of_overlapping_faults() {
    let Some(length) = length() else { return };
    let seed = seed();
    println!("DAWN_SEED={seed} DAWN_STORM_SECONDS={}", length.as_secs());
    let member_extra = ["--max-wals", "2", "--max-snapshots", "2", "--snapshot-count", "5000"].map(String::from).into();
    let Some(several) = Several::lay_out(&SeveralPlan { member_extra, ..SeveralPlan::of(6) }) else { return };
    let Some(clocks) = FakeClock::of_schedulers(&several) else { return };
    let Some(mut disks) = SmallDisk::of(&several, &several.agents, AGENT_DISK_MIB) else { return };
    let Some(of_members) = SmallDisk::of(&several, &several.members, MEMBER_DISK_MIB) else { return };
    disks.extend(of_members);
    several.schedulers.iter().for_each(Daemon::allow_leaving);
    several.start_all();
    several.agents_are_up();
    let quick = |job: &mut v1::JobSpec| job.partition = Some(v1::PartitionPolicy { wait: false, delay_ms: 300 });
    let patient = |job: &mut v1::JobSpec| job.partition = Some(v1::PartitionPolicy { wait: true, delay_ms: 0 });
    let web = several.submit(lasting("web", 200).with(quick));
    let single = several.submit(lasting("single", 150).with(patient));
    let only = several.submit(lasting("only", 50).with(|job| job.at_most_one = true));
    let lasting = [(&web, 200), (&single, 150), (&only, 50)];
    for (job, count) in lasting {
        several.running(job, count);
    }
    let watches = [&single, &only].map(|job| (job, Doubles::watch_every(several.mark(job), LOOK_EVERY)));
    let storm = Storm {
        several: &several,
        clocks,
        disks,
        busy: Mutex::default(),
        acknowledged: Mutex::default(),
        large: AtomicUsize::new(0),
        bursts: AtomicUsize::new(0),
        counts: Mutex::default(),
        is_over: Mutex::new(false),
        over: Condvar::new(),
    };
    let stories = blow(&storm, seed, length);
    for (lane, story) in stories.iter().enumerate() {
        println!("lane {lane}: {}", story.join(", "));
    }
    println!("faults: {:?}", storm.counts.lock().expect("no thread panicked"));
    let acknowledged = storm.acknowledged.into_inner().expect("no thread panicked");
    println!("{} submissions acknowledged", acknowledged.len());
    several.heal();
    several.eventually("every agent is back", Patience::LONG, || {
        several.start_the_ended();
        let nodes = several.read(Api::nodes)?;
        let up = nodes.iter().filter(|node| node.state() == v1::NodeState::Up).count();
        if up == 6 { Ok(()) } else { Err(format!("{up} up")) }
    });
    for (job, count) in lasting {
        several.lives_exactly(job, count);
    }
    for (job, watch) in watches {
        assert_eq!(watch.end(), [] as [String; 0], "{job} lived twice (DAWN_SEED={seed})\n{}", several.last_words());
    }
    nothing_is_missing(&several, &acknowledged);
    several.verified();
    several.end();
}

/// Two lanes of faults and some clients until the time is up. Daemons are started from this thread alone: they die with
/// the thread that started them.
fn blow(storm: &Storm<'_>, seed: u64, length: Duration) -> Vec<Vec<String>> {
    let end = Instant::now() + length;
    std::thread::scope(|scope| {
        for client in 0..CLIENTS {
            scope.spawn(move || storm.client(client));
        }
        let (starts, to_start) = mpsc::channel();
        let lanes: Vec<_> = (0..LANES)
            .map(|lane| {
                let starts = starts.clone();
                scope.spawn(move || {
                    let mut chance = SmallRng::seed_from_u64(seed * LANES + lane);
                    let mut story = Vec::new();
                    while Instant::now() < end {
                        storm.one(&mut chance, &starts, &mut story);
                    }
                    story
                })
            })
            .collect();
        drop(starts);
        // Whoever supervises daemons starts what has ended, also what ended by itself.
        loop {
            if Instant::now() >= end {
                storm.end();
            }
            match to_start.recv_timeout(Duration::from_millis(500)) {
                Ok(who) if !storm.several.daemon(who).is_alive() => storm.several.daemon(who).start(),
                Ok(_) => {}
                Err(mpsc::RecvTimeoutError::Timeout) => {
                    let busy = storm.busy.lock().expect("no thread panicked").clone();
                    storm.several.start_the_ended_but(&busy);
                }
                Err(mpsc::RecvTimeoutError::Disconnected) => break,
            }
        }
        lanes.into_iter().map(|lane| lane.join().expect("a lane does not panic")).collect()
    })
}

/// Each acknowledged job is listed, and in the end each has finished.
fn nothing_is_missing(several: &Several, acknowledged: &[JobKey]) {
    several.eventually("every acknowledged job has finished", Patience::minutes(5), || {
        let listed = several.read(Api::all_jobs)?;
        let by_key: BTreeMap<JobKey, &v1::JobSummary> = listed
            .iter()
            .filter_map(|summary| Some((JobKey::try_from(summary.key.as_ref()?).ok()?, summary)))
            .collect();
        let missing: Vec<&JobKey> = acknowledged.iter().filter(|key| !by_key.contains_key(key)).collect();
        assert!(missing.is_empty(), "acknowledged and lost: {missing:?}\n{}", several.last_words());
        let open: Vec<&JobKey> = acknowledged.iter().filter(|key| by_key[key].finished != 1).collect();
        if open.is_empty() { Ok(()) } else { Err(format!("{} have not: {:?} …", open.len(), open.first())) }
    });
    let tasks = several.eventually("tasks are told", Patience::LONG, || match acknowledged.first() {
        Some(job) => several.read(|api| api.tasks(job)),
        None => Ok(Vec::new()),
    });
    assert!(tasks.iter().any(|task| task.state() == TaskState::Finished), "{tasks:?}");
}
