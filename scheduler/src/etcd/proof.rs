//! Whose fault it is that a leader can't append: a candidate that is asked to shows by writes that etcd takes them, and
//! the leader looks at them beside its own tries. Not here: who asks a candidate.

use std::time::Duration;

use etcd_client::{GetOptions, PutOptions};
use tokio::sync::watch;

use super::error::EtcdError;
use super::keys::end_of;
use super::store::Store;

/// Writes the candidate's own key, bound to its lease, for as long as it is wanted. Never ends by itself.
pub(super) async fn keep_proving(store: Store, lease: i64, life: Duration, mut wanted: watch::Receiver<bool>) {
    loop {
        if wanted.wait_for(|wanted| *wanted).await.is_err() {
            return std::future::pending().await;
        }
        if let Err(error) = write(&store, lease).await {
            tracing::debug!("a candidate can't write either: {error}");
        }
        tokio::time::sleep(life / 4).await;
    }
}

/// A small write under a lease of one's own.
async fn write(store: &Store, lease: i64) -> Result<(), EtcdError> {
    let options = PutOptions::new().with_lease(lease);
    let mut kv = store.kv();
    let put = kv.put(store.keys.candidate(lease), "writes", Some(options));
    store.call("writing a candidate's key", put).await.map(|_| ())
}

/// etcd's revision, and that of the newest write of a candidate with another lease.
async fn look(store: &Store, lease: i64) -> Result<(i64, i64), EtcdError> {
    let prefix = store.keys.candidates();
    let options = GetOptions::new().with_range(end_of(&prefix));
    let mut kv = store.kv();
    let answer = store.call("looking at candidates", kv.get(prefix, Some(options))).await?;
    let own = store.keys.candidate(lease);
    let others = answer.kvs().iter().filter(|kv| kv.key() != own.as_bytes());
    let newest = others.map(etcd_client::KeyValue::mod_revision).max();
    Ok((answer.header().map_or(0, |header| header.revision()), newest.unwrap_or(0)))
}

/// A leader's doubt in itself, while its appends fail. `Moment` is a monotonic time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Doubt<Moment> {
    life: Duration,
    /// Since then neither an append nor a small write of its own went through.
    since: Moment,
    /// The last look, and etcd's revision then.
    seen: Option<(Moment, i64)>,
}

/// What a leader found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Found {
    /// Its own small write went through just now.
    pub own_write: bool,
    pub revision: i64,
    /// Of the newest write of another candidate.
    pub newest: i64,
}

impl<Moment: Copy + Ord + std::ops::Add<Duration, Output = Moment>> Doubt<Moment> {
    pub fn new(life: Duration, now: Moment) -> Self {
        Doubt { life, since: now, seen: None }
    }

    /// Whether to let another lead: for a whole lease nothing of one's own went through, and another one has written
    /// within the last one.
    pub fn yields(&mut self, found: Found, now: Moment) -> bool {
        if found.own_write {
            // etcd takes writes of this scheduler: what holds appends up is not its own.
            (self.since, self.seen) = (now, None);
            return false;
        }
        let others_write = self.seen.is_some_and(|(at, revision)| now <= at + self.life && found.newest > revision);
        self.seen = Some((now, found.revision));
        others_write && now >= self.since + self.life
    }
}

/// One look of a leader whose appends fail, at its own way to etcd and at the others'. None: it can't even read.
pub(super) async fn find(store: &Store, lease: i64) -> Option<Found> {
    let own_write = write(store, lease).await.is_ok();
    let (revision, newest) = look(store, lease).await.ok()?;
    Some(Found { own_write, revision, newest })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIFE: Duration = Duration::from_secs(5);

    fn after(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn found(own_write: bool, revision: i64, newest: i64) -> Found {
        Found { own_write, revision, newest }
    }

    #[test]
    fn it_yields_only_to_one_that_wrote_within_the_last_lease() {
        let mut doubt = Doubt::new(LIFE, after(0));
        assert!(!doubt.yields(found(false, 10, 9), after(4)), "one look shows nothing");
        assert!(!doubt.yields(found(false, 10, 9), after(8)), "nobody has written since");
        assert!(doubt.yields(found(false, 12, 12), after(10)));
    }

    #[test]
    fn it_does_not_yield_before_a_lease_has_passed_nor_by_an_old_look() {
        let mut doubt = Doubt::new(LIFE, after(0));
        assert!(!doubt.yields(found(false, 10, 9), after(1)));
        assert!(!doubt.yields(found(false, 12, 12), after(3)), "too early");
        assert!(!doubt.yields(found(false, 20, 20), after(9)), "the look before is older than a lease");
        assert!(doubt.yields(found(false, 21, 21), after(11)));
    }

    #[test]
    fn a_write_of_its_own_shows_that_the_cause_is_not_its_own() {
        let mut doubt = Doubt::new(LIFE, after(0));
        assert!(!doubt.yields(found(false, 10, 10), after(4)));
        assert!(!doubt.yields(found(true, 12, 11), after(6)));
        assert!(!doubt.yields(found(false, 13, 13), after(7)), "it begins anew");
        assert!(!doubt.yields(found(false, 14, 14), after(9)));
        assert!(doubt.yields(found(false, 15, 15), after(12)));
    }
}
