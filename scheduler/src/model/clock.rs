//! Clocks: what a machine's show, what is known of agents', and how far Dawn's own was moved. Not here: when it is
//! (`decide::clock`).

use dawn_proto::Timestamp;

use super::{AgentNo, Live, Now};

/// What the clocks of the scheduler's machine show.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    pub wall: Timestamp,
    /// Never goes back; from an arbitrary start. Stands still while the machine is suspended.
    pub mono_ms: u64,
    /// Since the machine's start, time suspended included.
    pub boot_ms: u64,
}

/// Dawn's clock followed a step of the wall clock: what was noted by it, or is awaited, moves along.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shift {
    pub by_ms: i64,
    /// Instants up to then stay where they are: they were noted before a time in which nobody led. Zero: all move.
    pub after: Timestamp,
}

impl Shift {
    /// Where an instant lies now. Zero means that nothing is set, and stays.
    pub fn moved(&self, instant: Timestamp) -> Timestamp {
        match instant > self.after.max(Timestamp(0)) {
            true => Timestamp(instant.0.saturating_add(self.by_ms).max(1)),
            false => instant,
        }
    }

    /// Where an instant lies now that was reckoned from another one.
    pub fn moved_with(&self, instant: Timestamp, base: Timestamp) -> Timestamp {
        match base > self.after {
            true => Shift { after: Timestamp(0), ..*self }.moved(instant),
            false => instant,
        }
    }
}

/// What an agent's heartbeat told of its wall clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AgentWall {
    /// It shows this much more than the scheduler's monotonic clock.
    pub ahead_ms: i64,
    /// Monotonic, of the heartbeat.
    pub told_ms: u64,
}

/// What the wall clocks of the connected agents show together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AgentsWall {
    /// Agents that told theirs lately.
    pub count: usize,
    /// The middle of what they told, and of an even number the two in the middle; None: nobody told lately.
    pub middle: Option<(Timestamp, Timestamp)>,
}

/// Cron waits from one instant to the other: the time in which a new leader learns whether its clock can be believed.
/// What was due meanwhile is not late for that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CronHold {
    pub from: Timestamp,
    pub until: Timestamp,
}

impl Live {
    /// The agent's heartbeat told what its wall clock shows.
    pub fn told_wall(&mut self, link: super::LinkId, wall: Timestamp, mono_ms: u64) {
        if let Some(agent) = self.links.get(&link).filter(|_| wall > Timestamp(0)) {
            let ahead_ms = wall.0.saturating_sub(i64::try_from(mono_ms).unwrap_or(i64::MAX));
            self.walls.insert(*agent, AgentWall { ahead_ms, told_ms: mono_ms });
        }
    }

    /// What the wall clocks of the connected agents show that told theirs within `fresh_ms`. None: no connected agent ever
    /// told.
    pub fn agents_wall(&self, mono_ms: u64, fresh_ms: u64) -> Option<AgentsWall> {
        let is_linked = |agent: &AgentNo| self.agents.get(agent).is_some_and(|live| live.link.is_some());
        let fresh = |wall: &AgentWall| mono_ms.saturating_sub(wall.told_ms) <= fresh_ms;
        let told: Vec<&AgentWall> =
            self.walls.iter().filter(|(agent, _)| is_linked(agent)).map(|(_, wall)| wall).collect();
        if told.is_empty() {
            return None;
        }
        let mut ahead: Vec<i64> = told.into_iter().filter(|wall| fresh(wall)).map(|wall| wall.ahead_ms).collect();
        ahead.sort_unstable();
        let at = |ahead_ms: i64| Timestamp(ahead_ms.saturating_add(i64::try_from(mono_ms).unwrap_or(i64::MAX)));
        let low = ahead.len().checked_sub(1).map(|last| ahead[last / 2]);
        let high = ahead.get(ahead.len() / 2).copied();
        Some(AgentsWall { count: ahead.len(), middle: low.zip(high).map(|(low, high)| (at(low), at(high))) })
    }
}

impl Now {
    /// By clocks that show the same from the first.
    pub fn reading(self) -> Reading {
        Reading { wall: self.wall, mono_ms: self.mono_ms, boot_ms: self.mono_ms }
    }
}
