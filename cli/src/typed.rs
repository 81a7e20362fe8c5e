//! Every command and every flag of the command line is typed by a test on a live cluster, or stands below with a reason; and every
//! rpc is called. Commands are found as tests write them, in a list of words: `["job", "scale", NAME, "+2"]`. Not here: the tests.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use clap::{Arg, Command, CommandFactory};

use crate::args::Cli;

/// The tests that run `dawn`, what they start clusters with, and the page whose every command a scenario gives.
const READ: [&str; 5] =
    ["tests/tests/scenarios", "tests/tests/faults", "tests/src/cluster", "cli/tests", "docs/runbook.md"];

/// "COMMAND --FLAG", or a command alone, that no test types, with why not. It is empty, and best so.
const NOT_TYPED: [(&str, &str); 0] = [];
/// Who calls rpcs when those commands are typed and daemons run.
const CALLERS: [&str; 3] = ["cli/src", "agent/src/edges", "tests/src/cluster/api.rs"];

fn files(path: &Path, found: &mut Vec<PathBuf>) {
    if path.is_dir() {
        let mut entries: Vec<PathBuf> = std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()).collect();
        entries.sort();
        entries.iter().for_each(|entry| files(entry, found));
    } else {
        found.push(path.to_path_buf());
    }
}

/// The texts of each list of a Rust source, innermost lists first, and last those that stand in no list.
fn lists(source: &str) -> Vec<Vec<String>> {
    let (mut done, mut open, mut loose) = (Vec::new(), Vec::<Vec<String>>::new(), Vec::new());
    let mut rest = source;
    while let Some(at) = rest.find(['"', '[', ']', '\'', '/']) {
        let (found, after) = (rest.as_bytes()[at], &rest[at + 1..]);
        rest = after;
        match found {
            b'[' => open.push(Vec::new()),
            b']' => done.extend(open.pop()),
            b'/' if after.starts_with('/') => rest = after.split_once('\n').map_or("", |(_, line)| line),
            // A character, or the name of a lifetime.
            b'\'' if after.starts_with('\\') => rest = after[2..].split_once('\'').map_or("", |(_, rest)| rest),
            b'\'' if after.chars().nth(1) == Some('\'') => rest = after.split_once('\'').map_or("", |(_, rest)| rest),
            b'"' => {
                let (text, after) = text(after);
                open.last_mut().unwrap_or(&mut loose).push(text);
                rest = after;
            }
            _ => (),
        }
    }
    done.push(loose);
    done
}

/// A text to its closing quote, and what follows.
fn text(source: &str) -> (String, &str) {
    let (mut text, mut characters) = (String::new(), source.char_indices());
    while let Some((at, one)) = characters.next() {
        match one {
            '"' => return (text, &source[at + 1..]),
            '\\' => text.extend(characters.next().map(|(_, escaped)| escaped)),
            one => text.push(one),
        }
    }
    (text, "")
}

/// What tests type: each a list of words that may name a command.
fn typed() -> Vec<Vec<String>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut found = Vec::new();
    READ.iter().for_each(|path| files(&root.join(path), &mut found));
    let mut typed = Vec::new();
    for path in found {
        let source = std::fs::read_to_string(&path).unwrap();
        match path.extension().is_some_and(|ending| ending == "rs") {
            true => typed.extend(lists(&source)),
            false => typed.extend(source.lines().map(|line| line.split_whitespace().map(str::to_string).collect())),
        }
    }
    typed
}

/// Whether the list types this command.
fn names(words: &[String], command: &[&str]) -> bool {
    command.is_empty() || words.windows(command.len()).any(|part| part == command)
}

fn gives(words: &[String], flag: &Arg) -> bool {
    let long = flag.get_long().map(|long| format!("--{long}"));
    let short = flag.get_short().map(|short| format!("-{short}"));
    words.iter().any(|word| {
        let name = word.split('=').next();
        name == long.as_deref() && name.is_some() || Some(word) == short.as_ref()
    })
}

/// The commands and flags of `command` and those below it that nobody types.
fn missing(command: &Command, path: &[&str], typed: &[Vec<String>], found: &mut BTreeSet<String>) {
    let is_daemon = ["scheduler", "agent", "dev"].contains(&path.first().copied().unwrap_or_default());
    let lines: Vec<&Vec<String>> = typed.iter().filter(|words| names(words, path)).collect();
    if !command.is_subcommand_required_set() && lines.is_empty() {
        found.insert(path.join(" "));
    }
    for flag in command.get_arguments().filter(|flag| flag.get_long().is_some() || flag.get_short().is_some()) {
        let is_clap = ["help", "version"].contains(&flag.get_id().as_str());
        // Command lines of daemons are put together of parts, and what stands under a heading is the same for several commands.
        let is_typed = match is_daemon || flag.get_help_heading().is_some() {
            true => typed.iter().any(|words| gives(words, flag)),
            false => lines.iter().any(|words| gives(words, flag)),
        };
        if !is_clap && !is_typed {
            found.insert(format!("{} --{}", path.join(" "), flag.get_long().unwrap_or_default()).trim().to_string());
        }
    }
    for inner in command.get_subcommands() {
        missing(inner, &[path, &[inner.get_name()]].concat(), typed, found);
    }
}

#[test]
fn every_command_and_flag_is_typed_by_a_test() {
    let (typed, mut found) = (typed(), BTreeSet::new());
    missing(&Cli::command(), &[], &typed, &mut found);
    let excused: BTreeSet<String> = NOT_TYPED.iter().map(|(what, _)| what.to_string()).collect();
    let unexcused: Vec<&String> = found.difference(&excused).collect();
    assert!(unexcused.is_empty(), "no test types {unexcused:#?}; write a scenario that does");
    let stale: Vec<&String> = excused.difference(&found).collect();
    assert!(stale.is_empty(), "tests type {stale:#?}; take them off the list");
}

#[test]
fn what_no_test_types_is_found() {
    let typed = |source: &str| lists(source);
    let tree = |words: &str| {
        let mut found = BTreeSet::new();
        let command = Command::new("dawn").subcommand(Command::new("job").subcommand_required(true).subcommand(
            Command::new("scale").arg(Arg::new("message").long("message").short('m')).arg(Arg::new("count")),
        ));
        missing(&command.subcommand_required(true), &[], &typed(words), &mut found);
        found.into_iter().collect::<Vec<_>>()
    };
    assert_eq!(tree(r#"["job", "scal"], ["scale"], // ["job", "scale", "-m"]"#), ["job scale", "job scale --message"]);
    assert_eq!(tree(r#"['"', ']']; ["--json", "job", "scale", X[1], "2"]; ["-m"]"#), ["job scale --message"]);
    for whole in [r#"&["job", "scale", &format!("{x}\"]"), "-m", why]"#, r#"["job", "scale", "--message=why"]"#] {
        assert_eq!(tree(whole), [""; 0], "{whole}");
    }
}

#[test]
fn every_rpc_is_called_by_the_program_or_the_tests() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let text = |folders: &[&str]| {
        let mut found = Vec::new();
        folders.iter().for_each(|path| files(&root.join(path), &mut found));
        let tests = |path: &PathBuf| path.components().any(|part| part.as_os_str() == "tests");
        found.retain(|path| path.ends_with("cluster/api.rs") || !tests(path));
        found.iter().map(|path| std::fs::read_to_string(path).unwrap()).collect::<String>()
    };
    let (wire, callers) = (text(&["proto/dawn/v1"]), text(&CALLERS));
    let rpcs: Vec<&str> = wire.split("\n  rpc ").skip(1).filter_map(|rest| rest.split('(').next()).collect();
    assert!(rpcs.len() > 40, "{rpcs:?}");
    let method = |rpc: &str| {
        let letters = rpc.chars().enumerate().flat_map(|(at, letter)| {
            let gap = (at > 0 && letter.is_ascii_uppercase()).then_some('_');
            gap.into_iter().chain(letter.to_lowercase())
        });
        letters.collect::<String>()
    };
    let uncalled: Vec<&&str> = rpcs.iter().filter(|rpc| !callers.contains(&format!(".{}(", method(rpc)))).collect();
    assert!(uncalled.is_empty(), "nobody calls {uncalled:?}");
}
