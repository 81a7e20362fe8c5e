//! The head file: the last index that was durable when it was written. A journal that lost its end is known by it. It
//! is never ahead of what is synced, and is written anew within a second of the last group.

use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::path::Path;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::segment::Scanned;
use super::{OpenError, segment, sync_dir};

pub(super) const NAME: &str = "head";
const FORMAT: u32 = 1;
const MAGIC: &[u8; 8] = b"DAWNHEAD";
/// Groups that are synced within this time share one write of the file; half of the promised second is for the write.
const WRITE_AFTER: Duration = Duration::from_millis(500);

/// What the file says; None: there is none.
///
/// # Errors
/// When it can't be read, or is not as it was written: it is replaced as a whole, so no crash makes it so.
pub(super) fn read(data_dir: &Path) -> Result<Option<u64>, OpenError> {
    let path = data_dir.join(NAME);
    let bytes = match std::fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(OpenError::io("reading", &path, source)),
    };
    let Some((magic, format, index)) = segment::parse_header(&bytes) else {
        return Err(OpenError::corrupt(&path, 0, "it does not match its checksum"));
    };
    if magic != *MAGIC || bytes.len() != segment::HEADER_BYTES {
        return Err(OpenError::corrupt(&path, 0, "it is no file of this kind"));
    }
    match format > FORMAT {
        true => Err(OpenError::Newer { path, found: format, supported: FORMAT }),
        false => Ok(Some(index)),
    }
}

/// A journal whose writer kept a head file has one that was `read`: without it nobody knows whether its end is there.
///
/// # Errors
/// When it is missing, or could not be read.
pub(super) fn prove_end(
    data_dir: &Path,
    read: Result<Option<u64>, OpenError>,
    last: &Scanned,
) -> Result<(), OpenError> {
    match read? {
        None if last.has_head() => {
            let cause = "it is missing, so that nobody knows whether the journal has lost its end";
            Err(OpenError::corrupt(&data_dir.join(NAME), 0, cause))
        }
        _ => Ok(()),
    }
}

/// Replaces the file. Everything up to `index` is durable.
pub(super) fn write(data_dir: &Path, index: u64) -> io::Result<()> {
    let path = data_dir.join(NAME);
    let temporary = path.with_extension("tmp");
    let mut file = File::create(&temporary)?;
    file.write_all(&segment::header(MAGIC, FORMAT, index))?;
    file.sync_all()?;
    std::fs::rename(&temporary, &path)?;
    sync_dir(data_dir)
}

/// The thread that writes the file, so that no append waits for it. Dropped, it has written the last index it was told.
pub(super) struct Keeper {
    /// None only while it is dropped.
    durable: Option<mpsc::Sender<u64>>,
    thread: Option<JoinHandle<()>>,
}

impl Keeper {
    pub fn start(data_dir: &Path) -> io::Result<Keeper> {
        let (durable, told) = mpsc::channel();
        let data_dir = data_dir.to_path_buf();
        let thread = std::thread::Builder::new().name("journal-head".into()).spawn(move || keep(&data_dir, &told))?;
        Ok(Keeper { durable: Some(durable), thread: Some(thread) })
    }

    /// Everything up to `index` is synced.
    pub fn tell(&self, index: u64) {
        if let Some(durable) = &self.durable {
            // The thread ends only after this.
            _ = durable.send(index);
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.durable = None;
        if let Some(thread) = self.thread.take() {
            _ = thread.join();
        }
    }
}

/// Writes what is told until nobody tells anything any more. A file that can't be written is tried again: the one that
/// is there stays true.
fn keep(data_dir: &Path, told: &mpsc::Receiver<u64>) {
    let mut failing = false;
    while let Ok(first) = told.recv() {
        let (mut index, mut ended) = gather(told, first);
        while let Err(error) = write(data_dir, index) {
            if !std::mem::replace(&mut failing, true) {
                let path = data_dir.join(NAME);
                tracing::warn!(path = %path.display(), index, %error, "can't write the journal's head file; trying again");
            }
            if ended {
                return;
            }
            (index, ended) = gather(told, index);
        }
        if std::mem::take(&mut failing) {
            tracing::info!(index, "the journal's head file is written again");
        }
    }
}

/// The last index that is told before the file is due, and whether no more will come.
fn gather(told: &mpsc::Receiver<u64>, mut index: u64) -> (u64, bool) {
    let due = Instant::now() + WRITE_AFTER;
    loop {
        match told.recv_timeout(due.saturating_duration_since(Instant::now())) {
            Ok(later) => index = later,
            Err(RecvTimeoutError::Timeout) => return (index, false),
            Err(RecvTimeoutError::Disconnected) => return (index, true),
        }
    }
}
