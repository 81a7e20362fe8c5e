//! The main path: submit, launch, report, status, kill.

use dawn_proto::v1::scheduler_message::Message as Down;
use dawn_proto::v1::{self, SubmitOutcome, TaskState};

use super::agent::{FakeAgent, register};
use super::{Cluster, key, service};

#[tokio::test]
async fn a_job_is_launched_reported_shown_and_killed() {
    let dir = tempfile::tempdir().unwrap();
    let mut cluster = Cluster::start(dir.path()).await;
    let (mut agent, welcome) = FakeAgent::join(cluster.address, register("node-1")).await;
    assert_eq!(welcome.epoch, 1);

    let submitted = cluster.submit(service(2)).await;
    assert_eq!((submitted.version, submitted.outcome()), (1, SubmitOutcome::Created));
    assert!(cluster.job().await.index >= submitted.index, "a read after a command reflects it");

    let (spec, first) = agent.launched().await;
    let (again, second) = agent.launched().await;
    assert_eq!(spec.expect("the spec comes before the first launch").spec_id, first.spec_id);
    assert_eq!((again, second.spec_id), (None, first.spec_id), "the spec comes once");
    assert_eq!((first.instance, second.instance, first.epoch, first.attempt), (0, 1, 1, 1));
    for launch in [&first, &second] {
        assert_eq!(agent.report(launch.task_id, TaskState::Running).await, []);
    }
    let status = cluster.until_states(&[TaskState::Running; 2]).await;
    let summary = status.summary.unwrap();
    assert_eq!((summary.running, summary.instances, summary.pending, summary.ended), (2, 2, 0, false));
    assert_eq!(status.tasks[0].hostname, "node-1.example");

    let kill = v1::KillJobRequest { key: Some(key()), author: "ann".into(), ..Default::default() };
    assert_eq!(cluster.client.jobs().kill_job(kill).await.unwrap().into_inner().tasks, 2);
    for launch in [&first, &second] {
        match agent.next().await {
            Down::Kill(kill) => assert_eq!((kill.task_id, kill.epoch), (launch.task_id, 1)),
            other => panic!("expected a kill, got {other:?}"),
        }
    }
    for launch in [&first, &second] {
        assert_eq!(agent.report(launch.task_id, TaskState::Killed).await, []);
    }
    let status = cluster.until_states(&[TaskState::Killed; 2]).await;
    assert!(status.summary.unwrap().ended);
    assert_eq!(agent.drain().await, [], "nothing else was ordered");
    cluster.stop().await;
}

#[tokio::test]
async fn pages_of_tasks_larger_than_one_look_at_the_state_have_each_task_once() {
    let dir = tempfile::tempdir().unwrap();
    let mut cluster = Cluster::start(dir.path()).await;
    cluster.submit(service(700)).await;
    let (mut page_token, mut sizes, mut ids) = (String::new(), Vec::new(), Vec::new());
    while sizes.is_empty() || !page_token.is_empty() {
        let request = v1::ListTasksRequest { page_token, page_size: 600, ..Default::default() };
        let page = cluster.client.tasks().list_tasks(request).await.unwrap().into_inner();
        sizes.push(page.tasks.len());
        ids.extend(page.tasks.into_iter().map(|task| task.id));
        page_token = page.next_page_token;
    }
    assert_eq!((sizes, ids), (vec![600, 100], (0..700).collect::<Vec<u64>>()));
    cluster.stop().await;
}
