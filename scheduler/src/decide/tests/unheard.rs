//! Ends of which no leader heard at their time.

use dawn_proto::v1::Reason;
use dawn_proto::{TaskId, TaskState::*, Timestamp};

use super::specs::{batch, service};
use super::world::{START, World, report};
use crate::model::{Event, LinkId, Report};

fn ends(world: &mut World, link: LinkId, task: TaskId, at: Timestamp) {
    let report = Report { at, ..report(task, Failed, Reason::Exited) };
    world.event(Event::Reported { link, report });
}

#[test]
fn an_end_is_dated_between_the_start_of_the_task_and_now_and_news_are_of_now() {
    for (told_ms, ended_ms) in [
        // As the agent says.
        (5_000, 5_000),
        // Before its start, and in the future.
        (-3_600_000, 0),
        (3_600_000, 31_000),
        // Of after the agent's link began: the leader heard at once.
        (30_500, 31_000),
    ] {
        let mut world = World::new();
        let (_, _, tasks) = world.running(&batch("sum", 1));
        let started = world.now.wall;
        world.skip_ms(30_000);
        world.elect(2);
        let link = world.register(1, vec![]);
        world.pass_ms(1_000);
        ends(&mut world, link, tasks[0], Timestamp(started.0 + told_ms));
        let ended = world.state.tasks[&tasks[0]].since();
        assert_eq!(ended, Timestamp(started.0 + ended_ms), "{told_ms}");
    }
}

#[test]
fn a_clock_that_is_off_is_taken_out_of_what_the_agent_tells() {
    let mut world = World::new();
    let (link, _, tasks) = world.running(&batch("sum", 1));
    let started = world.now.wall;
    let wall = Timestamp(started.0 + 3_600_000);
    world.event(Event::Heartbeat { link, sequence: 1, welcome: 0, wall });
    world.skip_ms(20_000);
    world.register(1, vec![Report { at: Timestamp(wall.0 + 5_000), ..report(tasks[0], Failed, Reason::Exited) }]);
    assert_eq!(world.state.tasks[&tasks[0]].since(), Timestamp(started.0 + 5_000));
}

#[test]
fn a_life_that_was_short_was_short_also_when_it_is_told_late() {
    let mut world = World::new();
    let (_, _, tasks) = world.running(&service("web", 1));
    assert!(world.now.wall >= START);
    let started = world.now.wall;
    world.skip_ms(600_000);
    world.elect(2);
    let link = world.register(1, vec![]);
    ends(&mut world, link, tasks[0], started.plus_ms(1_000));
    let next = world.state.tasks.values().next_back().unwrap();
    assert_eq!((next.attempt, next.failures, next.state()), (2, 1, Throttled));
    let version = &world.job("web").versions[0];
    assert!(!version.was_healthy, "it lived for a second");
}

#[test]
fn a_short_life_that_is_told_late_is_one_more_failure_in_a_row() {
    let mut world = World::new();
    let (link, agent, tasks) = world.running(&service("web", 1));
    world.report(link, tasks[0], Failed, Reason::Exited);
    let second = *world.state.tasks.keys().next_back().unwrap();
    world.pass_heard_ms(60_000, &[link]);
    world.place_all(agent);
    world.report(link, second, Running, Reason::None);
    let started = world.now.wall;
    // Nobody led for longer than a life has to last to count as stable.
    world.skip_ms(3_600_000);
    world.elect(2);
    let link = world.register(1, vec![]);
    ends(&mut world, link, second, started.plus_ms(1_000));
    let next = world.state.tasks.values().next_back().unwrap();
    assert_eq!((next.attempt, next.failures), (3, 2));
}
