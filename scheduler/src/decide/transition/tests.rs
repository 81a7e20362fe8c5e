//! The whole cross product against Aurora's table, every difference named with its reason.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::*;
use crate::model::{AgentNo, Place, Status, Waiting};

/// Differences: known task, from, to ("*": any), what Dawn does, and why.
const DIFFERENCES: &[(&str, &str, &str, &str, &str)] = &[
    ("true", "THROTTLED PENDING", "KILLING", "ILLEGAL", "it is nowhere: it ends at once, as KILLED"),
    ("true", "THROTTLED PENDING", "KILLED", "SUCCESS", "it keeps a history with its reason instead of being deleted"),
    ("true", "ASSIGNED", "PARTITIONED", "SUCCESS", "its launch may have arrived: the job's partition policy decides"),
    (
        "true",
        "PREEMPTING RESTARTING DRAINING KILLING",
        "PARTITIONED",
        "ILLEGAL",
        "it may be back and still be running: it stays what it is until its agent answers or is given up",
    ),
    ("true", "PARTITIONED", "PREEMPTING RESTARTING DRAINING", "ILLEGAL", "room that nobody can reach frees nothing"),
    ("true", "PARTITIONED", "KILLING", "SUCCESS KILL", "not gone before its agent says so; told when it is back"),
    ("true", "PARTITIONED", "KILLED", "SUCCESS RESCHEDULE", "an agent that is back says that nobody's kill ended it"),
    ("true", "PARTITIONED", "ASSIGNED", "ILLEGAL", "a report that it is there makes it STARTING; placement assigns"),
    (
        "true",
        "STARTING RUNNING",
        "LOST",
        "SUCCESS KILL RESCHEDULE",
        "given up without its agent's word: may live there",
    ),
    ("true", "KILLING", "LOST", "SUCCESS KILL", "given up without its agent's word: may live there"),
    ("true", "PREEMPTING RESTARTING DRAINING", "KILLING", "SUCCESS KILL", "the agent learns the new reason"),
    ("true", "KILLING", "DELETED", "ILLEGAL", "only what has ended is forgotten"),
    ("false", "*", "DELETED", "ILLEGAL", "a record that forgets what is not there would be a fault"),
];

fn state(name: &str) -> Option<TaskState> {
    TaskState::from_plain_name(name)
}

/// What Dawn does, in the words of the reference: result, then effects but SAVE_STATE, which goes with every move here.
fn dawn(known: bool, from: &str, to: &str) -> String {
    let from = if known { state(from) } else { None };
    let said = match (from, state(to)) {
        // Dawn has no INIT: a task begins with its record, in one of two states.
        (None, Some(TaskState::Throttled | TaskState::Pending)) if known => "SUCCESS",
        (None, None) if known && to == "INIT" => "NOOP",
        (None, _) if known => "ILLEGAL",
        (Some(from), None) if to == "DELETED" && from.is_terminal() => "SUCCESS DELETE",
        (_, None) => "ILLEGAL",
        (from, Some(to)) => match rule(from, to) {
            Rule::Move(Then::Nothing) => "SUCCESS",
            Rule::Move(Then::Kill) => "SUCCESS KILL",
            Rule::Move(Then::Failure) => "SUCCESS INCREMENT_FAILURES",
            Rule::Move(Then::Replace) => "SUCCESS RESCHEDULE",
            Rule::Move(Then::KillAndReplace) => "SUCCESS KILL RESCHEDULE",
            Rule::Same => "NOOP",
            Rule::Illegal => "ILLEGAL",
            Rule::IllegalKill => "ILLEGAL_WITH_SIDE_EFFECTS KILL",
        },
    };
    said.into()
}

fn aurora(result: &str, effects: &str) -> String {
    let effects: BTreeSet<&str> = effects.split(',').filter(|effect| !matches!(*effect, "" | "SAVE_STATE")).collect();
    effects.into_iter().fold(result.to_string(), |said, effect| said + " " + effect)
}

fn difference(known: &str, from: &str, to: &str) -> Option<usize> {
    let names = |names: &str, name: &str| names == "*" || names.split(' ').any(|n| n == name);
    DIFFERENCES.iter().position(|row| row.0 == known && names(row.1, from) && names(row.2, to))
}

#[test]
fn every_row_is_auroras_or_a_named_difference() {
    let shared = std::env::var_os("DAWN_SHARED").map(PathBuf::from);
    let shared = shared.unwrap_or_else(|| [env!("CARGO_MANIFEST_DIR"), "../../shared"].iter().collect());
    let path = shared.join("reference/aurora_task_transitions.tsv");
    let Ok(text) = std::fs::read_to_string(&path) else {
        return crate::skip::skip(&format!("{} is not there; set DAWN_SHARED", path.display()));
    };
    let (mut rows, mut used, mut wrong) = (0, BTreeSet::new(), Vec::new());
    for line in text.lines().skip(1) {
        let [known, from, to, result, effects] = line.split('\t').collect::<Vec<_>>()[..] else {
            panic!("five columns: {line:?}")
        };
        let (ours, theirs) = (dawn(known == "true", from, to), aurora(result, effects));
        rows += 1;
        match difference(known, from, to) {
            Some(at) if ours == DIFFERENCES[at].3 && ours != theirs => _ = used.insert(at),
            None if ours == theirs => {}
            _ => wrong.push(format!("{line:?}: ours {ours:?}, theirs {theirs:?}")),
        }
    }
    assert_eq!(rows, 496);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(used.len(), DIFFERENCES.len(), "a listed difference is none");
}

#[test]
fn nothing_leaves_a_terminal_state() {
    for from in TaskState::ALL.into_iter().filter(|from| from.is_terminal()) {
        for to in TaskState::ALL {
            assert!(!matches!(rule(Some(from), to), Rule::Move(_)), "{from:?} {to:?}");
        }
    }
}

/// The table and what a status can become agree: apply would end the process otherwise.
#[test]
fn every_legal_move_can_be_applied() {
    let place = || Place { agent: AgentNo(1), ports: Box::default(), devices: Box::default() };
    for from in TaskState::ALL.into_iter().filter(|from| !from.is_terminal()) {
        let status = match from {
            TaskState::Throttled => Status::Waiting(Waiting::Throttled { ready_at: Default::default() }),
            TaskState::Pending => Status::PENDING,
            placed => Status::with_place(placed, Some(place())).unwrap(),
        };
        for to in TaskState::ALL.into_iter().filter(|to| *to != TaskState::Assigned) {
            if matches!(rule(Some(from), to), Rule::Move(_)) {
                assert_eq!(status.clone().moved(to).map(|status| status.state()), Some(to), "{from:?}");
            }
        }
    }
}
