//! Frames of segments and snapshots: length, crc32 of the body, crc32 of the two (u32 little endian each), body.
//! The header's own checksum tells a damaged length from a short file.

pub const HEADER_BYTES: usize = 12;

/// What is at a place in a file.
#[derive(Debug, PartialEq, Eq)]
pub enum Found<'a> {
    /// The file ends here.
    End,
    Frame {
        body: &'a [u8],
        next: usize,
    },
    Bad(&'static str),
}

/// Appends a frame. None when the body is longer than a length can say.
#[must_use]
pub fn push(out: &mut Vec<u8>, body: &[u8]) -> Option<()> {
    let mut header = Vec::with_capacity(HEADER_BYTES);
    header.extend_from_slice(&u32::try_from(body.len()).ok()?.to_le_bytes());
    header.extend_from_slice(&crc32fast::hash(body).to_le_bytes());
    header.extend_from_slice(&crc32fast::hash(&header).to_le_bytes());
    out.extend_from_slice(&header);
    out.extend_from_slice(body);
    Some(())
}

fn word(bytes: &[u8], at: usize) -> u32 {
    let mut word = [0; 4];
    word.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(word)
}

/// Reads the frame at `at`.
pub fn at(bytes: &[u8], at: usize) -> Found<'_> {
    let rest = bytes.get(at..).unwrap_or_default();
    if rest.is_empty() {
        return Found::End;
    }
    if rest.len() < HEADER_BYTES {
        return Found::Bad("the file ends inside a record's header");
    }
    if crc32fast::hash(&rest[..8]) != word(rest, 8) {
        return Found::Bad("a record's header does not match its checksum");
    }
    let length = word(rest, 0) as usize;
    let Some(body) = rest[HEADER_BYTES..].get(..length) else {
        return Found::Bad("the file ends inside a record");
    };
    if crc32fast::hash(body) != word(rest, 4) {
        return Found::Bad("a record does not match its checksum");
    }
    Found::Frame { body, next: at + HEADER_BYTES + length }
}

/// The first whole frame that begins after `from`, and its end: what is before it was not the last write.
pub fn any_after(bytes: &[u8], from: usize) -> Option<(&[u8], usize)> {
    (from + 1..bytes.len()).find_map(|start| match at(bytes, start) {
        Found::Frame { body, next } => Some((body, next)),
        Found::End | Found::Bad(_) => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cut_and_every_flipped_bit_is_seen() {
        let mut bytes = Vec::new();
        push(&mut bytes, b"hello").unwrap();
        let end = bytes.len();
        assert_eq!(at(&bytes, 0), Found::Frame { body: b"hello", next: end });
        assert_eq!(at(&bytes, end), Found::End);
        for cut in 1..end {
            assert!(matches!(at(&bytes[..cut], 0), Found::Bad(_)), "cut at {cut}");
        }
        for bit in 0..end * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(matches!(at(&flipped, 0), Found::Bad(_)), "bit {bit}");
        }
    }

    #[test]
    fn a_frame_behind_damage_is_found() {
        let mut bytes = Vec::new();
        push(&mut bytes, b"first").unwrap();
        let second = bytes.len();
        push(&mut bytes, b"second").unwrap();
        assert_eq!(any_after(&bytes, 0), Some((&b"second"[..], bytes.len())));
        assert_eq!(any_after(&bytes, second), None);
    }
}
