//! The journal's embedded home: a segment's bytes, of which a crash may tear or lose what was not yet synced, and its head
//! file, which follows them. Their format is written and read by the scheduler's own code.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use dawn_scheduler::journal::{End, Known, Segment, begin_segment, frame_of, scan_segment};
use dawn_scheduler::model::Batch;
use dawn_scheduler::wire;
use rand::Rng;
use rand::rngs::SmallRng;

pub(super) struct Disk {
    synced: Vec<u8>,
    writing: Vec<u8>,
    last_frame: usize,
    /// Of what is being written, and of what is synced.
    writing_index: u64,
    durable: u64,
    /// What the head file says, and how many bytes there were when it was written.
    head: u64,
    head_bytes: usize,
}

impl Disk {
    pub fn new() -> Disk {
        let synced = begin_segment(1);
        let head_bytes = synced.len();
        Disk { synced, writing: Vec::new(), last_frame: 0, writing_index: 0, durable: 0, head: 0, head_bytes }
    }

    pub fn write(&mut self, batches: &[Arc<Batch>]) -> Result<(), String> {
        self.writing_index = batches.last().map_or(self.durable, |batch| batch.index);
        let batches: Vec<_> = batches.iter().map(|batch| wire::batch_to_wire(batch)).collect();
        self.writing = frame_of(self.durable, batches.iter()).map_err(|error| error.to_string())?;
        Ok(())
    }

    /// The head file is a group behind, or as far as this one.
    pub fn sync(&mut self, chance: &mut SmallRng) {
        self.write_head();
        self.last_frame = self.synced.len();
        self.synced.append(&mut self.writing);
        self.durable = self.writing_index;
        if chance.random_bool(0.5) {
            self.write_head();
        }
    }

    fn write_head(&mut self) {
        (self.head, self.head_bytes) = (self.durable, self.synced.len());
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
    pub fn read(&mut self, chance: &mut SmallRng) -> Result<Vec<Batch>, String> {
        self.refuses_damage(chance)?;
        let mut found = Vec::new();
        let end = self.scan(&self.synced, &mut found);
        let end = end.map_err(|error| format!("S11: the journal can't be read: {error}"))?;
        if let End::Torn { at, .. } = end {
            self.synced.truncate(usize::try_from(at).unwrap_or(usize::MAX));
        }
        self.durable = found.last().map_or(0, |batch| batch.index);
        self.write_head();
        found.into_iter().map(|batch| wire::batch_from_wire(batch).map_err(|error| format!("S11: {error}"))).collect()
    }

    fn scan(&self, bytes: &[u8], found: &mut Vec<dawn_proto::v1::Batch>) -> Result<End, String> {
        let known = Known { durable: self.head, held: 0 };
        let segment = Segment { path: Path::new("journal"), first: 1, end: Some(known) };
        let scanned = scan_segment(&segment, bytes, &mut |batch, _| {
            found.push(batch);
            Ok(ControlFlow::Continue(()))
        });
        scanned.map(|scanned| scanned.end).map_err(|error| error.to_string())
    }

    /// A flipped bit, and an end that is gone, below what the head file says are refused, never cut off.
    fn refuses_damage(&self, chance: &mut SmallRng) -> Result<(), String> {
        // What a planted mistake has lost is found by the promises.
        if self.head_bytes > self.synced.len() {
            return Ok(());
        }
        let at = chance.random_range(0..self.head_bytes);
        let mut flipped = self.synced.clone();
        flipped[at] ^= 1 << chance.random_range(0..8);
        for (damage, bytes) in [("a flipped bit", &flipped[..]), ("an end", &self.synced[..at])] {
            if self.scan(bytes, &mut Vec::new()).is_ok() {
                return Err(format!("S3: {damage} at byte {at} of {} is not noticed", self.head_bytes));
            }
        }
        Ok(())
    }
}
