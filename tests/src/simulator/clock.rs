//! Clocks: every node has its own, which drifts and jumps; timers of a scheduler go by its node's.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use dawn_proto::Timestamp;
use dawn_scheduler::drive::Clock;
use dawn_scheduler::model::Reading;
use rand::Rng;

use super::faults::Fault;
use super::network::Place;
use super::{WALL_START_MS, World};

/// A node's clocks over the world's time.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct NodeClock {
    /// Millionths faster than the world.
    pub drift_ppm: i64,
    pub wall_offset_ms: i64,
    /// So long it was suspended: its monotonic clock stood still.
    pub stood_ms: u64,
}

impl NodeClock {
    pub fn mono_ms(&self, world_ms: u64) -> u64 {
        let drifted = i128::from(world_ms) * i128::from(1_000_000 + self.drift_ppm) / 1_000_000;
        u64::try_from(drifted).unwrap_or(0).saturating_sub(self.stood_ms)
    }

    pub fn wall(&self, world_ms: u64) -> Timestamp {
        let drifted = i64::try_from(self.mono_ms(world_ms) + self.stood_ms).unwrap_or(i64::MAX);
        Timestamp(WALL_START_MS + drifted + self.wall_offset_ms)
    }

    /// The first moment at which its monotonic clock shows at least so much.
    pub fn world_ms(&self, mono_ms: u64) -> u64 {
        let own = i128::from(mono_ms.saturating_add(self.stood_ms)) * 1_000_000;
        let mut world_ms = u64::try_from(own / i128::from(1_000_000 + self.drift_ppm)).unwrap_or(u64::MAX);
        while self.mono_ms(world_ms) < mono_ms {
            world_ms += 1;
        }
        world_ms
    }

    pub fn now(&self, world_ms: u64) -> Reading {
        let mono_ms = self.mono_ms(world_ms);
        Reading { wall: self.wall(world_ms), mono_ms, boot_ms: mono_ms + self.stood_ms }
    }
}

/// What a scheduler reads the time from and sleeps by. Moves only when told.
#[derive(Clone, Default)]
pub(super) struct SimClock(Arc<Mutex<Timers>>);

#[derive(Default)]
struct Timers {
    now: Reading,
    waiting: BTreeMap<(u64, u64), Option<Waker>>,
    count: u64,
}

impl SimClock {
    fn timers(&self) -> MutexGuard<'_, Timers> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// It is now; whoever slept until then wakes.
    pub fn set(&self, now: Reading) {
        let mut timers = self.timers();
        timers.now = now;
        let due = timers.waiting.range_mut(..=(now.mono_ms, u64::MAX));
        let wakers: Vec<Waker> = due.filter_map(|(_, waker)| waker.take()).collect();
        drop(timers);
        wakers.into_iter().for_each(Waker::wake);
    }

    /// When the next sleeper wakes, on the monotonic clock.
    pub fn next_ms(&self) -> Option<u64> {
        self.timers().waiting.first_key_value().map(|((at_ms, _), _)| *at_ms)
    }
}

impl Clock for SimClock {
    fn now(&self) -> Reading {
        self.timers().now
    }

    fn passed(&self, duration: Duration) -> impl Future<Output = ()> + Send + 'static {
        let mut timers = self.timers();
        timers.count += 1;
        let ms = u64::try_from(duration.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX);
        let key = (timers.now.mono_ms.saturating_add(ms), timers.count);
        timers.waiting.insert(key, None);
        Sleep { clock: self.clone(), key }
    }
}

struct Sleep {
    clock: SimClock,
    key: (u64, u64),
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let mut timers = self.clock.timers();
        if timers.now.mono_ms >= self.key.0 {
            return Poll::Ready(());
        }
        timers.waiting.insert(self.key, Some(context.waker().clone()));
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        self.clock.timers().waiting.remove(&self.key);
    }
}

impl World {
    /// By seconds, minutes, hours or days, either way.
    pub(super) fn jump_ms(&mut self) -> i64 {
        let most_ms = [20_000, 20_000, 180_000, 7_200_000, 3 * 86_400_000][self.chance.random_range(0..5)];
        self.chance.random_range(-most_ms..most_ms)
    }

    /// A wall clock is set: wrong, and sometimes right again soon, or it stays so.
    pub(super) fn wall_jumps(&mut self, place: Place, by_ms: i64) {
        match place {
            Place::Node(node) => self.nodes[node].clock.wall_offset_ms = by_ms,
            Place::Machine(machine) => self.machines[machine].clock.wall_offset_ms = by_ms,
            Place::Etcd => {}
        }
        if by_ms != 0 && self.chance.random_bool(0.5) {
            let for_ms = self.within(500, 90_000);
            self.undo(for_ms, Fault::WallJump { place, by_ms: 0 });
        }
    }

    pub(super) fn walls_jump(&mut self, by_ms: i64) {
        (0..self.nodes.len()).for_each(|node| self.wall_jumps(Place::Node(node), by_ms));
        (0..self.machines.len()).for_each(|machine| self.wall_jumps(Place::Machine(machine), by_ms));
    }
}
