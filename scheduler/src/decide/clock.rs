//! Dawn's clock: the one that every decision and every record goes by. It runs with the boot clock, so it never jumps while
//! one leader lives; what the wall clock shows, it follows as far as that can be believed:
//!
//! - Less than a second apart: by running at most a twentieth faster or slower.
//! - Up to a minute: by a shift of its own and of all that was noted by it ([`Shift`]), once that has stood for a second.
//! - More: the same, but only once the step has stood for a minute and the agents' clocks agree, if any tell theirs.
//!
//! A new leader goes on from the last record's time, which a leader notes at least every half minute. Time in which nobody
//! led is not to be told from a wrong clock: up to a minute has passed if the wall clock says so. More has when the agents'
//! clocks agree (or nobody contradicts for a minute); what was noted before then stays where it is, so it counts for every
//! duration. Cron waits for a minute. So a duration that is carried over a change of leader is at most a minute too long or
//! too short, whatever the new leader's clock shows.

use dawn_proto::Timestamp;

use crate::model::{AgentsWall, CronHold, Live, Now, Reading, Shift, State};

/// More is a step to be doubted.
pub const STEP_MS: u64 = 60_000;
/// A doubted step must stand for so long.
pub const STANDS_MS: u64 = 60_000;
/// Less is followed by running faster or slower: by one part in [`SLEW_PARTS`].
const SLEWED_MS: u64 = 1_000;
const SLEW_PARTS: u64 = 20;
/// A step within [`STEP_MS`] stands for so long, and comes so long after the last.
const SMALL_STANDS_MS: u64 = 1_000;
const SMALL_EVERY_MS: u64 = 10_000;
/// A step stands while it changes by no more.
const SAME_MS: u64 = 5_000;
/// What an agent told of its clock counts for so long.
const TOLD_MS: u64 = 30_000;
/// A record is made at least so often, if only of the time: a new leader goes on from it.
pub const NOTED_EVERY_MS: u64 = 30_000;
/// How long it is told that the clock was shifted: with that, all is well again.
const SAID_MS: u64 = 60_000;

#[derive(Clone, Debug)]
pub struct Clock {
    /// Of the last record; None: there is none.
    last: Option<Timestamp>,
    runs: Option<Running>,
    /// What was kept of times that are still to come is to be mended, once this leadership has begun.
    mends: bool,
}

#[derive(Clone, Debug)]
struct Running {
    /// It shows so much more than the boot clock.
    ahead_ms: i64,
    /// Boot clock up to which it was slewed.
    slewed_ms: u64,
    step: Option<Step>,
    /// The last record's time, while it is not known whether time passed since then.
    takeover: Option<Timestamp>,
    /// Boot clock from when to when cron waits.
    hold_ms: Option<(u64, u64)>,
    /// Boot clock when it last was shifted.
    shifted_ms: Option<u64>,
    /// What is to be told of the last shift.
    said: Option<Said>,
    /// The wall clock was not where the last record says when this leader began, and has not been followed since: nobody need
    /// have set it.
    began_apart: bool,
}

#[derive(Clone, Copy, Debug)]
struct Said {
    by_ms: i64,
    /// Records of cron that were struck.
    struck: usize,
    began_apart: bool,
}

/// The wall clock is elsewhere.
#[derive(Clone, Copy, Debug)]
struct Step {
    wall_ahead_ms: i64,
    /// Boot clock.
    since_ms: u64,
}

/// What the clock shows, and what follows from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    pub now: Now,
    /// To be noted before anything else is decided.
    pub shift: Option<Shift>,
    pub cron_hold: Option<CronHold>,
    /// What operators must know; None: nothing.
    pub trouble: Option<String>,
}

impl Clock {
    /// Goes on from the last record's time, if there is one.
    pub fn new(last: Option<Timestamp>) -> Self {
        Clock { last, runs: None, mends: false }
    }

    /// What it shows, by the clocks of the machine. It moves only when told so.
    pub fn now(&self, reading: Reading) -> Now {
        let wall = self.runs.as_ref().map_or(reading.wall, |runs| at(runs.ahead_ms, reading.boot_ms));
        Now { wall, mono_ms: reading.mono_ms }
    }

    /// Moves on: to be called before each step.
    pub fn tell(&mut self, reading: Reading, live: &Live, state: &State) -> Told {
        let Some(runs) = &mut self.runs else {
            let runs = self.runs.insert(Running::begin(self.last, reading));
            let now = runs.now(reading);
            self.mends = lies_ahead(state, now.wall);
            return Told { now, shift: None, cron_hold: runs.cron_hold(), trouble: runs.trouble(reading, None) };
        };
        let agents = live.agents_wall(reading.mono_ms, TOLD_MS);
        let began_apart = runs.began_apart;
        let shift = match std::mem::take(&mut self.mends) {
            true => Some(Shift { by_ms: 0, after: Timestamp(0) }),
            false => runs.follow(reading, agents),
        };
        if let Some(shift) = shift {
            let struck = struck(state, at(runs.ahead_ms, reading.boot_ms));
            let said = Said { by_ms: shift.by_ms, struck, began_apart };
            // Time in which nobody led has passed, and small differences between two leaders' clocks are nothing to tell.
            let is_told = !began_apart || struck > 0 || shift.by_ms < -STEP_MS.cast_signed() || shift.by_ms == 0;
            (runs.shifted_ms, runs.said) = (Some(reading.boot_ms), is_told.then_some(said));
        }
        Told { now: runs.now(reading), shift, cron_hold: runs.cron_hold(), trouble: runs.trouble(reading, agents) }
    }
}

/// Whether the time is to be noted, although nothing else is.
pub fn is_note_due(state: &State, now: Now) -> bool {
    now.wall.since_ms(state.at) >= NOTED_EVERY_MS
}

fn ahead(wall: Timestamp, boot_ms: u64) -> i64 {
    wall.0.saturating_sub(i64::try_from(boot_ms).unwrap_or(i64::MAX))
}

fn at(ahead_ms: i64, boot_ms: u64) -> Timestamp {
    Timestamp(ahead_ms.saturating_add(i64::try_from(boot_ms).unwrap_or(i64::MAX)))
}

/// Whether something is kept that was noted at a time that is still to come: by a version that followed every step of its wall
/// clock. It would wait until then.
fn lies_ahead(state: &State, now: Timestamp) -> bool {
    let ahead = |instant: Timestamp| instant.since_ms(now) > STEP_MS;
    let waiting =
        state.indexes().throttled.iter().chain(&state.indexes().in_transit).chain(state.indexes().deadlines.last());
    let mut tasks = waiting.filter_map(|(_, id)| state.tasks.get(id));
    let mut jobs = state.indexes().cron_due.iter().filter_map(|(_, id)| state.jobs.get(id));
    tasks.any(|task| ahead(task.since())) || jobs.any(|job| job.last_scheduled().is_some_and(ahead))
}

/// How many records of cron a shift to this time strikes.
fn struck(state: &State, now: Timestamp) -> usize {
    let of_job = |job: &crate::model::Job| job.ticks.iter().filter(|tick| tick.is_struck(now)).count();
    state.jobs.values().map(of_job).sum()
}

impl Running {
    fn begin(last: Option<Timestamp>, reading: Reading) -> Self {
        let wall_ahead_ms = ahead(reading.wall, reading.boot_ms);
        let mut runs = Running {
            ahead_ms: wall_ahead_ms,
            slewed_ms: reading.boot_ms,
            step: None,
            takeover: None,
            hold_ms: None,
            shifted_ms: None,
            said: None,
            began_apart: false,
        };
        let Some(last) = last else { return runs };
        let last_ahead_ms = ahead(last, reading.boot_ms);
        let apart_ms = wall_ahead_ms.saturating_sub(last_ahead_ms);
        if (0..=STEP_MS.cast_signed()).contains(&apart_ms) {
            return runs;
        }
        // Later than all that was noted before, so that the two can be told apart.
        runs.ahead_ms = last_ahead_ms.saturating_add(1);
        runs.began_apart = true;
        if apart_ms.unsigned_abs() > STEP_MS {
            runs.takeover = Some(last);
            runs.hold_ms = Some((reading.boot_ms, reading.boot_ms.saturating_add(STANDS_MS)));
        }
        runs
    }

    fn now(&self, reading: Reading) -> Now {
        Now { wall: at(self.ahead_ms, reading.boot_ms), mono_ms: reading.mono_ms }
    }

    fn cron_hold(&self) -> Option<CronHold> {
        let (from_ms, until_ms) = self.hold_ms?;
        Some(CronHold { from: at(self.ahead_ms, from_ms), until: at(self.ahead_ms, until_ms) })
    }

    /// Goes after the wall clock, slowly or, when that can be believed, at once.
    fn follow(&mut self, reading: Reading, agents: Option<AgentsWall>) -> Option<Shift> {
        let boot_ms = reading.boot_ms;
        let wall_ahead_ms = ahead(reading.wall, boot_ms);
        let apart_ms = wall_ahead_ms.saturating_sub(self.ahead_ms);
        if apart_ms.unsigned_abs() <= STEP_MS {
            self.settled(boot_ms);
        }
        if apart_ms.unsigned_abs() <= SLEWED_MS {
            (self.step, self.began_apart) = (None, false);
            self.slew(apart_ms, boot_ms);
            return None;
        }
        self.slewed_ms = boot_ms;
        let same = |step: &Step| step.wall_ahead_ms.abs_diff(wall_ahead_ms) <= SAME_MS;
        let step = *self.step.insert(self.step.filter(same).unwrap_or(Step { wall_ahead_ms, since_ms: boot_ms }));
        let is_gap = self.takeover.is_some() && apart_ms > 0;
        let stood_ms = boot_ms.saturating_sub(step.since_ms);
        let is_believed = match apart_ms.unsigned_abs() <= STEP_MS {
            true => {
                let last_ms = self.shifted_ms.map_or(u64::MAX, |shifted_ms| boot_ms.saturating_sub(shifted_ms));
                stood_ms >= SMALL_STANDS_MS && last_ms >= SMALL_EVERY_MS
            }
            // Cron waits for a gap all the same.
            false if is_gap && agents.is_some() => agree(reading.wall, agents),
            false => stood_ms >= STANDS_MS && agree(reading.wall, agents),
        };
        if !is_believed {
            return None;
        }
        let after = self.takeover.take().filter(|_| is_gap).unwrap_or_default();
        self.ahead_ms = wall_ahead_ms;
        (self.step, self.began_apart) = (None, false);
        Some(Shift { by_ms: apart_ms, after })
    }

    /// The wall clock is where the last record says it should be.
    fn settled(&mut self, boot_ms: u64) {
        if self.takeover.take().is_some() {
            self.hold_ms = self.hold_ms.map(|(from_ms, until_ms)| (from_ms, until_ms.min(boot_ms)));
        }
    }

    fn slew(&mut self, apart_ms: i64, boot_ms: u64) {
        let allowed_ms = boot_ms.saturating_sub(self.slewed_ms) / SLEW_PARTS;
        let by_ms = apart_ms.unsigned_abs().min(allowed_ms);
        self.slewed_ms = if by_ms < allowed_ms { boot_ms } else { self.slewed_ms + allowed_ms * SLEW_PARTS };
        self.ahead_ms += by_ms.cast_signed() * apart_ms.signum();
    }

    fn trouble(&self, reading: Reading, agents: Option<AgentsWall>) -> Option<String> {
        let boot_ms = reading.boot_ms;
        if let Some(step) = self.step {
            let apart_ms = step.wall_ahead_ms.saturating_sub(self.ahead_ms);
            // Usually nobody led for so long: that is no trouble, as long as nobody contradicts.
            let is_gap = self.takeover.is_some() && apart_ms > 0 && boot_ms.saturating_sub(step.since_ms) < STANDS_MS;
            let is_told = apart_ms.unsigned_abs() > STEP_MS && !is_gap;
            return is_told.then(|| self.doubt(apart_ms, step, reading, agents));
        }
        let Said { by_ms, struck, began_apart } =
            self.said.filter(|_| boot_ms < self.shifted_ms.unwrap_or(0).saturating_add(SAID_MS))?;
        let mut words = match by_ms {
            0 => "the journal held times still to come, of a clock that was wrong: they count as of now".to_string(),
            _ if began_apart => format!(
                "this scheduler's wall clock is {} the last record of the journal, and Dawn's clock now follows it",
                than(by_ms)
            ),
            _ => format!("this scheduler's wall clock was set {}, and Dawn's clock with it", way(by_ms)),
        };
        if struck > 0 {
            words += &format!(
                "; {struck} records of cron that now lie ahead were struck: what launched counts as run, the others are \
                 decided again when they are due"
            );
        }
        Some(words)
    }

    /// What is said while the wall clock is not followed.
    fn doubt(&self, apart_ms: i64, step: Step, reading: Reading, agents: Option<AgentsWall>) -> String {
        let why = match self.takeover {
            Some(_) => format!(
                "this scheduler's wall clock is {} the last record of the journal: nobody led for so long, or one of the \
                 two is wrong",
                than(apart_ms)
            ),
            None => format!("this scheduler's wall clock was set {}", way(apart_ms)),
        };
        let until = match agents {
            _ if reading.boot_ms.saturating_sub(step.since_ms) < STANDS_MS => {
                "; Dawn's clock follows when that has stood for a minute and the agents' clocks agree".to_string()
            }
            Some(AgentsWall { count: 0, .. }) => {
                "; Dawn's clock follows when an agent has told its own again".to_string()
            }
            Some(AgentsWall { count, .. }) => format!(
                "; Dawn's clock doesn't follow, because the clocks of the agents ({count} told theirs) don't agree: set \
                 this scheduler's clock right, or theirs"
            ),
            None => String::new(),
        };
        why + &until
    }
}

/// Whether the agents' clocks say the same: the median, and of an even number both that are in the middle, so that one of
/// two can't decide alone. Nobody contradicts where no agent tells at all; agents that have not told lately are waited for.
fn agree(wall: Timestamp, agents: Option<AgentsWall>) -> bool {
    let Some(agents) = agents else { return true };
    let is_near = |told: Timestamp| told.0.abs_diff(wall.0) <= STEP_MS;
    agents.middle.is_some_and(|(low, high)| is_near(low) && is_near(high))
}

fn way(by_ms: i64) -> String {
    format!("{} by {}", if by_ms < 0 { "back" } else { "forward" }, span(by_ms))
}

fn than(by_ms: i64) -> String {
    format!("{} {}", span(by_ms), if by_ms < 0 { "behind" } else { "ahead of" })
}

/// In the two largest units, to the nearest: a step of two hours is measured as a little more or less.
fn span(ms: i64) -> String {
    let seconds = ms.unsigned_abs().saturating_add(500) / 1_000;
    let least = match (seconds / 86_400, seconds / 3_600) {
        (0, 0) => 1,
        (0, _) => 60,
        _ => 3_600,
    };
    let nearest = (seconds + least / 2) / least * least;
    dawn_proto::amounts::duration(nearest.saturating_mul(1_000))
}

#[cfg(test)]
mod tests;
