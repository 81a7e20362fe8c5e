//! Fetching a task's artifacts: begun, told about, and given up when the task is to be stopped.

use std::collections::BTreeMap;
use std::sync::Arc;

use dawn_proto::TaskId;
use tokio::sync::{mpsc, oneshot};

use super::hands::Shared;
use crate::model::{Artifact, Event, Identity, MachineEvent, Refusal};

/// The fetches under way: dropping one gives it up.
#[derive(Default)]
pub(super) struct Fetches(BTreeMap<TaskId, oneshot::Sender<()>>);

/// One task's wish.
pub(super) struct Wish {
    pub task: TaskId,
    pub identity: Identity,
    pub artifacts: Vec<Artifact>,
    pub disk_bytes: u64,
}

impl Fetches {
    pub(super) fn begin(&mut self, shared: &Arc<Shared>, events: &mpsc::Sender<Event>, wish: Wish) {
        self.0.retain(|_, stop| !stop.is_closed());
        let (stop, stopped) = oneshot::channel();
        self.0.insert(wish.task, stop);
        tokio::spawn(fetch(shared.clone(), events.clone(), wish, stopped));
    }

    pub(super) fn stop(&mut self, task: TaskId) {
        self.0.remove(&task);
    }
}

async fn fetch(shared: Arc<Shared>, events: mpsc::Sender<Event>, wish: Wish, stopped: oneshot::Receiver<()>) {
    let Wish { task, identity, artifacts, disk_bytes } = wish;
    let dir = shared.tasks.dir(task);
    let tell = |sequence, message| {
        // A full queue loses a word on the way, not the way.
        let _ = events.try_send(Event::Machine(MachineEvent::Progress { task, sequence, message }));
    };
    let work = async {
        // Never closed.
        let _permit = shared.fetching.acquire().await.ok();
        shared.fetcher.fetch(&dir, &identity, &artifacts, disk_bytes, &tell).await
    };
    let result = tokio::select! {
        result = work => result,
        _ = stopped => Err(Refusal::Stopped),
    };
    let _ = events.send(Event::Machine(MachineEvent::Fetched { task, result })).await;
}
