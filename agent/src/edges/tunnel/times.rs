//! When the bytes of a segment were written, as its executor noted beside it: `SEGMENT.times`, records of 16 bytes, each an
//! offset in the stream and the wall clock in milliseconds since 1970, both little-endian. Executors of the version before
//! left none: then the times are not known.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::regular;

const RECORD_BYTES: u64 = 16;
/// What a record stands for at most, in time.
const RECORD_PER_MS: i64 = 200;

/// The index of one segment.
#[derive(Debug)]
pub struct Times {
    file: File,
    records: u64,
}

/// Bytes that were written at one time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    pub begin: u64,
    /// The next ones begin there; `u64::MAX`: these are the last.
    pub end: u64,
    /// 0: not known.
    pub at_ms: i64,
}

impl Span {
    /// Of bytes whose time is not known.
    pub const UNKNOWN: Span = Span { begin: 0, end: u64::MAX, at_ms: 0 };
}

impl Times {
    /// Reads the index of this segment. None: it has no index, or one that can not be read.
    pub fn open(segment: &Path) -> Option<Times> {
        let mut path = segment.as_os_str().to_owned();
        path.push(".times");
        let file = regular::open_no_link(path.as_ref()).ok()?;
        let records = file.metadata().ok()?.len() / RECORD_BYTES;
        Some(Times { file, records })
    }

    /// A power cut can leave zeroes at the end, which stand for no record.
    fn record(&self, index: u64) -> Option<(u64, i64)> {
        if index >= self.records {
            return None;
        }
        let mut record = [0; RECORD_BYTES as usize];
        self.file.read_exact_at(&mut record, index * RECORD_BYTES).ok()?;
        let (offset, at_ms) = record.split_at(8);
        let (offset, at_ms) = (u64::from_le_bytes(offset.try_into().ok()?), i64::from_le_bytes(at_ms.try_into().ok()?));
        (at_ms > 0).then_some((offset, at_ms))
    }

    /// The first record of which this is false; it is true of those before.
    fn first_not(&self, holds: impl Fn(u64, i64) -> bool) -> u64 {
        let (mut low, mut high) = (0, self.records);
        while low < high {
            let middle = low + (high - low) / 2;
            match self.record(middle) {
                Some((offset, at_ms)) if holds(offset, at_ms) => low = middle + 1,
                _ => high = middle,
            }
        }
        low
    }

    /// The span that this byte of the stream is in.
    pub fn at(&self, offset: u64) -> Span {
        let next = self.first_not(|begin, _| begin <= offset);
        let end = self.record(next).map_or(u64::MAX, |(begin, _)| begin);
        match next.checked_sub(1).and_then(|index| self.record(index)) {
            Some((begin, at_ms)) => Span { begin, end, at_ms },
            None => Span { end, ..Span::UNKNOWN },
        }
    }

    /// The spans of bytes from here on, in order.
    pub fn spans(&self, offset: u64) -> impl Iterator<Item = Span> + '_ {
        let next = self.first_not(|begin, _| begin <= offset);
        let mut begun = match next.checked_sub(1).and_then(|index| self.record(index)) {
            Some((begin, at_ms)) => Some(Span { begin, end: u64::MAX, at_ms }),
            None => Some(Span::UNKNOWN),
        };
        let mut index = next;
        std::iter::from_fn(move || {
            let span = begun.take()?;
            let following = self.record(index);
            index += 1;
            begun = following.map(|(begin, at_ms)| Span { begin, end: u64::MAX, at_ms });
            Some(Span { end: following.map_or(u64::MAX, |(begin, _)| begin), ..span })
        })
    }

    /// Where what was written at this time or later begins; None: nothing was.
    pub fn since(&self, since_ms: i64) -> Option<u64> {
        let earliest_ms = since_ms.saturating_sub(RECORD_PER_MS);
        self.record(self.first_not(|_, at_ms| at_ms <= earliest_ms)).map(|(begin, _)| begin)
    }
}

/// Writes an index as an executor does, for tests.
#[cfg(test)]
pub fn write_index(segment: &Path, records: &[(u64, i64)]) {
    let bytes: Vec<u8> =
        records.iter().flat_map(|(offset, at_ms)| [offset.to_le_bytes(), at_ms.to_le_bytes()].concat()).collect();
    std::fs::write(format!("{}.times", segment.display()), bytes).unwrap();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_and_times_are_found() {
        let dir = tempfile::tempdir().unwrap();
        let segment = dir.path().join("main.stdout.00000000000000000100");
        assert!(Times::open(&segment).is_none());
        write_index(&segment, &[(100, 1_000), (105, 2_000), (105, 2_500), (110, 9_000)]);
        let times = Times::open(&segment).unwrap();
        let span = |begin, end, at_ms| Span { begin, end, at_ms };
        assert_eq!(times.at(100), span(100, 105, 1_000));
        assert_eq!(times.at(104), span(100, 105, 1_000));
        assert_eq!(times.at(105), span(105, 110, 2_500), "the last of those that begin there");
        assert_eq!(times.at(5_000), span(110, u64::MAX, 9_000));
        assert_eq!(times.at(99), span(0, 100, 0));
        assert_eq!(
            [0, 1_000, 1_199, 1_200, 2_699, 9_199].map(|ms| times.since(ms).unwrap()),
            [100, 100, 100, 105, 105, 110]
        );
        assert_eq!(times.since(9_200), None);
    }

    #[test]
    fn a_torn_or_blank_tail_means_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let segment = dir.path().join("main.stdout.00000000000000000000");
        write_index(&segment, &[(0, 1_000), (5, 2_000), (0, 0), (0, 0)]);
        let times = Times::open(&segment).unwrap();
        assert_eq!(times.at(7), Span { begin: 5, end: u64::MAX, at_ms: 2_000 });
        assert_eq!((times.since(2_100), times.since(5_000)), (Some(5), None));
        let index = format!("{}.times", segment.display());
        let mut bytes = std::fs::read(&index).unwrap();
        bytes.truncate(16 + 9);
        std::fs::write(&index, bytes).unwrap();
        assert_eq!(Times::open(&segment).unwrap().at(7), Span { begin: 0, end: u64::MAX, at_ms: 1_000 });
    }
}
