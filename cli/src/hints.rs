//! Every command that a message, a help text or a document names in backticks is one that there is, with flags that it has.

use std::path::{Path, PathBuf};

use clap::{Command, CommandFactory};

use crate::args::Cli;

/// Where people read of commands, from the repository's root.
const READ: [&str; 9] = [
    "README.md",
    "cli/JOBFILE.md",
    "cli/OUTPUT.md",
    "docs",
    "cli/src",
    "scheduler/src",
    "agent/src",
    "deploy",
    "proto/src",
];

fn files(path: &Path, found: &mut Vec<PathBuf>) {
    if path.is_dir() {
        let mut entries: Vec<PathBuf> = std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()).collect();
        entries.sort();
        entries.iter().for_each(|entry| files(entry, found));
    } else if path.extension().is_some_and(|ending| ["rs", "md", "yaml", "yml"].iter().any(|one| ending == *one)) {
        found.push(path.to_path_buf());
    }
}

/// The texts between backticks that begin with the program's name, in a line. A text for shells or of a test is none.
fn hints(line: &str) -> impl Iterator<Item = &str> {
    line.split('`').skip(1).step_by(2).filter_map(|hint| hint.strip_prefix("dawn "))
}

/// Why a hint can't be typed; none: it can.
fn mistake(tree: &Command, hint: &str) -> Option<String> {
    let mut command = tree;
    for word in hint.split_whitespace().take_while(|word| *word != "|" && !word.starts_with('…')) {
        let word = word.trim_end_matches([',', ';', '.', ')', ']', '…']).trim_start_matches('[');
        if let Some(flag) = word.strip_prefix("--") {
            let name = flag.split(['=', '…']).next().unwrap_or_default();
            let has = |command: &Command| command.get_arguments().any(|given| given.get_long() == Some(name));
            if !name.is_empty() && !has(command) && !has(tree) && !["help", "version"].contains(&name) {
                return Some(format!("`dawn {}` has no --{name}", command.get_name()));
            }
        } else if command.has_subcommands()
            && !word.is_empty()
            && word.chars().all(|c| c.is_ascii_lowercase() || c == '-')
        {
            match command.find_subcommand(word) {
                Some(inner) => command = inner,
                // Started by the agent, and by itself.
                None if command.get_name() == "dawn" && ["executor", "config-eval", "help"].contains(&word) => {
                    return None;
                }
                None => return Some(format!("`dawn {}` has no command `{word}`", command.get_name())),
            }
        } else {
            // Names and values follow, and flags behind them.
            continue;
        }
    }
    None
}

#[test]
fn every_command_that_is_named_can_be_typed() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let (mut found, tree) = (Vec::new(), Cli::command());
    READ.iter().for_each(|path| files(&root.join(path), &mut found));
    let (mut seen, mut wrong) = (0, Vec::new());
    for path in found {
        // The tips name commands that there are none of.
        if path.ends_with("src/hints.rs") || path.ends_with("src/tips.rs") {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        for (number, line) in text.lines().enumerate() {
            for hint in hints(line) {
                seen += 1;
                let mistake =
                    mistake(&tree, hint).map(|why| format!("{}:{}: {hint:?}: {why}", path.display(), number + 1));
                wrong.extend(mistake);
            }
        }
    }
    assert!(seen > 100, "only {seen} were found");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_hint_that_leads_nowhere_is_found() {
    let tree = Cli::command();
    for hint in ["job stop X", "node list --sort", "jbo"] {
        assert!(mistake(&tree, hint).is_some(), "{hint}");
    }
    for hint in
        ["job kill ROLE/ENV/NAME --yes", "job run FILE", "dev", "node drain NODE… --deadline 5m", "quota set {role}"]
    {
        assert_eq!(mistake(&tree, hint), None, "{hint}");
    }
}
