//! The repository keeps its own rules, and the rules see a breach when there is one.

use std::path::Path;

use dawn_tests::tidy::{Finding, Repository, SourceFile, check};

fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests lie inside the workspace")
}

#[test]
fn the_repository_is_tidy() {
    let repository = Repository::read(workspace()).expect("the workspace can be read");
    assert!(repository.files().iter().any(|file| file.path == "proto/src/lib.rs"), "read the wrong directory");
    let findings = check(&repository);
    let lines: Vec<String> = findings.iter().map(Finding::to_string).collect();
    assert!(findings.is_empty(), "{} breaches of the house rules:\n{}", lines.len(), lines.join("\n"));
}

#[test]
fn the_documents_are_there() {
    for name in ["README.md", "ARCHITECTURE.md", "CHANGELOG.md", "LICENSE", ".ci/run", "tests/run"] {
        assert!(workspace().join(name).is_file(), "{name} is missing at the top of the repository");
    }
}

/// Texts that break one rule each: path, text, the rule, the line.
const PLANTED: &[(&str, &str, &str, usize)] = &[
    ("proto/src/a.rs", "//! A.\nuse dawn_scheduler::model;\n", "siblings", 2),
    ("agent/src/link.rs", "//! A.\nfn f() {\n    dawn_executor::run::start();\n}\n", "siblings", 3),
    ("cli/src/job.rs", "//! A.\nuse dawn_agent::run;\n", "siblings", 2),
    ("scheduler/src/model/a.rs", "//! A.\nuse crate::{\n    decide::step,\n};\n", "floors", 3),
    ("scheduler/src/decide/a.rs", "//! A.\nuse super::super::journal::Segment;\n", "floors", 2),
    ("scheduler/src/journal.rs", "//! A.\nuse crate::api::Door;\n", "floors", 2),
    ("scheduler/src/drive.rs", "//! A.\nuse crate::run::Options;\n", "floors", 2),
    ("scheduler/src/drive.rs", "//! A.\nuse crate::Hidden;\n", "floors", 2),
    ("scheduler/src/decide/a.rs", "//! A.\nuse dawn_proto::v1::JobSpec;\n", "wire types", 2),
    ("scheduler/src/drive.rs", "//! A.\nuse dawn_proto::v1;\nfn f() -> v1::JobSpec {}\n", "wire types", 3),
    ("scheduler/src/decide/a.rs", "//! A.\nuse std::{fmt, fs};\n", "purity", 2),
    ("scheduler/src/decide/a.rs", "//! A.\nuse rand::Rng;\n", "purity", 2),
    ("scheduler/src/model/a.rs", "//! A.\nfn f() {\n    tokio::spawn(g());\n}\n", "purity", 3),
    ("agent/src/decide/a.rs", "//! A.\n\nasync fn f() {}\n", "purity", 3),
    ("executor/src/decide/mod.rs", "//! A.\n", "lints", 1),
    ("agent/src/drive/a.rs", "//! A.\nuse tracing::warn;\n", "silence", 2),
    ("executor/src/lib.rs", "//! A.\n", "lints", 1),
    (
        "agent/src/a.rs",
        "//! A.\n#[cfg(test)]\nmod tests {\n    fn f() { std::thread::sleep(d) }\n}\n",
        "sleep in a test",
        4,
    ),
    ("agent/src/a.rs", "use x;\n", "duty line", 1),
    ("agent/src/utils.rs", "//! A.\n", "module name", 1),
    ("agent/src/a.rs", "//! A.\nmod helpers;\n", "module name", 2),
    ("agent/src/a.rs", "//! A.\nfn f() {\n    format!(\"silent for {} s\", n);\n}\n", "spelled duration", 3),
    ("README.md", "Start it in /root/dawn.\n", "banned text", 1),
    ("deploy/a.yaml", "# TODO later\n", "banned text", 1),
];

/// Texts that look like breaches and are none.
const ALLOWED: &[(&str, &str)] = &[
    ("cli/src/daemon.rs", "//! A.\nuse dawn_agent::run;\n"),
    ("scheduler/src/decide/a.rs", "//! A.\nuse dawn_proto::v1::{Reason, TaskState};\nuse crate::model::State;\n"),
    ("scheduler/src/decide/wire.rs", "//! A.\nuse dawn_proto::v1::JobSpec;\n"),
    ("scheduler/src/api/tasks.rs", "//! A.\nuse super::door;\nuse crate::drive::Door;\nuse dawn_proto::v1::JobSpec;\n"),
    ("scheduler/src/decide/a.rs", "//! A.\n/// No HashMap, no async: see \"std::fs\".\nfn f() { g(\"tokio\") }\n"),
    ("agent/src/a.rs", "//! A.\n#[cfg(test)]\nmod tests {\n    use super::*;\n    fn f() { g().unwrap() }\n}\n"),
];

/// A file with every lint switched on that a file must switch on.
const HERE: &str = "//! Here.\n#![deny(clippy::disallowed_methods, clippy::disallowed_types)]\n\
    #![warn(clippy::expect_used, clippy::unwrap_used)]\n";

fn findings_in(path: &str, text: &str) -> Vec<Finding> {
    let rooms = ["model/mod", "decide/mod", "drive", "journal", "api/mod", "api/door", "run", "lib"];
    let rooms = ["scheduler", "agent"].iter().flat_map(|member| rooms.map(|room| format!("{member}/src/{room}.rs")));
    let others = rooms.filter(|other| other != path).map(|other| SourceFile::new(&other, HERE));
    check(&Repository::new(others.chain([SourceFile::new(path, text)]).collect()))
}

#[test]
fn every_planted_breach_is_found_at_its_line_and_nothing_else() {
    for (path, text, rule, line) in PLANTED {
        let findings = findings_in(path, text);
        let found: Vec<(&str, &str, usize)> = findings.iter().map(|f| (f.path.as_str(), f.rule, f.line)).collect();
        assert!(!found.is_empty(), "{rule} was not seen in {path}:\n{text}");
        assert!(found.iter().all(|f| *f == (*path, *rule, *line)), "{rule} at {path}:{line}, got {found:?}");
    }
}

#[test]
fn what_is_allowed_is_not_found() {
    for (path, text) in ALLOWED {
        assert_eq!(findings_in(path, text), [], "{text}");
    }
}

#[test]
fn lengths_are_measured_to_the_line() {
    let function = |lines: usize| format!("//! A.\nfn long() {{\n{}}}\n", "    g();\n".repeat(lines - 2));
    assert_eq!(findings_in("agent/src/a.rs", &function(69)), []);
    let found = findings_in("agent/src/a.rs", &function(70));
    assert_eq!(found.iter().map(|f| (f.rule, f.line)).collect::<Vec<_>>(), [("function length", 2)]);

    let file = |lines: usize| format!("//! A.\n{}", "const A: u8 = 0;\n".repeat(lines - 1));
    assert_eq!(findings_in("agent/src/a.rs", &file(400)), []);
    let found = findings_in("agent/src/a.rs", &file(401));
    assert_eq!(found.iter().map(|f| (f.rule, f.line)).collect::<Vec<_>>(), [("file length", 401)]);
}
