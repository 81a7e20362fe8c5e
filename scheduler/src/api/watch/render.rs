//! One watched job: its status is worked out when a commit has changed it, once for all who watch.

use std::time::Duration;

use dawn_proto::JobKey;
use std::sync::Arc;
use tokio::sync::watch;
use tokio::time::Instant;

use super::{Shown, Told};
use crate::api::reads::{ReadError, job_status, tasks_of};
use crate::api::{Reader, status};

/// Least time between two messages: short at first, so that a small job is seen to run at once, then twice as long each
/// time, so that a large one costs little.
const FIRST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(100);
/// After such a time without a change the next is told at once again.
const QUIET: Duration = Duration::from_secs(1);
/// A status is worked out for at most this share of the time.
const WORK_DIVISOR: u32 = 10;
/// What all who watch one job are sent together in a second, about.
const BYTES_PER_MS: u64 = 64 << 10;

pub(super) struct Renderer {
    pub reader: Reader,
    pub key: JobKey,
    pub version: u32,
    pub changes: watch::Receiver<u64>,
    pub told: watch::Sender<Told>,
    pub shown: Arc<Shown>,
}

impl Renderer {
    /// Until nobody watches any more, or the job is removed.
    pub async fn run(mut self) {
        let (mut pause, mut last) = (FIRST_PAUSE, Instant::now());
        // What changed between the first status and the subscription is looked for at once.
        self.changes.mark_changed();
        loop {
            tokio::select! {
                () = self.told.closed() => return,
                changed = self.changes.changed() => if changed.is_err() { return },
            }
            pause = if last.elapsed() > QUIET { FIRST_PAUSE } else { (pause * 2).min(LONGEST_PAUSE) };
            last = Instant::now();
            if !self.look().await {
                return;
            }
            let work = last.elapsed() * WORK_DIVISOR;
            tokio::select! {
                () = self.told.closed() => return,
                () = tokio::time::sleep(pause.max(work).max(self.sending())) => {}
            }
        }
    }

    /// For how long those who watch are busy with a message.
    fn sending(&self) -> Duration {
        let bytes = self.shown.encoded.len() as u64 * self.told.receiver_count() as u64;
        Duration::from_millis(bytes / BYTES_PER_MS)
    }

    /// Tells what is there now. False: nothing more will come.
    async fn look(&mut self) -> bool {
        let (key, version, shown) = (self.key.clone(), self.version, self.shown.clone());
        let entries = tasks_of(&key);
        let look = self.reader.read(None, entries, move |state| job_status(state, &key, version)).await;
        let (told, goes_on) = match look {
            Ok(Ok(status)) if shown.says_the_same(&status) => (Told::Shown(shown, status.index), true),
            Ok(Ok(status)) => {
                let index = status.index;
                self.shown = Shown::new(status);
                (Told::Shown(self.shown.clone(), index), true)
            }
            Ok(Err(ReadError::NoSuchJob(_))) => (Told::Gone, false),
            Ok(Err(error)) => (Told::Failed(status::of_read_error(&error)), false),
            Err(failed) => (Told::Failed(failed), false),
        };
        self.told.send_replace(told);
        goes_on
    }
}
