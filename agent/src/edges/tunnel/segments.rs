//! A log as the executor leaves it: segments named `<process>.<stream>.<20-digit start offset>`, the oldest removed.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::regular;

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

    /// At most `most` bytes from `offset` on, and the offset they start at: later where older ones were rotated away.
    /// Empty: nothing there yet.
    ///
    /// # Errors
    /// What the file system answers.
    pub fn read(&self, offset: u64, most: usize) -> io::Result<(u64, Vec<u8>)> {
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
                return Ok((at, data));
            }
        }
        Ok((offset, Vec::new()))
    }
}

/// Never through a symbolic link: the directory holds one per stream for people, and a task must not plant another, nor
/// a pipe.
fn open(path: &Path) -> io::Result<File> {
    regular::open_no_link(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(dir: &Path, name: &str, start: u64, data: &str) {
        fs::write(dir.join(format!("{name}.{start:020}")), data).unwrap();
    }

    fn all(segments: &Segments, mut offset: u64) -> (u64, String) {
        let (mut first, mut text) = (None, String::new());
        loop {
            let (at, data) = segments.read(offset, 3).unwrap();
            if data.is_empty() {
                return (first.unwrap_or(offset), text);
            }
            first.get_or_insert(at);
            offset = at + data.len() as u64;
            text.push_str(std::str::from_utf8(&data).unwrap());
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
        assert_eq!(segments.read(3, 10).unwrap(), (5, b"fgh".to_vec()));
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
