//! What a mistyped command was probably meant to be. Not here: what the commands are (`args`).

use clap::builder::StyledStr;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Command, CommandFactory, Error};

use crate::args::Cli;

/// Words of other systems, by what they are called here. The first word is the noun they stand behind; "" is any.
const FOREIGN: [(&str, &str, &str); 35] = [
    ("job", "stop", "job kill"),
    ("job", "rm", "job kill"),
    ("job", "delete", "job kill"),
    ("job", "remove", "job kill"),
    ("job", "cancel", "job kill"),
    ("job", "killall", "job kill"),
    ("job", "ps", "job list"),
    ("job", "ls", "job list"),
    ("job", "describe", "job status"),
    ("job", "show", "job status"),
    ("job", "get", "job status"),
    ("job", "info", "job status"),
    ("job", "create", "job run"),
    ("job", "submit", "job run"),
    ("job", "apply", "job run"),
    ("job", "start", "job run"),
    ("job", "update", "job run"),
    ("job", "rollback", "job revert"),
    ("job", "undo", "job revert"),
    ("job", "log", "job logs"),
    ("job", "events", "job history"),
    ("job", "validate", "config check"),
    ("node", "ls", "node list"),
    ("node", "describe", "node status"),
    ("node", "show", "node status"),
    ("cron", "ls", "cron list"),
    ("task", "log", "task logs"),
    ("task", "ssh", "task exec"),
    ("", "ps", "job list"),
    ("", "ls", "job list"),
    ("", "rm", "job kill"),
    ("", "stop", "job kill"),
    ("", "describe", "job status"),
    ("", "apply", "job run"),
    ("", "validate", "config check"),
];

/// Most commands that one tip names.
const MAX_NAMED: usize = 4;
/// Less similar names are no help: clap's own bound lets `stop` mean `history`.
const SIMILAR: f64 = 0.8;

/// The same error; of a command that there is none of, with the one that is probably meant.
pub fn added(mut error: Error, arguments: impl IntoIterator<Item = String>) -> Error {
    if error.kind() != ErrorKind::InvalidSubcommand {
        return with_whole_usage(error, arguments);
    }
    let Some(ContextValue::String(word)) = error.get(ContextKind::InvalidSubcommand) else { return error };
    let word = word.clone();
    let tree = Cli::command();
    let noun = noun(&tree, arguments, &word);
    let meant = meant(&tree, noun, &word);
    error.remove(ContextKind::SuggestedSubcommand);
    let tip = match (meant.is_empty(), noun) {
        (false, _) => format!("did you mean {}?", meant.join(", ")),
        (true, None) => "`dawn help` lists the commands".to_string(),
        (true, Some(noun)) => format!("`dawn help {}` lists its commands", noun.get_name()),
    };
    error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![StyledStr::from(tip)]));
    error
}

/// With the usage line of the command, whatever was typed: the one that comes with the error has what was typed as if it
/// had to be.
fn with_whole_usage(mut error: Error, arguments: impl IntoIterator<Item = String>) -> Error {
    if error.get(ContextKind::Usage).is_none() {
        return error;
    }
    let mut tree = Cli::command();
    tree.build();
    let mut command = &tree;
    for argument in arguments.into_iter().take_while(|argument| argument != "--") {
        match command.find_subcommand(&argument) {
            Some(inner) => command = inner,
            None if command.get_subcommands().next().is_none() => break,
            None => {}
        }
    }
    let usage = command.clone().render_usage();
    error.insert(ContextKind::Usage, ContextValue::StyledStr(usage));
    error
}

/// The noun that the word stands behind; none: it is the first one itself.
fn noun<'a>(tree: &'a Command, arguments: impl IntoIterator<Item = String>, word: &str) -> Option<&'a Command> {
    arguments.into_iter().take_while(|argument| argument != word).find_map(|argument| tree.find_subcommand(argument))
}

/// Whole commands, ready to be typed.
fn meant(tree: &Command, noun: Option<&Command>, word: &str) -> Vec<String> {
    let behind = noun.map_or("", Command::get_name);
    let typed = |path: String| format!("`dawn {path}`");
    if let Some((.., path)) = FOREIGN.iter().find(|(noun, foreign, _)| *noun == behind && *foreign == word) {
        return vec![typed(path.to_string())];
    }
    let here = noun.unwrap_or(tree);
    let is_slip = |name: &str| strsim::damerau_levenshtein(name, word) == 1;
    let slip = here.get_subcommands().find(|command| is_slip(command.get_name()));
    let similar = here.get_subcommands().map(|command| (strsim::jaro_winkler(command.get_name(), word), command));
    let similar = similar.filter(|(score, _)| *score > SIMILAR).max_by(|a, b| a.0.total_cmp(&b.0));
    if let Some(command) = slip.or(similar.map(|(_, command)| command)) {
        return vec![typed(format!("{behind} {}", command.get_name()).trim_start().to_string())];
    }
    let nouns = tree.get_subcommands().filter(|noun| noun.find_subcommand(word).is_some());
    let elsewhere = nouns.filter(|noun| noun.get_name() != "help").map(|noun| format!("{} {word}", noun.get_name()));
    let mut named: Vec<String> = elsewhere.take(MAX_NAMED).map(typed).collect();
    if named.is_empty() && tree.find_subcommand(word).is_some() {
        named.push(typed(word.to_string()));
    }
    named
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(line: &str) -> String {
        let arguments = line.split(' ').map(String::from);
        let error = match <Cli as clap::Parser>::try_parse_from(line.split(' ')) {
            Ok(_) => panic!("{line} was taken"),
            Err(error) => error,
        };
        added(error, arguments.skip(1)).to_string()
    }

    #[test]
    fn a_mistyped_command_gets_a_tip_that_helps() {
        for (line, tip) in [
            ("dawn job stop a/b/c", "`dawn job kill`"),
            ("dawn job ps", "`dawn job list`"),
            ("dawn --json job stop a/b/c", "`dawn job kill`"),
            ("dawn job statsu a/b/c", "`dawn job status`"),
            ("dawn status a/b/c", "`dawn job status`"),
            ("dawn run web.yaml", "`dawn job run`"),
            ("dawn jbo list", "`dawn job`"),
            ("dawn job drain n", "`dawn node drain`"),
            ("dawn job xyzzy", "`dawn help job` lists its commands"),
            ("dawn xyzzy", "`dawn help` lists the commands"),
        ] {
            let said = said(line);
            assert!(said.contains(tip) && !said.contains("history"), "{line}: {said}");
        }
    }

    #[test]
    fn a_usage_line_says_what_may_be_left_out() {
        for line in ["dawn job kill --yes", "dawn --json job kill", "dawn job kill --nosuch a/b/c"] {
            let said = said(line);
            assert!(said.contains("Usage: dawn job kill [OPTIONS] <JOB>"), "{line}: {said}");
        }
    }

    #[test]
    fn every_word_of_others_leads_to_a_command_that_is_there() {
        let tree = Cli::command();
        for (noun, word, path) in FOREIGN {
            let found = path.split(' ').try_fold(&tree, |command, name| command.find_subcommand(name));
            assert!(found.is_some(), "{path}");
            let parent = if noun.is_empty() { Some(&tree) } else { tree.find_subcommand(noun) };
            assert!(parent.is_some_and(|parent| parent.find_subcommand(word).is_none()), "{noun} {word} is a command");
        }
    }

    #[test]
    fn help_is_a_command_at_every_depth() {
        for line in ["dawn help", "dawn help job run", "dawn job help run"] {
            let error = match <Cli as clap::Parser>::try_parse_from(line.split(' ')) {
                Ok(_) => panic!("{line} was taken"),
                Err(error) => error,
            };
            assert_eq!(error.kind(), ErrorKind::DisplayHelp, "{line}");
            assert_eq!(error.to_string().contains("Usage: dawn job run"), line.contains("run"), "{line}");
        }
    }
}
