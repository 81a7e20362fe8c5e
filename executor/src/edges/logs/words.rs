//! The last of what a stream said, kept in memory.

/// Kept at most.
const MOST_BYTES: usize = 2 << 10;

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

#[cfg(test)]
mod tests {
    use super::*;

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
