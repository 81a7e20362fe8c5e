//! Several logs of one task are shown as one, in the order of time: the reader of a log holds a piece back until no other log can
//! have an older one. Not here: reading them.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

/// The others stop waiting for a log that says nothing for this long.
pub const PATIENCE: Duration = Duration::from_secs(2);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Next {
    /// Not known yet.
    Awaited,
    /// It was written at this time (milliseconds since 1970).
    At(i64),
    /// Its end was read, or its lines no longer have to be in order.
    Nothing,
}

struct Order {
    next: Mutex<Vec<Next>>,
    changed: Notify,
}

/// One log among the others.
pub struct Place {
    order: Arc<Order>,
    index: usize,
}

impl Place {
    /// The places of as many logs, one for each.
    pub fn for_each(logs: usize) -> Vec<Place> {
        let order = Arc::new(Order { next: Mutex::new(vec![Next::Awaited; logs]), changed: Notify::new() });
        (0..logs).map(|index| Place { order: order.clone(), index }).collect()
    }

    /// Returns when what was written at that time is the oldest that is not shown; false: another log said nothing for too long.
    pub async fn turn(&self, at_ms: i64, patience: Duration) -> bool {
        self.set(Next::At(at_ms));
        let is_first = async {
            loop {
                let changed = self.order.changed.notified();
                tokio::pin!(changed);
                changed.as_mut().enable();
                if self.is_first(at_ms) {
                    return;
                }
                changed.await;
            }
        };
        tokio::time::timeout(patience, is_first).await.is_ok()
    }

    /// What had its turn was shown, and the next piece is read.
    pub fn shown(&self) {
        self.set(Next::Awaited);
    }

    fn is_first(&self, at_ms: i64) -> bool {
        let others = self.next();
        others.iter().enumerate().all(|(index, next)| match next {
            Next::Awaited => index == self.index,
            Next::At(other_ms) => (at_ms, self.index) <= (*other_ms, index),
            Next::Nothing => true,
        })
    }

    fn set(&self, next: Next) {
        self.next()[self.index] = next;
        self.order.changed.notify_waiters();
    }

    fn next(&self) -> MutexGuard<'_, Vec<Next>> {
        self.order.next.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.set(Next::Nothing);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn pieces_of_several_logs_come_in_the_order_of_time() {
        let said = Arc::new(Mutex::new(Vec::new()));
        let logs: [&[i64]; 3] = [&[1, 4, 9], &[2, 3, 4], &[]];
        let mut readers = tokio::task::JoinSet::new();
        for (times, place) in logs.into_iter().zip(Place::for_each(3)) {
            let said = said.clone();
            readers.spawn(async move {
                for at_ms in times {
                    assert!(place.turn(*at_ms, PATIENCE).await);
                    said.lock().unwrap().push((*at_ms, place.index));
                    place.shown();
                }
            });
        }
        readers.join_all().await;
        assert_eq!(*said.lock().unwrap(), [(1, 0), (2, 1), (3, 1), (4, 0), (4, 1), (9, 0)]);
    }

    #[tokio::test]
    async fn a_log_that_says_nothing_holds_no_other_up_for_long() {
        let places = Place::for_each(2);
        assert!(!places[0].turn(5, Duration::from_millis(1)).await);
    }
}
