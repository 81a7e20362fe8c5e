//! Instants and spans for people: short ages, local times.

use std::time::{SystemTime, UNIX_EPOCH};

/// Milliseconds since 1970, UTC.
pub fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// Two units at most: "0s", "12s", "3m20s", "2h", "5d3h".
pub fn span(ms: i64) -> String {
    let seconds = ms.max(0) / 1000;
    let (first, second) = match seconds {
        0..60 => ((seconds, "s"), (0, "")),
        60..600 => ((seconds / 60, "m"), (seconds % 60, "s")),
        600..3_600 => ((seconds / 60, "m"), (0, "")),
        3_600..86_400 => ((seconds / 3_600, "h"), (seconds % 3_600 / 60, "m")),
        86_400..864_000 => ((seconds / 86_400, "d"), (seconds % 86_400 / 3_600, "h")),
        _ => ((seconds / 86_400, "d"), (0, "")),
    };
    let second = if second.0 > 0 { format!("{}{}", second.0, second.1) } else { String::new() };
    format!("{}{}{second}", first.0, first.1)
}

/// "3m20s ago", "in 12s"; "-" for an instant that never was.
pub fn relative(at_ms: i64, now_ms: i64) -> String {
    match now_ms - at_ms {
        _ if at_ms == 0 => "-".to_string(),
        ahead @ ..0 => format!("in {}", span(-ahead)),
        past => format!("{} ago", span(past)),
    }
}

/// "2026-11-22 14:02:11 +01:00" in the zone of this machine.
pub fn local(at_ms: i64) -> String {
    in_zone(at_ms, jiff::tz::TimeZone::system())
}

/// The same in a zone by its IANA name: none is UTC, and so is one that is not known here.
pub fn in_named_zone(at_ms: i64, zone: &str) -> String {
    let zone = if zone.is_empty() { "UTC" } else { zone };
    in_zone(at_ms, jiff::tz::TimeZone::get(zone).unwrap_or(jiff::tz::TimeZone::UTC))
}

fn in_zone(at_ms: i64, zone: jiff::tz::TimeZone) -> String {
    match jiff::Timestamp::from_millisecond(at_ms) {
        Ok(at) if at_ms != 0 => at.to_zoned(zone).strftime("%Y-%m-%d %H:%M:%S %:z").to_string(),
        _ => "-".to_string(),
    }
}

/// An instant as people write it: with its zone as RFC 3339 has it, or without one, in the zone of this machine.
pub fn parse(text: &str) -> Option<i64> {
    if let Ok(at) = text.parse::<jiff::Timestamp>() {
        return Some(at.as_millisecond());
    }
    let at = text.parse::<jiff::civil::DateTime>().ok()?;
    Some(at.to_zoned(jiff::tz::TimeZone::system()).ok()?.timestamp().as_millisecond())
}

/// "2026-11-22T13:02:11.250Z", for programs; none for an instant that never was.
pub fn rfc3339(at_ms: i64) -> Option<String> {
    let at = jiff::Timestamp::from_millisecond(at_ms).ok().filter(|_| at_ms != 0)?;
    Some(format!("{at:.3}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_short() {
        for (ms, text) in [
            (-5, "0s"),
            (999, "0s"),
            (59_999, "59s"),
            (60_000, "1m"),
            (200_000, "3m20s"),
            (3_599_000, "59m"),
            (7_260_000, "2h1m"),
            (90_000_000, "1d1h"),
            (9_000_000_000, "104d"),
        ] {
            assert_eq!(span(ms), text, "{ms}");
        }
        assert_eq!(relative(1_000, 13_000), "12s ago");
        assert_eq!(relative(13_000, 1_000), "in 12s");
        assert_eq!(relative(0, 1_000), "-");
    }

    #[test]
    fn instants_are_shown_in_their_zone() {
        let at_ms = 1_795_348_800_250;
        let berlin = jiff::tz::TimeZone::get("Europe/Berlin").unwrap();
        assert_eq!(in_zone(at_ms, berlin), "2026-11-22 13:00:00 +01:00");
        assert_eq!(in_named_zone(at_ms, "Asia/Kolkata"), "2026-11-22 17:30:00 +05:30");
        assert_eq!(in_named_zone(at_ms, ""), "2026-11-22 12:00:00 +00:00");
        assert_eq!(rfc3339(at_ms).as_deref(), Some("2026-11-22T12:00:00.250Z"));
        assert_eq!((local(0).as_str(), rfc3339(0)), ("-", None));
    }
}
