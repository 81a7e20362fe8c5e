//! Last words: from reports, from logs where a leader has heard none, and from nobody.

use dawn_proto::v1::agent_message::Message as Up;
use dawn_proto::v1::scheduler_message::Message as Down;
use dawn_proto::v1::{self, Reason, TaskState};
use tonic::Code;

use super::agent::{FakeAgent, register, report};
use super::{Cluster, service};

/// A task that failed and, where its agent says so, with what words.
async fn failed(cluster: &mut Cluster, agent: &mut FakeAgent, words: &[u8]) -> u64 {
    cluster.submit(service(1)).await;
    let task = agent.launched().await.1.task_id;
    let end = v1::TaskReport {
        reason: Reason::Exited.into(),
        message: "process web ended with exit code 3".into(),
        exit_code: Some(3),
        last_words: words.to_vec(),
        ..report(task, 9, TaskState::Failed)
    };
    agent.say(Up::Report(end)).await;
    loop {
        if matches!(agent.next().await, Down::Ack(ack) if ack.task_id == task) {
            return task;
        }
    }
}

async fn words(cluster: &mut Cluster, task_ids: &[u64]) -> Result<Vec<v1::LastWords>, tonic::Status> {
    let request = v1::GetLastWordsRequest { task_ids: task_ids.to_vec() };
    cluster.client.tasks().get_last_words(request).await.map(|answer| answer.into_inner().tasks)
}

#[tokio::test]
async fn what_a_failed_task_wrote_last_is_answered_from_its_report() {
    let dir = tempfile::tempdir().unwrap();
    let mut cluster = Cluster::start(dir.path()).await;
    let (mut agent, _) = FakeAgent::join(cluster.address, register("node-1")).await;
    let task = failed(&mut cluster, &mut agent, b"config is missing\n").await;
    let answer = words(&mut cluster, &[999, task]).await.unwrap();
    let data: Vec<_> = answer.iter().map(|words| (words.task_id, &words.data[..])).collect();
    assert_eq!(data, [(999, &b""[..]), (task, b"config is missing\n")]);
    let refused = words(&mut cluster, &[1; 33]).await.unwrap_err();
    let expected = "task_ids: 33 tasks; at most 32 may be asked about at once";
    assert_eq!((refused.code(), refused.message()), (Code::InvalidArgument, expected));
    cluster.stop().await;
}

/// The agent may be gone for good before it is welcomed.
#[tokio::test]
async fn what_a_task_wrote_last_is_answered_from_the_registration_that_names_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut cluster = Cluster::start(dir.path()).await;
    let (mut agent, _) = FakeAgent::join(cluster.address, register("node-1")).await;
    cluster.submit(service(1)).await;
    let task = agent.launched().await.1.task_id;
    drop(agent);
    let end = |words: &[u8]| v1::TaskReport { last_words: words.to_vec(), ..report(task, 9, TaskState::Failed) };
    for (id, said) in [("node-1", "config is missing\n"), ("node-1", "a copy says\n"), ("node-2", "a lie\n")] {
        let tasks = vec![end(said.as_bytes())];
        let registration = v1::Register { tasks, ..register(id) };
        drop(FakeAgent::join(cluster.address, registration).await);
        assert_eq!(words(&mut cluster, &[task]).await.unwrap()[0].data, b"config is missing\n");
    }
    cluster.stop().await;
}

#[tokio::test]
async fn another_agents_word_for_a_task_is_not_believed() {
    let dir = tempfile::tempdir().unwrap();
    let mut cluster = Cluster::start(dir.path()).await;
    let (mut agent, _) = FakeAgent::join(cluster.address, register("node-1")).await;
    let task = failed(&mut cluster, &mut agent, b"true\n").await;
    let (mut liar, _) = FakeAgent::join(cluster.address, register("node-2")).await;
    let lie = v1::TaskReport { last_words: b"a lie\n".to_vec(), ..report(task, 10, TaskState::Failed) };
    liar.say(Up::Report(lie)).await;
    liar.drain().await;
    assert_eq!(words(&mut cluster, &[task]).await.unwrap()[0].data, b"true\n");
    cluster.stop().await;
}

#[tokio::test]
async fn a_leader_that_has_heard_none_asks_the_agent_for_the_end_of_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let mut cluster = Cluster::start(dir.path()).await;
    let (mut agent, _) = FakeAgent::join(cluster.address, register("node-1")).await;
    let task = failed(&mut cluster, &mut agent, b"").await;
    let client = cluster.client.clone();
    let asked = tokio::spawn(async move {
        client.tasks().get_last_words(v1::GetLastWordsRequest { task_ids: vec![task] }).await.unwrap().into_inner()
    });
    let open = loop {
        if let Down::OpenTunnel(open) = agent.next().await {
            break open;
        }
    };
    let request = open.read_log.unwrap();
    assert_eq!((request.process.as_str(), request.stderr, request.tail_bytes), ("web", true, 2_048));
    let (up, _down) = super::logs::dial(&mut agent.client, open.tunnel_id).await.unwrap();
    let data = b"of a line that was cut\nconfig is missing\n".to_vec();
    let log = v1::LogChunk { data, offset: 7, end: true, ..Default::default() };
    up.send(v1::TunnelUp { log: Some(log), ..Default::default() }).await.unwrap();
    assert_eq!(asked.await.unwrap().tasks[0].data, b"config is missing\n");
    // An agent that does not answer holds nobody up for longer than a second.
    assert_eq!(words(&mut cluster, &[task]).await.unwrap()[0].data, b"");
    cluster.stop().await;
}
