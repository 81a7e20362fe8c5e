//! Amounts as people write them: sizes, durations, thousandths; and back, in the largest unit that is exact.

const SIZES: [(&str, u64); 11] = [
    ("PiB", 1 << 50),
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("PB", 1_000_000_000_000_000),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1_000),
    ("B", 1),
];

const DURATIONS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// Bytes: "128MiB", "1.5 GiB", "4096".
///
/// # Errors
/// What would be right.
pub fn size(text: &str) -> Result<u64, String> {
    let (number, unit) = split(text);
    let factor = match unit {
        "" => Some(1),
        // The capital is what most people mean by it.
        "KB" => Some(1_000),
        unit => SIZES.iter().find(|(name, _)| *name == unit).map(|(_, factor)| *factor),
    };
    let bytes = factor.and_then(|factor| scaled(number, factor));
    bytes.ok_or_else(|| match meant(number, unit) {
        Some(meant) => format!("is no size; write {meant}"),
        None => "is no size; write 128MiB, 1.5GiB, 500MB or plain bytes".to_string(),
    })
}

/// A size as other systems write it, in the unit that is meant: "128Mi", "1G", "128mb".
fn meant(number: &str, unit: &str) -> Option<String> {
    let unit = match unit.to_ascii_lowercase().as_str() {
        "k" | "ki" | "kib" => "KiB",
        "m" | "mi" | "mib" => "MiB",
        "g" | "gi" | "gib" => "GiB",
        "t" | "ti" | "tib" => "TiB",
        "kb" => "kB",
        "mb" => "MB",
        "gb" => "GB",
        "tb" => "TB",
        _ => return None,
    };
    scaled(number, 1 << 10).map(|_| format!("{number}{unit}"))
}

/// Milliseconds: "500ms", "10s", "1.5h", "1h30m".
///
/// # Errors
/// What would be right.
pub fn duration(text: &str) -> Result<u64, String> {
    let refused = || "is no duration; write 500ms, 10s, 5m, 1h30m or 2d".to_string();
    let mut rest = text.trim();
    if rest == "0" {
        return Ok(0);
    }
    let mut sum: u64 = 0;
    let mut last = u64::MAX;
    while !rest.is_empty() {
        let (number, after) = split(rest);
        let end = after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len());
        let factor = DURATIONS.iter().find(|(name, _)| *name == &after[..end]).map(|(_, factor)| *factor);
        let factor = factor.filter(|factor| *factor < last).ok_or_else(refused)?;
        sum = scaled(number, factor).and_then(|part| sum.checked_add(part)).ok_or_else(refused)?;
        last = factor;
        rest = after[end..].trim_start();
    }
    if last == u64::MAX { Err(refused()) } else { Ok(sum) }
}

/// Thousandths of a number with at most three decimals: "0.5" is 500.
///
/// # Errors
/// What would be right.
pub fn milli(text: &str) -> Result<u64, String> {
    let value = scaled(text.trim(), 1_000);
    value.ok_or_else(|| {
        let thousandths = text.trim().strip_suffix('m').and_then(|number| number.parse().ok());
        let write =
            thousandths.map_or_else(|| "such as 2 or 0.5".to_string(), |milli| format!("write {}", show_milli(milli)));
        format!("is no number from 0 on with at most three decimals; {write}").replace("; such", ", such")
    })
}

fn split(text: &str) -> (&str, &str) {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    (&text[..end], text[end..].trim_start())
}

/// `number` (digits, with or without decimals) times `factor`; none unless that is a whole number.
fn scaled(number: &str, factor: u64) -> Option<u64> {
    let (whole, part) = number.split_once('.').unwrap_or((number, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if !digits(whole) || !digits(part) || part.len() > 15 {
        return None;
    }
    let whole: u128 = whole.parse().ok()?;
    let scale = 10u128.pow(u32::try_from(part.len()).ok()?);
    let part = part.parse::<u128>().ok()? * u128::from(factor);
    if !part.is_multiple_of(scale) {
        return None;
    }
    u64::try_from(whole.checked_mul(factor.into())?.checked_add(part / scale)?).ok()
}

/// Exact: "128MiB", "1000B" as "1kB".
pub fn show_size(bytes: u64) -> String {
    show(bytes, &SIZES, "0B")
}

/// Exact: "90s", "1500ms", "2h".
pub fn show_duration(ms: u64) -> String {
    show(ms, &DURATIONS, "0s")
}

fn show(value: u64, units: &[(&str, u64)], zero: &str) -> String {
    let exact = units.iter().filter(|(_, factor)| value > 0 && value.is_multiple_of(*factor));
    exact
        .map(|(name, factor)| (value / factor, name))
        .min_by_key(|(count, _)| *count)
        .map_or_else(|| zero.to_string(), |(count, name)| format!("{count}{name}"))
}

/// Exact: 500 is "0.5", 2000 is "2".
pub fn show_milli(milli: u64) -> String {
    match (milli / 1_000, milli % 1_000) {
        (whole, 0) => whole.to_string(),
        (whole, part) => format!("{whole}.{part:03}").trim_end_matches('0').to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_and_show_exactly() {
        for (text, bytes) in [
            ("0", 0),
            ("4096", 4096),
            ("1B", 1),
            ("128MiB", 128 << 20),
            ("1.5 GiB", 3 << 29),
            ("500MB", 500_000_000),
            ("1KB", 1_000),
            ("1kB", 1_000),
            ("1PiB", 1 << 50),
        ] {
            assert_eq!(size(text), Ok(bytes), "{text}");
            assert_eq!(size(&show_size(bytes)), Ok(bytes), "{text}");
        }
        assert_eq!(show_size(128 << 20), "128MiB");
        assert_eq!(show_size(500_000_000), "500MB");
        for text in ["", "MiB", "-1", "1mib", "1e3", "1.2.3MB", "99999999999999999999", "20000PiB", "0.3B", "1 2MB"] {
            assert!(size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn amounts_of_other_systems_are_refused_with_what_to_write() {
        for (text, write) in
            [("128Mi", "128MiB"), ("1G", "1GiB"), ("128mb", "128MB"), ("64k", "64KiB"), ("2gib", "2GiB")]
        {
            assert_eq!(size(text), Err(format!("is no size; write {write}")), "{text}");
            assert!(size(write).is_ok(), "{write}");
        }
        assert!(milli("500m").unwrap_err().ends_with("; write 0.5"), "{:?}", milli("500m"));
        assert!(milli("many").unwrap_err().ends_with(", such as 2 or 0.5"), "{:?}", milli("many"));
    }

    #[test]
    fn durations_read_and_show_exactly() {
        for (text, ms) in [
            ("0", 0),
            ("0s", 0),
            ("500ms", 500),
            ("10s", 10_000),
            ("1.5h", 5_400_000),
            ("1h30m", 5_400_000),
            ("2d", 172_800_000),
        ] {
            assert_eq!(duration(text), Ok(ms), "{text}");
            assert_eq!(duration(&show_duration(ms)), Ok(ms), "{text}");
        }
        assert_eq!(show_duration(90_000), "90s");
        for text in ["", "10", "s", "10 parsecs", "-1s", "30m1h", "1s1s", "0.5ms", "9999999999999d"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn thousandths_read_and_show_exactly() {
        for (text, value) in [("0", 0), ("2", 2_000), ("0.5", 500), ("0.125", 125), ("1.50", 1_500)] {
            assert_eq!(milli(text), Ok(value), "{text}");
            assert_eq!(milli(&show_milli(value)), Ok(value), "{text}");
        }
        for text in ["", "0.0005", "-1", "1e3", "500m", ".5", "NaN"] {
            assert!(milli(text).is_err(), "{text}");
        }
    }
}
