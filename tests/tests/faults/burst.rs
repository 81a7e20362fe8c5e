//! A mixed burst: thousands of small submissions and many of the largest, which shrink when packed or don't, while etcd is slow,
//! refuses, is full, or is away. Nothing acknowledged is lost, and every scheduler starts afterwards. `DAWN_BURST` is how many
//! times as many.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use dawn_proto::{JobKey, v1};
use dawn_tests::cluster::{Patience, Several, SeveralPlan, cron, service};

/// Of each processor.
const SMALL: u64 = 200;
const LARGE: u64 = 10;
/// Below what a spec may have.
const LARGE_BYTES: usize = 900 << 10;
/// Each of those that submit waits for its answers.
const SUBMITTERS: u64 = 8;
/// So long is etcd disturbed at a time: within a leader's lease, and beyond it.
const HICCUP: Duration = Duration::from_millis(1_500);

fn times() -> u64 {
    let cores = std::thread::available_parallelism().map_or(2, |cores| cores.get() as u64);
    let asked = std::env::var("DAWN_BURST").map_or(1, |text| text.parse().expect("DAWN_BURST is a number"));
    cores * asked
}

/// What is submitted, one after the other by whoever is free, and what was acknowledged.
struct Burst<'a> {
    several: &'a Several,
    next: AtomicU64,
    small: u64,
    large: u64,
    over: AtomicBool,
    acknowledged: Mutex<BTreeSet<JobKey>>,
}

impl<'a> Burst<'a> {
    fn of(several: &'a Several, small: u64, large: u64) -> Burst<'a> {
        let (next, over, acknowledged) = Default::default();
        Burst { several, next, small, large, over, acknowledged }
    }

    /// The next job; the large ones are spread among the small. None of them runs anything.
    fn job(&self) -> Option<(JobKey, v1::JobSpec)> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let all = self.small + self.large;
        if number >= all {
            return None;
        }
        let spec = cron(&format!("burst{number}"), "0 0 1 1 *");
        let every = all / self.large.max(1);
        let spec = match number % every {
            1 => spec.large(LARGE_BYTES, (number / every).is_multiple_of(2), number),
            _ => spec,
        };
        Some(spec.marked(&self.several.name))
    }

    /// Each job is asked for until it is acknowledged or the burst is over.
    fn submit_all(&self) {
        while let Some((key, spec)) = self.job() {
            let submitted = || {
                let leader = self.several.leading().map(|(leader, _)| leader)?;
                self.several.api(leader).submit(spec.clone()).ok()
            };
            while !self.over.load(Ordering::Relaxed) {
                if submitted().is_some() {
                    self.acknowledged.lock().expect("no panic").insert(key);
                    break;
                }
                std::thread::yield_now();
            }
        }
    }

    /// Runs it to its end while `disturb` does its work, with ended schedulers started again as a supervisor does.
    fn run(self, disturb: impl FnOnce(&Several)) -> BTreeSet<JobKey> {
        std::thread::scope(|scope| {
            let submitters: Vec<_> = (0..SUBMITTERS).map(|_| scope.spawn(|| self.submit_all())).collect();
            disturb(self.several);
            let deadline = Instant::now() + Patience::minutes(8).0;
            while submitters.iter().any(|one| !one.is_finished()) && Instant::now() < deadline {
                self.several.start_the_ended();
                std::thread::yield_now();
            }
            self.over.store(true, Ordering::Relaxed);
        });
        self.acknowledged.into_inner().expect("no panic")
    }
}

/// Every job of the journal, page by page, by a scheduler that was just started.
fn has_all(several: &Several, acknowledged: &BTreeSet<JobKey>) {
    several.eventually("everything acknowledged is there", Patience::minutes(3), || {
        let mut listed = BTreeSet::new();
        for job in several.read(|api| api.all_jobs())? {
            listed.extend(job.key.as_ref().and_then(|key| JobKey::try_from(key).ok()));
        }
        let missing: Vec<&JobKey> = acknowledged.difference(&listed).collect();
        if missing.is_empty() { Ok(()) } else { Err(format!("{} are missing: {missing:?}", missing.len())) }
    });
}

/// All at once: what they held in memory is gone.
fn every_scheduler_starts(several: &Several) {
    several.schedulers.iter().for_each(|scheduler| scheduler.kill_9());
    for (number, scheduler) in several.schedulers.iter().enumerate() {
        scheduler.start();
        several.eventually("it reads the journal", Patience::minutes(3), || {
            assert!(scheduler.is_alive(), "{}", scheduler.last_words());
            several.api(number).server_info().map(|_| ()).map_err(|status| status.to_string())
        });
    }
}

/// Pauses, and lets go on, whichever members there are, a few times.
fn hiccups(several: &Several) {
    for round in 0..4 {
        let paused: Vec<usize> = (0..several.members.len()).filter(|member| member % 3 != round % 3).collect();
        paused.iter().for_each(|member| several.members[*member].pause());
        several.pass(HICCUP);
        paused.iter().for_each(|member| several.members[*member].resume());
        several.pass(HICCUP);
        several.start_the_ended();
    }
}

#[test]
fn a_burst_loses_nothing_while_etcd_is_slow_and_away() {
    let plan = SeveralPlan { schedulers: 2, lease: "5s".into(), ..SeveralPlan::of(1) };
    let Some(several) = Several::start(&plan) else { return };
    let alone = several.submit(service("alone").instances(2).with(|job| job.at_most_one = true));
    several.running(&alone, 2);
    let burst = Burst::of(&several, SMALL * times(), LARGE * times());
    let acknowledged = burst.run(|several| {
        hiccups(several);
        several.members.iter().for_each(|member| member.kill_9());
        several.pass(HICCUP);
        several.members.iter().for_each(|member| member.start());
        hiccups(several);
    });
    let wanted = (SMALL + LARGE) * times();
    assert_eq!(acknowledged.len() as u64, wanted, "all in the end\n{}", several.last_words());
    every_scheduler_starts(&several);
    has_all(&several, &acknowledged);
    several.verified();
}

#[test]
fn a_burst_loses_nothing_while_etcd_refuses_what_is_large_or_anything_at_all() {
    let member_extra = ["--quota-backend-bytes", "6000000", "--max-request-bytes", "1572864"].map(String::from).into();
    let plan = SeveralPlan { members: 1, schedulers: 2, member_extra, ..SeveralPlan::of(0) };
    let Some(several) = Several::start(&plan) else { return };
    let again = |flag: &str, value: &str| {
        several.members[0].kill_9();
        several.members[0].set_flag(flag, value);
        several.members[0].start();
    };
    let (_, probe) = cron("probe", "0 0 1 1 *").large(LARGE_BYTES, false, 0).marked(&several.name);
    let burst = Burst::of(&several, SMALL * times() / 2, LARGE * times());
    let acknowledged = burst.run(|several| {
        // It fills up by itself.
        several.eventually("etcd is full", Patience::minutes(4), || {
            several.start_the_ended();
            let trouble = several.read(|api| api.server_info())?.troubles.concat();
            if trouble.contains("space exceeded") { Ok(()) } else { Err(trouble) }
        });
        again("--quota-backend-bytes", "2000000000");
        several.eventually("etcd takes writes again", Patience::LONG, || several.disarm());
        several.pass(HICCUP);
        again("--max-request-bytes", "65536");
        several.eventually("nobody may lead", Patience::LONG, || {
            several.start_the_ended();
            // Whoever leads still, since what it wrote was small, learns of it.
            if let Some((leader, _)) = several.leading() {
                _ = several.api(leader).submit(probe.clone());
            }
            let troubles: Vec<String> = (0..2)
                .filter_map(|one| several.api(one).server_info().ok())
                .map(|info| info.troubles.concat())
                .collect();
            let all = troubles.len() == 2 && troubles.iter().all(|words| words.contains("--max-request-bytes"));
            if all { Ok(()) } else { Err(format!("{troubles:?}")) }
        });
        again("--max-request-bytes", "1572864");
    });
    let wanted = SMALL * times() / 2 + LARGE * times();
    assert_eq!(acknowledged.len() as u64, wanted, "all in the end\n{}", several.last_words());
    every_scheduler_starts(&several);
    has_all(&several, &acknowledged);
}
