//! Cron: overlap, misfire, runs by hand, and clocks that jump.

use dawn_proto::v1::{Misfire, Overlap, Reason, TickOutcome, TickOutcome::*};
use dawn_proto::{TaskId, TaskState, TaskState::*, Timestamp};

use super::specs::{cron, key, schedule, service};
use super::world::{START, World, ack, kill_effect};
use crate::model::{
    Answer, Command, CronHold, CronPolicy, Job, JobSpec, LinkId, Mutation, Refusal, TaskMade, Ticked, answers, utc,
};

pub(super) const MINUTE_MS: u64 = 60_000;

/// Minutes after the start and outcome of every kept tick.
pub(super) fn ticks(world: &World) -> Vec<(u64, TickOutcome)> {
    let ticks = world.job("c").ticks.iter();
    ticks.map(|tick| (tick.scheduled.since_ms(START) / MINUTE_MS, tick.outcome)).collect()
}

fn with(overlap: Overlap) -> JobSpec {
    cron("c", |policy| policy.overlap = overlap)
}

/// A world with an agent whose runs start as soon as they are pending.
pub(super) fn world_with(spec: &JobSpec) -> (World, LinkId) {
    let mut world = World::new();
    let (link, _) = world.agent(1);
    world.submit(spec).unwrap();
    (world, link)
}

fn pass_minutes(world: &mut World, link: LinkId, minutes: u64) {
    for _ in 0..minutes {
        world.pass_heard_ms(MINUTE_MS, &[link]);
        start_pending(world, link);
    }
    world.take();
}

pub(super) fn start_pending(world: &mut World, link: LinkId) {
    let tasks: Vec<TaskId> = world.state.indexes().pending.iter().copied().collect();
    world.place_all(world.live.links[&link]);
    tasks.iter().for_each(|task| world.report(link, *task, Running, Reason::None));
}

fn end(world: &mut World, link: LinkId, task: u64, state: TaskState) {
    world.report(link, TaskId(task), state, Reason::None);
}

#[test]
fn every_instant_is_recorded_once_before_its_tasks_in_one_batch() {
    let (mut world, link) = world_with(&cron("c", |_| ()));
    world.pass_heard_ms(MINUTE_MS - 250, &[link]);
    assert_eq!(ticks(&world), []);
    world.pass_heard_ms(250, &[link]);
    assert_eq!(ticks(&world), [(1, Launched)]);
    let last = world.journal.last().unwrap();
    let scheduled = START.plus_ms(MINUTE_MS);
    let [
        Mutation::Ticked(Ticked { scheduled: ticked, outcome: Launched, .. }),
        Mutation::TaskMade(TaskMade { run_at, .. }),
    ] = &last.mutations[..]
    else {
        panic!("{last:?}")
    };
    assert_eq!((*ticked, *run_at), (scheduled, scheduled));
    start_pending(&mut world, link);
    end(&mut world, link, 0, Finished);
    assert!(world.job("c").ended.is_none(), "a cron job does not end with its run");
    world.take();
    world.pass_heard_ms(MINUTE_MS, &[link]);
    assert_eq!(ticks(&world), [(1, Launched), (2, Launched)]);
    assert_eq!(world.tasks("c"), [(0, 1, Finished), (0, 1, Pending)]);
    assert_eq!(world.take(), []);
}

#[test]
fn a_failed_run_is_tried_again_with_its_own_version() {
    let (mut world, link) = world_with(&cron("c", |_| ()));
    pass_minutes(&mut world, link, 1);
    world.submit(&with(Overlap::Allow)).unwrap();
    end(&mut world, link, 0, Failed);
    let again = &world.state.tasks[&TaskId(1)];
    assert_eq!((again.run_at, again.attempt, again.state()), (START.plus_ms(MINUTE_MS), 2, Throttled));
    assert_eq!(again.spec, world.state.tasks[&TaskId(0)].spec);
}

#[test]
fn cancel_new_skips_while_a_run_lives() {
    let (mut world, link) = world_with(&with(Overlap::CancelNew));
    pass_minutes(&mut world, link, 3);
    assert_eq!(ticks(&world), [(1, Launched), (2, SkippedOverlap), (3, SkippedOverlap)]);
    end(&mut world, link, 0, Finished);
    pass_minutes(&mut world, link, 1);
    assert_eq!(ticks(&world)[3], (4, Launched));
    assert_eq!(world.tasks("c"), [(0, 1, Finished), (0, 1, Running)]);
}

#[test]
fn allow_runs_beside_each_other() {
    let (mut world, link) = world_with(&with(Overlap::Allow));
    pass_minutes(&mut world, link, 3);
    assert_eq!(world.tasks("c"), [(0, 1, Running); 3]);
}

#[test]
fn a_queued_run_starts_when_the_one_before_it_ends_and_at_most_one_waits() {
    let (mut world, link) = world_with(&with(Overlap::Queue));
    pass_minutes(&mut world, link, 3);
    assert_eq!(ticks(&world), [(1, Launched), (2, Queued), (3, SkippedOverlap)]);
    assert_eq!(world.tasks("c"), [(0, 1, Running)]);
    end(&mut world, link, 0, Finished);
    assert_eq!(ticks(&world), [(1, Launched), (2, Launched), (3, SkippedOverlap)]);
    assert_eq!(world.tasks("c"), [(0, 1, Finished), (0, 1, Pending)]);
    assert_eq!(world.state.tasks[&TaskId(1)].run_at, START.plus_ms(2 * MINUTE_MS));
    assert_eq!(world.take(), [ack(link, TaskId(0), Finished)]);
}

#[test]
fn a_run_that_waited_beyond_its_deadline_is_missed() {
    let spec = cron("c", |policy| {
        policy.overlap = Overlap::Queue;
        policy.starting_deadline_ms = Some(30_000);
    });
    let (mut world, link) = world_with(&spec);
    pass_minutes(&mut world, link, 2);
    world.pass_heard_ms(31_000, &[link]);
    end(&mut world, link, 0, Finished);
    assert_eq!(ticks(&world), [(1, Launched), (2, Missed)]);
    assert_eq!(world.tasks("c"), [(0, 1, Finished)]);
}

#[test]
fn kill_existing_starts_the_new_run_when_the_old_one_is_gone() {
    let (mut world, link) = world_with(&with(Overlap::KillExisting));
    pass_minutes(&mut world, link, 1);
    world.pass_heard_ms(MINUTE_MS, &[link]);
    let agent = world.live.links[&link];
    assert_eq!(world.take(), [kill_effect(agent, TaskId(0), Reason::OverlapKill)]);
    assert_eq!((ticks(&world), world.tasks("c")), (vec![(1, Launched), (2, Queued)], vec![(0, 1, Killing)]));
    // It takes its time: only the latest instant waits.
    world.pass_heard_ms(MINUTE_MS, &[link]);
    assert_eq!(ticks(&world), [(1, Launched), (2, SkippedOverlap), (3, Queued)]);
    end(&mut world, link, 0, Failed);
    assert_eq!(ticks(&world)[2], (3, Launched));
    assert_eq!(world.tasks("c"), [(0, 1, Failed), (0, 1, Pending)]);
    // A run that is nowhere yet gives way at once.
    world.pass_heard_ms(MINUTE_MS, &[link]);
    assert_eq!(ticks(&world)[3], (4, Launched));
    assert_eq!(world.tasks("c"), [(0, 1, Failed), (0, 1, Killed), (0, 1, Pending)]);
}

/// The scheduler was away from minute 0 to ten minutes later.
pub(super) fn back_after_ten_minutes(change: impl FnOnce(&mut CronPolicy)) -> World {
    let (mut world, _) = world_with(&cron("c", |policy| {
        policy.overlap = Overlap::Allow;
        change(policy);
    }));
    world.skip_ms(10 * MINUTE_MS + 30_000);
    world.elect(2);
    world.pass_ms(1_000);
    world
}

#[test]
fn missed_ticks_follow_the_policy_and_are_all_recorded() {
    let missed = |upto: u64| (1..=upto).map(|minute| (minute, Missed));
    let launched = |from: u64| (from..=10).map(|minute| (minute, Launched));
    for (misfire, limit, deadline_ms, runs_from) in [
        (Misfire::Skip, 3, None, 11),
        (Misfire::Once, 3, None, 10),
        (Misfire::All, 3, None, 8),
        (Misfire::All, 100, None, 1),
        (Misfire::All, 100, Some(90_000), 10),
        (Misfire::Once, 3, Some(20_000), 11),
    ] {
        let world = back_after_ten_minutes(|policy| {
            (policy.misfire, policy.misfire_limit, policy.starting_deadline_ms) = (misfire, limit, deadline_ms);
        });
        let wanted: Vec<_> = missed(runs_from - 1).chain(launched(runs_from)).collect();
        assert_eq!(ticks(&world), wanted, "{misfire:?} {limit} {deadline_ms:?}");
        assert_eq!(world.state.indexes().pending.len() as u64, 11 - runs_from);
    }
}

#[test]
fn a_month_of_missed_minutes_is_caught_up_in_bounded_steps() {
    let (mut world, _) = world_with(&cron("c", |policy| policy.misfire = Misfire::Once));
    world.skip_ms(31 * 86_400_000 + 30_000);
    world.elect(2);
    let before = world.journal.len();
    world.pass_ms(15_000);
    assert!(world.journal[before..].iter().all(|batch| batch.mutations.len() <= 2 + Job::KEPT_TICKS));
    let last = 31 * 1_440;
    let mut wanted: Vec<_> = (last - 19..last).map(|minute| (minute, Missed)).collect();
    wanted.push((last, Launched));
    assert_eq!(ticks(&world), wanted);
    assert_eq!(world.tasks("c"), [(0, 1, Pending)]);
}

#[test]
fn a_clock_that_goes_back_fires_no_tick_twice() {
    let (mut world, link) = world_with(&with(Overlap::Allow));
    pass_minutes(&mut world, link, 5);
    world.shift_clock(-(3 * MINUTE_MS as i64 + 30_000));
    // What launched counts as run when its time comes again, and that is told once.
    pass_minutes(&mut world, link, 3);
    assert_eq!((ticks(&world), world.tasks("c").len()), ([1, 2, 3, 4, 5].map(|at| (at, Launched)).into(), 5));
    pass_minutes(&mut world, link, 2);
    assert_eq!(ticks(&world)[5..], [(6, Launched)]);
    assert_eq!(world.tasks("c").len(), 6);
}

#[test]
fn a_clock_that_was_ahead_is_right_again_and_cron_fires_within_two_minutes() {
    let (mut world, link) = world_with(&with(Overlap::CancelNew));
    pass_minutes(&mut world, link, 2);
    // Three days ahead, believed, and back: what was decided there is not decided here.
    let ahead_ms = 3 * 86_400_000;
    world.shift_clock(ahead_ms);
    pass_minutes(&mut world, link, 2);
    end(&mut world, link, 0, Finished);
    pass_minutes(&mut world, link, 1);
    assert!(ticks(&world).iter().any(|(minute, _)| *minute > 4_000), "{:?}", ticks(&world));
    world.shift_clock(-ahead_ms);
    let left: Vec<_> = ticks(&world).into_iter().filter(|(minute, _)| *minute > 5).collect();
    assert!(left.len() == 1 && left[0].1 == Launched, "{left:?}");
    let tasks: Vec<TaskId> = world.tasks_of("c").ids.iter().copied().collect();
    let living: Vec<TaskId> = tasks.into_iter().filter(|task| !world.state_of(*task).is_terminal()).collect();
    living.iter().for_each(|task| world.report(link, *task, Finished, Reason::None));
    let before = world.tasks("c").len();
    pass_minutes(&mut world, link, 2);
    assert!(world.tasks("c").len() > before, "{:?}", ticks(&world));
}

#[test]
fn what_was_decided_before_the_clock_was_ahead_stays_decided_however_long_it_was() {
    let (mut world, link) = world_with(&cron("c", |policy| {
        (policy.overlap, policy.misfire) = (Overlap::Allow, Misfire::All);
    }));
    pass_minutes(&mut world, link, 3);
    let ahead_ms = 3 * 86_400_000;
    world.shift_clock(ahead_ms);
    pass_minutes(&mut world, link, 30);
    world.pass_heard_ms(MINUTE_MS / 2, &[link]);
    world.shift_clock(-ahead_ms);
    let before = world.tasks("c").len();
    pass_minutes(&mut world, link, 2);
    assert_eq!(world.tasks("c").len(), before + 2, "{:?}", ticks(&world));
}

#[test]
fn what_launched_ahead_counts_as_run_however_many_records_come_before() {
    let (mut world, link) = world_with(&with(Overlap::Allow));
    world.shift_clock(60 * MINUTE_MS as i64);
    pass_minutes(&mut world, link, 3);
    let ahead: Vec<_> = world.job("c").ticks.iter().rev().take(3).map(|tick| tick.scheduled).collect();
    world.shift_clock(-60 * MINUTE_MS as i64);
    pass_minutes(&mut world, link, 70);
    for scheduled in ahead {
        let begun = world.state.tasks.values().filter(|task| task.run_at == scheduled && task.attempt == 1);
        assert!(begun.count() <= 1, "{scheduled:?} ran twice");
    }
    let runs: std::collections::BTreeSet<_> =
        world.journal.iter().flat_map(|batch| &batch.mutations).filter_map(run_at).collect();
    let made = world.journal.iter().flat_map(|batch| &batch.mutations).filter_map(run_at).count();
    assert_eq!(runs.len(), made, "an instant ran twice");
}

fn run_at(mutation: &Mutation) -> Option<Timestamp> {
    match mutation {
        Mutation::TaskMade(TaskMade { run_at, attempt: 1, .. }) => Some(*run_at),
        _ => None,
    }
}

#[test]
fn what_was_due_while_a_new_leader_learned_the_time_is_not_late() {
    let (mut world, link) = world_with(&with(Overlap::Allow));
    pass_minutes(&mut world, link, 1);
    world.skip_ms(10 * MINUTE_MS + 30_000);
    world.live.cron_hold = Some(CronHold { from: world.now.wall, until: world.now.wall.plus_ms(MINUTE_MS) });
    world.elect(2);
    world.register(1, vec![]);
    world.pass_heard_ms(MINUTE_MS - 250, &[link]);
    assert_eq!(ticks(&world), [(1, Launched)]);
    world.pass_heard_ms(500, &[link]);
    let missed = (2..=11).map(|minute| (minute, Missed));
    assert_eq!(ticks(&world)[1..], missed.chain([(12, Launched)]).collect::<Vec<_>>());
}

#[test]
fn jitter_is_the_same_every_time_and_moves_no_instant() {
    let jitter_ms = 40_000;
    let policy = cron("c", |policy| policy.jitter_ms = jitter_ms).cron.unwrap();
    let own_ms = policy.jitter_of(&key("c"));
    assert!(own_ms > 0 && own_ms < jitter_ms && own_ms != policy.jitter_of(&key("d")), "{own_ms}");
    let (mut world, link) = world_with(&cron("c", |policy| policy.jitter_ms = jitter_ms));
    world.pass_heard_ms(MINUTE_MS + own_ms - 250, &[link]);
    assert_eq!(ticks(&world), []);
    world.pass_heard_ms(500, &[link]);
    assert_eq!(ticks(&world), [(1, Launched)]);
    assert_eq!(world.job("c").ticks[0].scheduled, START.plus_ms(MINUTE_MS));
}

fn start(world: &mut World) -> Result<Timestamp, Refusal> {
    match world.command(Command::StartCron { key: key("c"), author: "ann".into() })? {
        Answer::CronStarted(answers::CronStarted { run_at }) => Ok(run_at),
        answer => panic!("{answer:?}"),
    }
}

#[test]
fn a_run_by_hand_is_recorded_and_moves_no_tick() {
    let (mut world, link) = world_with(&with(Overlap::Allow));
    let by_hand: Vec<Timestamp> = (0..30).map(|_| start(&mut world).unwrap()).collect();
    assert!(by_hand.windows(2).all(|two| two[0] < two[1]) && by_hand.iter().all(|at| at.0 % 1000 != 0));
    assert_eq!(world.job("c").ticks.len(), Job::KEPT_TICKS);
    pass_minutes(&mut world, link, 1);
    (0..30).for_each(|_| _ = start(&mut world).unwrap());
    // However many runs by hand come between, the schedule goes on where it was.
    pass_minutes(&mut world, link, 1);
    assert!(ticks(&world).contains(&(2, Launched)));
    let runs = world.state.tasks.values().map(|task| task.run_at).filter(|run_at| run_at.0 % 1000 == 0);
    assert_eq!(runs.collect::<Vec<_>>(), [START.plus_ms(MINUTE_MS), START.plus_ms(2 * MINUTE_MS)]);
    assert_eq!(world.tasks("c").len(), 62);
}

#[test]
fn a_run_by_hand_keeps_to_the_overlap_policy() {
    let (mut world, link) = world_with(&with(Overlap::CancelNew));
    pass_minutes(&mut world, link, 1);
    let run_at = START.plus_ms(MINUTE_MS);
    assert_eq!(start(&mut world), Err(Refusal::RunAlive { key: key("c"), run_at, at: utc(run_at) }));
    world.submit(&with(Overlap::KillExisting)).unwrap();
    world.submit(&cron("c", |policy| (policy.overlap, policy.jitter_ms) = (Overlap::Queue, 1))).unwrap();
    let by_hand = start(&mut world).unwrap();
    assert_eq!(world.tasks("c"), [(0, 1, Running)]);
    assert!(start(&mut world).is_err());
    end(&mut world, link, 0, Finished);
    assert_eq!(world.state.tasks[&TaskId(1)].run_at, by_hand);
    assert_eq!(ticks(&world), [(1, Launched), (1, Manual)]);
}

#[test]
fn a_descheduled_job_fires_no_more_and_its_run_goes_on() {
    let (mut world, link) = world_with(&with(Overlap::Queue));
    pass_minutes(&mut world, link, 2);
    let deschedule = || Command::DescheduleCron { key: key("c"), author: "ann".into() };
    assert_eq!(world.command(deschedule()), Ok(Answer::CronDescheduled(answers::CronDescheduled)));
    assert_eq!(world.command(deschedule()), Err(Refusal::JobEnded { key: key("c") }));
    pass_minutes(&mut world, link, 3);
    assert_eq!(world.tasks("c"), [(0, 1, Running)]);
    end(&mut world, link, 0, Finished);
    assert_eq!((ticks(&world), world.tasks("c").len()), (vec![(1, Launched), (2, SkippedOverlap)], 1));
    assert_eq!(start(&mut world), Err(Refusal::JobEnded { key: key("c") }));
}

#[test]
fn instants_while_it_was_descheduled_were_not_missed() {
    let (mut world, link) = world_with(&cron("c", |policy| policy.misfire = Misfire::All));
    pass_minutes(&mut world, link, 1);
    end(&mut world, link, 0, Finished);
    world.command(Command::DescheduleCron { key: key("c"), author: "ann".into() }).unwrap();
    pass_minutes(&mut world, link, 8);
    world.submit(&with(Overlap::CancelNew)).unwrap();
    pass_minutes(&mut world, link, 1);
    assert_eq!(ticks(&world), [(1, Launched), (10, Launched)]);
}

#[test]
fn what_is_no_cron_job_is_refused() {
    let mut world = World::new();
    assert_eq!(start(&mut world), Err(Refusal::NoSuchJob { key: key("c") }));
    world.submit(&service("c", 1)).unwrap();
    assert_eq!(start(&mut world), Err(Refusal::NotCron { key: key("c") }));
    let deschedule = Command::DescheduleCron { key: key("c"), author: "ann".into() };
    assert_eq!(world.command(deschedule), Err(Refusal::NotCron { key: key("c") }));
}

#[test]
fn old_runs_are_forgotten() {
    let (mut world, link) = world_with(&cron("c", |_| ()));
    world.settings.kept_cron_runs = 3;
    for task in 0..10 {
        pass_minutes(&mut world, link, 1);
        end(&mut world, link, task, Finished);
    }
    assert_eq!(world.tasks_of("c").ids.iter().map(|task| task.0).collect::<Vec<_>>(), [6, 7, 8, 9]);
}

#[test]
fn a_schedule_that_never_fires_is_only_quiet() {
    let (mut world, link) = world_with(&cron("c", |policy| policy.schedule = schedule("0 0 30 2 *")));
    pass_minutes(&mut world, link, 3);
    assert_eq!((ticks(&world), world.state.indexes().cron_due.len()), (vec![], 0));
}
