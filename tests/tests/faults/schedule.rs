//! Everything in a network of its own, and from a seeded schedule killed, paused and cut off while jobs are submitted.
//! Then all is healed, and what was promised is checked. `DAWN_SEED` repeats a schedule.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use dawn_proto::JobKey;
use dawn_proto::v1::{self, Misfire, Overlap, TaskState, TickOutcome};
use dawn_tests::cluster::{Api, Doubles, Patience, Several, SeveralPlan, Who, batch, cron, service};
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

/// Faults of one schedule, each with a while to work in and its undoing.
const ROUNDS: usize = 8;
/// So long is a round disturbed: beyond the leader's lease, and for some beyond the agents' too.
const DISTURBED_MS: std::ops::Range<u64> = 500..4_500;
const WEB: usize = 8;

fn seed() -> u64 {
    match std::env::var("DAWN_SEED") {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("DAWN_SEED={text:?} is no number")),
        Err(_) => SmallRng::from_os_rng().random_range(0..1_000_000),
    }
}

/// One fault; some are several at once.
fn disturb(several: &Several, chance: &mut SmallRng) -> String {
    let leader = several.leading().map_or(0, |(leader, _)| leader);
    let any = *[Who::Member(chance.random_range(0..3)), Who::Scheduler(leader), Who::Agent(chance.random_range(0..6))]
        .choose(chance)
        .expect("not empty");
    let what = *["kill", "pause", "cut", "mute", "deafen", "part", "kill all"].choose(chance).expect("not empty");
    match what {
        "kill" => several.daemon(any).kill_9(),
        "pause" => several.daemon(any).pause(),
        "cut" => several.cut(any),
        "mute" => several.mute(any),
        "deafen" => several.deafen(any),
        // The leader keeps no member, and half of the agents can't reach it.
        "part" => {
            several.cut(Who::Scheduler(leader));
            (0..2).for_each(|agent| several.cut(Who::Agent(agent)));
        }
        _ => several.schedulers.iter().for_each(|scheduler| scheduler.kill_9()),
    }
    format!("{what} {any:?}")
}

/// Submits until the time is up; what was acknowledged. What was not may be there or not.
fn submit_for(several: &Several, round: usize, time: Duration, acknowledged: &mut Vec<JobKey>) {
    let deadline = Instant::now() + time;
    for number in 0.. {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return;
        }
        let spec = batch(&format!("load{round}-{number}")).instances(2).shell("echo done").max_failures(50);
        let (key, marked) = spec.cpu_milli(10).backoff_ms(50, 500).marked(&several.name);
        if several.try_ask(Patience(left), |api| api.submit(marked.clone())).is_ok() {
            acknowledged.push(key);
        }
    }
}

/// A cron job with every overlap policy, and each misfire policy at least once; runs last over the next tick.
struct Crons {
    jobs: Vec<(JobKey, Overlap)>,
    since_ms: i64,
    /// Of those that must not overlap.
    watches: Vec<Doubles>,
}

impl Crons {
    fn submit(several: &Several) -> Crons {
        let policies = [
            (Overlap::CancelNew, Misfire::Skip),
            (Overlap::KillExisting, Misfire::Once),
            (Overlap::Allow, Misfire::All),
            (Overlap::Queue, Misfire::Once),
        ];
        let mut jobs = Vec::new();
        for (overlap, misfire) in policies {
            let name = format!("cron-{}", overlap.plain_name().to_lowercase().replace('_', "-"));
            let spec = cron(&name, "* * * * *").shell("exec sleep 62").cpu_milli(10).grace_ms(500).max_failures(50);
            let key = several.submit(spec.backoff_ms(50, 500).with(|job| {
                let cron = job.cron.get_or_insert_default();
                cron.set_overlap(overlap);
                cron.set_misfire(misfire);
                cron.misfire_limit = if misfire == Misfire::All { 3 } else { 0 };
                job.at_most_one = overlap != Overlap::Allow;
            }));
            jobs.push((key, overlap));
        }
        let made = several.eventually("the cron jobs are there", Patience::LONG, || {
            jobs.iter().map(|(key, _)| several.read(|api| api.job(key))).collect::<Result<Vec<_>, _>>()
        });
        let made = made.into_iter().map(|job| job.summary.expect("a summary").created_ms);
        let alone = jobs.iter().filter(|(_, overlap)| *overlap != Overlap::Allow);
        let watches = alone.map(|(key, _)| Doubles::watch(several.mark(key))).collect();
        Crons { since_ms: made.max().expect("four of them"), jobs, watches }
    }

    /// One record for each minute since the job was there, a run for each that says so, and none beside each other that
    /// must not be.
    fn add_up(self, several: &Several) {
        let mut doubles = self.watches.into_iter().map(Doubles::end).collect::<Vec<_>>().into_iter();
        for (job, overlap) in &self.jobs {
            let counts = ticks_add_up(several, job, *overlap, self.since_ms);
            let beside = if *overlap == Overlap::Allow { Vec::new() } else { doubles.next().expect("one for each") };
            assert_eq!(beside, [] as [String; 0], "runs of {job} lived beside each other\n{}", several.last_words());
            println!("{job}: {counts}");
        }
    }
}

fn ticks_add_up(several: &Several, job: &JobKey, overlap: Overlap, since_ms: i64) -> String {
    let status = several.eventually("the cron job's record", Patience::LONG, || several.read(|api| api.job(job)));
    let ticks = status.cron.expect("it is a cron job").ticks;
    let told = format!("{job}: {ticks:?}\n{}", several.last_words());
    let minutes: Vec<i64> = ticks.iter().map(|tick| tick.scheduled_ms / 60_000).collect();
    let first = since_ms / 60_000 + 1;
    // The current minute may not be decided yet.
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    let passed = i64::try_from(now.as_millis()).expect("before the year 292 million") - 30_000;
    let last = minutes.last().copied().unwrap_or(first - 1).max(passed / 60_000);
    // Submitted around a full minute, one of them may have the one before, too.
    let minutes: Vec<i64> = minutes.into_iter().filter(|minute| *minute >= first).collect();
    assert_eq!(minutes, (first..=last).collect::<Vec<_>>(), "a record for each minute, and one only: {told}");
    let tasks = several.eventually("its runs", Patience::LONG, || several.read(|api| api.tasks(job)));
    let runs: BTreeSet<i64> = tasks.iter().map(|task| task.run_at_ms).collect();
    let recorded = |outcome| ticks.iter().filter(move |tick| tick.outcome() == outcome).map(|tick| tick.scheduled_ms);
    let launched: BTreeSet<i64> = recorded(TickOutcome::Launched).collect();
    let missing = launched.difference(&runs).count();
    let extra = runs.difference(&launched).count();
    assert_eq!((missing, extra), (0, 0), "a run for each launch, and none besides: {runs:?}, {told}");
    let (missed, skipped) = (recorded(TickOutcome::Missed).count(), recorded(TickOutcome::SkippedOverlap).count());
    let queued = recorded(TickOutcome::Queued).count();
    let may_wait = matches!(overlap, Overlap::Queue | Overlap::KillExisting);
    assert!(queued == 0 || may_wait, "{told}");
    assert!(skipped == 0 || overlap != Overlap::Allow, "{told}");
    format!(
        "{} launched, {missed} missed, {extra} extra, {skipped} skipped as overlapping, {queued} wait",
        launched.len()
    )
}

/// No epoch was led under by two.
fn one_leader_per_epoch(several: &Several) {
    let mut leaders: BTreeMap<String, usize> = BTreeMap::new();
    for scheduler in &several.schedulers {
        let log = scheduler.log();
        for line in log.lines().filter(|line| line.contains("elected: leading")) {
            let epoch =
                line.split("epoch=").nth(1).and_then(|rest| rest.split(' ').next()).expect("it names its epoch");
            *leaders.entry(epoch.to_string()).or_default() += 1;
        }
    }
    assert!(leaders.values().all(|count| *count == 1), "{leaders:?}");
    println!("{} leaders, one after the other", leaders.len());
}

#[test]
fn promises_hold_after_a_schedule_of_real_faults() {
    let seed = seed();
    println!("DAWN_SEED={seed}");
    let plan = SeveralPlan { apart: true, ..SeveralPlan::of(6) };
    let Some(several) = Several::start(&plan) else { return };
    let mut chance = SmallRng::seed_from_u64(seed);
    // One that is replaced when its agent is lost, and one that never is and so must never be there twice.
    let quick = |job: &mut v1::JobSpec| job.partition = Some(v1::PartitionPolicy { wait: false, delay_ms: 300 });
    let patient = |job: &mut v1::JobSpec| job.partition = Some(v1::PartitionPolicy { wait: true, delay_ms: 0 });
    let instances = u32::try_from(WEB).expect("a handful");
    let web = several.submit(service("web").instances(instances).backoff_ms(50, 500).with(quick));
    let single = several.submit(service("single").instances(instances).backoff_ms(50, 500).with(patient));
    // One that its agent stops by itself when nobody can be reached.
    let only = service("only").instances(2).backoff_ms(50, 500).grace_ms(300).with(|job| job.at_most_one = true);
    let only = several.submit(only);
    let crons = Crons::submit(&several);
    several.running(&web, WEB);
    several.running(&single, WEB);
    let (watch, only_watch) = (Doubles::watch(several.mark(&single)), Doubles::watch(several.mark(&only)));
    let (mut acknowledged, mut story) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        story.push(disturb(&several, &mut chance));
        let time = Duration::from_millis(chance.random_range(DISTURBED_MS));
        submit_for(&several, round, time, &mut acknowledged);
        several.heal();
    }
    println!("{} acknowledged; {}", acknowledged.len(), story.join(", "));
    // A deposed leader that went on after the heal ends by itself, and is started again as any other.
    several.eventually("every agent is back", Patience::LONG, || {
        several.start_the_ended();
        let nodes = several.read(Api::nodes)?;
        let up = nodes.iter().filter(|node| node.state() == v1::NodeState::Up).count();
        if up == 6 { Ok(()) } else { Err(format!("{up} up")) }
    });
    several.lives_exactly(&web, WEB);
    several.lives_exactly(&single, WEB);
    several.lives_exactly(&only, 2);
    assert_eq!(only_watch.end(), [] as [String; 0], "at most one lived twice (DAWN_SEED={seed}: {story:?})");
    assert_eq!(watch.end(), [] as [String; 0], "a job that waits was there twice (DAWN_SEED={seed}: {story:?})");
    let listed = several.eventually("the jobs are listed", Patience::LONG, || several.read(Api::jobs));
    for job in &acknowledged {
        let found = listed.iter().any(|summary| summary.key.as_ref().is_some_and(|key| *key == job.into()));
        assert!(found, "{job} was acknowledged and is lost (DAWN_SEED={seed}: {story:?})\n{}", several.last_words());
        several.tasks_in(job, TaskState::Finished, 2);
    }
    crons.add_up(&several);
    one_leader_per_epoch(&several);
    several.verified();
    several.end();
}
