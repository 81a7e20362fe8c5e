//! A scheduler alone, whose etcd has little room: however much is written, what lies there stays small.

use dawn_proto::v1;

use super::standby::cluster;
use super::{key, service};
use crate::etcd::EtcdConfig;
use crate::etcd::fixture::{etcd_with, store};
use crate::wire::sample::noise;

const QUOTA: &str = "33554432";
/// Two such values has each spec, which does not shrink; a job keeps twenty specs.
const VALUE_BYTES: usize = 100_000;
/// More in all than the quota.
const SPECS: u64 = 180;

fn changed(number: u64) -> v1::SubmitJobRequest {
    let cron = v1::CronPolicy { schedule: "0 0 1 1 *".into(), ..Default::default() };
    let mut spec = v1::JobSpec { kind: v1::JobKind::Cron.into(), cron: Some(cron), ..service(1) };
    let value = |name: u64| (format!("VALUE{name}"), noise(2 * number + name, VALUE_BYTES));
    spec.task.as_mut().unwrap().env = (0..2).map(value).collect();
    v1::SubmitJobRequest { spec: Some(spec), ..Default::default() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_large_changes_of_a_job_need_no_more_room_in_etcd_than_a_few() {
    let Some(etcd) = etcd_with(&["--quota-backend-bytes", QUOTA]) else { return };
    // Long enough for a busy disk.
    let config = EtcdConfig { lease_ms: 60_000, ..etcd.config.clone() };
    let mut leader = cluster(&config).await;
    leader.until_info("it to lead", |info| info.leader && info.epoch > 0).await;
    for number in 0..SPECS {
        let submitted = leader.client.jobs().submit_job(changed(number)).await;
        assert!(submitted.is_ok(), "change {number}: {submitted:?}");
    }
    let size = store(&etcd.config).await.client().status().await.unwrap().db_size();
    assert!(size < QUOTA.parse().unwrap(), "{size} bytes");
    leader.stop().await;
    let mut next = cluster(&config).await;
    next.until_info("the next one to lead", |info| info.leader && info.epoch > 0).await;
    let asked = v1::GetJobRequest { key: Some(key()), version: 0 };
    let job = next.client.jobs().get_job(asked).await.unwrap().into_inner();
    assert_eq!(job.summary.unwrap().version, SPECS as u32);
    next.stop().await;
}
