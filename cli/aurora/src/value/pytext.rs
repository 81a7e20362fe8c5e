//! Numbers as text, the way the files' authors know them: `1.0`, `1e+16`, `True`. Not here: templates.

/// The shortest text that reads back as the same number, in Python's notation.
pub fn float(value: f64) -> String {
    if value.is_nan() {
        return "nan".into();
    }
    if value.is_infinite() {
        return if value > 0.0 { "inf".into() } else { "-inf".into() };
    }
    let scientific = format!("{value:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if value != 0.0 && !(-4..16).contains(&exponent) {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{digits}e{sign}{:02}", exponent.abs());
    }
    let plain = format!("{value}");
    if plain.contains('.') { plain } else { format!("{plain}.0") }
}

pub fn boolean(value: bool) -> &'static str {
    if value { "True" } else { "False" }
}

/// Text in single quotes, for messages.
pub fn quoted(text: &str) -> String {
    const LONGEST: usize = 80;
    let escaped = text.escape_debug().to_string().replace("\\\"", "\"").replace("\\'", "'");
    if escaped.chars().count() <= LONGEST {
        return format!("'{escaped}'");
    }
    format!("'{}…'", escaped.chars().take(LONGEST).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_look_like_pythons() {
        let cases = [(1.0, "1.0"), (0.1, "0.1"), (1e16, "1e+16"), (1.5e-7, "1.5e-07"), (123456789.25, "123456789.25")];
        for (value, text) in cases {
            assert_eq!(float(value), text);
        }
        assert_eq!(float(1e15), "1000000000000000.0");
        assert_eq!(float(-0.0001), "-0.0001");
        assert_eq!(float(f64::INFINITY), "inf");
    }
}
