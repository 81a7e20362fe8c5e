//! What a task's directories take on disk, measured a few entries at a time, so that nothing else waits for it.

use std::collections::{BTreeSet, VecDeque};
use std::fs::{self, ReadDir};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

/// Entries looked at in one turn.
const ENTRIES_PER_TURN: usize = 256;
/// Shortest time between two measurements.
const INTERVAL_MS: i64 = 5_000;
/// A measurement takes at most this part of the time.
const REST: i64 = 50;

/// Measures again and again.
#[derive(Debug)]
pub struct Disk {
    roots: Vec<PathBuf>,
    next_at_ms: i64,
    walk: Option<Walk>,
}

#[derive(Debug)]
struct Walk {
    begun_ms: i64,
    open: Option<ReadDir>,
    left: VecDeque<PathBuf>,
    /// Files with several names, each counted once.
    seen: BTreeSet<(u64, u64)>,
    device: Option<u64>,
    bytes: u64,
}

impl Disk {
    /// Of these directories together; links are not followed, nor mounts.
    pub fn new(roots: Vec<PathBuf>, now_ms: i64) -> Self {
        Disk { roots, next_at_ms: now_ms + INTERVAL_MS, walk: None }
    }

    /// When the next turn is due.
    pub fn due_ms(&self) -> i64 {
        self.next_at_ms
    }

    /// Looks at some more; the bytes once all was looked at.
    pub fn turn(&mut self, now_ms: i64) -> Option<u64> {
        if now_ms < self.next_at_ms {
            return None;
        }
        let roots = &self.roots;
        let walk = self.walk.get_or_insert_with(|| Walk::over(roots, now_ms));
        if !walk.go_on() {
            return None;
        }
        let took_ms = now_ms - walk.begun_ms;
        self.next_at_ms = now_ms + INTERVAL_MS.max(took_ms.saturating_mul(REST));
        self.walk.take().map(|walk| walk.bytes)
    }
}

impl Walk {
    fn over(roots: &[PathBuf], begun_ms: i64) -> Self {
        let (open, seen, device, bytes) = (None, BTreeSet::new(), None, 0);
        Walk { begun_ms, open, left: roots.iter().cloned().collect(), seen, device, bytes }
    }

    /// Whether that was all.
    fn go_on(&mut self) -> bool {
        for _ in 0..ENTRIES_PER_TURN {
            match self.open.as_mut().map(Iterator::next) {
                Some(Some(entry)) => {
                    // What vanishes meanwhile takes nothing.
                    let Some((path, meta)) = entry.ok().and_then(|one| Some((one.path(), one.metadata().ok()?))) else {
                        continue;
                    };
                    self.count(path, &meta);
                }
                _ => match self.left.pop_front() {
                    Some(dir) => self.open = fs::read_dir(dir).ok(),
                    None => return true,
                },
            }
        }
        false
    }

    fn count(&mut self, path: PathBuf, meta: &fs::Metadata) {
        if meta.dev() != *self.device.get_or_insert(meta.dev()) {
            return;
        }
        if meta.is_dir() {
            self.left.push_back(path);
        } else if meta.nlink() > 1 && !self.seen.insert((meta.dev(), meta.ino())) {
            return;
        }
        self.bytes = self.bytes.saturating_add(meta.blocks().saturating_mul(512));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(roots: Vec<PathBuf>) -> u64 {
        let mut disk = Disk::new(roots, 0);
        assert_eq!(disk.turn(INTERVAL_MS - 1), None);
        (0..1_000).find_map(|_| disk.turn(INTERVAL_MS)).expect("an end")
    }

    #[test]
    fn every_file_counts_once_and_what_is_linked_to_does_not() {
        let (dir, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::write(elsewhere.path().join("big"), vec![1; 1 << 20]).unwrap();
        std::os::unix::fs::symlink(elsewhere.path(), dir.path().join("link")).unwrap();
        let empty = measured(vec![dir.path().to_path_buf()]);
        for i in 0..600 {
            fs::create_dir(dir.path().join(format!("d{i}"))).unwrap();
        }
        fs::write(dir.path().join("d7/file"), vec![1; 64 << 10]).unwrap();
        fs::hard_link(dir.path().join("d7/file"), dir.path().join("d8/same")).unwrap();
        let full = measured(vec![dir.path().to_path_buf()]);
        assert!(full >= empty + (64 << 10) && full < 600 * 4_096 + (100 << 10) + empty, "{empty} {full}");
    }
}
