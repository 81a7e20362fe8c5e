//! The last of what a stream said, kept in memory.

/// Kept at most.
const MOST_BYTES: usize = 2 << 10;
/// Of a line that stands in a sentence.
const MOST_LINE_CHARACTERS: usize = 160;

/// Takes no memory before the first byte.
#[derive(Debug, Default)]
pub struct Words {
    kept: Vec<u8>,
    /// There was more before.
    is_cut: bool,
}

impl Words {
    pub fn push(&mut self, bytes: &[u8]) {
        let new = &bytes[bytes.len().saturating_sub(MOST_BYTES)..];
        let too_many = (self.kept.len() + new.len()).saturating_sub(MOST_BYTES);
        self.is_cut |= too_many > 0 || new.len() < bytes.len();
        self.kept.drain(..too_many);
        self.kept.reserve_exact(if self.kept.capacity() == 0 { MOST_BYTES } else { 0 });
        self.kept.extend_from_slice(new);
    }

    /// From a line's start on, where one is kept; otherwise from a character's.
    pub fn last(&self) -> &[u8] {
        if !self.is_cut {
            return &self.kept;
        }
        let line = self.kept.iter().position(|byte| *byte == b'\n').map(|end| end + 1);
        let is_inside_character = |byte: &u8| byte & 0b1100_0000 == 0b1000_0000;
        let character = || self.kept.iter().take(3).take_while(|byte| is_inside_character(byte)).count();
        &self.kept[line.filter(|start| *start < self.kept.len()).unwrap_or_else(character)..]
    }
}

/// The last line of such words that says something, for a sentence; empty where none does.
pub fn last_line(words: &[u8]) -> String {
    let text = String::from_utf8_lossy(words);
    let line = text.lines().rev().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
    shortened(line, MOST_LINE_CHARACTERS)
}

/// At most so many characters of a text, with a mark where there were more.
pub fn shortened(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_that_says_something_is_cut_where_it_is_long() {
        assert_eq!(last_line(b"one\n two\r\n\n  \n"), "two");
        assert_eq!((last_line(b""), last_line(b"\xffno")), (String::new(), "\u{fffd}no".to_string()));
        let long = last_line("é".repeat(500).as_bytes());
        assert!(long.chars().count() == MOST_LINE_CHARACTERS + 1 && long.ends_with("é…"), "{long}");
    }

    fn after(pieces: &[&[u8]]) -> Words {
        let mut words = Words::default();
        pieces.iter().for_each(|piece| words.push(piece));
        words
    }

    #[test]
    fn little_is_kept_whole_and_much_begins_with_a_whole_line() {
        assert_eq!(after(&[b"a\n", b"b"]).last(), b"a\nb");
        let lines: Vec<u8> = (0..1_000).flat_map(|i| format!("line {i}\n").into_bytes()).collect();
        for size in [1, 7, 100, 2_047, 2_048, 2_049, lines.len()] {
            let pieces: Vec<&[u8]> = lines.chunks(size).collect();
            let words = after(&pieces);
            let last = words.last();
            assert!(last.starts_with(b"line ") && lines.ends_with(last), "{size}: {:?}", &last[..9]);
            assert!((MOST_BYTES - 9..=MOST_BYTES).contains(&last.len()), "{size}: {}", last.len());
            assert_eq!(words.kept.capacity(), MOST_BYTES);
        }
    }

    #[test]
    fn a_line_that_is_too_long_is_cut_between_characters() {
        let long = "é".repeat(3_000) + "x";
        let words = after(&[long.as_bytes()]);
        assert!(std::str::from_utf8(words.last()).is_ok());
        assert_eq!(words.last().len(), MOST_BYTES - 1);
        let words = after(&[long.as_bytes(), b"\n"]);
        assert!(words.last().ends_with("éx\n".as_bytes()), "a newline at the very end begins no line");
    }
}
