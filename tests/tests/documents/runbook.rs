//! The runbook: a section for each alert and alarm, words of `trouble` that Dawn really says, links that lead somewhere, and no
//! command line that Dawn does not take. Not here: running the commands, which the scenarios do.

use std::collections::BTreeSet;

use dawn_scheduler::model::Alarm;
use dawn_tests::runbook::{commands, sections};

use super::alerts::alerts;
use super::{root, text_of};

const TOOLS: [&str; 4] = ["dawn ", "etcdctl ", "systemctl ", "journalctl "];

/// A command without what it is given: two words, three of `dawn`; as far as they are its own.
fn name_of(line: &str) -> String {
    let most = if line.starts_with("dawn ") { 3 } else { 2 };
    let mut name = Vec::new();
    let variables = line.split_whitespace().take_while(|word| word.starts_with("ETCDCTL_")).count();
    for word in line.split_whitespace().skip(variables).take(most) {
        let is_given = word.starts_with('-') || word.starts_with(|c: char| c.is_ascii_uppercase());
        if is_given {
            break;
        }
        name.push(word.trim_end_matches(','));
        if word.ends_with(',') {
            break;
        }
    }
    name.join(" ")
}

fn page() -> String {
    text_of("docs/runbook.md")
}

#[test]
fn each_alert_has_a_section_with_the_commands_that_it_names() {
    let page = page();
    let sections = sections(&page);
    for (name, look) in alerts() {
        let section = sections.iter().find(|(title, _)| *title == name);
        let (_, body) = section.unwrap_or_else(|| panic!("{name} has no section"));
        let said: Vec<String> = commands(body).iter().map(|line| name_of(line)).collect();
        let is_command = |part: &&str| TOOLS.iter().any(|tool| part.starts_with(tool));
        for part in look.split(';').map(str::trim).filter(is_command) {
            assert!(said.contains(&name_of(part)), "{name}: {:?} is not among {said:?}", name_of(part));
        }
    }
    let known: BTreeSet<String> = alerts().into_iter().map(|(name, _)| name).collect();
    let strange: Vec<&str> = sections
        .iter()
        .map(|(title, _)| *title)
        .filter(|title| title.starts_with("Dawn") && !known.contains(*title))
        .collect();
    assert!(strange.is_empty(), "the runbook tells of alerts that are not there: {strange:?}");
}

#[test]
fn each_alarm_has_a_section() {
    let page = page();
    let sections = sections(&page);
    for kind in Alarm::KINDS {
        assert!(sections.iter().any(|(title, body)| *title == kind && body.len() > 80), "{kind} has no section");
    }
}

#[test]
fn the_words_of_trouble_are_said() {
    let page = page();
    let (_, table) = sections(&page).into_iter().find(|(title, _)| *title == "What `trouble` says").expect("the table");
    let mut sources = String::new();
    sources_below("scheduler/src", &mut sources);
    // As the compiler joins lines.
    let sources = sources.split("\\\n").map(str::trim_start).collect::<String>();
    let words: Vec<&str> = table.lines().filter_map(|line| line.strip_prefix("| \"")?.split('"').next()).collect();
    assert!(words.len() >= 12, "{words:?}");
    for words in words {
        assert!(sources.contains(words), "nothing says {words:?}");
    }
}

fn sources_below(folder: &str, into: &mut String) {
    let entries = std::fs::read_dir(root().join(folder)).unwrap_or_else(|error| panic!("{folder}: {error}"));
    for entry in entries.flatten() {
        let name = format!("{folder}/{}", entry.file_name().to_string_lossy());
        if entry.path().is_dir() {
            sources_below(&name, into);
        } else if name.ends_with(".rs") {
            into.push_str(&text_of(&name));
        }
    }
}

fn anchor(title: &str) -> String {
    let kept = title
        .to_lowercase()
        .chars()
        .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'))
        .collect::<String>();
    kept.replace(' ', "-")
}

#[test]
fn links_of_the_documents_lead_somewhere() {
    for name in ["docs/runbook.md", "docs/operating.md", "docs/sizes.md", "README.md"] {
        let text = text_of(name);
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if link.contains("://") {
                continue;
            }
            let (file, place) = link.split_once('#').unwrap_or((link, ""));
            let folder = root().join(name).parent().expect("a folder").to_path_buf();
            let target = if file.is_empty() { root().join(name) } else { folder.join(file) };
            assert!(target.exists(), "{name}: {link}");
            if !place.is_empty() {
                let text = std::fs::read_to_string(&target).expect("a text");
                let is_there = text
                    .lines()
                    .filter(|line| line.starts_with('#'))
                    .any(|line| anchor(line.trim_start_matches(['#', ' '])) == place);
                assert!(is_there, "{name}: there is no {link}");
            }
        }
    }
}
