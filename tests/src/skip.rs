//! Says that a test can't run on this machine. Every member's tests include this one file.

use std::io::Write;

/// On stderr, and in the file that the test command prints at its end: a passing test's stderr is shown to nobody.
pub fn skip(why: &str) {
    let test = std::thread::current().name().unwrap_or("a test").to_string();
    let line = format!("{test}: {why}\n");
    eprint!("SKIPPED {line}");
    if let Some(path) = std::env::var_os("DAWN_SKIPPED") {
        let file = std::fs::OpenOptions::new().append(true).create(true).open(path);
        let _ = file.and_then(|mut file| file.write_all(line.as_bytes()));
    }
}
