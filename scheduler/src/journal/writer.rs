//! The thread that writes: takes every batch that waits as one group, writes it, and syncs once. After a failed write
//! or sync nothing is written any more: what the disk holds is not known.

use std::fs::File;
use std::future::Future;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use tokio::sync::{Notify, oneshot};

use super::lock::Lock;
use super::replay::Tail;
use super::{JournalSettings, OpenError, head, segment};
use crate::drive::{AppendError, Gathered};
use crate::model::Batch;
use crate::wire;

/// Most mutations in one group before its last batch; the bound in bytes is reached first where they are not tiny.
const GROUP_MUTATIONS: usize = 65_536;

/// A stop waits so long for the thread: whatever was acknowledged is synced, and on a disk that hangs it never ends.
const END_WITHIN: Duration = Duration::from_secs(1);

type Done = oneshot::Sender<Result<(), AppendError>>;

/// Tells that a snapshot is due.
#[derive(Debug)]
pub struct Due {
    bytes: AtomicU64,
    limit: AtomicU64,
    least: u64,
    notify: Notify,
}

impl Due {
    pub(super) fn new(least: u64) -> Due {
        Due { bytes: AtomicU64::new(0), limit: AtomicU64::new(least), least, notify: Notify::new() }
    }

    /// Waits until a snapshot is due; the count of bytes begins anew.
    pub async fn wait(&self) {
        self.notify.notified().await;
        self.bytes.store(0, Ordering::Relaxed);
    }

    /// The next is not due before the journal grew by as much as this one takes: snapshots cost at most as much as it.
    pub fn saved(&self, bytes: u64) {
        self.limit.store(bytes.max(self.least), Ordering::Relaxed);
    }

    fn appended(&self, bytes: u64) {
        if self.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes >= self.limit.load(Ordering::Relaxed) {
            self.notify.notify_one();
        }
    }
}

pub struct Writer {
    /// None only while it is dropped.
    queue: Option<mpsc::Sender<(Arc<Batch>, Done)>>,
    /// Closed when the thread has let go of all its files.
    ended: mpsc::Receiver<()>,
    due: Arc<Due>,
    place: String,
}

impl Writer {
    pub(super) fn start(
        data_dir: &Path,
        tail: Option<Tail>,
        bytes: u64,
        durable: u64,
        settings: JournalSettings,
        lock: Option<Lock>,
    ) -> Result<Writer, OpenError> {
        let dir = data_dir.join("journal");
        let due = Arc::new(Due::new(settings.snapshot_after_bytes));
        due.appended(bytes);
        let place = dir.display().to_string();
        let starting = |source| OpenError::io("starting the writer of", data_dir, source);
        let head = Some(head::Keeper::start(data_dir).map_err(starting)?);
        let mut active = Active { dir, tail, settings, due: due.clone(), durable, head };
        let (queue, inbox) = mpsc::channel();
        let (ends, ended) = mpsc::channel::<()>();
        let run = move || {
            active.run(&inbox);
            drop(active);
            // Nobody else may open the journal before its last write is over.
            drop(lock);
            drop(ends);
        };
        std::thread::Builder::new().name("journal".into()).spawn(run).map_err(starting)?;
        Ok(Writer { queue: Some(queue), ended, due, place })
    }

    pub fn due(&self) -> Arc<Due> {
        self.due.clone()
    }

    pub fn append(&self, batch: Arc<Batch>) -> impl Future<Output = Result<(), AppendError>> + Send + 'static {
        let index = batch.index;
        let (done, answer) = oneshot::channel();
        if let Some(queue) = &self.queue {
            // A writer that is gone drops `done`, which the answer shows.
            _ = queue.send((batch, done));
        }
        let place = self.place.clone();
        async move {
            let gone = || AppendError::Failed { index, place, source: "the writer has ended".into() };
            answer.await.unwrap_or_else(|_| Err(gone()))
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.queue = None;
        if self.ended.recv_timeout(END_WITHIN) == Err(mpsc::RecvTimeoutError::Timeout) {
            tracing::warn!(
                path = self.place,
                "the disk of the journal does not answer: this process ends without its last write, which nobody was told of"
            );
        }
    }
}

/// What the thread owns.
pub(super) struct Active {
    pub dir: PathBuf,
    pub tail: Option<Tail>,
    pub settings: JournalSettings,
    pub due: Arc<Due>,
    /// Everything up to this index is synced.
    pub durable: u64,
    /// None where the head file is written by others.
    pub head: Option<head::Keeper>,
}

impl Active {
    fn run(&mut self, inbox: &mpsc::Receiver<(Arc<Batch>, Done)>) {
        // One that did not fit into the group before.
        let mut left = None;
        while let Some(first) = left.take().or_else(|| inbox.recv().ok()) {
            let (mut gathered, mut group) = (Gathered::new(GROUP_MUTATIONS), Vec::new());
            gathered.takes(&first.0);
            group.push(first);
            while let Ok(next) = inbox.try_recv() {
                if !gathered.takes(&next.0) {
                    left = Some(next);
                    break;
                }
                group.push(next);
            }
            let written = self.write(group.iter().map(|(batch, _)| &**batch));
            let failed = written.is_err();
            let error = written.map_err(Arc::new);
            for (batch, done) in group {
                let place = || self.place();
                let result = error.clone().map_err(|error| AppendError::Failed {
                    index: batch.index,
                    place: place(),
                    source: Box::new(error),
                });
                _ = done.send(result);
            }
            if failed {
                return;
            }
        }
    }

    fn place(&self) -> String {
        self.tail.as_ref().map_or_else(|| &self.dir, |tail| &tail.path).display().to_string()
    }

    /// Writes the batches as one group and syncs it.
    pub(super) fn write<'a>(&mut self, batches: impl Iterator<Item = &'a Batch>) -> std::io::Result<()> {
        let batches: Vec<_> = batches.map(wire::batch_to_wire).collect();
        let (Some(first), Some(last)) = (batches.first(), batches.last()) else { return Ok(()) };
        let (first, last) = (first.index, last.index);
        if self.tail.as_ref().is_none_or(|tail| tail.length >= self.settings.segment_bytes) {
            let (file, path) = segment::create(&self.dir, first)?;
            self.tail = Some(Tail { file, path, length: segment::HEADER_BYTES as u64 });
        }
        let frame = segment::group(self.durable, batches.iter())?;
        let Some(tail) = &mut self.tail else { return Ok(()) };
        write_synced(&mut tail.file, &frame)?;
        self.durable = last;
        if let Some(head) = &self.head {
            head.tell(last);
        }
        tail.length += frame.len() as u64;
        self.due.appended(frame.len() as u64);
        Ok(())
    }
}

fn write_synced(file: &mut File, bytes: &[u8]) -> std::io::Result<()> {
    file.write_all(bytes)?;
    file.sync_data()
}
