//! What operators ask a whole scheduler for: a backup and its restore, the journal, a look at everything, leaving, plans.

use std::path::Path;

use dawn_proto::v1::admin_client::AdminClient;
use dawn_proto::v1::agent_message::Message as Up;
use dawn_proto::v1::scheduler_message::Message as Down;
use dawn_proto::v1::{self, TaskState};
use tonic::transport::Channel;

use super::agent::{FakeAgent, register, report};
use super::{Cluster, DEADLINE, key, service};
use crate::run::{Place, check_backup, restore};

async fn admin(cluster: &Cluster) -> AdminClient<Channel> {
    AdminClient::connect(format!("http://{}", cluster.address)).await.unwrap()
}

async fn backup(cluster: &Cluster, file: &Path) {
    let mut chunks = admin(cluster).await.backup(v1::BackupRequest { least_index: 1 }).await.unwrap().into_inner();
    let (mut bytes, mut ended) = (Vec::new(), false);
    while let Some(chunk) = chunks.message().await.unwrap() {
        bytes.extend(chunk.data);
        ended = chunk.end;
    }
    assert!(ended);
    std::fs::write(file, bytes).unwrap();
}

async fn entries(cluster: &Cluster, from: u64, to: u64) -> Vec<v1::JournalEntry> {
    let request = v1::ReadJournalRequest { from, to };
    let mut portions = admin(cluster).await.read_journal(request).await.unwrap().into_inner();
    let mut entries = Vec::new();
    while let Some(portion) = portions.message().await.unwrap() {
        entries.extend(portion.entries);
    }
    entries
}

async fn verified(cluster: &Cluster) -> v1::VerifyResponse {
    admin(cluster).await.verify(v1::VerifyRequest {}).await.unwrap().into_inner().message().await.unwrap().unwrap()
}

fn described(task: u64, launch: &v1::Launch, spec: &v1::Spec) -> Up {
    Up::Description(v1::TaskDescription {
        report: Some(report(task, 1, TaskState::Running)),
        spec_id: spec.spec_id,
        version: spec.version,
        spec: spec.spec.clone(),
        instance: launch.instance,
        attempt: launch.attempt,
        run_at_ms: 0,
        ports: launch.ports.clone(),
        devices: launch.devices.clone(),
    })
}

#[tokio::test]
async fn a_restored_scheduler_asks_for_what_it_lost_and_takes_it_in() {
    let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut cluster = Cluster::start(dir.path()).await;
    let (agent, welcome) = FakeAgent::join(cluster.address, register("node-1")).await;
    drop(agent);
    let file = other.path().join("backup");
    backup(&cluster, &file).await;
    assert_eq!(check_backup(&file).unwrap().0.cluster_id, welcome.cluster_id);
    let (mut agent, _) = FakeAgent::join(cluster.address, register("node-1")).await;
    cluster.submit(service(1)).await;
    let (spec, launch) = agent.launched().await;
    agent.report(launch.task_id, TaskState::Running).await;
    cluster.stop().await;

    let place = Place::Directory(other.path().join("data"));
    let outcome = restore(&file, &place, false).await.unwrap();
    assert!(outcome.aside.is_none() && outcome.epoch > welcome.epoch);
    let again = restore(&file, &place, false).await.unwrap_err().to_string();
    assert!(again.contains("--replace"), "{again}");
    let mut cluster = Cluster::start(&other.path().join("data")).await;
    let info = cluster.client.admin().get_server_info(v1::GetServerInfoRequest {}).await.unwrap().into_inner();
    assert!(info.troubles[0].starts_with("the journal was restored or cut"), "{:?}", info.troubles);
    let back = v1::Register {
        cluster_id: welcome.cluster_id.clone(),
        epoch_seen: welcome.epoch,
        tasks: vec![report(launch.task_id, 1, TaskState::Running)],
        ..register("node-1")
    };
    let (mut agent, second) = FakeAgent::join(cluster.address, back).await;
    assert!(second.epoch > outcome.epoch);
    for lost in [vec![], vec![launch.task_id]] {
        match agent.next().await {
            Down::Describe(asked) => {
                assert_eq!((asked.task_ids.clone(), asked.finished.len()), (lost.clone(), usize::from(lost.is_empty())))
            }
            other => panic!("expected a question, got {other:?}"),
        }
    }
    agent.say(described(launch.task_id, &launch, &spec.unwrap())).await;
    let request = v1::GetJobRequest { key: Some(super::key()), version: 0 };
    let adopted = async {
        while cluster.client.jobs().get_job(request.clone()).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(super::DEADLINE, adopted).await.expect("the lost job is there again");
    let orders = agent.drain().await;
    let status = cluster.until_states(&[TaskState::Running]).await;
    assert_eq!((status.tasks[0].id, status.summary.unwrap().instances), (launch.task_id, 1));
    assert!(orders.iter().all(|order| matches!(order, Down::Ack(_))), "{orders:?}");
    // Its spec and task are taken in, and with the next tick it is settled.
    let of_job = |entries: &[v1::JournalEntry]| entries.iter().filter(|entry| entry.job == "www/test/web").count();
    let mut kinds = entries(&cluster, 0, 0).await;
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while of_job(&kinds) < 3 && std::time::Instant::now() < deadline {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await; // poll
        kinds = entries(&cluster, 0, 0).await;
    }
    assert_eq!(of_job(&kinds), 3, "{kinds:#?}");
    cluster.stop().await;
}

#[tokio::test]
async fn the_journal_is_read_between_two_indexes_with_names() {
    let dir = tempfile::tempdir().unwrap();
    let mut cluster = Cluster::start(dir.path()).await;
    let index = cluster.submit(service(2)).await.index;
    let all = entries(&cluster, 0, 0).await;
    assert!(matches!(&all[0].record.as_ref().unwrap().record, Some(v1::record::Record::ClusterMade(_))));
    let some = entries(&cluster, index, index).await;
    assert!(!some.is_empty() && some.iter().all(|entry| entry.index == index && entry.job == "www/test/web"));
    assert_eq!(some.iter().filter_map(|entry| entry.task_id).collect::<Vec<_>>(), [0, 1]);
    assert_eq!(entries(&cluster, index + 100, 0).await, []);
    let request = v1::ReadJournalRequest { from: 5, to: 4 };
    let refused = admin(&cluster).await.read_journal(request).await.err().unwrap();
    assert_eq!(refused.code(), tonic::Code::InvalidArgument);
    cluster.stop().await;
}

#[tokio::test]
async fn a_healthy_cluster_verifies_and_a_process_nobody_ordered_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let mut cluster = Cluster::start(dir.path()).await;
    let (mut agent, welcome) = FakeAgent::join(cluster.address, register("node-1")).await;
    cluster.submit(service(1)).await;
    let (_, launch) = agent.launched().await;
    agent.report(launch.task_id, TaskState::Running).await;
    let mut held = v1::InspectedTask {
        task_id: launch.task_id,
        state: TaskState::Running.into(),
        executor_pid: 10,
        executor_lives: true,
        processes: vec![v1::InspectedProcess { pid: 11, start_ticks: 1 }],
        processes_total: 1,
        ..Default::default()
    };
    for (stray, violations) in [(false, 0), (true, 1)] {
        if stray {
            held.task_id += 1_000;
        }
        let asked = verified(&cluster);
        let answer = async {
            loop {
                let Down::Inspect(asked) = agent.next().await else { continue };
                let tasks = vec![held.clone()];
                let inspection = v1::Inspection {
                    request_id: asked.request_id,
                    epoch_seen: welcome.epoch,
                    tasks,
                    ..Default::default()
                };
                agent.say(Up::Inspection(inspection)).await;
            }
        };
        let found = tokio::select! {
            found = tokio::time::timeout(DEADLINE, asked) => found.unwrap(),
            () = answer => unreachable!(),
        };
        let promise =
            |id: &str| found.promises.iter().find(|promise| promise.id == id).unwrap_or_else(|| panic!("{id}"));
        assert_eq!(promise("S4").violations_total, violations, "{found:#?}");
        assert!(promise("S11").checked == 2 && promise("S11").violations.is_empty(), "{found:#?}");
        assert!(promise("journal").checked > 0 && promise("S1").violations.is_empty());
        assert_eq!((found.leader, found.agents, found.unreached.len()), (true, 1, 0));
        // Without the task that the journal has there, its place is empty.
        assert_eq!(promise("agents").violations_total, violations);
    }
    cluster.stop().await;
}

#[tokio::test]
async fn a_scheduler_that_is_asked_to_leave_ends_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let mut cluster = Cluster::start(dir.path()).await;
    cluster.submit(service(1)).await;
    let left = admin(&cluster).await.leave(v1::LeaveRequest {}).await.unwrap().into_inner();
    assert!(left.led && left.alone);
    tokio::time::timeout(DEADLINE, cluster.running).await.unwrap().unwrap().unwrap();
    tokio::task::spawn_blocking(move || drop(cluster.runtime)).await.unwrap();
    let mut cluster = Cluster::start(dir.path()).await;
    assert_eq!(cluster.job().await.tasks.len(), 1);
    cluster.stop().await;
}

#[tokio::test]
async fn a_plan_says_where_jobs_would_go_and_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = Cluster::start(dir.path()).await;
    let (_agent, _) = FakeAgent::join(cluster.address, register("node-1")).await;
    let mut planner = cluster.client.jobs();
    let deadline = tokio::time::Instant::now() + DEADLINE;
    let plan = loop {
        let request = v1::PlanJobsRequest { specs: vec![service(6)] };
        let mut plans = planner.plan_jobs(request).await.unwrap().into_inner();
        let plan = plans.message().await.unwrap().unwrap();
        assert_eq!(plans.message().await.unwrap(), None);
        if !plan.places.is_empty() {
            break plan;
        }
        assert!(tokio::time::Instant::now() < deadline, "the agent is not seen: {plan:#?}");
    };
    assert_eq!(plan.key, Some(key()));
    assert_eq!((plan.places[0].instances.len(), plan.places[0].agent_id.as_str()), (4, "node-1"));
    assert_eq!((plan.created.len(), plan.pending[0].instances.clone()), (6, vec![4, 5]));
    let client = cluster.client.clone();
    let jobs =
        client.jobs().list_jobs(v1::ListJobsRequest { all: true, ..Default::default() }).await.unwrap().into_inner();
    assert_eq!(jobs.jobs, []);
    let limit = Some(v1::QuotaBounds { cpu_milli: Some(1), ..Default::default() });
    let request = v1::SetQuotaRequest { role: key().role, limit, ..Default::default() };
    client.quotas().set_quota(request).await.unwrap();
    let request = v1::PlanJobsRequest { specs: vec![service(6)] };
    let refused = planner.plan_jobs(request).await.unwrap().into_inner().message().await.unwrap().unwrap();
    assert_eq!((refused.refused_reason(), &refused.refused_names["role"]), (v1::ErrorReason::OverQuota, &key().role));
    let bad = v1::PlanJobsRequest { specs: vec![v1::JobSpec::default()] };
    assert_eq!(planner.plan_jobs(bad).await.err().unwrap().code(), tonic::Code::InvalidArgument);
    cluster.stop().await;
}
