//! The journal's embedded home: a segment's bytes, of which a crash may tear or lose what was not yet synced. Its format
//! is written and read by the scheduler's own code.

use std::path::Path;
use std::sync::Arc;

use dawn_scheduler::journal::{End, begin_segment, frame_of, scan_segment};
use dawn_scheduler::model::Batch;
use dawn_scheduler::wire;
use rand::Rng;
use rand::rngs::SmallRng;

pub(super) struct Disk {
    synced: Vec<u8>,
    writing: Vec<u8>,
    last_frame: usize,
}

impl Disk {
    pub fn new() -> Disk {
        Disk { synced: begin_segment(1), writing: Vec::new(), last_frame: 0 }
    }

    pub fn write(&mut self, batches: &[Arc<Batch>]) -> Result<(), String> {
        let batches: Vec<_> = batches.iter().map(|batch| wire::batch_to_wire(batch)).collect();
        self.writing = frame_of(batches.iter()).map_err(|error| error.to_string())?;
        Ok(())
    }

    pub fn sync(&mut self) {
        self.last_frame = self.synced.len();
        self.synced.append(&mut self.writing);
    }

    /// Planted: what was written is written again.
    pub fn write_twice(&mut self) {
        self.writing.extend_from_within(..);
    }

    /// Of what was not synced nothing, all or any first bytes are there.
    pub fn crash(&mut self, chance: &mut SmallRng) {
        let kept = match chance.random_range(0..3) {
            0 => 0,
            1 => self.writing.len(),
            _ => chance.random_range(0..=self.writing.len()),
        };
        self.synced.extend_from_slice(&self.writing[..kept]);
        self.writing.clear();
    }

    /// Planted: the last synced write is gone.
    pub fn lose_last(&mut self) {
        if self.last_frame > 0 {
            self.synced.truncate(self.last_frame);
        }
    }

    /// Every batch there is; a torn end is cut off.
    pub fn read(&mut self) -> Result<Vec<Batch>, String> {
        let mut found = Vec::new();
        let path = Path::new("journal");
        let end = scan_segment(path, &self.synced, 1, true, |batch, _| {
            found.push(batch);
            Ok(())
        });
        let (end, _) = end.map_err(|error| format!("S11: the journal can't be read: {error}"))?;
        if let End::Torn { at, .. } = end {
            self.synced.truncate(usize::try_from(at).unwrap_or(usize::MAX));
        }
        found.into_iter().map(|batch| wire::batch_from_wire(batch).map_err(|error| format!("S11: {error}"))).collect()
    }
}
