//! Restarts, bad input and what is refused.

use dawn_proto::v1::agent_message::Message as Up;
use dawn_proto::v1::scheduler_message::Message as Down;
use dawn_proto::v1::{self, TaskState};
use tonic::Code;

use super::agent::{FakeAgent, register, report};
use super::{Cluster, config, key, service};
use crate::run::{RunError, start};

#[tokio::test]
async fn a_killed_scheduler_goes_on_and_launches_nothing_twice() {
    let dir = tempfile::tempdir().unwrap();
    let mut cluster = Cluster::start(dir.path()).await;
    let (mut agent, welcome) = FakeAgent::join(cluster.address, register("node-1")).await;
    cluster.submit(service(3)).await;
    let mut tasks = Vec::new();
    for _ in 0..3 {
        tasks.push(agent.launched().await.1.task_id);
    }
    agent.report(tasks[0], TaskState::Running).await;
    cluster.kill().await;

    let mut cluster = Cluster::start(dir.path()).await;
    let shown = cluster.job().await;
    let states: Vec<_> = shown.tasks.iter().map(v1::Task::state).collect();
    assert_eq!(states, [TaskState::Running, TaskState::Assigned, TaskState::Assigned]);
    // The second came up meanwhile, the third launch was lost on the way.
    let reports = vec![report(tasks[0], 1, TaskState::Running), report(tasks[1], 2, TaskState::Running)];
    let again = v1::Register {
        cluster_id: welcome.cluster_id.clone(),
        epoch_seen: welcome.epoch,
        tasks: reports,
        ..register("node-1")
    };
    let (mut agent, second) = FakeAgent::join(cluster.address, again).await;
    assert_eq!((second.epoch, second.cluster_id), (welcome.epoch + 1, welcome.cluster_id));
    let launched = agent.drain().await.into_iter().filter_map(|message| match message {
        Down::Launch(launch) => Some((launch.task_id, launch.epoch)),
        _ => None,
    });
    let launched: Vec<_> = launched.collect();
    assert!(launched.iter().all(|launch| *launch == (tasks[2], 2)), "only the lost one comes again: {launched:?}");
    let status = cluster.job().await;
    let shown: Vec<_> = status.tasks.iter().map(|task| task.id).collect();
    assert_eq!(shown, tasks, "no task was replaced");
    agent.report(tasks[2], TaskState::Running).await;
    cluster.until_states(&[TaskState::Running; 3]).await;
    cluster.stop().await;
}

#[tokio::test]
async fn what_was_acknowledged_is_there_after_any_kill() {
    let dir = tempfile::tempdir().unwrap();
    let mut indexes = Vec::new();
    for round in 0..5 {
        let mut cluster = Cluster::start(dir.path()).await;
        for earlier in 0..round {
            let key = v1::JobKey { name: format!("web{earlier}"), ..key() };
            let request = v1::GetJobRequest { key: Some(key), version: 0 };
            assert_eq!(cluster.client.jobs().get_job(request).await.unwrap().into_inner().tasks.len(), 2);
        }
        let spec = v1::JobSpec { key: Some(v1::JobKey { name: format!("web{round}"), ..key() }), ..service(2) };
        indexes.push(cluster.submit(spec).await.index);
        cluster.kill().await;
    }
    assert!(indexes.is_sorted(), "{indexes:?}");
}

#[tokio::test]
async fn a_scheduler_goes_on_from_a_snapshot() {
    let dir = tempfile::tempdir().unwrap();
    let mut settings = config(dir.path());
    (settings.journal.snapshot_after_bytes, settings.journal.segment_bytes) = (2000, 2000);
    let mut cluster = Cluster::start_with(settings.clone()).await;
    let snapshots = || std::fs::read_dir(dir.path().join("snapshot")).unwrap().count();
    for number in 0.. {
        let spec = v1::JobSpec { key: Some(v1::JobKey { name: format!("web{number}"), ..key() }), ..service(5) };
        cluster.submit(spec).await;
        if snapshots() >= 2 {
            break;
        }
        assert!(number < 1000, "no snapshot is taken");
    }
    let before = cluster.client.jobs().list_jobs(v1::ListJobsRequest::default()).await.unwrap().into_inner();
    cluster.kill().await;
    let cluster = Cluster::start_with(settings).await;
    let after = cluster.client.jobs().list_jobs(v1::ListJobsRequest::default()).await.unwrap().into_inner();
    assert_eq!(after.jobs, before.jobs);
    cluster.stop().await;
}

#[tokio::test]
async fn a_second_scheduler_on_the_directory_or_the_port_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = Cluster::start(dir.path()).await;
    let error = start(config(dir.path())).await.err().unwrap();
    let RunError::Open(cause) = error else { panic!("{error}") };
    assert!(cause.to_string().contains(&format!("in use by pid {}", std::process::id())), "{cause}");

    let other = tempfile::tempdir().unwrap();
    let taken = crate::run::Config { listen: cluster.address, ..config(other.path()) };
    let error = start(taken).await.err().unwrap();
    let expected =
        format!("listening on {}; is another scheduler running there? Give another address", cluster.address);
    assert_eq!(error.to_string(), expected);
    cluster.stop().await;
}

#[tokio::test]
async fn a_bad_spec_is_refused_with_every_field_on_a_line() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = Cluster::start(dir.path()).await;
    let mut spec = service(0);
    spec.task = None;
    let request = v1::SubmitJobRequest { spec: Some(spec), ..Default::default() };
    let status = cluster.client.jobs().submit_job(request).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    let paths: Vec<_> = status.message().lines().map(|line| line.split_once(": ").unwrap().0).collect();
    assert!(paths.contains(&"instances") && paths.len() >= 2, "{}", status.message());
    let none = cluster.client.jobs().list_jobs(v1::ListJobsRequest::default()).await.unwrap().into_inner();
    assert_eq!(none.jobs, []);
    cluster.stop().await;
}

#[tokio::test]
async fn refusals_have_codes_and_words() {
    let dir = tempfile::tempdir().unwrap();
    let mut cluster = Cluster::start(dir.path()).await;
    let get = v1::GetJobRequest { key: Some(key()), version: 0 };
    let status = cluster.client.jobs().get_job(get.clone()).await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::NotFound, "there is no job www/test/web"));
    let status = cluster.client.jobs().watch_job(get).await.unwrap_err();
    assert_eq!(status.code(), Code::NotFound);
    let kill = v1::KillJobRequest { key: Some(key()), ..Default::default() };
    let status = cluster.client.jobs().kill_job(kill.clone()).await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::NotFound, "there is no job www/test/web"));
    let backwards = vec![v1::InstanceRange { first: 3, last: 1 }];
    let status = cluster.client.jobs().kill_job(v1::KillJobRequest { instances: backwards, ..kill }).await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::InvalidArgument, "instances[0]: 3-1 runs backwards"));
    let status = cluster.client.cron().start_cron(v1::StartCronRequest::default()).await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::InvalidArgument, "key: is missing"));
    cluster.submit(service(1)).await;
    let start = v1::StartCronRequest { key: Some(key()), ..Default::default() };
    let status = cluster.client.cron().start_cron(start).await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::FailedPrecondition, "www/test/web is no cron job"));
    let page = v1::ListTasksRequest { page_token: "x".into(), ..Default::default() };
    assert_eq!(cluster.client.tasks().list_tasks(page).await.unwrap_err().code(), Code::InvalidArgument);
    cluster.stop().await;
}

#[tokio::test]
async fn an_agent_of_another_cluster_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = Cluster::start(dir.path()).await;
    let stranger = v1::Register { cluster_id: "another".into(), ..register("node-1") };
    let mut agent = FakeAgent::dial(cluster.address, stranger).await;
    match agent.next().await {
        Down::Refused(refused) => {
            assert!(refused.dial_slowly && !refused.r#final && refused.reason.contains("another"), "{refused:?}")
        }
        other => panic!("expected a refusal, got {other:?}"),
    }
    assert_eq!(agent.maybe_next().await, None, "the link is closed");
    cluster.stop().await;
}

#[tokio::test]
async fn an_agent_that_says_nonsense_loses_its_link_and_nobody_else_theirs() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = Cluster::start(dir.path()).await;
    let (mut good, _) = FakeAgent::join(cluster.address, register("node-1")).await;
    let (mut bad, _) = FakeAgent::join(cluster.address, register("node-2")).await;
    bad.say(Up::Report(v1::TaskReport { task_id: 1, state: 99, ..Default::default() })).await;
    match bad.next().await {
        Down::Refused(refused) => assert!(refused.reason.contains("state: 99"), "{refused:?}"),
        other => panic!("expected a refusal, got {other:?}"),
    }
    assert_eq!(bad.maybe_next().await, None);
    let mut nameless = FakeAgent::dial(cluster.address, register("../x")).await;
    match nameless.next().await {
        Down::Refused(refused) => assert!(refused.reason.contains("agent_id: "), "{refused:?}"),
        other => panic!("expected a refusal, got {other:?}"),
    }
    assert_eq!(good.drain().await, []);
    cluster.stop().await;
}

#[tokio::test]
async fn an_agent_that_dials_again_has_one_link_the_new_one() {
    let dir = tempfile::tempdir().unwrap();
    let mut cluster = Cluster::start(dir.path()).await;
    let (mut old, _) = FakeAgent::join(cluster.address, register("node-1")).await;
    let (mut new, _) = FakeAgent::join(cluster.address, register("node-1")).await;
    assert_eq!(old.maybe_next().await, None, "the old link is closed");
    cluster.submit(service(1)).await;
    new.launched().await;
    cluster.stop().await;
}

#[tokio::test]
async fn an_agent_that_lacks_a_spec_gets_it_with_the_launch_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut cluster = Cluster::start(dir.path()).await;
    let (mut agent, _) = FakeAgent::join(cluster.address, register("node-1")).await;
    cluster.submit(service(1)).await;
    let (spec, launch) = agent.launched().await;
    let need = v1::NeedSpec { spec_id: launch.spec_id, task_id: launch.task_id };
    agent.say(Up::NeedSpec(need)).await;
    assert_eq!(agent.launched().await, (spec, launch.clone()));
    agent.report(launch.task_id, TaskState::Running).await;
    // Running already: the spec alone.
    agent.say(Up::NeedSpec(need)).await;
    assert!(matches!(agent.next().await, Down::Spec(_)));
    agent.say(Up::NeedSpec(v1::NeedSpec { spec_id: 99, task_id: 99 })).await;
    assert_eq!(agent.drain().await, []);
    cluster.stop().await;
}

#[tokio::test]
async fn a_job_too_large_for_any_agent_is_taken_with_a_warning_and_explained() {
    let dir = tempfile::tempdir().unwrap();
    let mut cluster = Cluster::start(dir.path()).await;
    let warnings = cluster.submit(service(1)).await.warnings;
    assert_eq!(warnings, ["there is no node yet; its tasks wait for one"]);
    let (mut agent, _) = FakeAgent::join(cluster.address, register("node-1")).await;
    agent.launched().await;
    let mut large = service(2);
    large.key.as_mut().unwrap().name = "large".into();
    large.task.as_mut().unwrap().resources.as_mut().unwrap().cpu_milli = 64_000;
    let key = large.key.clone();
    let warnings = cluster.submit(large).await.warnings;
    assert!(
        warnings.len() == 1 && warnings[0].contains("would not fit the only node even if it were empty"),
        "{warnings:?}"
    );
    let mut small = service(1);
    small.key.as_mut().unwrap().name = "small".into();
    assert_eq!(cluster.submit(small).await.warnings, [] as [String; 0]);
    let why = cluster.client.jobs().why(v1::WhyRequest { key }).await.unwrap().into_inner();
    let [class] = &why.classes[..] else { panic!("{why:?}") };
    assert_eq!((class.instances.as_slice(), class.state()), (&[0, 1][..], TaskState::Pending));
    assert_eq!((class.vetoes[0].agents, class.vetoes[0].kind.as_str()), (1, "cpu"));
    cluster.stop().await;
}

#[tokio::test]
async fn a_stop_ends_streams_that_clients_hold_open() {
    let dir = tempfile::tempdir().unwrap();
    let mut cluster = Cluster::start(dir.path()).await;
    cluster.submit(service(1)).await;
    let (mut agent, _) = FakeAgent::join(cluster.address, register("node-1")).await;
    let client = cluster.client.clone();
    let mut watch =
        client.jobs().watch_job(v1::GetJobRequest { key: Some(key()), version: 0 }).await.unwrap().into_inner();
    watch.message().await.unwrap().unwrap();
    cluster.stop().await;
    while let Ok(Some(_)) = watch.message().await {}
    while agent.maybe_next().await.is_some() {}
}
