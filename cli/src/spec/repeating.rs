//! Whether a schedule and its time zone make sense, which takes parsers. Not here: reading them from a file.

use std::str::FromStr;

use dawn_proto::v1;
use dawn_proto::validate::FieldError;

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
