//! Amounts of resources, and instants, as people write them.

use dawn_proto::{Dimension, Timestamp, Unit};

/// In the dimension's unit: memory and disk in bytes, all others in thousandths. "1.5", "512 MiB".
pub fn amount(dimension: &str, amount: u64) -> String {
    match Unit::of_name(dimension) {
        Unit::Bytes => bytes(amount),
        Unit::Milli => thousandths(amount),
    }
}

/// An instant to the second, in the form of every time that people read: "2026-11-30 01:30:00 +00:00".
pub fn utc(at: Timestamp) -> String {
    in_zone(at, jiff::tz::TimeZone::UTC)
}

/// The same in a time zone.
pub fn in_zone(at: Timestamp, zone: jiff::tz::TimeZone) -> String {
    let second = jiff::Timestamp::from_second(at.0.div_euclid(1000));
    second.map_or_else(|_| at.to_string(), |second| second.to_zoned(zone).strftime("%F %T %:z").to_string())
}

/// With the name of the dimension: "8 cpus", "512 MiB of memory".
pub fn amount_of(dimension: &str, of: u64) -> String {
    let text = amount(dimension, of);
    let is_counted = Dimension::named(dimension).is_some_and(|dimension| dimension.unit() == Unit::Milli);
    match is_counted {
        true if of == 1000 => format!("{text} {dimension}"),
        true => format!("{text} {dimension}s"),
        false => format!("{text} of {dimension}"),
    }
}

/// "0.5" for 500.
pub fn thousandths(amount: u64) -> String {
    if amount.is_multiple_of(1000) {
        return (amount / 1000).to_string();
    }
    let text = format!("{}.{:03}", amount / 1000, amount % 1000);
    text.trim_end_matches('0').to_string()
}

/// Exact when a power of two divides it, otherwise with one decimal of the largest unit.
fn bytes(amount: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let exact = (0..UNITS.len()).rev().find(|unit| amount > 0 && amount.is_multiple_of(1 << (10 * unit)));
    if let Some(unit) = exact
        && amount >> (10 * unit) < 10_240
    {
        return format!("{} {}", amount >> (10 * unit), UNITS[unit]);
    }
    let unit = (0..UNITS.len()).rev().find(|unit| amount >= 1 << (10 * unit)).unwrap_or(0);
    let tenths = u128::from(amount) * 10 / (1u128 << (10 * unit));
    format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_exact_where_they_can_be() {
        assert_eq!(utc(Timestamp(1_795_981_914_093)), "2026-11-29 19:51:54 +00:00");
        let kolkata =
            jiff::tz::TimeZone::fixed(jiff::tz::offset(5).saturating_add(jiff::SignedDuration::from_mins(30)));
        assert_eq!(in_zone(Timestamp(1_795_981_914_093), kolkata), "2026-11-30 01:21:54 +05:30");
        assert_eq!(amount("cpu", 1500), "1.5");
        assert_eq!(amount("cpu", 2000), "2");
        assert_eq!(amount("cpu", 10_000), "10");
        assert_eq!(amount("memory", 1 << 30), "1 GiB");
        assert_eq!(amount("memory", 1536 << 20), "1536 MiB");
        assert_eq!(amount("disk", 1_500_000_001), "1.3 GiB");
        assert_eq!(amount("disk", 0), "0.0 B");
        assert_eq!(amount_of("gpu", 1000), "1 gpu");
        assert_eq!(amount_of("disk", 1 << 20), "1 MiB of disk");
    }
}
