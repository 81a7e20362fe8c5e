//! One log being read: its streams, how far each was read, and which is next.

use std::collections::VecDeque;
use std::io;

use super::segments::{Piece, Segments};
use crate::model::{LogChunk, LogStart, LogStreams};

/// Largest piece sent at once, and looked at for lines.
pub const CHUNK_BYTES: usize = 64 << 10;

/// A stream and how far it was read.
#[derive(Debug)]
struct Stream {
    segments: Segments,
    is_stderr: bool,
    offset: u64,
    /// Read from there on and not sent yet.
    pieces: VecDeque<Piece>,
    /// What was last sent of it ends within a line.
    is_within_line: bool,
}

/// The log of one process.
#[derive(Debug)]
pub struct Reading {
    streams: Vec<Stream>,
    is_both: bool,
}

/// Why a log can't be read from where it was asked for.
#[derive(Debug)]
pub enum StartError {
    Io(io::Error),
    /// The log ends at this byte.
    Beyond {
        end: u64,
        offset: u64,
    },
}

impl From<io::Error> for StartError {
    fn from(error: io::Error) -> Self {
        StartError::Io(error)
    }
}

impl Reading {
    /// Of the process of this name, whose log is in this directory.
    pub fn new(directory: &std::path::Path, process: &str, streams: LogStreams) -> Reading {
        let names: &[(&str, bool)] = match streams {
            LogStreams::Stdout => &[("stdout", false)],
            LogStreams::Stderr => &[("stderr", true)],
            LogStreams::Both => &[("stdout", false), ("stderr", true)],
        };
        let stream = |(name, is_stderr): &(&str, bool)| Stream {
            segments: Segments::new(directory, &format!("{process}.{name}")),
            is_stderr: *is_stderr,
            offset: 0,
            pieces: VecDeque::new(),
            is_within_line: false,
        };
        Reading { streams: names.iter().map(stream).collect(), is_both: streams == LogStreams::Both }
    }

    /// Goes to where the reading is to start. What comes first, where what was asked for begins before the oldest byte that
    /// is kept: an empty chunk that says which that is.
    ///
    /// # Errors
    /// When the log can't be read, or does not reach so far.
    pub async fn start(&mut self, from: LogStart) -> Result<Option<LogChunk>, StartError> {
        match from {
            LogStart::Oldest => {}
            LogStart::Tail(bytes) => {
                for stream in &mut self.streams {
                    stream.offset = stream.segments.end()?.saturating_sub(bytes);
                }
            }
            LogStart::Offset { first, stderr } => {
                for (stream, offset) in self.streams.iter_mut().zip([first, stderr]) {
                    let end = stream.segments.end()?;
                    if offset > end {
                        return Err(StartError::Beyond { end, offset });
                    }
                    stream.offset = offset;
                }
            }
            LogStart::Recent { lines, since_ms } => {
                for stream in self.streams.iter_mut().filter(|_| since_ms > 0) {
                    stream.offset = stream.segments.since(since_ms)?;
                }
                if lines < u64::MAX {
                    self.last_lines(lines).await?;
                }
                return Ok(self.lost_since(since_ms)?.filter(|_| since_ms > 0 && lines == u64::MAX));
            }
        }
        Ok(None)
    }

    /// Of both streams: empty chunks that say where each begins, to go on from there when nothing more of it is heard.
    pub fn begins(&self) -> impl Iterator<Item = LogChunk> + '_ {
        let begin =
            |stream: &Stream| LogChunk { offset: stream.offset, is_stderr: stream.is_stderr, ..LogChunk::default() };
        self.streams.iter().filter(|_| self.is_both).map(begin)
    }

    /// The oldest that is kept, where what was written since then was rotated away in part.
    fn lost_since(&self, since_ms: i64) -> io::Result<Option<LogChunk>> {
        let mut lost = None::<LogChunk>;
        for stream in &self.streams {
            let oldest = stream.segments.oldest()?;
            let Some(piece) = stream.segments.read(oldest, 1)?.pop().filter(|_| oldest > 0) else { continue };
            if piece.at_ms > since_ms && lost.as_ref().is_none_or(|lost| lost.at_ms < piece.at_ms) {
                let (offset, at_ms) = (piece.offset, piece.at_ms);
                let is_stderr = self.is_both && stream.is_stderr;
                lost = Some(LogChunk { offset, at_ms, is_stderr, ..LogChunk::default() });
            }
        }
        Ok(lost)
    }

    /// Moves the start forward until at most this number of lines follows it. Lines are counted from the end backwards, in the
    /// order in which they were written.
    async fn last_lines(&mut self, lines: u64) -> io::Result<()> {
        let mut left = lines;
        let mut backward = Vec::new();
        for stream in &self.streams {
            let end = stream.segments.end()?;
            backward.push(Backward { at: end, first_line: end });
        }
        while left > 0 {
            let mut latest = None::<(usize, Piece)>;
            for (index, stream) in self.streams.iter().enumerate() {
                let piece = stream.segments.read_before(backward[index].at, CHUNK_BYTES)?;
                let piece = piece.and_then(|piece| from_offset(piece, stream.offset));
                // Of two that were written at one time the second comes last, as it is sent last.
                if let Some(piece) =
                    piece.filter(|piece| latest.as_ref().is_none_or(|(_, other)| piece.at_ms >= other.at_ms))
                {
                    latest = Some((index, piece));
                }
            }
            let Some((index, piece)) = latest else { break };
            let before = self.streams[index].segments.read_before(piece.offset, 1)?;
            let is_first = piece.offset == self.streams[index].offset;
            let begins_line = is_first || before.is_none_or(|before| before.data == b"\n");
            left = backward[index].count(&piece, left, begins_line);
            tokio::task::yield_now().await;
        }
        for (stream, backward) in self.streams.iter_mut().zip(backward) {
            stream.offset = backward.first_line;
        }
        Ok(())
    }

    /// What comes next; None: nothing more is there yet. Of two streams the one whose next bytes were written first, but for
    /// a line that was begun.
    ///
    /// # Errors
    /// What the file system answers.
    pub fn next(&mut self) -> io::Result<Option<LogChunk>> {
        for stream in &mut self.streams {
            if stream.pieces.is_empty() {
                stream.pieces = stream.segments.read(stream.offset, CHUNK_BYTES)?.into();
            }
        }
        let is_both = self.is_both;
        let waiting =
            || self.streams.iter().enumerate().filter_map(|(index, stream)| Some((index, stream.pieces.front()?)));
        let begun = waiting().find(|(index, _)| is_both && self.streams[*index].is_within_line);
        // Of two that were written at one time the first.
        let first = begun.or_else(|| waiting().min_by_key(|(_, piece)| piece.at_ms));
        let Some((index, _)) = first else { return Ok(None) };
        let ends_line = begun.is_some();
        let stream = &mut self.streams[index];
        let Some(mut piece) = stream.pieces.pop_front() else { return Ok(None) };
        if let Some(end) = piece.data.iter().position(|byte| *byte == b'\n').filter(|_| ends_line)
            && end + 1 < piece.data.len()
        {
            let data = piece.data.split_off(end + 1);
            stream.pieces.push_front(Piece { offset: piece.end(), at_ms: piece.at_ms, data });
        }
        (stream.offset, stream.is_within_line) = (piece.end(), piece.data.last() != Some(&b'\n'));
        let is_stderr = is_both && stream.is_stderr;
        Ok(Some(LogChunk { offset: piece.offset, data: piece.data, end: false, is_stderr, at_ms: piece.at_ms }))
    }

    /// What is sent once all was; `is_over`: the task has ended.
    pub fn last(&self, is_over: bool) -> LogChunk {
        LogChunk { offset: self.streams[0].offset, end: is_over, ..LogChunk::default() }
    }
}

/// The part of a piece from this byte on; None: none of it.
fn from_offset(mut piece: Piece, offset: u64) -> Option<Piece> {
    let before = usize::try_from(offset.saturating_sub(piece.offset)).unwrap_or(usize::MAX);
    if before >= piece.data.len() {
        return None;
    }
    piece.data.drain(..before);
    piece.offset += before as u64;
    Some(piece)
}

/// A stream whose lines are counted from its end.
#[derive(Debug)]
struct Backward {
    /// Looked at from here on.
    at: u64,
    /// Begin of the first line that was counted.
    first_line: u64,
}

impl Backward {
    /// Counts the lines that begin in the piece, the last first; how many are still wanted.
    fn count(&mut self, piece: &Piece, mut left: u64, begins_line: bool) -> u64 {
        self.at = piece.offset;
        // A byte later than its newline.
        let newlines =
            (piece.offset..piece.end()).rev().zip(piece.data.iter().rev()).filter(|(_, byte)| **byte == b'\n');
        let begins = newlines.map(|(at, _)| at + 1).filter(|begin| *begin < piece.end());
        for begin in begins.chain(begins_line.then_some(piece.offset)) {
            self.first_line = begin;
            left -= 1;
            if left == 0 {
                break;
            }
        }
        left
    }
}

#[cfg(test)]
mod tests;
