//! The whole agent over real gRPC on loopback, with real processes for executors: launches, reports, kills, restarts.

mod support;

use dawn_proto::v1::{self, Reason, TaskState, scheduler_message::Message};
use support::scheduler::{Manner, Scheduler};
use support::{RunningAgent, config, executor, spec, until};

/// Not a test: what the agent starts as an executor (see `support::config`).
#[test]
#[ignore = "started by the agent under test"]
fn fake_executor() {
    executor::run();
}

#[tokio::test]
async fn a_task_is_launched_reported_until_acknowledged_and_killed() {
    let work = tempfile::tempdir().unwrap();
    let scheduler = Scheduler::start(Manner::default()).await;
    let agent = RunningAgent::start(config(work.path(), scheduler.addresses()));
    until("a registration", || scheduler.registers().len() == 1).await;
    let register = &scheduler.registers()[0];
    assert_eq!((register.hostname.as_str(), register.isolation.as_str()), ("test-host", "none"));
    assert_eq!(register.offer.as_ref().unwrap().total.as_ref().unwrap().cpu_milli, 4_000);
    assert!(register.tasks.is_empty() && register.cluster_id.is_empty());

    scheduler.launch(1, 7).await;
    until("the spec's need", || scheduler.need_specs().len() == 1).await;
    scheduler.say(Message::Spec(spec(7, "serve"))).await;
    until("RUNNING", || scheduler.is(1, TaskState::Running)).await;
    scheduler.launch(1, 7).await;
    scheduler.kill(1).await;
    until("KILLED", || scheduler.is(1, TaskState::Killed)).await;
    assert_eq!(scheduler.states(1), [TaskState::Starting, TaskState::Running, TaskState::Killed]);
    assert_eq!(scheduler.reports(1).last().unwrap().reason(), Reason::UserRequest);
    until("the release", || work.path().join("tasks/t1/released").exists()).await;
    until("heartbeats", || scheduler.heartbeats() >= 2).await;
    assert_eq!(executor::starts(work.path(), 1), 1);
    agent.stop().await;
}
