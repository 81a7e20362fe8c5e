//! Watching jobs: the status now and after every change. A job's status is worked out and encoded once for all who watch
//! it, when a commit has changed it. Changes that come faster than a client reads are one message.

mod render;
mod serve;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use dawn_proto::{JobKey, v1};
use futures_util::Stream;
use futures_util::stream::unfold;
use prost::Message;
use prost::bytes::Bytes;
use tokio::sync::watch;
use tonic::Status;

use super::reads::{job_status, tasks_of};
use super::{Reader, status};
use crate::shares::{Holder, Share, Shares, StreamPlaces};

pub use serve::WatchFront;

/// A status, and how it is sent.
#[derive(Debug)]
pub struct Shown {
    pub status: v1::JobStatus,
    pub encoded: Bytes,
}

impl Shown {
    fn new(status: v1::JobStatus) -> Arc<Shown> {
        let encoded = status.encode_to_vec().into();
        Arc::new(Shown { status, encoded })
    }

    /// Whether both say the same of the job, at whatever index.
    fn says_the_same(&self, other: &v1::JobStatus) -> bool {
        let ours = &self.status;
        // The tasks are most of it and most often equal; they are compared where they lie.
        let rest = |status: &v1::JobStatus| v1::JobStatus {
            summary: status.summary.clone(),
            versions: status.versions.clone(),
            cron: status.cron.clone(),
            update: status.update,
            ended_ms: status.ended_ms,
            ended_by: status.ended_by.clone(),
            ended_message: status.ended_message.clone(),
            spec: None,
            tasks: Vec::new(),
            index: 0,
        };
        ours.tasks == other.tasks && ours.spec == other.spec && rest(ours) == rest(other)
    }
}

/// What those who watch are told.
#[derive(Clone, Debug)]
enum Told {
    /// Holds as of this index of the journal, which may be later than its own.
    Shown(Arc<Shown>, u64),
    /// The job was removed.
    Gone,
    Failed(Status),
}

/// Who watches one version of one job.
#[derive(Debug)]
struct Channel {
    told: watch::Receiver<Told>,
}

type Channels = Mutex<HashMap<(JobKey, u32), Weak<Channel>>>;

/// Every watch of this scheduler.
#[derive(Clone, Debug)]
pub struct Watches {
    reader: Reader,
    places: Shares,
    channels: Arc<Channels>,
}

/// One client's watch.
struct Watch {
    place: Share,
    told: watch::Receiver<Told>,
    /// Sent last, or one that says the same.
    sent: Arc<Shown>,
    /// What holds only as of an earlier index than this is older than what was sent.
    least: u64,
    state: Stage,
    _channel: Arc<Channel>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// `sent` was not sent yet.
    First,
    Later,
    Over,
}

impl Watches {
    /// At most `total` at a time.
    pub fn new(reader: Reader, total: usize) -> Watches {
        Watches { reader, places: Shares::new("watches of jobs", total), channels: Arc::default() }
    }

    fn channels(&self) -> MutexGuard<'_, HashMap<(JobKey, u32), Weak<Channel>>> {
        // Nothing under the lock can panic half way.
        self.channels.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The job's status now and after each change, until the client goes; ends without error when the job is removed.
    ///
    /// # Errors
    /// When there is no such job or version now, or all watches are taken and this client holds most of them.
    pub async fn watch(
        &self,
        holder: Holder,
        key: JobKey,
        version: u32,
    ) -> Result<(StreamPlaces, impl Stream<Item = Result<Arc<Shown>, Status>> + Send + 'static), Status> {
        let place = self.places.take(holder).map_err(|refused| status::taken(&refused))?;
        let places = StreamPlaces(vec![place.watch()]);
        let (channel, sent) = self.join(holder, key, version).await?;
        let watch = Watch { place, told: channel.told.clone(), sent, least: 0, state: Stage::First, _channel: channel };
        let stream = unfold(watch, |mut watch| async move {
            let next = watch.next().await?;
            Some((next, watch))
        });
        Ok((places, stream))
    }

    /// The channel of a job, and its status as it is now: not older than what the client may have read before.
    async fn join(&self, holder: Holder, key: JobKey, version: u32) -> Result<(Arc<Channel>, Arc<Shown>), Status> {
        let wanted = key.clone();
        let look = self.reader.read(Some(holder), tasks_of(&key), move |state| {
            let id = state.indexes().job_by_key.get(&wanted).copied();
            job_status(state, &wanted, version).map(|status| (id, status))
        });
        let (id, now) = look.await?.map_err(|error| status::of_read_error(&error))?;
        let shown = Shown::new(now);
        let mut channels = self.channels();
        let entry = channels.entry((key.clone(), version)).or_default();
        if let Some(channel) = entry.upgrade() {
            return Ok((channel, shown));
        }
        // invariant: a job with a status has a number.
        let id = id.unwrap_or_default();
        let changes = self.reader.follower().watch_job(id);
        let (told, receiver) = watch::channel(Told::Shown(shown.clone(), shown.status.index));
        let channel = Arc::new(Channel { told: receiver });
        *entry = Arc::downgrade(&channel);
        let renderer = render::Renderer {
            reader: self.reader.clone(),
            key: key.clone(),
            version,
            changes,
            told,
            shown: shown.clone(),
        };
        let all = Arc::downgrade(&self.channels);
        tokio::spawn(async move {
            renderer.run().await;
            forget(&all, &(key, version));
        });
        Ok((channel, shown))
    }
}

/// Takes the channel out of the table, unless another one has its place by now.
fn forget(channels: &Weak<Channels>, name: &(JobKey, u32)) {
    let Some(channels) = channels.upgrade() else { return };
    let mut channels = channels.lock().unwrap_or_else(PoisonError::into_inner);
    if channels.get(name).is_some_and(|channel| channel.strong_count() == 0) {
        channels.remove(name);
    }
}

impl Watch {
    /// The first status, which was worked out for this client alone. From then on the one that all share is kept where it
    /// says the same.
    fn begin(&mut self) -> Arc<Shown> {
        let first = self.sent.clone();
        self.least = first.status.index;
        if let Told::Shown(shared, _) = &*self.told.borrow_and_update()
            && first.says_the_same(&shared.status)
        {
            self.sent = shared.clone();
        } else {
            self.told.mark_changed();
        }
        first
    }

    async fn next(&mut self) -> Option<Result<Arc<Shown>, Status>> {
        match self.state {
            Stage::Over => return None,
            Stage::First => {
                self.state = Stage::Later;
                return Some(Ok(self.begin()));
            }
            Stage::Later => {}
        }
        loop {
            let told = tokio::select! {
                () = self.place.taken_away() => {
                    self.state = Stage::Over;
                    return Some(Err(status::taken(&self.place.reason())));
                }
                changed = self.told.changed() => match changed {
                    Ok(()) => self.told.borrow_and_update().clone(),
                    Err(_) => return None,
                },
            };
            match told {
                // The renderer makes another one only where it says something else.
                Told::Shown(shown, as_of) if as_of > self.least && !Arc::ptr_eq(&shown, &self.sent) => {
                    self.sent = shown.clone();
                    return Some(Ok(shown));
                }
                Told::Shown(..) => {}
                Told::Gone => return None,
                Told::Failed(failed) => {
                    self.state = Stage::Over;
                    return Some(Err(failed));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
