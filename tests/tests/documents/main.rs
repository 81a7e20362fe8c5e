//! Documents and what is deployed, held against the code: limits, alerts, the runbook. Nothing is started.

mod alerts;
mod jobfile;
mod runbook;
mod sizes;

use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn text_of(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}
