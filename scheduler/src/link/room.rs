//! How many links may be registered at once, and how much of what they said may wait for the pulse, in all. While the pulse
//! takes nothing, agents come and go: neither grows without end.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Links at most that are registered, or were and the pulse has not heard that they are closed: more than a cluster has
/// agents.
pub(super) const MOST_REGISTERED: usize = 131_072;
/// Of messages that wait at their links, in all.
const MOST_BYTES: usize = 512 << 20;

/// What would wait is more than may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{MOST_BYTES} bytes of agents' messages wait already")]
pub struct NoRoom;

/// Shared by all links.
#[derive(Clone, Debug)]
pub(super) struct Room {
    places: Arc<Semaphore>,
    bytes: Arc<Semaphore>,
}

impl Default for Room {
    fn default() -> Room {
        Room::of(MOST_REGISTERED, MOST_BYTES)
    }
}

impl Room {
    pub fn of(places: usize, bytes: usize) -> Room {
        Room { places: Arc::new(Semaphore::new(places)), bytes: Arc::new(Semaphore::new(bytes)) }
    }

    /// For one that registers, while there is any.
    pub fn place(&self) -> Option<OwnedSemaphorePermit> {
        self.places.clone().try_acquire_owned().ok()
    }

    /// For a message, while there is any.
    pub fn bytes(&self, bytes: usize) -> Result<OwnedSemaphorePermit, NoRoom> {
        let bytes = u32::try_from(bytes).map_err(|_| NoRoom)?;
        self.bytes.clone().try_acquire_many_owned(bytes).map_err(|_| NoRoom)
    }
}
