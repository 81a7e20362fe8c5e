//! Values on a daemon's command line: attributes, amounts, ranges of ports.

use std::path::PathBuf;

use dawn_proto::AgentId;

use super::PortRanges;
use crate::spec::milli;

/// "rack=a" or "zone=x,y".
pub fn attribute(text: &str) -> Result<(String, Vec<String>), String> {
    let (name, values) = text.split_once('=').ok_or("write NAME=VALUE, as in rack=a")?;
    let values: Vec<String> = values.split(',').map(str::to_string).collect();
    if values.iter().any(String::is_empty) {
        return Err("a value is empty".to_string());
    }
    if name == "host" {
        return Err("`host` is every agent's own id; --agent-id says it, or choose another name".to_string());
    }
    Ok((checked(name)?, values))
}

/// Thousandths: "4", "0.5".
pub fn amount(text: &str) -> Result<u64, String> {
    milli(text)
}

/// Whole devices: "4".
pub fn gpus(text: &str) -> Result<u64, String> {
    let whole = text.trim().parse::<u64>().ok().and_then(|count| count.checked_mul(1_000));
    whole.ok_or_else(|| "is no number of whole gpus; write 0, 1, 2…".to_string())
}

/// A type of its own, because clap takes a plain Vec for a flag that is repeated.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Files(pub Vec<PathBuf>);

/// "/dev/a,/dev/b"
pub fn files(text: &str) -> Result<Files, String> {
    let files = text.split(',').map(str::trim).filter(|file| !file.is_empty());
    let files: Vec<PathBuf> = files.map(PathBuf::from).collect();
    match files.iter().find(|file| !file.is_absolute()) {
        Some(file) => Err(format!("`{}` is no absolute path", file.display())),
        None => Ok(Files(files)),
    }
}

/// "licenses=2", in thousandths.
pub fn custom(text: &str) -> Result<(String, u64), String> {
    let (name, number) = text.split_once('=').ok_or("write NAME=NUMBER, as in licenses=2")?;
    Ok((checked(name)?, milli(number)?))
}

/// Names of attributes and resources follow the rule for an agent's own.
fn checked(name: &str) -> Result<String, String> {
    let rule = "a name has 1-63 characters of a-z A-Z 0-9 _ . -, the first a letter or digit";
    AgentId::new(name).map(|name| name.to_string()).ok_or_else(|| rule.to_string())
}

/// "31000-32000,33000-33009", inclusive.
pub fn port_ranges(text: &str) -> Result<PortRanges, String> {
    let range = |text: &str| {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        match (first.trim().parse::<u16>(), last.trim().parse::<u16>()) {
            (Ok(first), Ok(last)) if 0 < first && first <= last => Ok((first, last)),
            _ => Err(format!("`{text}` is no range of ports; write FIRST-LAST, as in 31000-32000")),
        }
    };
    text.split(',').map(range).collect::<Result<Vec<_>, _>>().map(PortRanges)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_have_a_name_and_values() {
        assert_eq!(attribute("rack=a"), Ok(("rack".into(), vec!["a".into()])));
        assert_eq!(attribute("zone=x,y"), Ok(("zone".into(), vec!["x".into(), "y".into()])));
        for text in ["", "rack", "=a", "rack=", "rack=a,,b", "a b=c", "host=n1"] {
            assert!(attribute(text).is_err(), "{text}");
        }
    }

    #[test]
    fn amounts_and_ranges_are_checked() {
        assert_eq!(custom("licenses=1.5"), Ok(("licenses".into(), 1_500)));
        assert_eq!(gpus("2"), Ok(2_000));
        assert!(gpus("0.5").is_err(), "tasks share a device, agents don't");
        assert!(custom("licenses=many").is_err() && custom("licenses").is_err());
        assert_eq!(port_ranges("31000-32000,80"), Ok(PortRanges(vec![(31000, 32000), (80, 80)])));
        for text in ["", "0", "5-4", "1-65536", "a-b", "1-2-3"] {
            assert!(port_ranges(text).is_err(), "{text}");
        }
    }
}
