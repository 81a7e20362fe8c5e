//! What is too large is refused by name, and what is large in sum is written all the same.

use std::collections::BTreeSet;

use dawn_proto::v1;
use dawn_proto::v1::scheduler_message::Message as Down;
use tonic::Code;

use super::agent::{FakeAgent, register};
use super::*;
use crate::etcd::fixture;
use crate::wire::sample::noise;

#[tokio::test]
async fn a_registration_beyond_its_bounds_is_refused_for_good_and_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = Cluster::start(dir.path()).await;
    let attribute = |name: String, values: usize| v1::Attribute { name, values: vec!["v".into(); values] };
    let with = |attributes| v1::Offer { attributes, ..register("node-1").offer.unwrap() };
    let many = (0..20_000).map(|number| attribute(format!("a{number}"), 10)).collect();
    let cases = [
        (v1::Register { hostname: "h".repeat(1 << 20), ..register("node-1") }, "hostname: 1048576 bytes; at most 253"),
        (v1::Register { boot_id: noise(1, 12 << 20), ..register("node-1") }, "boot_id: 12582912 bytes; at most 64"),
        (v1::Register { offer: Some(with(many)), ..register("node-1") }, "20000 attributes; at most 256"),
        (
            v1::Register { offer: Some(with(vec![attribute("a".into(), 1_001)])), ..register("node-1") },
            "offer.attributes[0].values: 1001 values; at most 1000",
        ),
    ];
    for (first, said) in cases {
        let mut agent = FakeAgent::dial(cluster.address, first).await;
        match agent.next().await {
            Down::Refused(refused) => {
                assert!(refused.dial_slowly && !refused.r#final && refused.reason.contains(said), "{refused:?}")
            }
            other => panic!("expected a refusal, got {other:?}"),
        }
        assert_eq!(agent.maybe_next().await, None, "the link is closed");
    }
    let nodes = cluster.client.nodes().list_nodes(v1::ListNodesRequest::default()).await.unwrap().into_inner().nodes;
    assert_eq!(nodes, []);
    let (mut agent, _) = FakeAgent::join(cluster.address, register("node-1")).await;
    let offer = with(vec![attribute("a".repeat(64), 1)]);
    agent.say(dawn_proto::v1::agent_message::Message::Offer(offer)).await;
    match agent.next().await {
        Down::Refused(refused) => {
            assert!(refused.dial_slowly && !refused.r#final && refused.reason.contains("at most 63"), "{refused:?}")
        }
        other => panic!("expected a refusal, got {other:?}"),
    }
    cluster.stop().await;
}

/// Specs of many sizes, some that shrink and some that don't.
fn burst() -> Vec<v1::JobSpec> {
    let sized = |name: String, values: usize, fill: String| {
        let mut spec = service(1);
        spec.key = Some(v1::JobKey { name, ..key() });
        spec.task.get_or_insert_default().env = (0..values).map(|n| (format!("FILL{n}"), fill.clone())).collect();
        spec
    };
    let large = |number: u64, kind: &str, fill: String| sized(format!("{kind}{number}"), 9, fill);
    (0..12)
        .map(|number| large(number, "noise", noise(number, 100_000)))
        .chain((0..24).map(|number| large(number, "plain", "x".repeat(100_000))))
        .chain((0..150).map(|number| sized(format!("middle{number}"), 1, noise(number, 40_000))))
        .chain((0..200).map(|number| sized(format!("small{number}"), 1, String::new())))
        .collect()
}

/// Submits all of them at once, again where the queue was full; each is acknowledged in the end.
async fn submitted(cluster: &Cluster) -> BTreeSet<String> {
    let submit = |spec: v1::JobSpec| {
        let (client, name) = (cluster.client.clone(), spec.key.clone().unwrap().name);
        async move {
            loop {
                let request = v1::SubmitJobRequest { spec: Some(spec.clone()), ..Default::default() };
                match client.jobs().submit_job(request).await {
                    Ok(_) => return name,
                    Err(full) => assert_eq!(full.code(), Code::ResourceExhausted, "{full:?}"),
                }
                tokio::task::yield_now().await;
            }
        }
    };
    let mut submitting: tokio::task::JoinSet<String> = burst().into_iter().map(submit).collect();
    let mut acknowledged = BTreeSet::new();
    while let Some(name) = submitting.join_next().await {
        acknowledged.insert(name.unwrap());
    }
    acknowledged
}

async fn jobs(cluster: &mut Cluster) -> BTreeSet<String> {
    let request = v1::ListJobsRequest { page_size: 10_000, ..Default::default() };
    let jobs = cluster.client.jobs().list_jobs(request).await.unwrap().into_inner().jobs;
    jobs.into_iter().map(|job| job.key.unwrap().name).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_burst_of_large_specs_is_there_after_a_kill_in_both_homes() {
    let dir = tempfile::tempdir().unwrap();
    let etcd = fixture::etcd();
    let in_etcd = etcd.as_ref().map(|etcd| Config { etcd: Some(etcd.config.clone()), ..config(dir.path()) });
    for config in [Some(config(dir.path())), in_etcd].into_iter().flatten() {
        let cluster = Cluster::start_with(config.clone()).await;
        until_leading(&cluster).await;
        let acknowledged = submitted(&cluster).await;
        assert_eq!(acknowledged.len(), burst().len());
        cluster.kill().await;
        let mut cluster = Cluster::start_with(config).await;
        until_leading(&cluster).await;
        assert_eq!(jobs(&mut cluster).await, acknowledged);
        cluster.stop().await;
    }
}

async fn until_leading(cluster: &Cluster) {
    let client = cluster.client.clone();
    let leads = tokio::time::timeout(DEADLINE, async {
        while !client
            .admin()
            .get_server_info(v1::GetServerInfoRequest {})
            .await
            .is_ok_and(|info| info.into_inner().leader)
        {
            tokio::task::yield_now().await;
        }
    });
    leads.await.expect("it leads in time");
}
