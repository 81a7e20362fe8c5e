//! A log as the executor leaves it: segments named `<process>.<stream>.<20-digit start offset>`, the oldest removed.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use super::times::{Span, Times};
use crate::regular;

/// Bytes of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Of the first.
    pub offset: u64,
    /// When they were written (milliseconds since 1970); 0: not known.
    pub at_ms: i64,
    pub data: Vec<u8>,
}

impl Piece {
    pub fn end(&self) -> u64 {
        self.offset + self.data.len() as u64
    }
}

/// The segments of one stream of one process.
#[derive(Debug)]
pub struct Segments {
    directory: PathBuf,
    prefix: String,
}

impl Segments {
    pub fn new(directory: &Path, stream: &str) -> Self {
        Segments { directory: directory.to_path_buf(), prefix: format!("{stream}.") }
    }

    /// Start offsets and paths, oldest first. No directory yet: none.
    fn list(&self) -> io::Result<Vec<(u64, PathBuf)>> {
        let listing = match fs::read_dir(&self.directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            listing => listing?,
        };
        let mut found = Vec::new();
        for entry in listing {
            let entry = entry?;
            let start = entry.file_name().to_str().and_then(|name| self.start_of(name));
            if let Some(start) = start {
                found.push((start, entry.path()));
            }
        }
        found.sort_unstable();
        Ok(found)
    }

    fn start_of(&self, name: &str) -> Option<u64> {
        let digits = name.strip_prefix(&self.prefix)?;
        (digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit())).then(|| digits.parse().ok())?
    }

    /// Offset just beyond the last byte.
    ///
    /// # Errors
    /// What the file system answers.
    pub fn end(&self) -> io::Result<u64> {
        match self.list()?.last() {
            Some((start, path)) => Ok(start + open(path)?.metadata()?.len()),
            None => Ok(0),
        }
    }

    /// Offset of the oldest byte that is kept.
    ///
    /// # Errors
    /// What the file system answers.
    pub fn oldest(&self) -> io::Result<u64> {
        Ok(self.list()?.first().map_or(0, |(start, _)| *start))
    }

    /// At most `most` bytes from `offset` on, in pieces that were each written at one time, and the offset they start at: later
    /// where older ones were rotated away. Empty: nothing there yet.
    ///
    /// # Errors
    /// What the file system answers.
    pub fn read(&self, offset: u64, most: usize) -> io::Result<Vec<Piece>> {
        let segments = self.list()?;
        for (index, (start, path)) in segments.iter().enumerate() {
            let next = segments.get(index + 1).map(|(next, _)| *next);
            if next.is_some_and(|next| next <= offset) {
                continue;
            }
            let at = offset.max(*start);
            let file = match open(path) {
                // Rotated away since it was listed.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                file => file?,
            };
            let mut data = vec![0; most];
            let got = file.read_at(&mut data, at - start)?;
            if got > 0 {
                data.truncate(got);
                return Ok(in_pieces(at, data, Times::open(path).as_ref()));
            }
        }
        Ok(Vec::new())
    }

    /// At most `most` bytes before `end`, all written at one time and of one segment. None: nothing older is kept.
    ///
    /// # Errors
    /// What the file system answers.
    pub fn read_before(&self, end: u64, most: usize) -> io::Result<Option<Piece>> {
        for (start, path) in self.list()?.into_iter().rev().filter(|(start, _)| *start < end) {
            let file = match open(&path) {
                // Rotated away since it was listed, and all before it.
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                file => file?,
            };
            let end = end.min(start + file.metadata()?.len());
            if end == start {
                continue;
            }
            let span = Times::open(&path).map_or(Span::UNKNOWN, |times| times.at(end - 1));
            let offset = end.saturating_sub(most as u64).max(span.begin).max(start);
            let mut data = vec![0; usize::try_from(end - offset).unwrap_or(most)];
            file.read_exact_at(&mut data, offset - start)?;
            return Ok(Some(Piece { offset, at_ms: span.at_ms, data }));
        }
        Ok(None)
    }

    /// Where what was written at this time or later begins: the end where nothing was. Where the times are not known, a
    /// segment counts as written when it was last written to.
    ///
    /// # Errors
    /// What the file system answers.
    pub fn since(&self, since_ms: i64) -> io::Result<u64> {
        for (start, path) in self.list()? {
            let begin = match Times::open(&path) {
                Some(times) => times.since(since_ms),
                None => open(&path).and_then(|file| written_ms(&file)).ok().filter(|at| *at >= since_ms).map(|_| start),
            };
            if let Some(begin) = begin {
                return Ok(begin.max(start));
            }
        }
        self.end()
    }
}

/// The bytes from `offset` on, taken apart where the time changes.
fn in_pieces(mut offset: u64, mut data: Vec<u8>, times: Option<&Times>) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let begin = offset;
    for span in times.into_iter().flat_map(|times| times.spans(begin)) {
        let length = usize::try_from(span.end.saturating_sub(offset)).unwrap_or(usize::MAX).min(data.len());
        if length > 0 {
            let rest = data.split_off(length);
            pieces.push(Piece { offset, at_ms: span.at_ms, data: std::mem::replace(&mut data, rest) });
            offset += length as u64;
        }
        if data.is_empty() {
            break;
        }
    }
    if !data.is_empty() {
        pieces.push(Piece { offset, at_ms: 0, data });
    }
    pieces
}

fn written_ms(file: &File) -> io::Result<i64> {
    let since = file.metadata()?.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default();
    Ok(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// Never through a symbolic link: the directory holds one per stream for people, and a task must not plant another, nor
/// a pipe.
fn open(path: &Path) -> io::Result<File> {
    regular::open_no_link(path)
}

#[cfg(test)]
mod tests {
    use super::super::times;
    use super::*;

    fn write(dir: &Path, name: &str, start: u64, data: &str) {
        fs::write(dir.join(format!("{name}.{start:020}")), data).unwrap();
    }

    fn all(segments: &Segments, mut offset: u64) -> (u64, String) {
        let (mut first, mut text) = (None, String::new());
        loop {
            let pieces = segments.read(offset, 3).unwrap();
            if pieces.is_empty() {
                return (first.unwrap_or(offset), text);
            }
            for piece in pieces {
                first.get_or_insert(piece.offset);
                offset = piece.end();
                text.push_str(std::str::from_utf8(&piece.data).unwrap());
            }
        }
    }

    #[test]
    fn segments_read_as_one_stream_and_jump_over_what_was_rotated_away() {
        let dir = tempfile::tempdir().unwrap();
        let segments = Segments::new(dir.path(), "web.stdout");
        assert_eq!((segments.end().unwrap(), all(&segments, 0)), (0, (0, String::new())));
        write(dir.path(), "web.stdout", 10, "hello ");
        write(dir.path(), "web.stdout", 16, "world");
        write(dir.path(), "web.stderr", 0, "no");
        write(dir.path(), "web2.stdout", 0, "no");
        fs::write(dir.path().join("web.stdout.1"), "no").unwrap();
        std::os::unix::fs::symlink("nowhere", dir.path().join("web.stdout")).unwrap();
        assert_eq!(segments.end().unwrap(), 21);
        assert_eq!(all(&segments, 0), (10, "hello world".into()));
        assert_eq!(all(&segments, 12), (12, "llo world".into()));
        assert_eq!(all(&segments, 16), (16, "world".into()));
        assert_eq!(all(&segments, 21), (21, String::new()));
    }

    #[test]
    fn a_segment_cut_short_by_a_crash_does_not_stop_the_reader() {
        let dir = tempfile::tempdir().unwrap();
        let segments = Segments::new(dir.path(), "web.stdout");
        write(dir.path(), "web.stdout", 0, "abc");
        write(dir.path(), "web.stdout", 5, "fgh");
        assert_eq!(all(&segments, 0), (0, "abcfgh".into()));
        assert_eq!(segments.read(3, 10).unwrap(), [Piece { offset: 5, at_ms: 0, data: b"fgh".to_vec() }]);
        let before = |end| segments.read_before(end, 10).unwrap().map(|piece| (piece.offset, piece.data));
        assert_eq!(before(8), Some((5, b"fgh".to_vec())));
        assert_eq!((before(5), before(2)), (Some((0, b"abc".to_vec())), Some((0, b"ab".to_vec()))));
        assert_eq!(before(0), None);
    }

    #[test]
    fn pieces_end_where_the_time_changes_and_a_time_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let segments = Segments::new(dir.path(), "web.stdout");
        write(dir.path(), "web.stdout", 10, "abcdef");
        write(dir.path(), "web.stdout", 16, "ghi");
        let path = |start: u64| dir.path().join(format!("web.stdout.{start:020}"));
        times::write_index(&path(10), &[(10, 1_000), (12, 2_000)]);
        times::write_index(&path(16), &[(16, 2_100), (18, 9_000)]);
        let of = |offset, at_ms, data: &str| Piece { offset, at_ms, data: data.as_bytes().to_vec() };
        assert_eq!(segments.read(0, 100).unwrap(), [of(10, 1_000, "ab"), of(12, 2_000, "cdef")]);
        assert_eq!(segments.read(11, 3).unwrap(), [of(11, 1_000, "b"), of(12, 2_000, "cd")]);
        assert_eq!(segments.read(16, 100).unwrap(), [of(16, 2_100, "gh"), of(18, 9_000, "i")]);
        assert_eq!(segments.read(19, 100).unwrap(), []);
        let piece = |offset, at_ms, data: &str| Some(of(offset, at_ms, data));
        assert_eq!(segments.read_before(19, 100).unwrap(), piece(18, 9_000, "i"));
        assert_eq!(segments.read_before(18, 1).unwrap(), piece(17, 2_100, "h"));
        assert_eq!(segments.read_before(16, 100).unwrap(), piece(12, 2_000, "cdef"));
        assert_eq!(segments.read_before(10, 100).unwrap(), None);
        assert_eq!([0, 2_000, 2_301, 20_000].map(|ms| segments.since(ms).unwrap()), [10, 12, 18, 19]);
        assert_eq!((segments.oldest().unwrap(), segments.end().unwrap()), (10, 19));
    }

    #[test]
    fn a_log_without_times_is_read_since_a_time_by_its_files() {
        let dir = tempfile::tempdir().unwrap();
        let segments = Segments::new(dir.path(), "web.stdout");
        write(dir.path(), "web.stdout", 0, "abc");
        write(dir.path(), "web.stdout", 3, "def");
        let old = File::options().write(true).open(dir.path().join(format!("web.stdout.{:020}", 0))).unwrap();
        old.set_modified(UNIX_EPOCH + std::time::Duration::from_secs(1_000)).unwrap();
        assert_eq!(segments.since(1_000_001).unwrap(), 3);
        assert_eq!(segments.since(1_000_000).unwrap(), 0);
        assert_eq!(segments.since(i64::MAX).unwrap(), 6);
        assert_eq!(segments.read(0, 10).unwrap()[0].at_ms, 0);
    }

    #[test]
    fn a_planted_link_is_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let segments = Segments::new(dir.path(), "web.stdout");
        std::os::unix::fs::symlink("/etc/passwd", dir.path().join(format!("web.stdout.{:020}", 0))).unwrap();
        assert!(segments.read(0, 10).is_err());
    }

    #[test]
    fn a_planted_pipe_is_not_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let segments = Segments::new(dir.path(), "web.stdout");
        let pipe = dir.path().join(format!("web.stdout.{:020}", 0));
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(segments.read(0, 10).is_err());
        assert!(segments.end().is_err());
    }
}
