//! How far something is: lines that are redrawn on a terminal, or a new line at each change elsewhere.

use super::Out;

pub struct Progress {
    out: Out,
    /// What is on the screen, or was said last.
    shown: String,
}

impl Progress {
    pub fn new(out: &Out) -> Progress {
        Progress { out: out.clone(), shown: String::new() }
    }

    /// Shows the text instead of what was shown; nothing for programs.
    pub fn show(&mut self, text: &str) {
        if self.out.json || text == self.shown {
            return;
        }
        if self.out.terminal {
            let (back, end) = (self.erase(), if text.is_empty() { "" } else { "\n" });
            self.out.write(format!("{back}{}{end}", self.out.coloured(text)).as_bytes());
        } else {
            // What stands there already is not said again.
            let said: Vec<&str> = self.shown.lines().collect();
            text.lines().filter(|line| !said.contains(line)).for_each(|line| self.out.line(line));
        }
        self.shown = text.to_string();
    }

    /// Says a line that stays, above what is redrawn.
    pub fn say(&mut self, line: &str) {
        if self.out.json {
            return;
        }
        if self.out.terminal && !self.shown.is_empty() {
            let back = self.erase();
            let shown = self.out.coloured(&self.shown);
            self.out.write(format!("{back}{line}\n{shown}\n").as_bytes());
        } else {
            self.out.line(line);
        }
    }

    /// Moves to the first redrawn line and clears from there.
    fn erase(&self) -> String {
        match self.shown.lines().count() {
            0 => String::new(),
            lines => format!("\u{1b}[{lines}A\u{1b}[0J"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_terminal_only_changes_are_lines() {
        let (out, memory) = Out::memory(false);
        let mut progress = Progress::new(&out);
        for text in ["0 of 2", "0 of 2", "1 of 2", "1 of 2\na: done", "2 of 2\na: done"] {
            progress.show(text);
        }
        progress.say("note");
        assert_eq!(String::from_utf8_lossy(&memory.lock().unwrap()), "0 of 2\n1 of 2\na: done\n2 of 2\nnote\n");
    }

    #[test]
    fn on_a_terminal_the_lines_are_redrawn() {
        let (mut out, memory) = Out::memory(false);
        out.terminal = true;
        let mut progress = Progress::new(&out);
        progress.show("a\nb");
        progress.show("c");
        progress.say("note");
        progress.show("");
        progress.say("end");
        let expected = "a\nb\n\u{1b}[2A\u{1b}[0Jc\n\u{1b}[1A\u{1b}[0Jnote\nc\n\u{1b}[1A\u{1b}[0Jend\n";
        assert_eq!(String::from_utf8_lossy(&memory.lock().unwrap()), expected);
    }

    #[test]
    fn programs_see_none_of_it() {
        let (out, memory) = Out::memory(true);
        Progress::new(&out).show("a");
        assert!(memory.lock().unwrap().is_empty());
    }
}
