//! A leader that can't append: it keeps its lease, answers heartbeats and refuses commands, ends in time when it is told to,
//! and says what came of it. It lets another one lead only where that one shows that it can write.

use std::time::{Duration, Instant};

use dawn_proto::v1::admin_client::AdminClient;
use dawn_proto::v1::agent_message::Message as Up;
use dawn_proto::v1::{self, TaskState};
use tonic::Code;

use super::agent::{FakeAgent, register, report};
use super::gate::Gate;
use super::standby::cluster;
use super::{Cluster, DEADLINE, RunError, key, service};
use crate::etcd::fixture::{Etcd, etcd, etcd_with, store};
use crate::etcd::{EtcdConfig, WAITS};
use crate::run::STOP_WITHIN;
use crate::wire::sample::noise;

fn request(name: &str) -> v1::SubmitJobRequest {
    let spec = v1::JobSpec { key: Some(v1::JobKey { name: name.into(), ..key() }), ..service(1) };
    v1::SubmitJobRequest { spec: Some(spec), ..Default::default() }
}

/// Until its space is used up.
async fn fill(etcd: &Etcd) {
    let mut kv = store(&etcd.config).await.client().kv_client();
    for n in 0..100 {
        if kv.put(format!("/filler/{n}"), vec![7u8; 200_000], None).await.is_err() {
            return;
        }
    }
    panic!("etcd is not full");
}

impl Cluster {
    async fn leads(&mut self) -> v1::ServerInfo {
        self.until_info("it to lead", |info| info.leader && info.epoch > 0).await
    }

    /// Asks for something that no append goes through for, and waits until it says so.
    async fn is_stuck(&mut self) {
        self.is_stuck_with(request("stuck")).await;
    }

    async fn is_stuck_with(&mut self, stuck: v1::SubmitJobRequest) {
        let client = self.client.clone();
        tokio::spawn(async move { client.jobs().submit_job(stuck).await });
        self.until_info("trouble to be told", |info| info.troubles.concat().contains(WAITS)).await;
    }

    async fn leave(&self) -> Result<tonic::Response<v1::LeaveResponse>, tonic::Status> {
        let mut admin = AdminClient::connect(format!("http://{}", self.address)).await.unwrap();
        let left = tokio::time::timeout(STOP_WITHIN, admin.leave(v1::LeaveRequest {})).await;
        left.expect("an answer in time")
    }

    /// How it ended.
    async fn ended(self) -> Result<(), RunError> {
        let ended = tokio::time::timeout(DEADLINE, self.running).await.expect("it ends").unwrap();
        tokio::task::spawn_blocking(move || drop(self.runtime)).await.unwrap();
        ended
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heartbeats_are_answered_and_the_lease_kept_for_as_long_as_etcd_is_full() {
    let Some(etcd) = etcd_with(&["--quota-backend-bytes", "4000000"]) else { return };
    let mut leader = cluster(&etcd.config).await;
    let epoch = leader.leads().await.epoch;
    let mut follower = cluster(&etcd.config).await;
    let address = leader.address.to_string();
    follower.until_info("it to follow", |info| info.leader_address == address).await;
    leader.submit(service(1)).await;
    let (mut agent, _) = FakeAgent::join(leader.address, register("node-1")).await;
    let (_, launch) = agent.launched().await;
    agent.report(launch.task_id, TaskState::Running).await;
    fill(&etcd).await;
    leader.is_stuck().await;
    // For longer than two leases of the leader.
    let until = Instant::now() + Duration::from_millis(5 * etcd.config.lease_ms / 2);
    while Instant::now() < until {
        // What nobody takes is in nobody's way.
        agent.say(Up::Report(report(launch.task_id, 99, TaskState::Running))).await;
        assert_eq!(agent.drain().await, [], "nothing is ordered");
        let asked = Instant::now();
        let refused = leader.client.jobs().submit_job(request("more")).await.unwrap_err();
        assert_eq!(refused.code(), Code::Unavailable);
        assert!(refused.message().contains("mvcc: database space exceeded"), "etcd's own words: {refused:?}");
        assert!(asked.elapsed() < Duration::from_secs(5), "at once");
    }
    let info = leader.info().await;
    assert_eq!((info.leader, info.epoch), (true, epoch), "nobody else could write, so it leads on");
    let info = follower.until_info("the follower to know", |info| info.troubles.concat().contains(WAITS)).await;
    let words = info.troubles.concat();
    assert!(words.contains(&format!("the leader at {address} waits for etcd")), "{words}");
    leader.kill().await;
    follower.kill().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_ends_in_time_when_etcd_is_silent_and_says_what_is_missing() {
    let Some(etcd) = etcd() else { return };
    let config = EtcdConfig { lease_ms: 60_000, ..etcd.config.clone() };
    let mut leader = cluster(&config).await;
    leader.leads().await;
    leader.submit(service(1)).await;
    etcd.pause();
    leader.is_stuck().await;
    let watched = v1::GetJobRequest { key: Some(key()), version: 0 };
    let _held_open = leader.client.jobs().watch_job(watched).await.unwrap();
    leader.stop.send(()).unwrap();
    let ended = tokio::time::timeout(STOP_WITHIN, leader.running).await.expect("in time").unwrap();
    let words = ended.unwrap_err().to_string();
    assert!(words.contains("were not durable") && words.contains(WAITS), "{words}");
    etcd.resume();
    tokio::task::spawn_blocking(move || drop(leader.runtime)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leaving_is_a_success_only_when_another_one_is_elected() {
    let Some(etcd) = etcd() else { return };
    let mut first = cluster(&etcd.config).await;
    first.leads().await;
    let mut second = cluster(&etcd.config).await;
    second.until_info("it to follow", |info| !info.leader_address.is_empty()).await;
    let address = second.address.to_string();
    let left = first.leave().await.unwrap();
    assert!(left.get_ref().led && !left.get_ref().alone);
    assert_eq!(left.get_ref().leader, address);
    first.ended().await.unwrap();
    second.leads().await;
    // Nobody is left.
    let refused = second.leave().await.unwrap_err();
    assert_eq!(refused.code(), Code::Aborted);
    assert!(refused.message().contains("no other scheduler stands for election"), "{refused:?}");
    second.ended().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_can_not_hand_over_says_so_when_it_is_asked_to_leave() {
    let Some(etcd) = etcd() else { return };
    let config = EtcdConfig { lease_ms: 60_000, ..etcd.config.clone() };
    let mut leader = cluster(&config).await;
    leader.leads().await;
    etcd.pause();
    leader.is_stuck().await;
    let refused = leader.leave().await.unwrap_err();
    assert_eq!(refused.code(), Code::Aborted);
    assert!(refused.message().contains("were not durable"), "{refused:?}");
    assert!(leader.ended().await.is_err());
    etcd.resume();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_waits_for_etcd_at_its_start_is_stopped_at_once() {
    let Some(etcd) = etcd() else { return };
    etcd.pause();
    let mut config = super::config(std::path::Path::new("/nonexistent"));
    config.etcd = Some(etcd.config.clone());
    let stopped = crate::run::run(config, std::future::ready(()));
    tokio::time::timeout(DEADLINE, stopped).await.expect("it ends").unwrap();
    etcd.resume();
}

/// One leads through the gate, which then does as it is told; another one has a way of its own.
async fn lets_another_lead(narrow: impl FnOnce(&Gate), stuck: v1::SubmitJobRequest) {
    let Some(etcd) = etcd() else { return };
    let gate = Gate::before(&etcd.config.endpoints[0]).await;
    let through = EtcdConfig { endpoints: vec![format!("http://{}", gate.address)], ..etcd.config.clone() };
    let mut leader = cluster(&through).await;
    let epoch = leader.leads().await.epoch;
    leader.submit(service(1)).await;
    let mut follower = cluster(&etcd.config).await;
    let address = leader.address.to_string();
    follower.until_info("it to follow", |info| info.leader_address == address).await;
    narrow(&gate);
    leader.is_stuck_with(stuck).await;
    let ended = leader.ended().await.unwrap_err();
    assert!(ended.is_deposed() && ended.to_string().contains("another one shows that it can write"), "{ended}");
    follower.until_info("it to lead", |info| info.leader && info.epoch > epoch).await;
    assert_eq!(follower.job().await.summary.unwrap().instances, 1, "what was acknowledged is there");
    follower.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_whose_own_way_to_etcd_takes_no_writes_lets_one_lead_that_shows_it_can_write() {
    lets_another_lead(Gate::close, request("stuck")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_whose_writes_are_never_answered_lets_one_lead_that_shows_it_can_write() {
    lets_another_lead(Gate::swallow, request("stuck")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_whose_large_writes_are_never_answered_lets_one_lead_that_shows_it_can_write() {
    let mut large = request("stuck");
    let task = large.spec.as_mut().unwrap().task.as_mut().unwrap();
    task.env = [("LARGE".to_string(), noise(1, 100_000))].into();
    lets_another_lead(Gate::narrow, large).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_whose_way_takes_no_writes_leads_on_while_nobody_else_stands() {
    let Some(etcd) = etcd() else { return };
    let gate = Gate::before(&etcd.config.endpoints[0]).await;
    let through = EtcdConfig { endpoints: vec![format!("http://{}", gate.address)], ..etcd.config.clone() };
    let mut leader = cluster(&through).await;
    let epoch = leader.leads().await.epoch;
    let (mut agent, _) = FakeAgent::join(leader.address, register("node-1")).await;
    gate.close();
    leader.is_stuck().await;
    let until = Instant::now() + Duration::from_millis(3 * etcd.config.lease_ms);
    while Instant::now() < until {
        assert_eq!(agent.drain().await, []);
        let info = leader.info().await;
        assert_eq!((info.leader, info.epoch), (true, epoch));
    }
    leader.kill().await;
}
