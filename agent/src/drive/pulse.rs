//! The loop around the agent: one event at a time in, its effects out to the edges, in order.

use std::future::Future;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use dawn_proto::Timestamp;
use tokio::sync::mpsc;

use super::Agent;
use super::vitals::Vitals;
use crate::model::{Effect, Event, LinkEvent, Now};

/// Between two ticks.
const TICK: Duration = Duration::from_millis(200);

/// Carries effects out, without waiting for anything slow.
pub trait Hands {
    /// Begins an effect; what becomes of it comes back as an event. Nothing that fails ends the agent.
    fn act(&mut self, effect: Effect);
}

/// Reads both clocks. The monotonic one is the machine's boot clock, which executors share and which goes on while the
/// machine is suspended: leases are told by it.
pub struct Clock;

impl Clock {
    pub fn now(&self) -> Now {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let boot = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        let mono_ms = u64::try_from(boot.tv_sec.saturating_mul(1_000) + boot.tv_nsec / 1_000_000).unwrap_or(0);
        Now { wall: Timestamp(i64::try_from(wall.as_millis()).unwrap_or(i64::MAX)), mono_ms }
    }
}

/// When the agent is to stop.
pub struct Stop<F> {
    pub asked: F,
    /// Its tasks are ended first, within this time; None: they run on.
    pub drain_within: Option<Duration>,
}

/// Drives the agent until it is to stop.
pub async fn pulse<H: Hands>(
    mut agent: Agent,
    first: Vec<Effect>,
    mut events: mpsc::Receiver<Event>,
    mut hands: H,
    clock: Clock,
    stop: Stop<impl Future<Output = ()>>,
    vitals: &Vitals,
) {
    for effect in first {
        hands.act(effect);
    }
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut asked = std::pin::pin!(stop.asked);
    let mut until: Option<tokio::time::Instant> = None;
    loop {
        vitals.turns();
        let over = async {
            match until {
                Some(until) => tokio::time::sleep_until(until).await,
                None => std::future::pending().await,
            }
        };
        let event = tokio::select! {
            biased;
            () = &mut asked, if until.is_none() => match stop.drain_within {
                None => return,
                Some(within) => {
                    until = Some(tokio::time::Instant::now() + within);
                    Event::Drain
                }
            },
            () = over => return,
            _ = tick.tick() => Event::Tick,
            event = events.recv() => match event {
                Some(event) => event,
                None => return,
            },
        };
        if let Event::Link(LinkEvent::Refused { reason, .. }) = &event {
            vitals.refused(reason);
        }
        for effect in agent.step(event, clock.now()) {
            hands.act(effect);
        }
        if until.is_some() && agent.state().is_drained() {
            return;
        }
    }
}
