//! Killing: whole jobs and single instances, and that nothing killed comes back.

use dawn_proto::v1::{Reason, SubmitOutcome};
use dawn_proto::{TaskId, TaskState::*};

use super::specs::{batch, cron, encoded, key, service};
use super::world::{World, ack, kill_effect};
use crate::model::{Job, JobSpec, Refusal};

#[test]
fn a_killed_job_ends_and_nothing_of_it_comes_back() {
    let mut world = World::new();
    let (link, agent, tasks) = world.running(&service("web", 2));
    assert_eq!(world.kill("web", &[]), Ok(2));
    assert_eq!(world.job("web").ended.as_ref().map(|ended| (&*ended.by, &*ended.message)), Some(("ann", "enough")));
    assert_eq!(world.take(), [0, 1].map(|i: usize| kill_effect(agent, tasks[i], Reason::UserRequest)));
    world.report(link, tasks[0], Killed, Reason::None);
    world.report(link, tasks[1], Finished, Reason::None);
    assert_eq!(world.take(), [ack(link, tasks[0], Killed), ack(link, tasks[1], Finished)]);
    world.pass_heard_ms(60_000, &[link]);
    assert_eq!(world.tasks("web"), [(0, 1, Killed), (1, 1, Finished)]);
    assert_eq!(world.state.tasks[&tasks[0]].history.last().unwrap().reason, Reason::UserRequest);
    assert_eq!(world.take(), []);
    assert_eq!(world.kill("web", &[]), Err(Refusal::JobEnded { key: key("web") }));
}

#[test]
fn what_is_nowhere_yet_ends_at_once() {
    let mut world = World::new();
    world.submit(&service("web", 2)).unwrap();
    assert_eq!(world.kill("web", &[]), Ok(2));
    assert_eq!(world.tasks("web"), [(0, 1, Killed), (1, 1, Killed)]);
    assert_eq!(world.take(), []);
}

#[test]
fn killed_instances_stay_away_until_the_job_is_submitted_again() {
    let mut world = World::new();
    let (link, agent, tasks) = world.running(&service("web", 3));
    assert_eq!(world.kill("web", &[(1, 1)]), Ok(1));
    assert_eq!(world.take(), [kill_effect(agent, tasks[1], Reason::UserRequest)]);
    world.report(link, tasks[1], Killed, Reason::None);
    world.take();
    world.pass_heard_ms(30_000, &[link]);
    assert_eq!(world.tasks("web"), [(0, 1, Running), (1, 1, Killed), (2, 1, Running)]);
    assert_eq!(world.submit(&service("web", 3)), Ok(SubmitOutcome::StartedAgain));
    assert_eq!(world.tasks("web"), [(0, 1, Running), (1, 1, Killed), (2, 1, Running), (1, 2, Pending)]);
    assert_eq!(world.take(), []);
    assert_eq!(world.submit(&service("web", 3)), Ok(SubmitOutcome::Unchanged));
    // It is like any other again: its end is followed by another life.
    world.place_all(agent);
    world.report(link, TaskId(3), Running, Reason::None);
    world.report(link, TaskId(3), Lost, Reason::ExecutorLost);
    assert_eq!(world.tasks("web")[3..], [(1, 2, Lost), (1, 3, Pending)]);
}

#[test]
fn an_instance_older_than_the_version_stays_away_too() {
    let mut world = World::new();
    let (link, _, tasks) = world.running(&service("web", 2));
    world.submit(&service("web", 3)).unwrap();
    world.kill("web", &[(0, 0)]).unwrap();
    world.report(link, tasks[0], Killed, Reason::None);
    world.pass_heard_ms(1_000, &[link]);
    assert_eq!(world.tasks("web"), [(0, 1, Killed), (1, 1, Running), (2, 1, Pending)]);
}

#[test]
fn a_killed_instance_of_a_batch_job_is_back_when_the_whole_is_run_again() {
    let mut world = World::new();
    let (link, _, tasks) = world.running(&batch("sum", 2));
    world.kill("sum", &[(0, 0)]).unwrap();
    world.report(link, tasks[0], Killed, Reason::None);
    assert_eq!(world.submit(&batch("sum", 2)), Ok(SubmitOutcome::Unchanged));
    world.report(link, tasks[1], Finished, Reason::None);
    assert_eq!(world.submit(&batch("sum", 2)), Ok(SubmitOutcome::Replaced));
    assert_eq!(world.tasks("sum")[2..], [(0, 2, Pending), (1, 2, Pending)]);
}

#[test]
fn when_the_last_instance_is_killed_the_job_ends() {
    let mut world = World::new();
    let (link, _, tasks) = world.running(&batch("sum", 2));
    world.report(link, tasks[0], Finished, Reason::None);
    assert!(world.job("sum").ended.is_none());
    world.kill("sum", &[(1, 1)]).unwrap();
    world.report(link, tasks[1], Killed, Reason::None);
    assert!(world.job("sum").ended.is_some());
    world.submit(&service("web", 1)).unwrap();
    world.kill("web", &[(0, 0)]).unwrap();
    assert!(world.job("web").ended.is_some());
}

#[test]
fn instances_of_a_cron_job_are_back_in_the_next_run() {
    let mut world = World::new();
    let (link, agent) = world.agent(1);
    world.submit(&cron("c", |_| ())).unwrap();
    world.pass_heard_ms(60_250, &[link]);
    world.place_all(agent);
    let task = *world.tasks_of("c").ids.first().unwrap();
    world.take();
    assert_eq!(world.kill("c", &[(0, 0)]), Ok(1));
    assert_eq!(world.take(), [kill_effect(agent, task, Reason::UserRequest)]);
    world.report(link, task, Killed, Reason::None);
    assert_eq!(world.tasks("c"), [(0, 1, Killed)]);
    world.pass_heard_ms(60_000, &[link]);
    assert_eq!(world.tasks("c"), [(0, 1, Killed), (0, 1, Pending)]);
}

#[test]
fn what_is_not_there_is_refused() {
    let mut world = World::new();
    assert_eq!(world.kill("web", &[]), Err(Refusal::NoSuchJob { key: key("web") }));
    world.submit(&service("web", 3)).unwrap();
    let refused = Err(Refusal::NoSuchInstance { key: key("web"), instance: 3, instances: (0..3).collect() });
    assert_eq!(world.kill("web", &[(0, 1), (2, 3)]), refused);
    assert_eq!(world.tasks("web").len(), 3);
    assert!(world.state.indexes().pending.len() == 3);
}

#[test]
fn an_instance_that_was_killed_says_by_whom() {
    let mut world = World::new();
    let (link, _, tasks) = world.running(&service("web", 2));
    world.kill("web", &[(1, 1)]).unwrap();
    world.report(link, tasks[1], Killed, Reason::None);
    let history = &world.state.tasks[&tasks[1]].history;
    let asked = history.iter().find(|step| step.reason == Reason::UserRequest).unwrap();
    assert_eq!((asked.to, &*asked.message), (Killing, "killed by ann: enough"));
}

#[test]
fn what_is_killed_while_a_version_replaces_another_has_no_life_of_that() {
    let mut world = World::new();
    let (link, _) = world.agent(1);
    world.settings.slice = 8;
    world.submit(&service("web", 40)).unwrap();
    world.pass_heard_ms(5_000, &[link]);
    assert_eq!(world.submit(&encoded(JobSpec { priority: 7, ..service("web", 40) })), Ok(SubmitOutcome::Replaced));
    assert_ne!(world.job("web").settled, Job::SETTLED, "it is only begun");
    world.kill("web", &[(10, 39)]).unwrap();
    let first = world.state.next_task;
    world.pass_heard_ms(5_000, &[link]);
    let since = world.tasks_of("web").ids.range(first..).map(|id| world.state.tasks[id].instance);
    assert!(since.clone().all(|instance| instance < 10), "{:?}", since.collect::<Vec<_>>());
    assert_eq!(world.state.living(world.job("web")).count(), 10);
}
