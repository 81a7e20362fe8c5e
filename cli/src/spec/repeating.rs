//! The fields that say how a job is repeated: restart, cron, partition; and whether a schedule and its zone make sense.

use std::str::FromStr;

use dawn_proto::v1;
use dawn_proto::validate::FieldError;

use super::decode::{Fields, Reader, whole};
use super::node::Value;
use super::units::duration;

pub const RESTART: &[&str] = &["on", "max_failures", "backoff", "max_backoff", "stable_after"];
pub const CRON: &[&str] =
    &["schedule", "time_zone", "overlap", "misfire", "misfire_limit", "starting_deadline", "jitter"];
pub const PARTITION: &[&str] = &["wait", "delay"];

pub const RESTART_ON: [(&str, v1::RestartOn); 3] =
    [("any_exit", v1::RestartOn::AnyExit), ("failure", v1::RestartOn::Failure), ("never", v1::RestartOn::Never)];
pub const OVERLAPS: [(&str, v1::Overlap); 4] = [
    ("cancel_new", v1::Overlap::CancelNew),
    ("kill_existing", v1::Overlap::KillExisting),
    ("allow", v1::Overlap::Allow),
    ("queue", v1::Overlap::Queue),
];
pub const MISFIRES: [(&str, v1::Misfire); 3] =
    [("skip", v1::Misfire::Skip), ("once", v1::Misfire::Once), ("all", v1::Misfire::All)];

pub fn restart(r: &mut Reader, f: &Fields) -> Option<v1::RestartPolicy> {
    let f = f.fields(r, "restart", "restart", RESTART)?;
    Some(v1::RestartPolicy {
        on: f.choice(r, "on", &RESTART_ON).map_or(0, Into::into),
        max_failures: f.above_zero(r, ("max_failures", "max_failures"), whole),
        initial_backoff_ms: f.above_zero(r, ("backoff", "initial_backoff_ms"), duration),
        max_backoff_ms: f.above_zero(r, ("max_backoff", "max_backoff_ms"), duration),
        stable_after_ms: f.above_zero(r, ("stable_after", "stable_after_ms"), duration),
    })
}

pub fn cron(r: &mut Reader, f: &Fields) -> Option<v1::CronPolicy> {
    let (node, place) = f.take(r, "cron", "cron")?;
    if let Value::Scalar { text, .. } = &node.value {
        let write = format!("write cron: {{ schedule: \"{}\" }}", crate::render::safe(text));
        r.wrong(node.at, &place.file, format!("is a single value; a mapping of fields belongs here; {write}"));
        return None;
    }
    let f = r.fields(node, place, CRON)?;
    Some(v1::CronPolicy {
        schedule: f.text(r, "schedule", "schedule").unwrap_or_default(),
        time_zone: f.text(r, "time_zone", "time_zone").unwrap_or_default(),
        overlap: f.choice(r, "overlap", &OVERLAPS).map_or(0, Into::into),
        misfire: f.choice(r, "misfire", &MISFIRES).map_or(0, Into::into),
        misfire_limit: f.above_zero(r, ("misfire_limit", "misfire_limit"), whole),
        starting_deadline_ms: f.parsed(r, ("starting_deadline", "starting_deadline_ms"), duration).unwrap_or(0),
        jitter_ms: f.parsed(r, ("jitter", "jitter_ms"), duration).unwrap_or(0),
    })
}

pub fn partition(r: &mut Reader, f: &Fields) -> Option<v1::PartitionPolicy> {
    let f = f.fields(r, "partition", "partition", PARTITION)?;
    let wait = f.flag(r, "wait", "wait");
    let delay = f.parsed(r, ("delay", "delay_ms"), duration);
    let default = if wait { 0 } else { dawn_proto::fields::partition_policy::DELAY_MS.default_number().unsigned_abs() };
    Some(v1::PartitionPolicy { wait, delay_ms: delay.unwrap_or(default) })
}

/// The next tick after `after_ms` as milliseconds UTC; none when the schedule never fires again.
///
/// # Errors
/// What the schedule or the zone lacks.
pub fn next_tick(cron: &v1::CronPolicy, after_ms: i64) -> Result<Option<i64>, FieldError> {
    let wrong = |path: &str, message: String| FieldError { path: format!("cron.{path}"), message };
    let zone = if cron.time_zone.is_empty() { "UTC" } else { &cron.time_zone };
    let zone = jiff::tz::TimeZone::get(zone).map_err(|_| {
        wrong(
            "time_zone",
            format!("there is no time zone `{}`; IANA names are like Europe/Berlin", crate::render::safe(zone)),
        )
    })?;
    let schedule = croner::Cron::from_str(&cron.schedule).map_err(|error| wrong("schedule", error.to_string()))?;
    let after = jiff::Timestamp::from_millisecond(after_ms).unwrap_or_default().to_zoned(zone);
    Ok(schedule.find_next_occurrence(&after, false).ok().map(|next| next.timestamp().as_millisecond()))
}

/// Whether a schedule names days of the month and days of the week: it fires on either.
pub fn restricts_both_days(cron: &v1::CronPolicy) -> bool {
    let schedule = croner::Cron::from_str(&cron.schedule);
    schedule.is_ok_and(|cron| !cron.pattern.is_dom_wildcard() && !cron.pattern.is_dow_wildcard())
}

/// What a door with parsers refuses of a schedule: `now_ms` decides whether it ever fires again.
pub fn check(spec: &v1::JobSpec, now_ms: i64) -> Option<FieldError> {
    let cron = spec.cron.as_ref()?;
    match next_tick(cron, now_ms) {
        Ok(Some(_)) => None,
        Ok(None) => {
            Some(FieldError { path: "cron.schedule".to_string(), message: format!("`{}` never fires", cron.schedule) })
        }
        Err(error) => Some(error),
    }
}
