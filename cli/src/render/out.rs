//! Where output goes: standard output, with or without colours, or a test's memory.

use std::io::{self, IsTerminal, Write};
use std::sync::{Arc, Mutex, PoisonError};

use dawn_proto::TaskState;

#[derive(Clone)]
pub struct Out {
    sink: Arc<Mutex<dyn Write + Send>>,
    /// Programs read it: one JSON object and nothing else.
    pub json: bool,
    /// Lines may be redrawn.
    pub terminal: bool,
    colour: bool,
    /// A reader that has gone away ends nothing.
    goes_on_unread: bool,
}

impl Out {
    /// Colours only on a terminal, and not when NO_COLOR is set to anything (no-color.org) or `no_color` is true.
    pub fn stdout(json: bool, no_color: bool) -> Out {
        let terminal = io::stdout().is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb");
        let refused = no_color || std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Out {
            sink: Arc::new(Mutex::new(io::stdout())),
            json,
            terminal,
            colour: terminal && !refused && !json,
            goes_on_unread: false,
        }
    }

    #[cfg(test)]
    pub fn memory(json: bool) -> (Out, Arc<Mutex<Vec<u8>>>) {
        let memory = Arc::new(Mutex::new(Vec::new()));
        (Out { sink: memory.clone(), json, terminal: false, colour: false, goes_on_unread: false }, memory)
    }

    /// For a command that has something to clean up after itself: it goes on when nobody reads what it says.
    pub fn go_on_unread(&mut self) {
        self.goes_on_unread = true;
    }

    /// Writes at once. A reader that has gone away (`dawn … | head`) ends the program quietly.
    pub fn write(&self, bytes: &[u8]) {
        let mut sink = self.sink.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = sink.write_all(bytes).and_then(|()| sink.flush()) {
            if self.goes_on_unread {
                return;
            }
            if error.kind() != io::ErrorKind::BrokenPipe {
                eprintln!("dawn: writing output: {error}");
            }
            std::process::exit(1);
        }
    }

    pub fn line(&self, text: &str) {
        self.write(format!("{text}\n").as_bytes());
    }

    /// One JSON value for programs.
    pub fn value(&self, value: &serde_json::Value) {
        self.line(&format!("{value:#}"));
    }

    /// A table whose state words get their colour.
    pub fn table(&self, table: &super::Table) {
        self.write(self.coloured(&table.text()).as_bytes());
    }

    pub fn coloured(&self, text: &str) -> String {
        let mut text = text.to_string();
        if self.colour {
            for state in TaskState::ALL {
                let code = match state {
                    TaskState::Running | TaskState::Finished => 32,
                    TaskState::Failed | TaskState::Lost => 31,
                    TaskState::Pending | TaskState::Throttled | TaskState::Partitioned => 33,
                    _ => continue,
                };
                text = coloured_word(&text, &super::state(state), code);
            }
        }
        text
    }
}

/// The word in a colour where it is a whole cell: names of columns are in capitals, and words in sentences stay.
fn coloured_word(text: &str, word: &str, code: u32) -> String {
    let cell = format!("  {word}");
    let (mut done, mut rest) = (String::new(), text);
    while let Some(at) = rest.find(&cell) {
        let after = &rest[at + cell.len()..];
        done += &rest[..at];
        done += &match after.is_empty() || after.starts_with("  ") || after.starts_with('\n') {
            true => format!("  \u{1b}[{code}m{word}\u{1b}[0m"),
            false => cell.clone(),
        };
        rest = after;
    }
    done + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_states_are_coloured_and_no_names_of_columns() {
        let (mut out, _) = Out::memory(false);
        out.colour = true;
        let text = "JOB  RUNNING  FAILED  STATE\na/b  1        0       running  node-1\nc/d  0        1       failed\n\
            e/f  2        0       a failed check\n";
        let expected = text
            .replace("  running  ", "  \u{1b}[32mrunning\u{1b}[0m  ")
            .replace("  failed\n", "  \u{1b}[31mfailed\u{1b}[0m\n");
        assert_eq!(out.coloured(text), expected);
    }
}
