//! The house rules, as tables that are read against every file of the repository.
//! Not here: style that `cargo fmt` and `cargo clippy` keep.

mod layers;
mod mask;
mod paths;
mod purity;
mod sizes;
mod source;
mod words;

pub use source::{Repository, SourceFile};

/// One breach of a rule, at a line (from 1).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    pub path: String,
    pub line: usize,
    /// The rule's short name.
    pub rule: &'static str,
    /// What is wrong and what to do.
    pub advice: String,
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}: {}: {}", self.path, self.line, self.rule, self.advice)
    }
}

type Rule = fn(&Repository, &SourceFile, &mut Vec<Finding>);

/// Every rule, asked about every file.
const RULES: [Rule; 14] = [
    layers::siblings,
    layers::floors,
    layers::wire_types,
    sizes::duty_line,
    sizes::file_length,
    sizes::function_length,
    words::banned_text,
    words::banned_modules,
    words::spelled_durations,
    words::untyped_statuses,
    purity::impure_names,
    purity::logs,
    purity::lints_are_on,
    purity::sleeps,
];

/// All breaches, in file and line order.
pub fn check(repository: &Repository) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in repository.files() {
        for rule in RULES {
            rule(repository, file, &mut findings);
        }
    }
    findings.sort();
    findings.dedup();
    findings
}
