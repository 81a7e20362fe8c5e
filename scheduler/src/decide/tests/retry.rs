//! Retries: the policy as a table, and lives that follow each other.

use dawn_proto::v1::{JobKind, Reason, RestartOn};
use dawn_proto::{TaskId, TaskState, TaskState::*};

use super::specs::{batch, service};
use super::world::{World, ack, kill_effect};
use crate::decide::retry::{End, Next, next};
use crate::model::{JobSpec, Mutation, RestartPolicy, TaskMoved};

fn policy(on: RestartOn) -> RestartPolicy {
    let (initial_backoff_ms, max_backoff_ms, stable_after_ms) = (1_000, 10_000, 60_000);
    RestartPolicy { on, max_failures: 3, initial_backoff_ms, max_backoff_ms, stable_after_ms }
}

/// The policy as a table: kind, restart on, how it ended, failures before, life in seconds, and what follows.
#[test]
fn what_follows_an_end() {
    use End::*;
    use JobKind::{Batch, Service};
    use RestartOn::{AnyExit, Failure as OnFailure, Never};
    let again = |failures, delay_ms| Next::Again { failures, delay_ms };
    for (kind, on, how, failures, life_s, then) in [
        (Service, AnyExit, Success, 0, 61, again(0, 0)),
        (Service, AnyExit, Success, 5, 60, again(0, 0)),
        (Service, AnyExit, Success, 0, 59, again(1, 1_000)),
        (Service, AnyExit, Success, 1, 0, again(2, 2_000)),
        (Service, AnyExit, Failure, 2, 0, again(3, 4_000)),
        (Service, AnyExit, Failure, 4, 0, again(5, 10_000)),
        (Service, AnyExit, Failure, u32::MAX, 0, again(u32::MAX, 10_000)),
        (Service, AnyExit, Failure, 9, 61, again(1, 1_000)),
        (Service, OnFailure, Success, 0, 0, Next::Done),
        (Service, OnFailure, Failure, 0, 0, again(1, 1_000)),
        (Service, Never, Failure, 0, 0, Next::Done),
        (Service, Never, Taken, 0, 0, again(0, 0)),
        (Service, AnyExit, Taken, 3, 0, again(3, 0)),
        (Service, AnyExit, Asked, 0, 61, Next::Done),
        (Service, AnyExit, Refused, 3, 0, again(3, 1_000)),
        (Batch, OnFailure, Success, 2, 0, Next::Done),
        (Batch, OnFailure, Failure, 0, 61, again(1, 1_000)),
        (Batch, OnFailure, Failure, 1, 61, again(2, 2_000)),
        (Batch, OnFailure, Failure, 2, 61, Next::Done),
        (Batch, Never, Failure, 0, 61, Next::Done),
        (Batch, OnFailure, Taken, 2, 0, again(2, 0)),
        (Batch, OnFailure, Asked, 0, 0, Next::Done),
    ] {
        let got = next(kind, &policy(on), how, failures, life_s * 1_000);
        assert_eq!(got, then, "{kind:?} {on:?} {how:?} {failures} {life_s} s");
    }
}

/// Runs a pending task for a while and ends it.
fn live(world: &mut World, task: TaskId, life_ms: u64, end: TaskState, reason: Reason) {
    let (link, agent) = (crate::model::LinkId(1), crate::model::AgentNo(0));
    world.place_all(agent);
    world.report(link, task, Running, Reason::None);
    world.pass_heard_ms(life_ms, &[link]);
    world.report(link, task, end, reason);
    world.take();
}

fn newest(world: &World, name: &str) -> TaskId {
    *world.tasks_of(name).ids.last().unwrap()
}

#[test]
fn a_service_that_exits_at_once_is_backed_off_ever_longer_and_forgiven_when_it_stays_up() {
    let mut world = World::new();
    let (link, _) = world.agent(1);
    world.submit(&service("web", 1)).unwrap();
    let mut waits = Vec::new();
    for _ in 0..8 {
        let task = newest(&world, "web");
        live(&mut world, task, 0, Failed, Reason::Exited);
        let waiting = &world.state.tasks[&newest(&world, "web")];
        assert_eq!(waiting.state(), Throttled);
        let (&(ready_at, _), since) = (world.state.indexes().throttled.first().unwrap(), world.now.wall);
        waits.push(ready_at.since_ms(since));
        world.pass_heard_ms(ready_at.since_ms(since), &[link]);
        assert_eq!(world.state_of(newest(&world, "web")), Pending);
    }
    for (wait, full) in waits.iter().zip([1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000]) {
        assert!((full * 9 / 10..=full).contains(wait), "{waits:?}");
    }
    let task = newest(&world, "web");
    live(&mut world, task, 61_000, Finished, Reason::None);
    let next = &world.state.tasks[&newest(&world, "web")];
    assert_eq!((next.state(), next.failures, next.attempt), (Pending, 0, 10));
}

#[test]
fn the_history_of_an_instance_is_bounded() {
    let mut world = World::new();
    world.agent(1);
    world.submit(&service("web", 1)).unwrap();
    for _ in 0..9 {
        let task = newest(&world, "web");
        live(&mut world, task, 61_000, Finished, Reason::None);
    }
    let attempts: Vec<u32> = world.tasks("web").iter().map(|(_, attempt, _)| *attempt).collect();
    assert_eq!(attempts, [5, 6, 7, 8, 9, 10]);
}

#[test]
fn a_batch_task_is_given_up_after_its_failures_and_the_job_ends() {
    let mut world = World::new();
    let (link, _) = world.agent(1);
    world.submit(&batch("sum", 1)).unwrap();
    for failures in 1..=3 {
        assert!(world.job("sum").ended.is_none());
        assert_eq!(world.state.tasks[&newest(&world, "sum")].failures, failures - 1);
        let task = newest(&world, "sum");
        live(&mut world, task, 61_000, Failed, Reason::Exited);
        world.pass_heard_ms(5_000, &[link]);
    }
    assert_eq!(world.tasks("sum"), [(0, 1, Failed), (0, 2, Failed), (0, 3, Failed)]);
    assert!(world.job("sum").ended.is_some());
}

#[test]
fn what_is_lost_or_killed_by_nobody_comes_back_at_once_and_is_no_failure() {
    for (end, reason) in [(Lost, Reason::ExecutorLost), (Killed, Reason::None), (Lost, Reason::NotOnAgent)] {
        let mut world = World::new();
        let (link, _, tasks) = world.running(&batch("sum", 1));
        world.report(link, tasks[0], end, reason);
        assert_eq!(world.take(), [ack(link, tasks[0], end)]);
        assert_eq!(world.tasks("sum"), [(0, 1, end), (0, 2, Pending)]);
        let next = &world.state.tasks[&newest(&world, "sum")];
        assert_eq!((next.failures, next.history[0].reason), (0, reason));
    }
}

#[test]
fn a_preempted_task_is_told_and_replaced_when_it_is_gone() {
    for (spec, end, replaced) in [
        (service("web", 1), Finished, true),
        (service("web", 1), Failed, true),
        (batch("web", 1), Killed, true),
        (batch("web", 1), Failed, true),
        (batch("web", 1), Finished, false),
    ] {
        let mut world = World::new();
        let (link, agent, tasks) = world.running(&spec);
        let (task, to, reason) = (tasks[0], Preempting, Reason::Preempted);
        world.mutate(vec![Mutation::TaskMoved(TaskMoved {
            task,
            to,
            reason,
            message: "".into(),
            exit: None,
            ended: None,
        })]);
        assert_eq!(world.take(), [kill_effect(agent, task, Reason::Preempted)]);
        world.report(link, task, end, Reason::None);
        assert_eq!(world.take(), [ack(link, task, end)]);
        let ended = &world.state.tasks[&task];
        assert_eq!((ended.state(), ended.history.last().unwrap().reason), (end, Reason::Preempted));
        let after = if replaced { vec![(0, 1, end), (0, 2, Pending)] } else { vec![(0, 1, end)] };
        assert_eq!(world.tasks("web"), after);
    }
}

#[test]
fn a_task_beyond_its_run_time_is_stopped_and_has_failed() {
    let mut world = World::new();
    let spec = JobSpec { max_run_time_ms: Some(5_000), ..batch("sum", 1) };
    let (link, agent, tasks) = world.running(&spec);
    world.pass_heard_ms(4_750, &[link]);
    assert_eq!((world.state_of(tasks[0]), world.take()), (Running, vec![]));
    world.pass_heard_ms(500, &[link]);
    assert_eq!(world.take(), [kill_effect(agent, tasks[0], Reason::MaxRunTime)]);
    world.report(link, tasks[0], Killed, Reason::Signaled);
    assert_eq!(world.tasks("sum"), [(0, 1, Failed), (0, 2, Throttled)]);
    let ended = world.state.tasks[&tasks[0]].history.last().unwrap();
    assert_eq!(ended.reason, Reason::MaxRunTime);
    assert_eq!(world.state.tasks[&newest(&world, "sum")].failures, 1);
}

#[test]
fn an_instance_killed_for_an_update_that_went_back_meanwhile_gets_its_next_life_when_it_is_gone() {
    let mut world = World::new();
    let (link, _, tasks) = world.running(&service("web", 1));
    let told = Mutation::TaskMoved(TaskMoved {
        task: tasks[0],
        to: Killing,
        reason: Reason::Updated,
        message: "".into(),
        exit: None,
        ended: None,
    });
    world.mutate(vec![told]);
    world.report(link, tasks[0], Lost, Reason::AgentLost);
    assert_eq!(world.tasks("web"), [(0, 1, Lost), (0, 2, Pending)]);
}
