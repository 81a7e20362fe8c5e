//! The cron expressions Dawn takes: five fields or an @ name, in a time zone. Croner reads more; that is refused here.

use croner::parser::{CronParser, Seconds, Year};

use crate::model::{Schedule, ScheduleError};

const NAMES: [&str; 6] = ["@yearly", "@annually", "@monthly", "@weekly", "@daily", "@hourly"];

/// Reads a schedule.
///
/// # Errors
/// When the expression or the zone is not valid.
pub fn parse_schedule(expression: &str, zone: &str) -> Result<Schedule, ScheduleError> {
    let wrong = |cause: String| ScheduleError::Expression { expression: expression.chars().take(200).collect(), cause };
    let trimmed = expression.trim();
    if trimmed.contains('@') {
        let known = NAMES.iter().any(|name| name.eq_ignore_ascii_case(trimmed));
        known.then_some(()).ok_or_else(|| wrong(format!("the names are {}", NAMES.join(", "))))?;
    } else {
        let fields = trimmed.split_whitespace().count();
        if fields != 5 {
            let hint = "five are needed: minute hour day-of-month month day-of-week (there are no seconds or years)";
            return Err(wrong(format!("it has {fields} fields; {hint}")));
        }
    }
    if trimmed.split_whitespace().any(|field| field.starts_with(',') || field.ends_with(',') || field.contains(",,")) {
        return Err(wrong("a list has an empty place".to_string()));
    }
    let parser = CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build();
    let cron = parser.parse(trimmed).map_err(|error| wrong(error.to_string()))?;
    let zone_name = if zone.is_empty() { "UTC" } else { zone };
    let zone = jiff::tz::TimeZone::get(zone_name).map_err(|_| ScheduleError::Zone { zone: zone_name.into() })?;
    Ok(Schedule::new(cron, zone))
}

#[cfg(test)]
mod vectors;

#[cfg(test)]
mod tests {
    use dawn_proto::Timestamp;

    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp(text.parse::<jiff::Timestamp>().unwrap().as_millisecond())
    }

    fn next(expression: &str, zone: &str, after: &str) -> Timestamp {
        parse_schedule(expression, zone).unwrap().next_after(at(after)).unwrap()
    }

    #[test]
    fn a_tick_is_strictly_later_and_in_its_zone() {
        assert_eq!(next("30 2 * * *", "", "2026-11-22T02:30:00Z"), at("2026-11-23T02:30:00Z"));
        assert_eq!(next("30 2 * * *", "Europe/Berlin", "2026-11-22T00:00:00Z"), at("2026-11-22T01:30:00Z"));
        assert_eq!(next("@hourly", "UTC", "2026-11-22T00:59:59.999Z"), at("2026-11-22T01:00:00Z"));
    }

    #[test]
    fn a_skipped_local_time_runs_after_the_gap_and_a_doubled_one_once() {
        // Berlin: 2026-03-29 02:00 -> 03:00, 2026-10-25 03:00 -> 02:00.
        let spring = next("30 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z");
        assert_eq!(spring, at("2026-03-29T01:00:00Z"));
        let autumn = next("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z");
        assert_eq!(autumn, at("2026-10-25T00:30:00Z"));
        let schedule = parse_schedule("30 2 * * *", "Europe/Berlin").unwrap();
        assert_eq!(schedule.next_after(autumn), Some(at("2026-10-26T01:30:00Z")));
    }

    #[test]
    fn lists_of_times_run_once_after_a_gap_and_once_in_a_doubled_hour() {
        let ticks = |expression: &str, from: &str, count: usize| -> Vec<String> {
            let schedule = parse_schedule(expression, "Europe/Berlin").unwrap();
            let mut at = at(from);
            let mut next = || {
                at = schedule.next_after(at).unwrap();
                jiff::Timestamp::from_millisecond(at.0).unwrap().strftime("%d %H:%M").to_string()
            };
            (0..count).map(|_| next()).collect()
        };
        // In UTC: the gap ends at 01:00 on the 29th; 02:00 to 03:00 are doubled from 00:00 and 01:00 on the 25th.
        assert_eq!(ticks("0,30 2 * * *", "2026-03-28T12:00:00Z", 2), ["29 01:00", "30 00:00"]);
        assert_eq!(ticks("15 * * * *", "2026-03-29T00:00:00Z", 3), ["29 00:15", "29 01:15", "29 02:15"]);
        assert_eq!(ticks("0,30 2 * * *", "2026-10-24T12:00:00Z", 3), ["25 00:00", "25 00:30", "26 01:00"]);
        assert_eq!(ticks("*/30 * * * *", "2026-10-24T23:50:00Z", 4), ["25 00:00", "25 00:30", "25 01:00", "25 01:30"]);
    }

    #[test]
    fn what_is_no_schedule_is_refused_with_words() {
        let message = |expression: &str, zone: &str| parse_schedule(expression, zone).unwrap_err().to_string();
        assert!(message("0 30 2 * * *", "").contains("it has 6 fields; five are needed"));
        assert!(message("* * * *", "").contains("it has 4 fields"));
        assert!(message("61 * * * *", "").contains("61 * * * *"));
        assert!(message("@reboot", "").contains("@hourly"));
        assert!(message("* * * * *", "Mars/Base").contains("time zone \"Mars/Base\" is not known here"));
    }
}
