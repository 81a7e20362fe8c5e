//! Amounts in messages, as people write them in job files. Not here: reading them.

const DURATIONS: [(&str, u64); 4] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000)];
const SIZES: [(&str, u32); 5] = [("PiB", 50), ("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)];

/// "300ms", "1.5s", "1m30s", "1d"; from a minute on without milliseconds.
pub fn duration(ms: u64) -> String {
    match ms {
        0 => return "0s".to_string(),
        1..1_000 => return format!("{ms}ms"),
        1_000..60_000 if !ms.is_multiple_of(1_000) => {
            let text = format!("{}.{:03}", ms / 1_000, ms % 1_000);
            return format!("{}s", text.trim_end_matches('0'));
        }
        _ => {}
    }
    let mut left = ms;
    let mut text = String::new();
    for (unit, factor) in DURATIONS {
        if left >= factor {
            text += &format!("{}{unit}", left / factor);
            left %= factor;
        }
    }
    text
}

/// The same in whole seconds.
pub fn whole_seconds(time: std::time::Duration) -> String {
    duration(time.as_secs().saturating_mul(1_000))
}

/// "16 MiB", "100.1 MiB": one decimal of the largest unit, rounded up, so that what is above a limit looks so.
pub fn bytes(bytes: u64) -> String {
    let Some((unit, shift)) = SIZES.into_iter().find(|(_, shift)| bytes >> shift > 0) else {
        return format!("{bytes} B");
    };
    let tenths = (u128::from(bytes) * 10).div_ceil(1 << shift);
    match tenths % 10 {
        0 => format!("{} {unit}", tenths / 10),
        part => format!("{}.{part} {unit}", tenths / 10),
    }
}

/// Thousandths as a number: 500 is "0.5".
pub fn thousandths(milli: u64) -> String {
    match (milli / 1_000, milli % 1_000) {
        (whole, 0) => whole.to_string(),
        (whole, part) => format!("{whole}.{part:03}").trim_end_matches('0').to_string(),
    }
}

/// "1 task", "3 tasks": a noun whose plural has an s.
pub fn count(count: impl Into<u64>, noun: &str) -> String {
    match count.into() {
        1 => format!("1 {noun}"),
        count => format!("{count} {noun}s"),
    }
}

/// "once", "twice", "3 times in a row".
pub fn times_in_a_row(times: u32) -> String {
    match times {
        1 => "once".to_string(),
        2 => "twice in a row".to_string(),
        times => format!("{times} times in a row"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_written_as_job_files_have_them() {
        for (ms, text) in [
            (0, "0s"),
            (300, "300ms"),
            (1_000, "1s"),
            (1_500, "1.5s"),
            (90_000, "1m30s"),
            (116_760, "1m56s"),
            (5_400_000, "1h30m"),
            (86_400_000, "1d"),
        ] {
            assert_eq!(duration(ms), text);
        }
    }

    #[test]
    fn what_is_above_a_limit_looks_so() {
        assert_eq!(bytes(16 << 20), "16 MiB");
        assert_eq!(bytes((16 << 20) + 1), "16.1 MiB");
        assert_eq!(bytes(102_436 << 10), "100.1 MiB");
        assert_eq!((bytes(1_023), bytes(0)), ("1023 B".to_string(), "0 B".to_string()));
    }

    #[test]
    fn thousandths_are_written_as_numbers() {
        assert_eq!([0, 500, 1_000, 2_050].map(thousandths), ["0", "0.5", "1", "2.05"]);
    }

    #[test]
    fn one_time_is_no_row() {
        assert_eq!([1, 2, 3].map(times_in_a_row), ["once", "twice in a row", "3 times in a row"]);
    }
}
