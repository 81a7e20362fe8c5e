//! Several schedulers over one etcd: one leads, the others follow, and one of them takes over.

use dawn_proto::errors;
use dawn_proto::v1::scheduler_message::Message as Down;
use dawn_proto::v1::{self, TaskState};
use tonic::Code;

use super::agent::{FakeAgent, register, report};
use super::{Cluster, DEADLINE, config, key, service};
use crate::etcd::EtcdConfig;
use crate::etcd::fixture::{Etcd, etcd};

pub(super) async fn cluster(etcd: &EtcdConfig) -> Cluster {
    let mut config = config(std::path::Path::new("/nonexistent"));
    config.etcd = Some(etcd.clone());
    Cluster::start_with(config).await
}

impl Cluster {
    pub(super) async fn info(&mut self) -> v1::ServerInfo {
        self.client.admin().get_server_info(v1::GetServerInfoRequest {}).await.unwrap().into_inner()
    }

    pub(super) async fn until_info(&mut self, what: &str, wanted: impl Fn(&v1::ServerInfo) -> bool) -> v1::ServerInfo {
        let deadline = tokio::time::Instant::now() + DEADLINE;
        loop {
            let info = self.info().await;
            if wanted(&info) {
                return info;
            }
            assert!(tokio::time::Instant::now() < deadline, "waited for {what}, have {info:?}");
            tokio::task::yield_now().await;
        }
    }
}

/// A leader and a follower that knows it.
async fn pair(etcd: &Etcd) -> (Cluster, Cluster) {
    let mut leader = cluster(&etcd.config).await;
    leader.until_info("the first to lead", |info| info.leader && info.epoch > 0).await;
    let mut follower = cluster(&etcd.config).await;
    let address = leader.address.to_string();
    follower.until_info("the second to follow", |info| !info.leader && info.leader_address == address).await;
    (leader, follower)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_reads_and_names_the_leader_for_the_rest() {
    let Some(etcd) = etcd() else { return };
    let (mut leader, mut follower) = pair(&etcd).await;
    let submitted = leader.submit(service(1)).await;
    follower.until_info("the batch to arrive", |info| info.index >= submitted.index).await;
    assert_eq!(follower.job().await.summary.unwrap().pending, 1);

    let request = v1::SubmitJobRequest { spec: Some(service(2)), ..Default::default() };
    let refused = follower.client.jobs().submit_job(request).await.unwrap_err();
    let address = leader.address.to_string();
    assert_eq!(refused.code(), Code::Unavailable);
    assert_eq!(errors::named(&refused, "leader").as_deref(), Some(address.as_str()));
    let mut agent = FakeAgent::dial(follower.address, register("node-1")).await;
    match agent.next().await {
        Down::Refused(refused) => assert_eq!((refused.leader_address, refused.r#final), (address, false)),
        other => panic!("expected a refusal, got {other:?}"),
    }
    assert_eq!(agent.maybe_next().await, None);
    leader.stop().await;
    follower.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_takes_over_and_launches_nothing_twice() {
    let Some(etcd) = etcd() else { return };
    let (mut leader, mut follower) = pair(&etcd).await;
    let epoch = leader.info().await.epoch;
    leader.submit(service(1)).await;
    let (mut agent, welcome) = FakeAgent::join(leader.address, register("node-1")).await;
    assert_eq!(welcome.epoch, epoch);
    let (_, launch) = agent.launched().await;
    agent.report(launch.task_id, TaskState::Running).await;
    leader.stop().await;

    let info = follower.until_info("the second to lead", |info| info.leader && info.epoch > epoch).await;
    assert_eq!(info.cluster_id, welcome.cluster_id);
    let mut again = register("node-1");
    (again.cluster_id, again.epoch_seen) = (welcome.cluster_id, welcome.epoch);
    again.tasks = vec![report(launch.task_id, 1, TaskState::Running)];
    let (mut agent, welcome) = FakeAgent::join(follower.address, again).await;
    assert_eq!(welcome.epoch, info.epoch);
    follower.until_states(&[TaskState::Running]).await;
    let kill = v1::KillJobRequest { key: Some(key()), ..Default::default() };
    assert_eq!(follower.client.jobs().kill_job(kill).await.unwrap().into_inner().tasks, 1);
    let orders = agent.drain().await;
    let launches = orders.iter().filter(|order| matches!(order, Down::Launch(_))).count();
    let kills = orders.iter().filter(|order| matches!(order, Down::Kill(_))).count();
    assert_eq!((launches, kills), (0, 1), "{orders:?}");
    follower.stop().await;
}
