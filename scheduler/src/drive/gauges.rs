//! What the pulse counts of itself, for whoever looks at it. Never decided on.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Upper bounds of the classes of append times, microseconds; the last class has none.
pub const APPEND_CLASSES_USEC: [u64; 10] = [250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 100_000, 500_000, 2_500_000];

/// Counters since this process began.
#[derive(Debug, Default)]
pub struct Gauges {
    pub steps: AtomicU64,
    pub events: AtomicU64,
    pub mutations: AtomicU64,
    pub appends: AtomicU64,
    pub append_usec: AtomicU64,
    pub append_classes: [AtomicU64; APPEND_CLASSES_USEC.len() + 1],
}

impl Gauges {
    pub(super) fn step(&self, events: usize, mutations: usize) {
        self.steps.fetch_add(1, Ordering::Relaxed);
        self.events.fetch_add(events as u64, Ordering::Relaxed);
        self.mutations.fetch_add(mutations as u64, Ordering::Relaxed);
    }

    pub(super) fn appended(&self, took: Duration) {
        let usec = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let class = APPEND_CLASSES_USEC.partition_point(|bound| *bound < usec);
        self.appends.fetch_add(1, Ordering::Relaxed);
        self.append_usec.fetch_add(usec, Ordering::Relaxed);
        self.append_classes[class].fetch_add(1, Ordering::Relaxed);
    }
}
