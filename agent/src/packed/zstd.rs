//! Zstandard (RFC 8878) as it is read, frame after frame. Content sums are not looked at: who reads this knows the sum of
//! the whole file.

use std::error::Error;
use std::io::{self, BufRead, Read};

use dawn_proto::amounts;
use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

/// Content that is held for what refers back to it: what RFC 8878 recommends, and `zstd` needs up to level 19. Many archives
/// are read at the same time, by an agent that is to stay small.
const MAX_WINDOW_BYTES: u64 = 8 << 20;

pub(super) struct Frames<R> {
    from: R,
    decoder: FrameDecoder,
}

impl<R: BufRead> Frames<R> {
    pub fn new(from: R) -> Self {
        let mut decoder = FrameDecoder::new();
        decoder.set_max_window_size(MAX_WINDOW_BYTES);
        Frames { from, decoder }
    }

    /// Begins the next frame, if there is one; those that say nothing are passed over.
    fn begin(&mut self) -> io::Result<bool> {
        while !self.from.fill_buf()?.is_empty() {
            match self.decoder.init(&mut self.from) {
                Ok(()) => return Ok(true),
                Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame { length, .. })) => {
                    let length = u64::from(length);
                    if io::copy(&mut self.from.by_ref().take(length), &mut io::sink())? < length {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                }
                Err(error) => return Err(damaged(&error)),
            }
        }
        Ok(false)
    }
}

impl<R: BufRead> Read for Frames<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.decoder.can_collect() == 0 {
            if !self.decoder.is_finished() {
                let one = BlockDecodingStrategy::UptoBlocks(1);
                self.decoder.decode_blocks(&mut self.from, one).map_err(|error| damaged(&error))?;
            } else if !self.begin()? {
                return Ok(0);
            }
        }
        self.decoder.read(buffer)
    }
}

fn damaged(error: &FrameDecoderError) -> io::Error {
    if let FrameDecoderError::WindowSizeTooBig { requested, max } = error {
        let advice = "pack it without --ultra and --long";
        return io::Error::other({
            let (window, most) = (amounts::bytes(*requested), amounts::bytes(*max));
            format!("it is packed with a window of {window}, above {most}; {advice}")
        });
    }
    let mut cause: Option<&dyn Error> = Some(error);
    while let Some(at) = cause {
        if let Some(read) = at.downcast_ref::<io::Error>() {
            return io::Error::new(read.kind(), read.to_string());
        }
        cause = at.source();
    }
    io::Error::other(format!("its zstd frames are damaged: {error}"))
}

#[cfg(test)]
mod tests {
    use ruzstd::encoding::{CompressionLevel, compress_to_vec};

    use super::*;

    /// `hello zstd` in thirty lines, as `zstd -19` packs them: with a content sum.
    const MADE_BY_ZSTD: &[u8] = &[
        0x28, 0xb5, 0x2f, 0xfd, 0x64, 0x4a, 0x00, 0x95, 0x00, 0x00, 0x58, 0x68, 0x65, 0x6c, 0x6c, 0x6f, 0x20, 0x7a,
        0x73, 0x74, 0x64, 0x0a, 0x01, 0x00, 0x3c, 0x56, 0x8b, 0x17, 0x6e, 0x6a, 0xf3, 0x86,
    ];

    fn read(bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut content = Vec::new();
        Frames::new(bytes).read_to_end(&mut content).map(|_| content)
    }

    #[test]
    fn frames_follow_each_other_and_some_are_passed_over() {
        let line = b"hello zstd\n";
        assert_eq!(read(MADE_BY_ZSTD).unwrap(), line.repeat(30));
        let passed = [&[0x5a, 0x2a, 0x4d, 0x18, 3, 0, 0, 0][..], b"abc"].concat();
        let ours = compress_to_vec(&line.repeat(50_000)[..], CompressionLevel::Fastest);
        let all = [&passed, MADE_BY_ZSTD, &ours, &passed, MADE_BY_ZSTD, &passed].concat();
        assert_eq!(read(&all).unwrap(), line.repeat(50_060));
        assert_eq!(read(b"").unwrap(), b"");
    }

    #[test]
    fn one_that_breaks_off_anywhere_says_so() {
        let whole = [MADE_BY_ZSTD, &[0x50, 0x2a, 0x4d, 0x18, 9, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9]].concat();
        for end in (1..whole.len()).filter(|end| *end != MADE_BY_ZSTD.len()) {
            let error = read(&whole[..end]).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof, "{end}: {error}");
        }
    }

    #[test]
    fn a_window_that_is_too_big_is_refused_before_it_is_made() {
        // With a block of nothing.
        let frame = |window: u8| [0x28, 0xb5, 0x2f, 0xfd, 0x00, window, 0x01, 0x00, 0x00];
        assert_eq!(read(&frame(13 << 3)).unwrap(), b"", "8 MiB are possible");
        let told = read(&frame(14 << 3)).unwrap_err().to_string();
        assert!(told.contains("a window of 16 MiB, above 8 MiB; pack it without"), "{told}");
    }

    #[test]
    fn damage_is_an_error_and_nothing_else() {
        let text: Vec<u8> = (0..200u32).flat_map(|number| (number * number).to_string().into_bytes()).collect();
        for level in [CompressionLevel::Fastest, CompressionLevel::Uncompressed] {
            let whole = compress_to_vec(&text[..], level);
            for at in 0..whole.len() {
                for flip in [1, 0x10, 0x80, 0xff] {
                    let mut bytes = whole.clone();
                    bytes[at] ^= flip;
                    let _ = read(&bytes);
                }
            }
        }
    }
}
