//! Runs of cron that were missed, where none may run beside another.

use dawn_proto::TaskId;
use dawn_proto::TaskState::{Finished, Running};
use dawn_proto::v1::{Misfire, Overlap, Reason, TickOutcome::*};

use super::cron::{MINUTE_MS, back_after_ten_minutes, start_pending, ticks, world_with};
use super::promises::replay_equals_live;
use super::specs::cron;
use super::world::World;
use crate::model::{CronHold, CronPolicy};

/// The scheduler was away until half a minute before the eleventh tick, and cron has waited for a minute.
fn back_just_before_a_tick(change: impl FnOnce(&mut CronPolicy)) -> World {
    let (mut world, _) = world_with(&cron("c", change));
    world.skip_ms(10 * MINUTE_MS + 30_000);
    world.live.cron_hold = Some(CronHold { from: world.now.wall, until: world.now.wall.plus_ms(MINUTE_MS) });
    world.elect(2);
    world.pass_ms(MINUTE_MS + 250);
    world
}

#[test]
fn missed_runs_follow_one_another_where_none_may_run_beside_another() {
    for overlap in [Overlap::CancelNew, Overlap::Queue] {
        let mut world = back_after_ten_minutes(|policy| {
            (policy.overlap, policy.misfire, policy.misfire_limit) = (overlap, Misfire::All, 3);
        });
        let link = world.register(1, vec![]);
        let late = |first, second, third| vec![(8, first), (9, second), (10, third)];
        assert_eq!(ticks(&world)[7..], late(Launched, Queued, Queued), "{overlap:?}");
        for outcomes in [late(Launched, Launched, Queued), late(Launched, Launched, Launched)] {
            start_pending(&mut world, link);
            let running: Vec<TaskId> =
                world.state.tasks.values().filter(|task| task.state() == Running).map(|task| task.id).collect();
            assert_eq!(running.len(), 1, "one at a time");
            world.report(link, running[0], Finished, Reason::None);
            assert_eq!(ticks(&world)[7..], outcomes, "{overlap:?}");
        }
        replay_equals_live(&world);
    }
}

#[test]
fn ticks_in_time_wait_behind_missed_runs_and_run_after_them() {
    let mut world = back_after_ten_minutes(|policy| {
        (policy.overlap, policy.misfire, policy.misfire_limit) = (Overlap::Queue, Misfire::All, 3);
    });
    let link = world.register(1, vec![]);
    start_pending(&mut world, link);
    // Two minutes in which the first of the missed runs goes on, and four more: as many wait as would be made up for.
    (0..6).for_each(|_| world.pass_heard_ms(60_000, &[link]));
    let late = [(8, Launched), (9, Queued), (10, Queued)];
    let in_time =
        [(11, Queued), (12, Queued), (13, Queued), (14, SkippedOverlap), (15, SkippedOverlap), (16, SkippedOverlap)];
    assert_eq!(ticks(&world)[7..], [&late[..], &in_time[..]].concat());
    for minute in 8..=13 {
        let launched = ticks(&world).into_iter().filter(|(_, outcome)| *outcome == Launched).map(|(minute, _)| minute);
        assert_eq!(launched.max(), Some(minute), "one after the other");
        start_pending(&mut world, link);
        let running = world.state.tasks.values().find(|task| task.state() == Running).map(|task| task.id);
        world.report(link, running.unwrap(), Finished, Reason::None);
    }
    replay_equals_live(&world);
}

#[test]
fn a_missed_run_that_the_next_would_kill_was_missed_and_the_latest_kills_what_lives() {
    let mut world = back_after_ten_minutes(|policy| {
        (policy.overlap, policy.misfire, policy.misfire_limit) = (Overlap::KillExisting, Misfire::All, 3);
    });
    assert_eq!(ticks(&world)[6..], [(7, Missed), (8, Missed), (9, Missed), (10, Launched)]);
    let link = world.register(1, vec![]);
    start_pending(&mut world, link);
    world.pass_heard_ms(60_000, &[link]);
    assert_eq!(ticks(&world).last(), Some(&(11, Queued)), "it waits only for the end of what it kills");
    replay_equals_live(&world);
}

#[test]
fn a_tick_in_time_is_cancelled_while_a_missed_run_lives() {
    let mut world = back_after_ten_minutes(|policy| {
        (policy.overlap, policy.misfire, policy.misfire_limit) = (Overlap::CancelNew, Misfire::All, 3);
    });
    let link = world.register(1, vec![]);
    start_pending(&mut world, link);
    world.pass_heard_ms(60_000, &[link]);
    assert_eq!(ticks(&world)[7..], [(8, Launched), (9, Queued), (10, Queued), (11, SkippedOverlap)]);
}

#[test]
fn a_tick_that_was_due_while_the_new_leader_learned_the_time_follows_the_missed_run() {
    // Ticks 1 to 10 were missed; the eleventh was due while cron waited, and nothing lived then.
    for (misfire, overlap, ends) in [
        (Misfire::Once, Overlap::CancelNew, vec![(9, Missed), (10, Launched), (11, Queued)]),
        (Misfire::Once, Overlap::Queue, vec![(9, Missed), (10, Launched), (11, Queued)]),
        (Misfire::Once, Overlap::Allow, vec![(9, Missed), (10, Launched), (11, Launched)]),
        (Misfire::Once, Overlap::KillExisting, vec![(9, Missed), (10, Missed), (11, Launched)]),
        (Misfire::All, Overlap::CancelNew, vec![(9, Launched), (10, Queued), (11, Queued)]),
        (Misfire::Skip, Overlap::CancelNew, vec![(9, Missed), (10, Missed), (11, Launched)]),
    ] {
        let mut world = back_just_before_a_tick(|policy| {
            (policy.overlap, policy.misfire, policy.misfire_limit) = (overlap, misfire, 2);
        });
        assert_eq!(ticks(&world)[8..], ends, "{misfire:?} {overlap:?}");
        let link = world.register(1, vec![]);
        // Each run follows the one before; one that is due later while a run lives is beside it.
        for minute in [10, 11] {
            start_pending(&mut world, link);
            let running = world.state.tasks.values().filter(|task| task.state() == Running).map(|task| task.id);
            for task in running.collect::<Vec<_>>() {
                world.report(link, task, Finished, Reason::None);
            }
            if (misfire, overlap) == (Misfire::All, Overlap::CancelNew) {
                assert!(ticks(&world).contains(&(minute, Launched)), "{:?}", ticks(&world));
            }
        }
        replay_equals_live(&world);
    }
}
