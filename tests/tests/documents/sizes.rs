//! The page of sizes: each value is the code's, and none of the files that hold limits has one that is not there.

use std::collections::BTreeSet;

use dawn_proto::fields::messages;

use super::text_of;

/// Every limit of these is on the page.
const WHOLE: [&str; 8] = [
    "scheduler/src/model/bounds.rs",
    "proto/src/validate.rs",
    "proto/src/validate/agent.rs",
    "proto/src/validate/defaults.rs",
    "proto/src/validate/task/artifacts.rs",
    "proto/src/validate/task/health.rs",
    "proto/src/validate/task/isolation.rs",
    "agent/src/model/mod.rs",
];

/// The bound that the options of a field say: "TaskSpec.max_pids max".
fn option(name: &str) -> Option<f64> {
    let (field, bound) = name.split_once(' ')?;
    let (message, field) = field.split_once('.')?;
    let field = messages().into_iter().find(|known| known.name == message)?.field(field)?;
    let value = match bound {
        "min" => field.min?,
        "max" => field.max?,
        "default" => field.default_number(),
        "max_items" => i64::try_from(field.max_items?).ok()?,
        _ => return None,
    };
    Some(value as f64)
}

/// Lists whose bound stands on the page with another one's.
const SAID_OF_OTHERS: [&str; 5] = [
    "JobSpec.affinities max_items",
    "ProcessSpec.env max_items",
    "Constraint.one_of max_items",
    "Constraint.none_of max_items",
    "Spread.share_percent max_items",
];

/// The value of a constant as its source says it, or of a setting's default. Sizes in bytes, times in milliseconds.
fn value(source: &str, name: &str) -> Option<f64> {
    let constant = source.lines().find_map(|line| {
        let (head, value) = line.trim().split_once(" = ")?;
        let head = head.trim_start_matches("pub(super) ").trim_start_matches("pub ");
        head.starts_with(&format!("const {name}: ")).then_some(value.trim_end_matches(';'))
    });
    let setting = || {
        let start = format!("{name}: ");
        let mut lines = source.lines().filter_map(|line| line.trim().strip_prefix(&start)?.strip_suffix(','));
        lines.find(|value| value.starts_with(|c: char| c.is_ascii_digit()))
    };
    evaluate(source, constant.or_else(setting)?)
}

/// Numbers, other constants of the file, and what stands between them.
fn evaluate(source: &str, text: &str) -> Option<f64> {
    let text = text.trim();
    for (start, unit) in [("Duration::from_secs(", 1e3), ("Duration::from_millis(", 1.0)] {
        if let Some(inner) = text.strip_prefix(start) {
            return Some(evaluate(source, inner.strip_suffix(')')?)? * unit);
        }
    }
    if let Some((left, right)) = text.split_once(" + ") {
        return Some(evaluate(source, left)? + evaluate(source, right)?);
    }
    if let Some((left, right)) = text.split_once(" << ") {
        return Some(evaluate(source, left)? * 2_f64.powf(evaluate(source, right)?));
    }
    if let Some((left, right)) = text.split_once(" * ") {
        return Some(evaluate(source, left)? * evaluate(source, right)?);
    }
    text.replace('_', "").parse().ok().or_else(|| value(source, text))
}

/// What people read: 1.25 MiB, 10,000, 60 s. Cpus, gpus and units are kept in thousandths.
fn read(cell: &str) -> Option<f64> {
    let (number, unit) = cell.split_once(' ').unwrap_or((cell, ""));
    let factor = match unit {
        "" | "B" | "ms" => 1.0,
        "KiB" => 1024.0,
        "MiB" => 1024_f64.powi(2),
        "GiB" => 1024_f64.powi(3),
        "PiB" => 1024_f64.powi(5),
        "s" | "cpus" | "gpus" | "units" => 1e3,
        "d" => 86_400_000.0,
        _ => return None,
    };
    Some(number.replace(',', "").parse::<f64>().ok()? * factor)
}

/// (value, constant, file) of each row that names a constant.
fn rows(page: &str) -> Vec<(String, String, String)> {
    let cells = page.lines().filter_map(|line| {
        let cells: Vec<&str> = line.strip_prefix("| ")?.strip_suffix(" |")?.split(" | ").collect();
        let [_, value, constant] = cells.as_slice() else { return None };
        let (name, file) = constant.strip_prefix('`')?.split_once("` ")?;
        (file.ends_with(".rs") || file.ends_with(".proto"))
            .then(|| (value.to_string(), name.to_string(), file.to_string()))
    });
    cells.collect()
}

#[test]
fn each_value_is_the_code_s() {
    let rows = rows(&text_of("docs/sizes.md"));
    assert!(rows.len() > 100, "{} rows", rows.len());
    let wrong = rows.iter().filter_map(|(cell, name, file)| {
        let is = if file.ends_with(".proto") { option(name) } else { value(&text_of(file), name) };
        let said = read(cell);
        let same = matches!((said, is), (Some(said), Some(is)) if (said - is).abs() < 1.0);
        (!same).then(|| format!("{name} of {file} is {is:?}; the page says {cell:?}"))
    });
    let wrong: Vec<String> = wrong.collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_limit_is_left_out() {
    let rows = rows(&text_of("docs/sizes.md"));
    let said: BTreeSet<(&str, &str)> = rows.iter().map(|(_, name, file)| (file.as_str(), name.as_str())).collect();
    let mut missing = Vec::new();
    for file in WHOLE {
        let source = text_of(file);
        // What is taken from the options of a field stands on the page as the field's.
        for line in source.lines().filter(|line| !line.starts_with(' ') && !line.contains("::")) {
            let line = line.trim_start_matches("pub ");
            let Some((name, kind)) = line.strip_prefix("const ").and_then(|rest| rest.split_once(": ")) else {
                continue;
            };
            let is_limit = ["u16", "u32", "u64", "usize"].iter().any(|number| kind.starts_with(number));
            if is_limit && !said.contains(&(file, name)) {
                missing.push(format!("{name} of {file}"));
            }
        }
    }
    for message in messages() {
        for field in message.fields.iter().filter(|field| field.max_items.is_some()) {
            let name = format!("{}.{} max_items", message.name, field.name);
            if !said.iter().any(|(_, said)| *said == name) && !SAID_OF_OTHERS.contains(&name.as_str()) {
                missing.push(name);
            }
        }
    }
    assert!(missing.is_empty(), "docs/sizes.md says nothing of {missing:?}");
}
