//! Agents that name epochs no leader has had, over real links: the leader stays, unless its key in etcd is gone.

use dawn_proto::v1::scheduler_message::Message as Down;
use dawn_proto::v1::{self, TaskState};

use super::agent::{FakeAgent, register, report};
use super::standby::cluster;
use super::{Cluster, service};
use crate::etcd::fixture::{etcd, store};

use etcd_client::DeleteOptions;

/// Somebody registers so, and is refused; the agent is to dial again, and not at once.
async fn refused(cluster: &Cluster, register: v1::Register) -> v1::Refused {
    let mut agent = FakeAgent::dial(cluster.address, register).await;
    match agent.next().await {
        Down::Refused(refused) => {
            assert!(refused.dial_slowly && !refused.r#final, "{refused:?}");
            assert_eq!(agent.maybe_next().await, None, "the link is closed");
            refused
        }
        other => panic!("expected a refusal, got {other:?}"),
    }
}

async fn stays(mut cluster: Cluster) {
    let info = cluster.until_info("it to lead", |info| info.leader && info.epoch > 0).await;
    for agent in ["stranger", "node-1"] {
        for epoch_seen in [info.epoch + 1, 1 << 61, 1 << 63, u64::MAX] {
            let claim = v1::Register { cluster_id: info.cluster_id.clone(), epoch_seen, ..register(agent) };
            let reason = refused(&cluster, claim).await.reason;
            assert!(reason.contains(&epoch_seen.to_string()), "{reason}");
        }
    }
    cluster.submit(service(1)).await;
    let (mut agent, _) = FakeAgent::join(cluster.address, register("node-1")).await;
    agent.launched().await;
    let after = cluster.info().await;
    assert_eq!((after.leader, after.epoch), (true, info.epoch));
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_epoch_that_an_agent_names_ends_a_leader_in_etcd() {
    let Some(etcd) = etcd() else { return };
    stays(cluster(&etcd.config).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_whose_key_is_gone_steps_down_when_it_hears_of_a_higher_epoch() {
    let Some(etcd) = etcd() else { return };
    let mut leader = cluster(&etcd.config).await;
    let info = leader.until_info("it to lead", |info| info.leader && info.epoch > 0).await;
    let store = store(&etcd.config).await;
    let all = Some(DeleteOptions::new().with_prefix());
    store.client().delete(format!("{}/", store.keys.election()), all).await.unwrap();
    let claim = v1::Register { cluster_id: info.cluster_id, epoch_seen: info.epoch + 1, ..register("node-1") };
    refused(&leader, claim).await;
    let error = leader.error().await;
    let mut words = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(inner) = cause {
        words = format!("{words}: {inner}");
        cause = inner.source();
    }
    assert!(words.contains("own leader key is gone"), "{words}");
}

#[tokio::test]
async fn no_epoch_that_an_agent_names_ends_the_only_leader_of_its_journal() {
    let dir = tempfile::tempdir().unwrap();
    stays(Cluster::start(dir.path()).await).await;
}

#[tokio::test]
async fn an_operator_raises_the_epoch_and_an_agent_that_was_ahead_is_taken_in() {
    let dir = tempfile::tempdir().unwrap();
    let mut cluster = Cluster::start(dir.path()).await;
    let info = cluster.until_info("it to lead", |info| info.leader && info.epoch > 0).await;
    let mut claim = v1::Register { cluster_id: info.cluster_id, epoch_seen: 77, ..register("node-1") };
    claim.tasks = vec![report(500, 1, TaskState::Running)];
    refused(&cluster, claim.clone()).await;
    let told = cluster.until_info("an alarm", |info| info.troubles.concat().contains("went back in time")).await;
    assert!(told.troubles.concat().contains("dawn admin epoch raise"), "{:?}", told.troubles);
    cluster.submit(service(1)).await;
    let (mut other, _) = FakeAgent::join(cluster.address, register("node-2")).await;
    assert_eq!(other.drain().await, [], "nothing is placed");

    let mut operator = cluster.client.admin();
    let raised = operator.raise_epoch(v1::RaiseEpochRequest {}).await.unwrap().into_inner();
    assert_eq!((raised.epoch, raised.agents), (78, 1));
    let (mut agent, welcome) = FakeAgent::join(cluster.address, claim).await;
    assert_eq!(welcome.epoch, 78);
    loop {
        match agent.next().await {
            Down::Describe(asked) if asked.task_ids == [500] => break assert_eq!(asked.epoch, 78),
            Down::Describe(asked) => assert!(asked.task_ids.is_empty(), "of ended ones, {asked:?}"),
            other => panic!("expected a question, got {other:?}"),
        }
    }
    cluster.until_info("the alarm's end", |info| !info.troubles.concat().contains("went back in time")).await;
    // Orders go out under the new epoch, to agents that were there before too.
    let beat = other.beat().await;
    assert_eq!(beat.epoch, 78);
    cluster.stop().await;
    let mut again = Cluster::start(dir.path()).await;
    again.until_info("it to lead above that", |info| info.leader && info.epoch == 79).await;
    again.stop().await;
}
