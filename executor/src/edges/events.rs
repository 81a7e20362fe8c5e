//! The event log on disk: append-only frames, one owner at a time. Not here: what the events mean.
//!
//! An appended event survives the executor's death at once, and a power cut after [`EventLog::sync`]; it may be sent
//! only then. Acting on it need not wait that long, because no process survives a power cut either: so one sync serves
//! all that happened in one turn, and none delays the start of a process.

use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, Read};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use dawn_proto::{FrameError, read_frame, write_frame};
use rustix::fs::{FallocateFlags, FlockOperation};

/// Set aside at creation, so that a task can still report its end on a full disk.
const RESERVED_BYTES: u64 = 16 << 10;
const HEAD_BYTES: u64 = 8;

/// Why an event log can't be used.
#[derive(Debug, thiserror::Error)]
pub enum EventLogError {
    #[error("opening {path}")]
    Open { path: PathBuf, source: io::Error },
    #[error("{path} is in use: another executor runs this task")]
    InUse { path: PathBuf },
    #[error("{path} is damaged at byte {offset}, before its end; nothing was changed")]
    Damaged { path: PathBuf, offset: u64 },
    #[error("reading {path}")]
    Read { path: PathBuf, source: io::Error },
}

/// The log, locked.
#[derive(Debug)]
pub struct EventLog {
    file: File,
    length: u64,
    /// Bytes that may be sent.
    settled: u64,
    /// Behind them is something that a power cut must not take back once it is sent.
    needs_sync: bool,
}

impl EventLog {
    /// Opens or creates the log and reads the bodies of its frames. A torn last frame is cut off.
    ///
    /// # Errors
    /// When it can't be opened, locked or read, or is damaged before its last frame.
    pub fn open(path: &Path) -> Result<(EventLog, Vec<Vec<u8>>), EventLogError> {
        let open = |source| EventLogError::Open { path: path.to_path_buf(), source };
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o640).open(path);
        let file = file.map_err(open)?;
        rustix::fs::flock(file.as_fd(), FlockOperation::NonBlockingLockExclusive)
            .map_err(|_| EventLogError::InUse { path: path.to_path_buf() })?;
        let size = file.metadata().map_err(open)?.len();
        let (bodies, length) = read_all(&file, size, path)?;
        if length < size {
            file.set_len(length).map_err(open)?;
        }
        if size == 0 {
            // Only a precaution: file systems without it do without.
            let _ = rustix::fs::fallocate(file.as_fd(), FallocateFlags::KEEP_SIZE, 0, RESERVED_BYTES);
        }
        Ok((EventLog { file, length, settled: length, needs_sync: false }, bodies))
    }

    /// Appends frames of these bodies, all or nothing. With `sync`, they are not sent before [`EventLog::sync`].
    ///
    /// # Errors
    /// When nothing was appended.
    pub fn append(&mut self, bodies: &[Vec<u8>], sync: bool) -> io::Result<()> {
        let mut frames = Vec::new();
        for body in bodies {
            write_frame(&mut frames, body)?;
        }
        if let Err(error) = self.file.write_all_at(&frames, self.length) {
            self.file.set_len(self.length)?;
            return Err(error);
        }
        self.length += frames.len() as u64;
        self.needs_sync |= sync;
        if !self.needs_sync {
            self.settled = self.length;
        }
        Ok(())
    }

    /// Makes everything appended durable, where something needs it.
    ///
    /// # Errors
    /// When it is not durable; call again after a while.
    pub fn sync(&mut self) -> io::Result<()> {
        if self.needs_sync {
            if let Err(error) = self.file.sync_data() {
                // The kernel may have dropped the pages as if they were written: they are written again.
                let mut unsettled = vec![0; usize::try_from(self.length - self.settled).unwrap_or(0)];
                self.file.read_exact_at(&mut unsettled, self.settled)?;
                self.file.write_all_at(&unsettled, self.settled)?;
                return Err(error);
            }
            self.needs_sync = false;
        }
        self.settled = self.length;
        Ok(())
    }

    /// Whether a sync has failed and is to be tried again.
    pub fn is_unsettled(&self) -> bool {
        self.settled < self.length
    }

    /// Bytes that may be sent.
    pub fn settled(&self) -> u64 {
        self.settled
    }

    /// Reads bytes that may be sent, from `offset` on.
    ///
    /// # Errors
    /// What the file answers.
    pub fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let left = usize::try_from(self.settled.saturating_sub(offset)).unwrap_or(usize::MAX);
        let wanted = left.min(buffer.len());
        self.file.read_at(&mut buffer[..wanted], offset)
    }

    /// Where the event with this sequence begins, or the end. Sequences count from 1 without gaps.
    ///
    /// # Errors
    /// What the file answers.
    pub fn offset_of(&self, sequence: u64) -> io::Result<u64> {
        let mut offset = 0;
        for _ in 1..sequence {
            if offset >= self.length {
                break;
            }
            let mut length = [0u8; 4];
            self.file.read_exact_at(&mut length, offset)?;
            offset += HEAD_BYTES + u64::from(u32::from_le_bytes(length));
        }
        Ok(offset.min(self.length))
    }
}

/// The whole frames and where they end.
fn read_all(file: &File, size: u64, path: &Path) -> Result<(Vec<Vec<u8>>, u64), EventLogError> {
    let mut input = BufReader::new(file);
    let mut bodies = Vec::new();
    let mut length = 0;
    loop {
        match read_frame(&mut input) {
            Ok(body) if !body.is_empty() => {
                length += HEAD_BYTES + body.len() as u64;
                bodies.push(body);
            }
            Err(FrameError::End | FrameError::Torn) => return Ok((bodies, length)),
            // No event is empty: a power cut can leave zeroes, and those frame as empty bodies.
            Ok(_) | Err(FrameError::Corrupt) => break,
            Err(FrameError::Io(source)) => return Err(EventLogError::Read { path: path.to_path_buf(), source }),
        }
    }
    match is_torn(file, length, size) {
        Ok(true) => Ok((bodies, length)),
        Ok(false) => Err(EventLogError::Damaged { path: path.to_path_buf(), offset: length }),
        Err(source) => Err(EventLogError::Read { path: path.to_path_buf(), source }),
    }
}

/// Whether the bad bytes from `offset` on are the last frame, or nothing but zeroes.
fn is_torn(file: &File, offset: u64, size: u64) -> io::Result<bool> {
    let mut head = [0u8; 4];
    file.read_exact_at(&mut head, offset)?;
    if offset + HEAD_BYTES + u64::from(u32::from_le_bytes(head)) >= size && head != [0; 4] {
        return Ok(true);
    }
    let mut tail = Vec::new();
    io::Seek::seek(&mut &*file, io::SeekFrom::Start(offset))?;
    BufReader::new(file).read_to_end(&mut tail)?;
    Ok(tail.iter().all(|byte| *byte == 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log_with(bodies: &[&[u8]]) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("events");
        let (mut log, old) = EventLog::open(&path).unwrap();
        assert!(old.is_empty());
        for body in bodies {
            log.append(&[body.to_vec()], true).unwrap();
        }
        (dir, path)
    }

    #[test]
    fn a_cut_anywhere_in_the_last_frame_leaves_the_ones_before() {
        let (_dir, path) = log_with(&[b"first", b"second"]);
        let whole = std::fs::read(&path).unwrap();
        for cut in 14..whole.len() {
            std::fs::write(&path, &whole[..cut]).unwrap();
            let (mut log, bodies) = EventLog::open(&path).unwrap();
            assert_eq!(bodies, [b"first".to_vec()], "cut at {cut}");
            log.append(&[b"third".to_vec()], false).unwrap();
            drop(log);
            assert_eq!(EventLog::open(&path).unwrap().1, [b"first".to_vec(), b"third".to_vec()], "cut at {cut}");
        }
    }

    #[test]
    fn zeroes_at_the_end_are_cut_and_damage_in_the_middle_is_refused() {
        let (_dir, path) = log_with(&[b"first", b"second"]);
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, [&whole[..], &[0; 40]].concat()).unwrap();
        assert_eq!(EventLog::open(&path).unwrap().1.len(), 2);

        let mut damaged = whole.clone();
        damaged[9] ^= 1;
        std::fs::write(&path, &damaged).unwrap();
        let refusal = EventLog::open(&path).unwrap_err();
        assert!(matches!(refusal, EventLogError::Damaged { offset: 0, .. }), "{refusal}");
        assert_eq!(std::fs::read(&path).unwrap(), damaged);
    }

    #[test]
    fn a_second_owner_is_refused() {
        let (_dir, path) = log_with(&[b"first"]);
        let (_log, _) = EventLog::open(&path).unwrap();
        assert!(matches!(EventLog::open(&path), Err(EventLogError::InUse { .. })));
    }

    #[test]
    fn a_sequence_is_found_by_counting() {
        let (_dir, path) = log_with(&[b"first", b"second"]);
        let (mut log, _) = EventLog::open(&path).unwrap();
        assert_eq!([0, 1, 2, 3, 9].map(|n| log.offset_of(n).unwrap()), [0, 0, 13, 27, 27]);
        let mut buffer = [0; 64];
        assert_eq!(log.read_at(&mut buffer, 13).unwrap(), 14);
        assert_eq!(&buffer[8..14], b"second");
        // What must be durable is read only when it is; then also what came after it.
        log.append(&[b"light".to_vec()], false).unwrap();
        assert_eq!(log.read_at(&mut buffer, 27).unwrap(), 13);
        log.append(&[b"heavy".to_vec()], true).unwrap();
        log.append(&[b"light".to_vec()], false).unwrap();
        assert_eq!((log.read_at(&mut buffer, 40).unwrap(), log.is_unsettled()), (0, true));
        log.sync().unwrap();
        assert_eq!((log.read_at(&mut buffer, 40).unwrap(), log.is_unsettled()), (26, false));
    }
}
