//! Whose fault it is that a leader can't append: a candidate that is asked to shows by writes as large as an append may be
//! that etcd takes them, and the leader looks at them beside its own tries. Not here: who asks a candidate.

use std::time::Duration;

use etcd_client::{GetOptions, PutOptions, TxnOp};
use tokio::sync::watch;
use tokio::time::Instant;

use super::error::EtcdError;
use super::keys::end_of;
use super::members::Again;
use super::store::Store;
use super::trial;

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

/// Writes under a lease of one's own, by a transaction as large as an append may be: where only what is small comes through,
/// nobody can append. What is stored is small.
async fn write(store: &Store, lease: i64) -> Result<(), EtcdError> {
    let options = PutOptions::new().with_lease(lease);
    let shown = TxnOp::put(store.keys.candidate(lease), "writes", Some(options));
    let txn = trial::never(store).or_else([shown]);
    store.transact("writing a candidate's key", Again::Broken, txn).await.map(|_| ())
}

/// etcd's revision, and that of the newest write of a candidate with another lease.
async fn look(store: &Store, lease: i64) -> Result<(i64, i64), EtcdError> {
    let prefix = store.keys.candidates();
    let options = GetOptions::new().with_range(end_of(&prefix));
    let answer = store.get("looking at candidates", prefix, Some(options)).await?;
    let own = store.keys.candidate(lease);
    let others = answer.kvs().iter().filter(|kv| kv.key() != own.as_bytes());
    let newest = others.map(etcd_client::KeyValue::mod_revision).max();
    Ok((answer.header().map_or(0, |header| header.revision()), newest.unwrap_or(0)))
}

/// A leader's doubt in itself, while its appends fail. `Moment` is a monotonic time.
#[derive(Clone, Copy, Debug)]
struct Doubt<Moment> {
    life: Duration,
    /// Since then neither an append nor another write of its own went through.
    since: Moment,
    /// The last look, and etcd's revision then.
    seen: Option<(Moment, i64)>,
}

impl<Moment: Copy + Ord + std::ops::Add<Duration, Output = Moment>> Doubt<Moment> {
    fn new(life: Duration, now: Moment) -> Self {
        Doubt { life, since: now, seen: None }
    }

    /// etcd takes writes of this scheduler: what holds appends up is not its own.
    fn wrote(&mut self, now: Moment) {
        (self.since, self.seen) = (now, None);
    }

    /// etcd is at `revision`, and the newest write of another candidate is of `newest`. Whether to let another lead: for a
    /// whole lease nothing of one's own went through, and another one has written within the last one.
    fn yields(&mut self, revision: i64, newest: i64, now: Moment) -> bool {
        let others_write = self.seen.is_some_and(|(at, before)| now <= at + self.life && newest > before);
        self.seen = Some((now, revision));
        others_write && now >= self.since + self.life
    }
}

/// Resolves when a leader whose append does not go through is to let another one lead. Its own writes and its looks at the
/// others' go side by side: a write that hangs keeps nobody from looking.
pub(super) async fn until_another_can(store: &Store, lease: i64, life: Duration) {
    let mut doubt = Doubt::new(life, Instant::now());
    let mut look_at = Instant::now() + life / 2;
    let write_after = async |pause: Duration| {
        tokio::time::sleep(pause).await;
        write(store, lease).await.is_ok()
    };
    let mut writing = Box::pin(write_after(life / 2));
    loop {
        tokio::select! {
            written = &mut writing => {
                if written {
                    doubt.wrote(Instant::now());
                }
                writing.set(write_after(life / 4));
            }
            () = tokio::time::sleep_until(look_at) => {
                // One that can't even read learns nothing.
                if let Ok((revision, newest)) = look(store, lease).await
                    && doubt.yields(revision, newest, Instant::now())
                {
                    return;
                }
                look_at = Instant::now() + life / 4;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIFE: Duration = Duration::from_secs(5);

    fn after(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn it_yields_only_to_one_that_wrote_within_the_last_lease() {
        let mut doubt = Doubt::new(LIFE, after(0));
        assert!(!doubt.yields(10, 9, after(4)), "one look shows nothing");
        assert!(!doubt.yields(10, 9, after(8)), "nobody has written since");
        assert!(doubt.yields(12, 12, after(10)));
    }

    #[test]
    fn it_does_not_yield_before_a_lease_has_passed_nor_by_an_old_look() {
        let mut doubt = Doubt::new(LIFE, after(0));
        assert!(!doubt.yields(10, 9, after(1)));
        assert!(!doubt.yields(12, 12, after(3)), "too early");
        assert!(!doubt.yields(20, 20, after(9)), "the look before is older than a lease");
        assert!(doubt.yields(21, 21, after(11)));
    }

    #[test]
    fn a_write_of_its_own_shows_that_the_cause_is_not_its_own() {
        let mut doubt = Doubt::new(LIFE, after(0));
        assert!(!doubt.yields(10, 10, after(4)));
        doubt.wrote(after(6));
        assert!(!doubt.yields(13, 13, after(7)), "it begins anew");
        assert!(!doubt.yields(14, 14, after(9)));
        assert!(doubt.yields(15, 15, after(12)));
    }
}
