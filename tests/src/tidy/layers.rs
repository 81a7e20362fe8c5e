//! Who may import whom: between the workspace's members, and between the floors inside one.

use super::paths::{self, PathRef};
use super::{Finding, Repository, SourceFile};

/// What each member may name of the others.
const MEMBERS: [(&str, &[&str]); 7] = [
    ("proto", &[]),
    ("scheduler", &["dawn_proto"]),
    ("agent", &["dawn_proto"]),
    ("executor", &["dawn_proto"]),
    ("cli/aurora", &["dawn_proto"]),
    ("cli", &["dawn_proto", "dawn_aurora"]),
    ("tests", &["dawn_proto", "dawn_scheduler", "dawn_agent", "dawn_executor"]),
];

/// The only files of `cli` that may name the daemons' crates; the last are tests that follow a job file to a decision.
const WIRING: [&str; 4] = ["cli/src/daemon.rs", "cli/src/daemon/", "cli/src/dev/", "cli/src/placed/"];

/// Members built on the floor plan.
const FLOOR_PLAN: [&str; 3] = ["scheduler", "agent", "executor"];

/// Floors by top-level module, lowest first. Any other module is an edge. Modules of one floor don't import each other.
const FLOORS: [(&str, usize); 11] = [
    ("model", 0),
    ("decide", 1),
    ("packed", 1),
    ("regular", 1),
    ("wire", 1),
    ("drive", 2),
    ("shares", 2),
    ("tree", 1),
    ("run", 4),
    ("main", 4),
    ("lib", 4),
];
const EDGE: usize = 3;

/// Names of the wire contract that are mere names, and may be used on every floor.
const WIRE_NAMES: [&str; 18] = [
    "TaskState",
    "Reason",
    "Tier",
    "JobKind",
    "NodeState",
    "PortHolder",
    "TickOutcome",
    "SubmitOutcome",
    "RestartOn",
    "DependsOn",
    "Overlap",
    "Misfire",
    "Comparison",
    "UpdateState",
    "UpdateStrategy",
    "UpdateKind",
    "UpdateAction",
    "MaintenanceMode",
];

/// Floors above this one may name wire messages: edges speak the protocol, `run` wires them up.
const TOP_FLOOR_WITHOUT_WIRE: usize = 2;

/// Members import only what the table allows.
pub fn siblings(_: &Repository, file: &SourceFile, findings: &mut Vec<Finding>) {
    let Some((member, allowed)) = MEMBERS.iter().find(|(name, _)| file.path.starts_with(&format!("{name}/"))) else {
        return;
    };
    if WIRING.iter().any(|wiring| file.path.starts_with(wiring)) {
        return;
    }
    for path in paths::all(&file.code) {
        let name = path.segments[0].as_str();
        let is_a_member = MEMBERS.iter().any(|(folder, _)| name == crate_of(folder));
        if is_a_member && name != crate_of(member) && !allowed.contains(&name) {
            let advice = format!("{member} may not import {name}; it may import {allowed:?}");
            findings.push(Finding { path: file.path.clone(), line: path.line, rule: "siblings", advice });
        }
    }
}

/// The name of a member's crate, by its folder.
fn crate_of(folder: &str) -> String {
    format!("dawn_{}", folder.rsplit('/').next().unwrap_or(folder))
}

/// The floor of a module, and what it is called: edges are floors of their own beside each other.
fn floor<'a>(module: &[&'a str]) -> (usize, &'a str) {
    let first = module.first().copied().unwrap_or("lib");
    match FLOORS.iter().find(|(name, _)| *name == first) {
        Some((name, floor)) => (*floor, name),
        None if first == "edges" => (EDGE, module.get(1).copied().unwrap_or("edges")),
        None => (EDGE, first),
    }
}

/// Imports inside a member run one way: model <- decide <- drive <- edges <- run, and edges never import each other.
pub fn floors(repository: &Repository, file: &SourceFile, findings: &mut Vec<Finding>) {
    let Some((member, module)) = file.module().filter(|(member, _)| FLOOR_PLAN.contains(member)) else { return };
    let (own_floor, own_name) = floor(&module);
    if module == ["lib"] {
        return;
    }
    for path in paths::all(&file.code).into_iter().filter(|path| !file.is_test(path.line)) {
        let Some(target) = inside(&path, &module) else { continue };
        let target: Vec<&str> = target.iter().map(String::as_str).collect();
        let Some(first) = target.first() else { continue };
        if !repository.has_module(member, first) {
            let advice = format!("crate::{first} is no module of {member}; name the module it is defined in");
            findings.push(Finding { path: file.path.clone(), line: path.line, rule: "floors", advice });
            continue;
        }
        let (floor, name) = floor(&target);
        if floor > own_floor || (floor == own_floor && name != own_name) {
            let advice = if floor == EDGE && own_floor == EDGE {
                format!("edge {own_name} may not import edge {name}; pass what it needs through run")
            } else {
                format!("{own_name} may not import {name}; imports run model <- decide <- drive <- edges <- run")
            };
            findings.push(Finding { path: file.path.clone(), line: path.line, rule: "floors", advice });
        }
    }
}

/// Module path from the member's root that a path names, if it names one of the member's own.
fn inside(path: &PathRef, module: &[&str]) -> Option<Vec<String>> {
    match path.segments[0].as_str() {
        "crate" => Some(path.segments[1..].to_vec()),
        "super" => {
            let ups = path.segments.iter().take_while(|segment| *segment == "super").count();
            let keep = module.len().checked_sub(ups)?;
            let start = module[..keep].iter().map(|segment| segment.to_string());
            Some(start.chain(path.segments[ups..].iter().cloned()).collect())
        }
        _ => None,
    }
}

/// Messages of the wire contract stay in `wire.rs` files and at the edges.
pub fn wire_types(_: &Repository, file: &SourceFile, findings: &mut Vec<Finding>) {
    let Some((_, module)) = file.module().filter(|(member, _)| FLOOR_PLAN.contains(member)) else { return };
    if module.contains(&"wire") || floor(&module).0 > TOP_FLOOR_WITHOUT_WIRE {
        return;
    }
    for path in paths::all(&file.code).into_iter().filter(|path| !file.is_test(path.line)) {
        let name = match path.segments[0].as_str() {
            "dawn_proto" if path.starts_with(&["dawn_proto", "v1"]) => path.segments.get(2),
            "v1" => path.segments.get(1),
            _ => continue,
        };
        if name.is_some_and(|name| !WIRE_NAMES.contains(&name.as_str())) {
            let advice = format!("{} belongs to the wire: convert it in a wire.rs", path.segments.join("::"));
            findings.push(Finding { path: file.path.clone(), line: path.line, rule: "wire types", advice });
        }
    }
}
