//! How long a leader may count on its lease, by its own clock. No I/O and no clock: moments come in.

use std::ops::Add;
use std::time::Duration;

/// A lease as its holder sees it: good until its length after the last renewal that was answered was sent, since etcd's
/// own count began later.
#[derive(Clone, Copy, Debug)]
pub struct Tenure<Moment> {
    life: Duration,
    good_until: Moment,
}

impl<Moment: Add<Duration, Output = Moment> + Ord + Copy> Tenure<Moment> {
    /// The lease was asked for at `asked`, and granted.
    pub fn new(asked: Moment, life: Duration) -> Self {
        Tenure { life, good_until: asked + life }
    }

    /// A renewal sent at `sent` was answered with the lease's time to live; false: the lease is gone.
    pub fn renewed(&mut self, sent: Moment, ttl: i64) -> bool {
        if ttl > 0 {
            self.good_until = self.good_until.max(sent + self.life);
        }
        ttl > 0
    }

    /// Nobody else leads before.
    pub fn good_until(&self) -> Moment {
        self.good_until
    }

    /// Between two renewals.
    pub fn renew_every(&self) -> Duration {
        self.life / 3
    }

    /// Before another try, when a renewal went wrong.
    pub fn retry_after(&self) -> Duration {
        self.life / 10
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_counts_from_when_the_renewal_was_sent() {
        let ms = Duration::from_millis;
        let mut tenure = Tenure::new(ms(100), ms(2_000));
        assert_eq!(tenure.good_until(), ms(2_100));
        assert!(tenure.renewed(ms(700), 2));
        assert_eq!(tenure.good_until(), ms(2_700));
        assert!(tenure.renewed(ms(600), 2), "an answer out of order shortens nothing");
        assert!(!tenure.renewed(ms(800), 0));
        assert_eq!(tenure.good_until(), ms(2_700));
    }
}
