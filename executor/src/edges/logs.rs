//! Output of processes, from pipes to rotated files. Not here: reading it back.
//!
//! A stream is `NAME.stdout` or `NAME.stderr`; it goes on when the process is started again. Its segments are files
//! `STREAM.<offset of the first byte, 20 digits>`, and a link `STREAM` points to the newest. The first segment is made
//! with the first byte. Lines mean nothing here, so their length doesn't either. Beside each segment lies when its bytes
//! were written (times.rs), and the last of what standard error said is kept in memory (words.rs). What a health check says
//! is kept there alone.

mod times;
mod words;

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{OpenOptionsExt, symlink};
use std::path::{Path, PathBuf};

use crate::model::LogRules;
use times::Times;
use words::Words;
pub use words::{last_line, shortened};

/// Read from one pipe before the others get their turn: at most this many times the buffer.
const READS_PER_TURN: usize = 4;
const BUFFER_BYTES: usize = 64 << 10;
/// Pipes that processes of earlier runs may still hold; the oldest is closed for one more.
const MAX_PIPES_PER_STREAM: usize = 8;
/// What the command of a health check says, on both its streams. No process has a name with a space.
const CHECK: &str = "health check";
/// A disk that is full on and off must not fill the executor's own notes.
const MAX_NOTES: u32 = 20;

/// All streams of a task.
#[derive(Debug)]
pub struct Logs {
    dir: PathBuf,
    rules: LogRules,
    streams: Vec<Stream>,
    pipes: Vec<Pipe>,
    buffer: Vec<u8>,
}

#[derive(Debug)]
struct Pipe {
    end: File,
    stream: usize,
}

#[derive(Debug)]
struct Stream {
    name: String,
    segment: Option<File>,
    /// Offsets of the first bytes of the segments on disk.
    segments: VecDeque<u64>,
    /// Bytes of the stream so far, the dropped ones apart.
    offset: u64,
    /// Bytes not written since the disk refused.
    dropped: u64,
    /// Times that was said.
    notes: u32,
    times: Times,
    /// Of standard error and health checks alone.
    words: Option<Words>,
}

impl Logs {
    /// Writes below `dir`, which must exist.
    pub fn new(dir: PathBuf, rules: LogRules) -> Self {
        Logs { dir, rules, streams: Vec::new(), pipes: Vec::new(), buffer: Vec::new() }
    }

    /// Takes the reading end of a pipe whose bytes belong to the stream of this name.
    ///
    /// # Errors
    /// When the pipe can't be made non-blocking.
    pub fn attach(&mut self, name: &str, end: OwnedFd, now_ms: i64) -> io::Result<()> {
        rustix::io::ioctl_fionbio(end.as_fd(), true)?;
        let stream = match self.streams.iter().position(|stream| stream.name == name) {
            Some(stream) => stream,
            None => {
                self.streams.push(Stream::new(name));
                self.streams.len() - 1
            }
        };
        let mine = |pipe: &Pipe| pipe.stream == stream;
        if self.pipes.iter().filter(|pipe| mine(pipe)).count() >= MAX_PIPES_PER_STREAM
            && let Some(oldest) = self.pipes.iter().position(mine)
        {
            self.give_up(oldest, now_ms);
        }
        self.pipes.push(Pipe { end: end.into(), stream });
        Ok(())
    }

    /// Closes the pipe at this place once what waits in it is taken, and says so in its stream: its writers may go on.
    fn give_up(&mut self, place: usize, now_ms: i64) {
        let before = self.pipes.len();
        self.turn(&[place], now_ms);
        if self.pipes.len() < before {
            // It had ended.
            return;
        }
        let pipe = self.pipes.remove(place);
        let note = format!(
            "\n[dawn: what a process of an earlier run writes from here on is not read: {MAX_PIPES_PER_STREAM} later ones \
             write here too]\n"
        );
        self.streams[pipe.stream].take(note.as_bytes(), &self.dir, self.rules, now_ms);
    }

    /// Takes the reading end of a pipe that the command of the next health check writes to; what the last one said is forgotten.
    ///
    /// # Errors
    /// When the pipe can't be made non-blocking.
    pub fn attach_check(&mut self, end: OwnedFd, now_ms: i64) -> io::Result<()> {
        if let Some(stream) = self.streams.iter().position(|stream| stream.name == CHECK) {
            self.pipes.retain(|pipe| pipe.stream != stream);
            self.streams[stream].words = Some(Words::default());
        }
        self.attach(CHECK, end, now_ms)
    }

    /// The end of what the command of the last health check said.
    pub fn words_of_check(&mut self, now_ms: i64) -> Vec<u8> {
        self.last_words(CHECK, now_ms)
    }

    /// The reading ends, in the order [`Logs::turn`] counts them.
    pub fn pipes(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.pipes.iter().map(|pipe| pipe.end.as_fd())
    }

    /// Gives the pipes at these places one turn each, at this time of the wall clock, and forgets those that ended.
    pub fn turn(&mut self, ready: &[usize], now_ms: i64) {
        self.buffer.resize(BUFFER_BYTES, 0);
        let mut ended = Vec::new();
        for index in ready {
            let Some(pipe) = self.pipes.get_mut(*index) else { continue };
            let stream = &mut self.streams[pipe.stream];
            if copy(pipe, &mut self.buffer, |bytes| stream.take(bytes, &self.dir, self.rules, now_ms)) {
                ended.push(*index);
            }
        }
        for index in ended.into_iter().rev() {
            self.pipes.remove(index);
        }
    }

    /// Takes what is left in all pipes after their writers have ended; bounded, should one have escaped.
    pub fn drain(&mut self, now_ms: i64) {
        for _ in 0..64 {
            if self.pipes.is_empty() {
                return;
            }
            let all: Vec<usize> = (0..self.pipes.len()).collect();
            let before = self.written();
            self.turn(&all, now_ms);
            if self.written() == before {
                return;
            }
        }
    }

    /// The last that a stream of this name said, whose words are kept; all that its writers have left is taken first.
    pub fn last_words(&mut self, name: &str, now_ms: i64) -> Vec<u8> {
        self.drain(now_ms);
        let stream = self.streams.iter().find(|stream| stream.name == name);
        stream.and_then(|stream| stream.words.as_ref()).map_or_else(Vec::new, |words| words.last().to_vec())
    }

    fn written(&self) -> u64 {
        self.streams.iter().map(|stream| stream.offset + stream.dropped).sum()
    }
}

/// Whether the pipe has ended.
fn copy(pipe: &mut Pipe, buffer: &mut [u8], mut take: impl FnMut(&[u8])) -> bool {
    for _ in 0..READS_PER_TURN {
        match pipe.end.read(buffer) {
            Ok(0) => return true,
            Ok(n) => take(&buffer[..n]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return error.kind() != ErrorKind::WouldBlock,
        }
    }
    false
}

impl Stream {
    fn new(name: &str) -> Self {
        Stream {
            name: name.to_string(),
            segment: None,
            segments: VecDeque::new(),
            offset: 0,
            dropped: 0,
            notes: 0,
            times: Times::default(),
            words: (name.ends_with(".stderr") || name == CHECK).then(Words::default),
        }
    }

    /// Writes, or drops what the disk refuses: output must never hold up the task.
    fn take(&mut self, bytes: &[u8], dir: &Path, rules: LogRules, now_ms: i64) {
        if let Some(words) = &mut self.words {
            words.push(bytes);
        }
        if self.name == CHECK {
            self.offset += bytes.len() as u64;
            return;
        }
        if self.dropped > 0 {
            let note = format!("\n[dawn: {} bytes of output were dropped here: the disk refused them]\n", self.dropped);
            if self.write(note.as_bytes(), dir, rules, now_ms).is_ok() {
                self.dropped = 0;
            }
        }
        let before = self.offset;
        if let Err(error) = self.write(bytes, dir, rules, now_ms) {
            if self.dropped == 0 && self.notes < MAX_NOTES {
                self.notes += 1;
                note!("dropping output of {}: {error}", self.name);
            }
            self.dropped += bytes.len() as u64 - (self.offset - before);
        }
    }

    fn write(&mut self, bytes: &[u8], dir: &Path, rules: LogRules, now_ms: i64) -> io::Result<()> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let begun = self.segments.back().copied().unwrap_or(0);
            let room = rules.file_size_bytes.saturating_sub(self.offset - begun);
            let is_full = room == 0 || self.times.is_full(rules.file_size_bytes);
            let Some(file) = self.segment.as_mut().filter(|_| !is_full) else {
                self.rotate(dir, rules)?;
                continue;
            };
            self.times.stamp(self.offset, now_ms);
            let part = rest.len().min(usize::try_from(room).unwrap_or(usize::MAX));
            match file.write(&rest[..part]) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(n) => {
                    self.offset += n as u64;
                    rest = &rest[n..];
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Begins a segment; the oldest goes first, so that the bound holds at every moment.
    fn rotate(&mut self, dir: &Path, rules: LogRules) -> io::Result<()> {
        let path = |offset: u64| dir.join(format!("{}.{offset:020}", self.name));
        self.segment = None;
        while self.segments.len() >= rules.files as usize {
            let Some(oldest) = self.segments.pop_front() else { break };
            remove(&path(oldest))?;
            remove(&times::path_of(&path(oldest)))?;
        }
        // A pipe in its place must not be waited for.
        let mut options = File::options();
        let file = options.append(true).create(true).custom_flags(nix::libc::O_NONBLOCK).open(path(self.offset))?;
        if self.segments.back() != Some(&self.offset) {
            self.segments.push_back(self.offset);
        }
        self.segment = Some(file);
        self.times = Times::begin(&path(self.offset));
        let (link, fresh) = (dir.join(&self.name), dir.join(format!(".{}.new", self.name)));
        remove(&fresh)?;
        symlink(format!("{}.{:020}", self.name, self.offset), &fresh)?;
        std::fs::rename(fresh, link)
    }
}

fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_words_are_also_those_that_nobody_has_read_yet() {
        let dir = tempfile::tempdir().unwrap();
        let rules = LogRules { file_size_bytes: 1 << 20, files: 2 };
        let mut logs = Logs::new(dir.path().into(), rules);
        let (reader, mut writer) = io::pipe().unwrap();
        logs.attach("main.stderr", reader.into(), 1_000).unwrap();
        writer.write_all(b"read\n").unwrap();
        logs.turn(&[0], 1_000);
        writer.write_all(b"not read\n").unwrap();
        drop(writer);
        assert_eq!(logs.last_words("main.stderr", 2_000), b"read\nnot read\n");
        assert_eq!(logs.last_words("main.stdout", 2_000), b"");
        assert!(logs.pipes().next().is_none(), "it has ended");
    }

    #[test]
    fn what_a_health_check_says_is_kept_until_the_next_one_and_written_nowhere() {
        let dir = tempfile::tempdir().unwrap();
        let mut logs = Logs::new(dir.path().into(), LogRules { file_size_bytes: 1 << 20, files: 2 });
        let (reader, mut first) = io::pipe().unwrap();
        logs.attach_check(reader.into(), 1_000).unwrap();
        first.write_all(&[b'x'; 3_000]).unwrap();
        first.write_all(b"\nrefused\n").unwrap();
        assert_eq!(logs.words_of_check(1_000), b"refused\n");
        let (reader, second) = io::pipe().unwrap();
        logs.attach_check(reader.into(), 1_000).unwrap();
        assert_eq!(
            first.write_all(b"late").unwrap_err().kind(),
            ErrorKind::BrokenPipe,
            "nobody listens to it any more"
        );
        assert_eq!(logs.words_of_check(2_000), b"");
        drop(second);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_pipe_that_is_given_up_for_later_runs_is_read_out_and_its_end_is_marked() {
        let dir = tempfile::tempdir().unwrap();
        let mut logs = Logs::new(dir.path().into(), LogRules { file_size_bytes: 1 << 20, files: 2 });
        let writers: Vec<_> = (0..=MAX_PIPES_PER_STREAM)
            .map(|run| {
                let (reader, mut writer) = io::pipe().unwrap();
                writeln!(writer, "run {run}").unwrap();
                logs.attach("main.stdout", reader.into(), 1_000).unwrap();
                writer
            })
            .collect();
        let said = std::fs::read_to_string(dir.path().join("main.stdout")).unwrap();
        let mark =
            "[dawn: what a process of an earlier run writes from here on is not read: 8 later ones write here too]";
        assert_eq!(said, format!("run 0\n\n{mark}\n"));
        assert_eq!(logs.pipes().count(), MAX_PIPES_PER_STREAM);
        drop(writers);
        logs.drain(2_000);
        assert_eq!(std::fs::read_to_string(dir.path().join("main.stdout")).unwrap().matches("run").count(), 10);
        assert_eq!(logs.pipes().count(), 0, "those that ended are no gap");
    }
}
