//! Amounts of the options as numbers: "10s", "128MiB", "0.1", "0644".

use crate::fields::Unit;

const SIZES: [(&str, i64); 5] =
    [("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("TiB", 1 << 40), ("PiB", 1 << 50)];
const DURATIONS: [(&str, i64); 5] = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

/// The number that an amount is, in the unit of the wire.
pub fn number(text: &str, unit: Unit) -> Result<i64, String> {
    let wrong = || format!("{text:?} is no amount of this unit");
    let whole = |text: &str| text.parse::<i64>().map_err(|_| wrong());
    let scaled = |units: &[(&str, i64)]| {
        let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let (_, factor) = units.iter().find(|(name, _)| *name == &text[digits.len()..]).ok_or_else(wrong)?;
        Ok(whole(digits)? * factor)
    };
    match unit {
        Unit::None | Unit::Percent => whole(text),
        Unit::Octal => i64::from_str_radix(text, 8).map_err(|_| wrong()),
        Unit::Size => scaled(&SIZES),
        Unit::Duration => scaled(&DURATIONS),
        Unit::Thousandths => {
            let (units, part) = text.split_once('.').unwrap_or((text, ""));
            Ok(whole(units)? * 1_000 + whole(&format!("{part:0<3}"))?)
        }
    }
}
