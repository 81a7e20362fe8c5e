//! etcd out of space under a whole scheduler: writes are refused by that name, and go on once there is room.

use std::time::Duration;

use dawn_proto::v1;
use etcd_client::{AlarmAction, AlarmOptions, AlarmType, CompactionOptions, DeleteOptions};
use tonic::Code;

use super::standby::cluster;
use super::{DEADLINE, key, service};
use crate::etcd::fixture::{etcd_with, store};

fn named(name: &str) -> v1::JobSpec {
    v1::JobSpec { key: Some(v1::JobKey { name: name.into(), ..key() }), ..service(1) }
}

fn request(name: &str) -> v1::SubmitJobRequest {
    v1::SubmitJobRequest { spec: Some(named(name)), ..Default::default() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_etcd_is_named_to_clients_and_writes_go_on_after_room_was_made() {
    let Some(etcd) = etcd_with(&["--quota-backend-bytes", "4000000"]) else { return };
    let mut leader = cluster(&etcd.config).await;
    leader.until_info("it to lead", |info| info.leader && info.epoch > 0).await;
    leader.submit(service(1)).await;
    let store = store(&etcd.config).await;
    let mut kv = store.client().kv_client();
    for n in 0..100 {
        if kv.put(format!("/filler/{n}"), vec![7u8; 200_000], None).await.is_err() {
            break;
        }
    }
    // The one that meets the full disk waits; whoever comes after it is told.
    let client = leader.client.clone();
    let first = tokio::spawn(async move { client.jobs().submit_job(request("first")).await });
    let info = leader.until_info("trouble to be told", |info| !info.troubles.is_empty()).await;
    let words = info.troubles.concat();
    assert!(words.contains("out of space") && words.contains("defrag"), "{words}");
    let refused = leader.client.jobs().submit_job(request("second")).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable);
    assert!(refused.message().contains("takes no writes now: it waits for etcd: etcd is out of space"), "{refused:?}");
    assert_eq!(leader.job().await.summary.unwrap().instances, 1, "reads are answered");

    let all = Some(DeleteOptions::new().with_prefix());
    let deleted = kv.delete("/filler/", all).await.unwrap();
    let revision = deleted.header().unwrap().revision();
    let mut client = store.client();
    client.compact(revision, Some(CompactionOptions::new().with_physical())).await.unwrap();
    client.defragment().await.unwrap();
    // As `etcdctl alarm disarm` does: each by its member.
    let raised = client.alarm(AlarmAction::Get, AlarmType::Nospace, None).await.unwrap();
    for alarm in raised.alarms() {
        let mut of = AlarmOptions::new();
        of.with_member(alarm.member_id());
        client.alarm(AlarmAction::Deactivate, AlarmType::Nospace, Some(of)).await.unwrap();
    }
    let first = tokio::time::timeout(DEADLINE + Duration::from_secs(20), first).await.unwrap().unwrap();
    match first {
        Ok(done) => assert_eq!(done.into_inner().version, 1, "the one that waited is done"),
        // On a slow machine its caller was told to look later.
        Err(status) => assert_eq!(status.code(), Code::DeadlineExceeded, "{status:?}"),
    }
    leader.until_info("the trouble to be over", |info| info.troubles.is_empty()).await;
    let asked = v1::GetJobRequest { key: named("first").key, version: 0 };
    leader.client.jobs().get_job(asked).await.expect("what waited for room is there");
    leader.submit(named("second")).await;
    leader.stop().await;
}
