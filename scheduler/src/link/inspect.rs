//! Agents asked what they and their kernels hold, and their answers.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use dawn_proto::v1::{self, scheduler_message::Message};
use tokio::sync::oneshot;

use super::Links;
use crate::model::{AgentNo, Inspection};
use crate::wire;

/// An agent answers within this time.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// Why an agent said nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InspectError {
    #[error("it is not connected")]
    NotConnected,
    #[error("it did not answer within {}", dawn_proto::amounts::whole_seconds(ANSWER_WITHIN))]
    Silent,
}

/// Questions without an answer yet: as many as are asked at once.
#[derive(Debug, Default)]
pub struct Inspections {
    waiting: Mutex<HashMap<u64, oneshot::Sender<Inspection>>>,
    next: AtomicU64,
}

impl Inspections {
    fn waiting(&self) -> MutexGuard<'_, HashMap<u64, oneshot::Sender<Inspection>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks an agent.
    ///
    /// # Errors
    /// When it can't be asked or does not answer in time.
    pub async fn ask(&self, links: &Links, agent: AgentNo) -> Result<Inspection, InspectError> {
        let link = links.of(agent).ok_or(InspectError::NotConnected)?;
        let request_id = self.next.fetch_add(1, Ordering::Relaxed) + 1;
        let (sender, answer) = oneshot::channel();
        self.waiting().insert(request_id, sender);
        let sent = links.send(link, Message::Inspect(v1::Inspect { request_id }));
        let answered = match sent {
            true => tokio::time::timeout(ANSWER_WITHIN, answer).await.map_err(|_| InspectError::Silent),
            false => Err(InspectError::NotConnected),
        };
        self.waiting().remove(&request_id);
        answered?.map_err(|_| InspectError::Silent)
    }

    /// Hands an answer to whoever waits for it; one nobody waits for (any more) is dropped.
    pub(super) fn answered(&self, inspection: &v1::Inspection) {
        if let Some(waiting) = self.waiting().remove(&inspection.request_id) {
            _ = waiting.send(wire::inspection(inspection));
        }
    }
}
