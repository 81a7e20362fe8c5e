//! When the bytes of a segment were written: a file `SEGMENT.times` beside it, of records of 16 bytes: the offset in the
//! stream and the wall clock in milliseconds since 1970, both little-endian. Bytes up to the next record's offset were written
//! at that time, or within 200 ms after it. It is never synced, and what follows the last whole record means nothing.

use std::fs::File;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Further bytes, or time, that a record stands for at most.
const RECORD_PER_BYTES: u64 = 64 << 10;
const RECORD_PER_MS: u64 = 200;
const RECORD_BYTES: u64 = 16;
/// A segment of few bytes that come slowly must not have an index without a bound.
const LEAST_FULL_BYTES: u64 = 64 << 10;
const FULL_PART: u64 = 4;

/// The index of the present segment.
#[derive(Debug, Default)]
pub struct Times {
    /// None: it can't be written, so nobody knows the times.
    file: Option<File>,
    records: u64,
    last: Option<(u64, i64)>,
}

/// Where the index of this segment is.
pub fn path_of(segment: &Path) -> PathBuf {
    let mut path = segment.as_os_str().to_owned();
    path.push(".times");
    path.into()
}

impl Times {
    /// That of a segment that begins now.
    pub fn begin(segment: &Path) -> Times {
        // A pipe in its place must not be waited for.
        let mut options = File::options();
        options.write(true).create(true).truncate(true).custom_flags(nix::libc::O_NONBLOCK);
        Times { file: options.open(path_of(segment)).ok(), records: 0, last: None }
    }

    /// Whether it takes so much beside a segment that may have `segment_bytes` that the next one is to begin.
    pub fn is_full(&self, segment_bytes: u64) -> bool {
        self.records * RECORD_BYTES >= (segment_bytes / FULL_PART).max(LEAST_FULL_BYTES)
    }

    /// What is written at `offset` is written now.
    pub fn stamp(&mut self, offset: u64, now_ms: i64) {
        let is_due = self.last.is_none_or(|(last_offset, last_ms)| {
            offset - last_offset >= RECORD_PER_BYTES || now_ms.abs_diff(last_ms) >= RECORD_PER_MS
        });
        let Some(file) = self.file.as_ref().filter(|_| is_due) else { return };
        let mut record = [0; RECORD_BYTES as usize];
        record[..8].copy_from_slice(&offset.to_le_bytes());
        record[8..].copy_from_slice(&now_ms.to_le_bytes());
        // At its place, so that one written in part is written over by the next.
        if file.write_all_at(&record, self.records * RECORD_BYTES).is_ok() {
            self.records += 1;
            self.last = Some((offset, now_ms));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_record_stands_for_200_ms_or_64_kib_and_a_clock_that_is_set_back_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let segment = dir.path().join("main.stdout.00000000000000000007");
        let mut times = Times::begin(&segment);
        for (offset, now_ms) in
            [(7, 1_000), (8, 1_199), (9, 1_200), (70_000, 1_201), (70_001, 1_202), (70_002, 500), (70_003, 700)]
        {
            times.stamp(offset, now_ms);
        }
        let bytes = std::fs::read(path_of(&segment)).unwrap();
        let words: Vec<u64> = bytes.chunks(8).map(|word| u64::from_le_bytes(word.try_into().unwrap())).collect();
        assert_eq!(words, [7, 1_000, 9, 1_200, 70_000, 1_201, 70_002, 500, 70_003, 700]);
    }

    #[test]
    fn an_index_is_full_at_a_quarter_of_its_segment() {
        let dir = tempfile::tempdir().unwrap();
        let mut times = Times::begin(&dir.path().join("s"));
        for record in 0..4_096 {
            assert!(!times.is_full(1_000), "{record}");
            times.stamp(record, i64::try_from(record).unwrap() * 200);
        }
        assert!(times.is_full(1_000) && times.is_full(256 << 10) && !times.is_full(260 << 10));
    }

    #[test]
    fn without_an_index_there_are_no_times() {
        let mut times = Times::begin(Path::new("/nonexistent/segment"));
        times.stamp(0, 1);
        assert_eq!((times.records, times.is_full(0)), (0, false));
    }
}
