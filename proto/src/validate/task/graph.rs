//! Rules for the order of a task's processes: who may wait for whom, and that somebody ever starts and ends.

use std::collections::{BTreeMap, BTreeSet};

use super::super::{Errors, NO_PROCESS, text::shown};
use crate::v1::{JobKind, ProcessSpec};

pub(super) fn check(processes: &[ProcessSpec], kind: Option<JobKind>, errors: &mut Errors) {
    if processes.is_empty() {
        errors.at("task.processes", NO_PROCESS);
        return;
    }
    let mut by_name = BTreeMap::new();
    for (i, process) in processes.iter().enumerate() {
        if let Some(first) = by_name.insert(process.name.as_str(), process).filter(|_| !process.name.is_empty()) {
            let message = format!("`{}` is there twice; names of processes are unique", first.name);
            errors.at(format!("task.processes[{i}].name"), message);
        }
    }
    for (i, process) in processes.iter().enumerate() {
        edges(&format!("task.processes[{i}]"), process, &by_name, errors);
    }
    if let Some(cycle) = cycle(processes) {
        let at = processes.iter().position(|process| process.name == cycle[0]).unwrap_or(0);
        let message = format!("wait for each other and would never start: {}", cycle.join(" after "));
        errors.at(format!("task.processes[{at}].after"), message);
    }
    if processes.iter().all(|process| process.ephemeral || process.r#final) {
        let message = "only ephemeral and final processes: the task would be over before it starts";
        errors.at("task.processes", message);
    } else if kind.is_some_and(|kind| !kind.runs_for_ever())
        && !processes.iter().any(|process| !process.daemon && !process.ephemeral && !process.r#final)
    {
        errors.at("task.processes", "a task of daemons alone never ends; a batch or cron job must");
    }
}

/// The rules for each name in `after`.
fn edges(path: &str, process: &ProcessSpec, by_name: &BTreeMap<&str, &ProcessSpec>, errors: &mut Errors) {
    if process.r#final && !process.after.is_empty() {
        errors.at(format!("{path}.after"), "a final process runs after all others anyway, whatever became of them");
        return;
    }
    let mut seen = BTreeSet::new();
    for (i, name) in process.after.iter().enumerate() {
        let path = format!("{path}.after[{i}]");
        let Some(first) = by_name.get(name.as_str()) else {
            let known: Vec<&str> = by_name.keys().take(20).copied().collect();
            errors.at(path, format!("no process is named {}; there are: {}", shown(name), known.join(", ")));
            continue;
        };
        let never = match () {
            () if first.daemon => Some("is a daemon, which never succeeds"),
            () if first.ephemeral => Some("is ephemeral, which may be killed before it succeeds"),
            () if first.r#final => Some("is final, which runs after all others"),
            () if !seen.insert(name) => Some("is there twice"),
            () => None,
        };
        if let Some(never) = never {
            errors.at(path, format!("`{name}` {never}"));
        }
    }
}

/// Processes that wait for each other in a circle, the first one again at the end.
fn cycle(processes: &[ProcessSpec]) -> Option<Vec<&str>> {
    let mut waiting: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for process in processes {
        waiting.entry(&process.name).or_default().extend(process.after.iter().map(String::as_str));
    }
    loop {
        let free: Vec<&str> = waiting
            .iter()
            .filter(|(_, after)| !after.iter().any(|name| waiting.contains_key(name)))
            .map(|(name, _)| *name)
            .collect();
        if free.is_empty() {
            break;
        }
        for name in free {
            waiting.remove(name);
        }
    }
    // Everyone left waits for someone left: following that comes round.
    let mut walk = vec![*waiting.keys().next()?];
    loop {
        let next = *waiting.get(walk.last()?)?.iter().find(|name| waiting.contains_key(*name))?;
        if let Some(start) = walk.iter().position(|name| *name == next) {
            walk.drain(..start);
            walk.push(next);
            return Some(walk);
        }
        walk.push(next);
    }
}
