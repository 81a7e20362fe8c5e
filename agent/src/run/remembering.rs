//! What is to be remembered, until it is durable: nothing is said to the leader before.

use std::path::Path;

use tracing::error;

use super::hands::chain;
use crate::edges::checkpoint;
use crate::model::Memory;

/// What could not be written yet.
#[derive(Debug, Default)]
pub(super) struct Remembering(Option<Memory>);

impl Remembering {
    pub(super) fn remember(&mut self, memory: Memory, work_dir: &Path) {
        self.0 = Some(memory);
        self.is_durable(work_dir);
    }

    /// Whether all that is to be remembered is durable; tries to make it so. A disk that is full now ends no agent: its
    /// link waits until there is room.
    pub(super) fn is_durable(&mut self, work_dir: &Path) -> bool {
        let Some(memory) = &self.0 else { return true };
        match checkpoint::write_memory(work_dir, memory) {
            Ok(()) => self.0 = None,
            Err(error) => {
                error!(error = chain(&error), "can't remember what the leader said; no link to it until I can");
            }
        }
        self.0.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_not_be_written_now_is_tried_again_and_nothing_is_durable_before() {
        let dir = tempfile::tempdir().unwrap();
        let work_dir = dir.path().join("full");
        let mut remembering = Remembering::default();
        assert!(remembering.is_durable(&work_dir));
        remembering.remember(Memory { lease_ms: 7, ..Memory::default() }, &work_dir);
        assert!(!remembering.is_durable(&work_dir));
        std::fs::create_dir(&work_dir).unwrap();
        assert!(remembering.is_durable(&work_dir));
        assert_eq!(checkpoint::recall(&work_dir, None).unwrap().1.lease_ms, 7);
    }
}
