//! What people see: tables, times, colours, progress. Not here: what programs read (`json`), what is asked for.

pub mod failure;
pub mod json;
pub mod message;
mod out;
mod progress;
mod table;
pub mod time;

pub use out::Out;
pub use progress::Progress;
pub use table::Table;

use dawn_proto::Unit;
use dawn_proto::v1::{self, TaskState};

use crate::spec::show_milli;

/// Text from elsewhere without anything a terminal would act on.
pub fn safe(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { c.escape_default().to_string() } else { c.to_string() }).collect()
}

/// Several lines from elsewhere: as [`safe`], but lines stay lines.
pub fn safe_lines(text: &str) -> String {
    text.lines().map(safe).collect::<Vec<_>>().join("\n")
}

pub fn key(key: Option<&v1::JobKey>) -> String {
    key.map_or_else(String::new, |key| safe(&format!("{}/{}/{}", key.role, key.env, key.name)))
}

/// The state in a lower-case word: "running".
pub fn state(state: TaskState) -> String {
    dawn_proto::words::of(state.plain_name())
}

pub fn kind(kind: v1::JobKind) -> &'static str {
    match kind {
        v1::JobKind::Unspecified => "unknown",
        v1::JobKind::Service => "service",
        v1::JobKind::Batch => "batch",
        v1::JobKind::Cron => "cron",
        v1::JobKind::Daemon => "daemon",
    }
}

pub fn tier(tier: v1::Tier) -> &'static str {
    match tier {
        v1::Tier::Unspecified => "unknown",
        v1::Tier::Production => "production",
        v1::Tier::Batch => "batch",
        v1::Tier::Revocable => "revocable",
    }
}

/// "exited", "out of memory"; empty for none.
pub fn reason(reason: v1::Reason) -> String {
    dawn_proto::words::reason(reason)
}

/// "http=31000 admin=8081"
pub fn ports(ports: &[v1::AssignedPort]) -> String {
    ports.iter().map(|port| format!("{}={}", safe(&port.name), port.port)).collect::<Vec<_>>().join(" ")
}

/// "1 instance", "3 instances".
pub fn count(n: impl Into<u64>, what: &str) -> String {
    match n.into() {
        1 => format!("1 {what}"),
        n => format!("{n} {what}s"),
    }
}

/// For reading, of a dimension that is counted so.
pub fn in_unit(unit: Unit) -> fn(u64) -> String {
    match unit {
        Unit::Milli => show_milli,
        Unit::Bytes => bytes,
    }
}

/// For reading: one decimal of the largest fitting unit.
pub fn bytes(bytes: u64) -> String {
    let units = [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)];
    let Some((unit, shift)) = units.into_iter().find(|(_, shift)| bytes >> shift > 0) else {
        return format!("{bytes} B");
    };
    let tenths = (u128::from(bytes) * 10) >> shift;
    if tenths.is_multiple_of(10) || tenths >= 1000 {
        format!("{} {unit}", tenths / 10)
    } else {
        format!("{}.{} {unit}", tenths / 10, tenths % 10)
    }
}

/// Instances in short: "0-3, 7".
pub fn instances(numbers: &[u32]) -> String {
    let mut ranges: Vec<(u32, u32)> = Vec::new();
    for number in numbers {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == *number => *last = *number,
            _ => ranges.push((*number, *number)),
        }
    }
    let shown = ranges.iter().take(8).map(|(first, last)| match last - first {
        0 => first.to_string(),
        _ => format!("{first}-{last}"),
    });
    let more = if ranges.len() > 8 { ", …" } else { "" };
    format!("{}{more}", shown.collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_become_visible() {
        assert_eq!(safe("a\u{1b}[2Jb\n"), "a\\u{1b}[2Jb\\n");
        assert_eq!(safe_lines("a\u{7}\nb"), "a\\u{7}\nb");
    }

    #[test]
    fn amounts_are_short() {
        assert_eq!(bytes(0), "0 B");
        assert_eq!(bytes(128 << 20), "128 MiB");
        assert_eq!(bytes(3 << 29), "1.5 GiB");
        assert_eq!(instances(&[0, 1, 2, 3, 7]), "0-3, 7");
        assert_eq!(instances(&[]), "");
        assert_eq!(count(1u32, "task"), "1 task");
        assert_eq!(count(0u32, "task"), "0 tasks");
    }
}
