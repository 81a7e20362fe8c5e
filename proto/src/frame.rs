//! Frames on an executor's socket and in its event log: u32 length, u32 crc32 of the body, body; little endian.

use std::io::{self, Read, Write};

/// Larger frames are refused: no message of this contract comes near it.
const MAX_FRAME_BYTES: u32 = 16 << 20;

/// Why no frame could be read.
#[derive(Debug)]
pub enum FrameError {
    /// The stream ends cleanly before a frame.
    End,
    /// The stream ends inside a frame: a torn last write.
    Torn,
    /// The body does not match its checksum, or its length is absurd.
    Corrupt,
    Io(io::Error),
}

impl std::fmt::Display for FrameError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            FrameError::End => f.write_str("end of frames"),
            FrameError::Torn => f.write_str("torn frame"),
            FrameError::Corrupt => f.write_str("corrupt frame"),
            FrameError::Io(_) => f.write_str("reading a frame"),
        }
    }
}

impl std::error::Error for FrameError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            FrameError::Io(error) => Some(error),
            _ => None,
        }
    }
}

/// Writes one frame with a single write call.
///
/// # Errors
/// What the writer answers; `InvalidInput` for a body above 16 MiB.
pub fn write_frame(out: &mut impl Write, body: &[u8]) -> io::Result<()> {
    let length = u32::try_from(body.len()).ok().filter(|n| *n <= MAX_FRAME_BYTES);
    let length = length.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "frame above 16 MiB"))?;
    let mut frame = Vec::with_capacity(body.len() + 8);
    frame.extend_from_slice(&length.to_le_bytes());
    frame.extend_from_slice(&crc32fast::hash(body).to_le_bytes());
    frame.extend_from_slice(body);
    out.write_all(&frame)
}

/// Reads one frame's body.
///
/// # Errors
/// [`FrameError::End`] at a clean end; otherwise what is wrong.
pub fn read_frame(input: &mut impl Read) -> Result<Vec<u8>, FrameError> {
    let mut head = [0u8; 8];
    let mut got = 0;
    while got < head.len() {
        match input.read(&mut head[got..]) {
            Ok(0) if got == 0 => return Err(FrameError::End),
            Ok(0) => return Err(FrameError::Torn),
            Ok(n) => got += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(FrameError::Io(error)),
        }
    }
    let length = u32::from_le_bytes([head[0], head[1], head[2], head[3]]);
    let checksum = u32::from_le_bytes([head[4], head[5], head[6], head[7]]);
    if length > MAX_FRAME_BYTES {
        return Err(FrameError::Corrupt);
    }
    let mut body = vec![0u8; length as usize];
    match input.read_exact(&mut body) {
        Ok(()) if crc32fast::hash(&body) == checksum => Ok(body),
        Ok(()) => Err(FrameError::Corrupt),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err(FrameError::Torn),
        Err(error) => Err(FrameError::Io(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_read_back_and_end_cleanly() {
        let mut bytes = Vec::new();
        write_frame(&mut bytes, b"one").unwrap();
        write_frame(&mut bytes, b"").unwrap();
        let mut input = &bytes[..];
        assert_eq!(read_frame(&mut input).unwrap(), b"one");
        assert_eq!(read_frame(&mut input).unwrap(), b"");
        assert!(matches!(read_frame(&mut input), Err(FrameError::End)));
    }

    #[test]
    fn a_cut_is_torn_and_a_flipped_bit_is_corrupt() {
        let mut bytes = Vec::new();
        write_frame(&mut bytes, b"payload").unwrap();
        for cut in 1..bytes.len() {
            assert!(matches!(read_frame(&mut &bytes[..cut]), Err(FrameError::Torn)), "cut at {cut}");
        }
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        assert!(matches!(read_frame(&mut &bytes[..]), Err(FrameError::Corrupt)));
    }
}
