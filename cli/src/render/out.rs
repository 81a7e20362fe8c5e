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
}

impl Out {
    /// Colours only on a terminal, and not when NO_COLOR is set to anything (no-color.org) or `no_color` is true.
    pub fn stdout(json: bool, no_color: bool) -> Out {
        let terminal = io::stdout().is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb");
        let refused = no_color || std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Out { sink: Arc::new(Mutex::new(io::stdout())), json, terminal, colour: terminal && !refused && !json }
    }

    #[cfg(test)]
    pub fn memory(json: bool) -> (Out, Arc<Mutex<Vec<u8>>>) {
        let memory = Arc::new(Mutex::new(Vec::new()));
        (Out { sink: memory.clone(), json, terminal: false, colour: false }, memory)
    }

    /// Writes at once. A reader that has gone away (`dawn … | head`) ends the program quietly.
    pub fn write(&self, bytes: &[u8]) {
        let mut sink = self.sink.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = sink.write_all(bytes).and_then(|()| sink.flush()) {
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
                let name = state.as_str_name();
                text = text.replace(&format!("  {name}"), &format!("  \u{1b}[{code}m{name}\u{1b}[0m"));
            }
        }
        text
    }
}
