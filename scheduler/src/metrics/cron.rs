//! How many runs of cron were missed of late.

use dawn_proto::Timestamp;
use dawn_proto::v1::TickOutcome;

use crate::model::State;

/// What was decided so long ago is told no more: whoever was to look has been told.
const TOLD_FOR_MS: u64 = 3_600_000;

pub(super) const HELP: &str =
    "Runs of cron within the last hour for which it was too late, or no room, when they were decided.";

/// Of the ticks that are kept, those decided within the hour before `now` and missed.
pub(super) fn missed(state: &State, now: Timestamp) -> usize {
    let ticks = state.jobs.values().flat_map(|job| &job.ticks);
    ticks.filter(|tick| tick.outcome == TickOutcome::Missed && now.since_ms(tick.decided) < TOLD_FOR_MS).count()
}
