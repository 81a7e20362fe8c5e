//! Test of the units in deploy/systemd: their command lines are ones that Dawn takes, with nothing set, with all that their
//! example files set, and with any default set anew.

use std::collections::BTreeMap;
use std::path::Path;

use clap::{ArgMatches, CommandFactory};

use crate::args::Cli;

const UNITS: [&str; 2] = ["scheduler", "agent"];

fn file(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/systemd").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Words as systemd takes them apart: quotes hold them together.
fn words(text: &str) -> Vec<String> {
    let (mut words, mut quoted) = (vec![String::new()], false);
    for c in text.chars() {
        match c {
            '"' => quoted = !quoted,
            ' ' if !quoted => words.push(String::new()),
            c => words.last_mut().unwrap().push(c),
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

fn variable(word: &str) -> Option<(String, String)> {
    word.split_once('=').map(|(name, value)| (name.to_string(), value.to_string()))
}

struct Unit {
    variables: BTreeMap<String, String>,
    exec: String,
}

impl Unit {
    fn read(name: &str) -> Unit {
        let text = file(&format!("dawn-{name}.service"));
        let lines = |start: &'static str| text.lines().filter_map(move |line| line.strip_prefix(start));
        let variables = lines("Environment=").flat_map(words).filter_map(|word| variable(&word)).collect();
        Unit { variables, exec: lines("ExecStart=").next().unwrap().to_string() }
    }

    fn set(&mut self, name: &str, value: &str) {
        assert!(
            self.variables.insert(name.into(), value.into()).is_some(),
            "{name} has no default, so nothing takes it"
        );
    }

    /// The command line, each variable in its place.
    fn line(&self) -> Vec<String> {
        let value = |name: &str| &self.variables[name];
        let words = self.exec.split(' ').flat_map(|word| match word.strip_prefix('$') {
            Some(name) if name.starts_with('{') => vec![value(name.trim_matches(['{', '}'])).clone()],
            Some(name) => words(value(name)),
            None => vec![word.to_string()],
        });
        words.collect()
    }

    fn parse(&self) -> ArgMatches {
        let line = self.line();
        let parsed = Cli::command().try_get_matches_from(&line);
        parsed.unwrap_or_else(|error| panic!("{line:?}: {error}")).remove_subcommand().unwrap().1
    }
}

fn own_memory(unit: &Unit) -> u64 {
    *unit.parse().get_one::<u64>("own_memory").unwrap()
}

#[test]
fn units_need_no_settings_and_take_all_that_their_examples_set() {
    for name in UNITS {
        let mut unit = Unit::read(name);
        unit.parse();
        let example = file(&format!("{name}.env"));
        let settings =
            example.lines().filter_map(|line| line.strip_prefix('#')?.starts_with("DAWN_").then_some(&line[1..]));
        let settings: Vec<(String, String)> = settings.filter_map(variable).collect();
        assert!(settings.len() >= 3, "{name}: {settings:?}");
        for (variable, value) in settings {
            if variable != "DAWN_LOG" {
                unit.set(&variable, value.trim_matches('"'));
            }
        }
        let parsed = unit.parse();
        match name {
            "scheduler" => assert_eq!(parsed.get_many::<String>("etcd").unwrap().count(), 3),
            _ => assert_eq!(
                (parsed.get_many::<(String, Vec<String>)>("attribute").unwrap().count(), own_memory(&unit)),
                (2, 1 << 30)
            ),
        }
    }
}

#[test]
fn one_setting_drops_no_other_default_and_a_default_can_be_set() {
    let mut agent = Unit::read("agent");
    agent.set("DAWN_AGENT_FLAGS", "--attribute rack=a");
    assert_eq!(own_memory(&agent), 1 << 30, "the default stays");
    agent.set("DAWN_AGENT_FLAGS", "--attribute rack=a --own-memory 2GiB --work-dir /srv/dawn");
    assert_eq!(own_memory(&agent), 2 << 30, "what is set counts");
    assert_eq!(agent.parse().get_many::<(String, Vec<String>)>("attribute").unwrap().count(), 1);
    let mut scheduler = Unit::read("scheduler");
    scheduler.set("DAWN_SCHEDULER_FLAGS", "--listen [::1]:7070 --data-dir /srv/dawn");
    let listen = scheduler.parse().get_one::<std::net::SocketAddr>("listen").unwrap().to_string();
    assert_eq!(listen, "[::1]:7070");
}

#[test]
fn every_flag_can_be_set() {
    for name in UNITS {
        let unit = Unit::read(name);
        let flags = format!("DAWN_{}_FLAGS", name.to_uppercase());
        assert!(unit.variables.contains_key(&flags) && unit.exec.ends_with(&format!(" ${flags}")), "{name}");
    }
}
