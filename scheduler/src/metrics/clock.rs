//! What this scheduler's wall clock shows, and since when the process lives. Whoever scrapes compares it with a clock of its own.

use dawn_proto::Timestamp;

use super::Text;

pub(super) fn write(now: Timestamp, started: Timestamp, text: &mut Text) {
    let seconds = |at: Timestamp| at.0 as f64 / 1e3;
    let help = "What the machine's wall clock shows, seconds since 1970.";
    text.one("scheduler_time_seconds", "gauge", help, seconds(now));
    let help = "When this process began, seconds since 1970.";
    text.one("scheduler_start_time_seconds", "gauge", help, seconds(started));
}
