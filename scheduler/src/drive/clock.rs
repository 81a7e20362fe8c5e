//! Where the driver's time comes from.

use std::future::Future;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use dawn_proto::Timestamp;
use nix::time::{ClockId, clock_gettime};

use crate::model::Reading;

pub trait Clock: Send + 'static {
    fn now(&self) -> Reading;

    /// Resolves once so much time has passed.
    fn passed(&self, duration: Duration) -> impl Future<Output = ()> + Send + 'static;
}

/// The machine's clocks.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock {
    start: Instant,
}

impl Default for SystemClock {
    fn default() -> Self {
        SystemClock { start: Instant::now() }
    }
}

impl SystemClock {
    /// Milliseconds since the machine's start, time suspended included.
    pub fn boot_ms() -> u64 {
        let now = clock_gettime(ClockId::CLOCK_BOOTTIME).map(Duration::from).unwrap_or_default();
        u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Reading {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Reading {
            wall: Timestamp(i64::try_from(wall.as_millis()).unwrap_or(i64::MAX)),
            mono_ms: u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX),
            boot_ms: SystemClock::boot_ms(),
        }
    }

    fn passed(&self, duration: Duration) -> impl Future<Output = ()> + Send + 'static {
        tokio::time::sleep(duration)
    }
}
