//! Watches: who is told of which change, who shares one status, and who is refused.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::time::Duration;

use dawn_proto::v1::JobKind;
use futures_util::{FutureExt, StreamExt};
use tonic::Code;

use super::*;
use crate::drive::{Follower, Pulse};
use crate::model::{Batch, Event, State};
use crate::wire::sample::{elected, kill, now, pulse, registered, spec, story, submit};

const DEADLINE: Duration = Duration::from_secs(30);

type Shows = Pin<Box<dyn Stream<Item = Result<Arc<Shown>, Status>> + Send>>;

/// A pulse with two jobs, and watches of what it makes durable.
struct Rig {
    pulse: Pulse,
    follower: Arc<Follower>,
    watches: Watches,
    ms: u64,
}

fn holder(last: u8) -> Holder {
    IpAddr::from([10, 0, 0, last]).into()
}

fn key(name: &str) -> JobKey {
    JobKey::new("ann", "test", name).unwrap()
}

impl Rig {
    fn new(total: usize) -> Rig {
        let follower = Follower::new(State::default());
        let watches = Watches::new(Reader::new(follower.clone()), total);
        let mut rig = Rig { pulse: pulse(State::default()), follower, watches, ms: 0 };
        rig.step([elected(1), registered(1, 1, Vec::new())]);
        rig.step([submit(1, spec("web", JobKind::Service, 2)), submit(2, spec("sum", JobKind::Batch, 2))]);
        rig
    }

    fn step(&mut self, events: impl IntoIterator<Item = Event>) {
        self.ms += 10;
        let batch: Option<Arc<Batch>> = self.pulse.step(events, now(self.ms));
        self.follower.apply(&[batch.expect("something was decided")]);
    }

    async fn watch(&self, client: u8, name: &str) -> Result<Shows, Status> {
        Ok(Box::pin(self.watches.watch(holder(client), key(name), 0).await?.1))
    }
}

async fn next(shows: &mut Shows) -> Option<Result<Arc<Shown>, Status>> {
    tokio::time::timeout(DEADLINE, shows.next()).await.expect("a message in time")
}

async fn instances(shows: &mut Shows) -> u32 {
    next(shows).await.unwrap().unwrap().status.summary.as_ref().unwrap().instances
}

#[tokio::test]
async fn those_who_watch_a_job_share_one_status_and_those_of_others_hear_nothing() {
    let mut rig = Rig::new(10);
    let mut webs = [rig.watch(1, "web").await.unwrap(), rig.watch(2, "web").await.unwrap()];
    let mut sum = rig.watch(3, "sum").await.unwrap();
    assert_eq!(instances(&mut webs[0]).await, 2);
    assert_eq!(instances(&mut webs[1]).await, 2);
    assert_eq!(instances(&mut sum).await, 2);
    rig.step([submit(3, spec("web", JobKind::Service, 3))]);
    let [first, second] = &mut webs;
    let told = [next(first).await.unwrap().unwrap(), next(second).await.unwrap().unwrap()];
    assert!(Arc::ptr_eq(&told[0], &told[1]), "the status is worked out once");
    assert_eq!(v1::JobStatus::decode(&*told[0].encoded).unwrap(), told[0].status);
    // Whatever the other watch was to be told stands in its channel before the next change of its own job does.
    rig.step([submit(4, spec("sum", JobKind::Batch, 3)), kill(5, "sum", Vec::new())]);
    let ended = next(&mut sum).await.unwrap().unwrap();
    assert!(ended.status.summary.as_ref().unwrap().ended, "the first news is its own job's end");
}

#[tokio::test]
async fn a_watch_that_comes_later_begins_with_what_is_there_and_goes_on_with_the_others() {
    let mut rig = Rig::new(10);
    let mut early = rig.watch(1, "web").await.unwrap();
    assert_eq!(instances(&mut early).await, 2);
    rig.step([submit(3, spec("web", JobKind::Service, 3))]);
    let mut late = rig.watch(1, "web").await.unwrap();
    assert_eq!(instances(&mut late).await, 3);
    assert_eq!(instances(&mut early).await, 3);
    rig.step([kill(4, "web", Vec::new())]);
    for watch in [&mut early, &mut late] {
        loop {
            let status = next(watch).await.unwrap().unwrap();
            if status.status.summary.as_ref().unwrap().ended {
                break;
            }
        }
    }
}

#[tokio::test]
async fn the_client_that_holds_most_watches_is_refused_and_makes_room_for_others() {
    let rig = Rig::new(3);
    let mut held = Vec::new();
    for _ in 0..3 {
        let mut watch = rig.watch(1, "web").await.unwrap();
        instances(&mut watch).await;
        held.push(watch);
    }
    let refused = rig.watch(1, "web").await.map(|_| ()).unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted);
    assert_eq!(
        refused.message(),
        "all 3 watches of jobs are taken, and 10.0.0.1 holds most of them (3); end some of them, or try again later"
    );
    let mut other = rig.watch(2, "web").await.unwrap();
    assert_eq!(instances(&mut other).await, 2);
    let taken = next(&mut held[2]).await.unwrap().unwrap_err();
    assert_eq!(taken.code(), Code::ResourceExhausted);
    assert!(next(&mut held[2]).await.is_none());
    assert!(pin!(held[0].next()).now_or_never().is_none(), "the others go on");
}

#[tokio::test]
async fn nobody_watches_what_is_not_there_and_no_table_grows_by_it() {
    let rig = Rig::new(3);
    for _ in 0..10 {
        assert_eq!(rig.watch(1, "none").await.map(|_| ()).unwrap_err().code(), Code::NotFound);
    }
    let watch = rig.watch(1, "web").await.unwrap();
    assert_eq!(rig.watches.channels().len(), 1);
    drop(watch);
    let gone = async {
        while !rig.watches.channels().is_empty() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(DEADLINE, gone).await.expect("the channel goes with its last watch");
    assert_eq!(rig.watches.places.count(), 0);
}

/// Promise of the table in `drive/changes.rs`: no mutation changes what is shown of a job whose watches are not told.
#[test]
fn whatever_a_status_shows_is_told_to_those_who_watch_it() {
    let shown = |follower: &Follower| -> BTreeMap<JobKey, v1::JobStatus> {
        follower.read(|state| {
            let status = |key: &JobKey| job_status(state, key, 0).unwrap();
            state
                .indexes()
                .job_by_key
                .keys()
                .map(|key| (key.clone(), v1::JobStatus { index: 0, ..status(key) }))
                .collect()
        })
    };
    let mut changes = 0;
    for seed in 300..308 {
        let follower = Follower::new(State::default());
        let mut receivers = BTreeMap::new();
        let mut before = shown(&follower);
        for batch in story(seed, 120).0 {
            follower.apply(&[batch]);
            let after = shown(&follower);
            for (key, status) in &before {
                if after.get(key) != Some(status) {
                    let told: &watch::Receiver<u64> = &receivers[key];
                    assert!(told.has_changed().unwrap(), "{key} changed in a batch and its watches were not told");
                    changes += 1;
                }
            }
            receivers = follower.read(|state| {
                let watch = |(key, id): (&JobKey, &_)| (key.clone(), follower.watch_job(*id));
                state.indexes().job_by_key.iter().map(watch).collect()
            });
            before = after;
        }
    }
    assert!(changes > 200, "{changes} changes were seen");
}
