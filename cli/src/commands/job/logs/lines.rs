//! What was written, as it goes out: as it is, or line by line with what each line begins with.

use crate::render::{Out, bytes, time};

/// A longer line is cut into several when lines begin with something.
const MAX_LINE_BYTES: usize = 64 << 10;

/// The streams of one log.
pub struct Lines {
    out: Out,
    /// What tells the log from others: "3 web"; empty for a single one.
    name: String,
    /// Lines say of which stream they are.
    marks: bool,
    timestamps: bool,
    /// What was not ended by a line feed yet, of standard output and of standard error.
    open: [Line; 2],
}

#[derive(Default)]
struct Line {
    bytes: Vec<u8>,
    /// When its first byte was written; 0: not known.
    at_ms: i64,
}

impl Lines {
    pub fn new(out: Out, name: String, marks: bool, timestamps: bool) -> Lines {
        Lines { out, name, marks, timestamps, open: Default::default() }
    }

    /// Takes in what one of the streams got at a time.
    pub fn show(&mut self, data: &[u8], stderr: bool, at_ms: i64) {
        if self.name.is_empty() && !self.marks && !self.timestamps {
            return self.out.write(data);
        }
        for part in data.split_inclusive(|byte| *byte == b'\n') {
            let line = &mut self.open[usize::from(stderr)];
            if line.bytes.is_empty() {
                line.at_ms = at_ms;
            }
            line.bytes.extend_from_slice(part);
            if line.bytes.ends_with(b"\n") {
                self.flush(stderr);
            } else if line.bytes.len() >= MAX_LINE_BYTES {
                line.bytes.push(b'\n');
                self.flush(stderr);
            }
        }
    }

    /// Ends lines that were not ended.
    pub fn finish(&mut self) {
        for stderr in [false, true] {
            let line = &mut self.open[usize::from(stderr)];
            if !line.bytes.is_empty() {
                line.bytes.push(b'\n');
                self.flush(stderr);
            }
        }
    }

    fn flush(&mut self, stderr: bool) {
        let line = std::mem::take(&mut self.open[usize::from(stderr)]);
        let mut begin = String::new();
        if self.timestamps {
            begin += &time::rfc3339(line.at_ms).unwrap_or_else(|| "-".to_string());
            begin.push(' ');
        }
        let mark = match (self.marks, stderr) {
            (false, _) => "",
            (true, false) => "out",
            (true, true) => "err",
        };
        let space = if self.name.is_empty() || mark.is_empty() { "" } else { " " };
        let bar = if self.name.is_empty() && mark.is_empty() { "" } else { " | " };
        begin += &format!("{}{space}{mark}{bar}", self.name);
        self.out.write(&[begin.as_bytes(), &line.bytes].concat());
    }
}

/// That a reader came too late for a part of a log; none when it missed nothing.
pub fn describe_gap(expected: Option<u64>, offset: u64, stream: &str) -> Option<String> {
    let lost = offset.checked_sub(expected?).filter(|lost| *lost > 0)?;
    Some(format!("… {} of {stream} were rotated away before they could be read", bytes(lost)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(name: &str, marks: bool, timestamps: bool, pieces: &[(&str, bool, i64)]) -> String {
        let (out, memory) = Out::memory(false);
        let mut lines = Lines::new(out, name.to_string(), marks, timestamps);
        pieces.iter().for_each(|(data, stderr, at_ms)| lines.show(data.as_bytes(), *stderr, *at_ms));
        lines.finish();
        let text = memory.lock().unwrap().clone();
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn lines_of_both_streams_are_marked_and_never_mixed() {
        let pieces = [("on", false, 0), ("oo", true, 0), ("e\ntw", false, 0), ("ps\n", true, 0)];
        assert_eq!(shown("", true, false, &pieces), "out | one\nerr | oops\nout | tw\n");
        assert_eq!(shown("3 web", true, false, &pieces), "3 web out | one\n3 web err | oops\n3 web out | tw\n");
    }

    #[test]
    fn a_single_stream_goes_out_as_it_is() {
        assert_eq!(shown("", false, false, &[("a\0b", false, 0), ("\nc", false, 0)]), "a\0b\nc");
        assert_eq!(shown("1", false, false, &[("a\nb", false, 0)]), "1 | a\n1 | b\n");
    }

    #[test]
    fn a_line_has_the_time_of_its_first_byte() {
        let pieces = [("a", false, 1_795_348_800_250), ("b\nc", false, 1_795_348_801_250), ("d\n", true, 0)];
        let expected = "2026-11-22T12:00:00.250Z out | ab\n- err | d\n2026-11-22T12:00:01.250Z out | c\n";
        assert_eq!(shown("", true, true, &pieces), expected);
        assert_eq!(shown("", false, true, &pieces[..1]), "2026-11-22T12:00:00.250Z a\n");
    }

    #[test]
    fn what_was_rotated_away_is_said() {
        let said = describe_gap(Some(1_000), 1_000 + (120 << 10), "t5's standard error");
        let expected = "… 120 KiB of t5's standard error were rotated away before they could be read";
        assert_eq!(said.as_deref(), Some(expected));
        assert_eq!(
            (describe_gap(None, 7, ""), describe_gap(Some(7), 7, ""), describe_gap(Some(8), 7, "")),
            (None, None, None)
        );
    }
}
