//! What pure code may not name, and what nobody may do to a running daemon or to a test.

use super::paths;
use super::{Finding, Repository, SourceFile};

/// Floors that are pure: same input, same answer.
const PURE: [&str; 2] = ["model", "decide"];

/// Paths that bring in clocks, chance, I/O or other threads.
const IMPURE_PATHS: [(&[&str], &str); 9] = [
    (&["std", "fs"], "reading files is an edge's work"),
    (&["std", "net"], "the network is an edge's work"),
    (&["std", "io"], "I/O is an edge's work"),
    (&["std", "env"], "the environment is read in run"),
    (&["std", "process"], "processes are an edge's work"),
    (&["std", "thread"], "decide runs on one thread"),
    (&["Instant", "now"], "time comes in as an argument"),
    (&["SystemTime", "now"], "time comes in as an argument"),
    (&["jiff", "Timestamp", "now"], "time comes in as an argument"),
];

/// Words, standing alone in code.
const IMPURE_WORDS: [(&str, &str); 11] = [
    ("SystemTime", "time comes in as an argument"),
    ("Instant", "time comes in as an argument"),
    ("HashMap", "its order is chance; use BTreeMap or an index"),
    ("HashSet", "its order is chance; use BTreeSet or an index"),
    ("rand", "chance comes in as an argument"),
    ("tokio", "decide does not wait"),
    ("tonic", "the network is an edge's work"),
    ("async", "decide does not wait"),
    ("await", "decide does not wait"),
    ("Mutex", "state has one owner"),
    ("RwLock", "state has one owner"),
];

/// Members whose processes must not die of what comes from outside.
const NO_PANICS: [&str; 4] = ["scheduler/src/", "agent/src/", "executor/src/", "cli/src/"];
const PANICS: [&str; 2] = [".unwrap()", ".expect("];
/// On the line or the one above: why it can't fail.
const INVARIANT: &str = "// invariant:";

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

/// Daemons don't panic on input; tests wait on conditions.
pub fn panics_and_sleeps(_: &Repository, file: &SourceFile, findings: &mut Vec<Finding>) {
    let guarded = NO_PANICS.iter().any(|start| file.path.starts_with(start));
    let raw: Vec<&str> = file.text.lines().collect();
    for (index, code) in file.code.lines().enumerate() {
        let line = index + 1;
        let marked = |mark: &str| raw[index].contains(mark) || (index > 0 && raw[index - 1].trim().starts_with(mark));
        if guarded && !file.is_test(line) && PANICS.iter().any(|call| code.contains(call)) && !marked(INVARIANT) {
            let advice = "handle the error, or say in `// invariant:` why it can't be".to_string();
            findings.push(Finding { path: file.path.clone(), line, rule: "panics", advice });
        }
        if file.is_test(line) && SLEEPS.iter().any(|call| code.contains(call)) && !marked(POLL) {
            let advice = "wait on a condition with a deadline (a polling loop's pause is marked `// poll`)".to_string();
            findings.push(Finding { path: file.path.clone(), line, rule: "sleep in a test", advice });
        }
    }
}
