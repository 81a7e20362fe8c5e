//! What pure code may not name as a whole, and what nobody may do to a test. Types and functions that pure code may not use, and
//! panics, are forbidden by the compiler's lints (clippy.toml); here it is asked that those are switched on.

use super::paths;
use super::{Finding, Repository, SourceFile};

/// Floors that are pure: same input, same answer.
const PURE: [&str; 2] = ["model", "decide"];

/// Floors that say what is logged, and leave the logging to the edge that acts.
const SILENT: [&str; 3] = ["model", "decide", "drive"];

/// Modules and crates that bring in chance, I/O or other threads, whatever is used of them.
const IMPURE_PATHS: [(&[&str], &str); 9] = [
    (&["std", "fs"], "reading files is an edge's work"),
    (&["std", "net"], "the network is an edge's work"),
    (&["std", "io"], "I/O is an edge's work"),
    (&["std", "env"], "the environment is read in run"),
    (&["std", "process"], "processes are an edge's work"),
    (&["std", "thread"], "decide runs on one thread"),
    (&["rand"], "chance comes in as an argument"),
    (&["tokio"], "decide does not wait"),
    (&["tonic"], "the network is an edge's work"),
];

/// Words, standing alone in code.
const IMPURE_WORDS: [(&str, &str); 2] = [("async", "decide does not wait"), ("await", "decide does not wait")];

/// The lints by which the compiler sees to the rest, at the head of each pure floor and of each member.
const PURE_LINTS: &str = "deny(clippy::disallowed_methods, clippy::disallowed_types)";
const PANIC_LINTS: &str = "#![warn(clippy::expect_used, clippy::unwrap_used)]";
const MEMBERS_HEADS: [&str; 6] = [
    "proto/src/lib.rs",
    "scheduler/src/lib.rs",
    "agent/src/lib.rs",
    "executor/src/lib.rs",
    "cli/src/main.rs",
    "cli/aurora/src/lib.rs",
];

const SLEEPS: [&str; 3] = ["thread::sleep(", "time::sleep(", " sleep("];
/// On the line: the sleep is the pause of a loop that waits on a condition with a deadline.
const POLL: &str = "// poll";

fn words(code: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines = code.lines().enumerate();
    lines.flat_map(|(number, line)| {
        line.split(|c: char| !c.is_alphanumeric() && c != '_').map(move |word| (number + 1, word))
    })
}

/// `model` and `decide` are pure.
pub fn impure_names(_: &Repository, file: &SourceFile, findings: &mut Vec<Finding>) {
    let Some((member, module)) = file.module() else { return };
    if member == "proto" || member == "tests" || !module.first().is_some_and(|floor| PURE.contains(floor)) {
        return;
    }
    let mut report = |line: usize, name: &str, advice: &str| {
        if !file.is_test(line) {
            let advice = format!("{name} in {}: {advice}", module[0]);
            findings.push(Finding { path: file.path.clone(), line, rule: "purity", advice });
        }
    };
    for path in paths::all(&file.code) {
        for (start, advice) in IMPURE_PATHS.iter().filter(|(start, _)| path.starts_with(start)) {
            report(path.line, &start.join("::"), advice);
        }
    }
    for (line, word) in words(&file.code) {
        for (name, advice) in IMPURE_WORDS.iter().filter(|(name, _)| *name == word) {
            report(line, name, advice);
        }
    }
}

/// What is decided is logged by the edge that acts, so that a replay or a simulator writes no log.
pub fn logs(_: &Repository, file: &SourceFile, findings: &mut Vec<Finding>) {
    let Some((member, module)) = file.module() else { return };
    if member == "proto" || member == "tests" || !module.first().is_some_and(|floor| SILENT.contains(floor)) {
        return;
    }
    for path in paths::all(&file.code).into_iter().filter(|path| path.starts_with(&["tracing"])) {
        if !file.is_test(path.line) {
            let advice = "tell what was decided in an effect: the edge that acts writes it to the log".to_string();
            findings.push(Finding { path: file.path.clone(), line: path.line, rule: "silence", advice });
        }
    }
}

/// Where the compiler's lints must be switched on, they are.
pub fn lints_are_on(_: &Repository, file: &SourceFile, findings: &mut Vec<Finding>) {
    let is_pure_floor = PURE.iter().any(|floor| file.path.ends_with(&format!("/src/{floor}/mod.rs")));
    let wanted = [(is_pure_floor, PURE_LINTS), (MEMBERS_HEADS.contains(&file.path.as_str()), PANIC_LINTS)];
    for (_, lints) in wanted.iter().filter(|(is_wanted, lints)| *is_wanted && !file.text.contains(lints)) {
        let advice = format!("switch the compiler's lints on at the head of this file: {lints}");
        findings.push(Finding { path: file.path.clone(), line: 1, rule: "lints", advice });
    }
}

/// Tests wait on conditions.
pub fn sleeps(_: &Repository, file: &SourceFile, findings: &mut Vec<Finding>) {
    let raw: Vec<&str> = file.text.lines().collect();
    for (index, code) in file.code.lines().enumerate() {
        let line = index + 1;
        let marked = |mark: &str| raw[index].contains(mark) || (index > 0 && raw[index - 1].trim().starts_with(mark));
        if file.is_test(line) && SLEEPS.iter().any(|call| code.contains(call)) && !marked(POLL) {
            let advice = "wait on a condition with a deadline (a polling loop's pause is marked `// poll`)".to_string();
            findings.push(Finding { path: file.path.clone(), line, rule: "sleep in a test", advice });
        }
    }
}
