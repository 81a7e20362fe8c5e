//! The `dawn` binary under test, and running it to its end with its output captured.

use std::path::PathBuf;
use std::process::{Command, Stdio};

/// What a command left.
#[derive(Debug)]
pub struct Output {
    /// Exit code; none if a signal ended it.
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Output {
    /// The output of a command that must succeed.
    pub fn succeeded(self) -> Output {
        assert_eq!(self.code, Some(0), "the command failed: {self:#?}");
        self
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("no JSON ({error}): {self:#?}"))
    }
}

/// `$DAWN_BIN`, or the binary beside the test's own.
pub fn path() -> PathBuf {
    if let Some(path) = std::env::var_os("DAWN_BIN") {
        return path.into();
    }
    let own = std::env::current_exe().expect("the test knows its own path");
    let found = own.ancestors().skip(1).take(3).map(|folder| folder.join("dawn")).find(|path| path.is_file());
    found.unwrap_or_else(|| panic!("no dawn binary near {}: run `cargo build --workspace` first", own.display()))
}

/// Runs `dawn ARGS…` without terminal, colour or input.
pub fn dawn(args: &[&str]) -> Output {
    let mut command = Command::new(path());
    command.args(args).env("NO_COLOR", "1").env_remove("DAWN_SCHEDULER").stdin(Stdio::null());
    let output = command.output().unwrap_or_else(|error| panic!("running {command:?}: {error}"));
    Output {
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}
