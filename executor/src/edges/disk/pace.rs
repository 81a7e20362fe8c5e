//! When to ask what a task has written, and when to look at what it takes on disk: pure, on the steady clock. What may pass
//! between two looks is bounded at the rate seen; a task that does nothing is looked at only when the disk has
//! lost what nobody is known to have taken, and then seldom.

use super::activity::Seen;
use super::walk::Found;

/// At the rate seen, a look begins before more than this was written beyond the limit.
const PASS_BYTES: u64 = 256 << 20;
/// Between two questions at most this much is written, at the rate seen.
const ASK_BYTES: u64 = PASS_BYTES / 4;
/// A look for what was written begins when it is at least this much: where looks are short, and where they take long.
const EARLY_BYTES: u64 = PASS_BYTES / 8;
const EARLY_BYTES_OF_MANY: u64 = PASS_BYTES / 2;
/// A look that takes longer is a long one.
const SHORT_LOOK_MS: i64 = 20;

/// Between two questions: at least, at first, while it writes, while it does anything, while it does nothing.
const LEAST_ASK_MS: i64 = 50;
const FIRST_ASK_MS: i64 = 100;
const WRITING_ASK_MS: i64 = 1_000;
const ACTIVE_ASK_MS: i64 = 10_000;
const IDLE_ASK_MS: i64 = 30_000;

/// Between two looks for no other reason than time, while it writes; and at most, while they find the same.
const LOOK_MS: i64 = 5_000;
const LONGEST_LOOK_MS: i64 = 60_000;
/// Between two looks because the machine's disk has lost something.
const SUSPECT_LOOK_MS: i64 = 200;
/// Looks for no other reason than time, or because the machine's disk has lost something, take at most this part of the
/// time, those of all tasks of the machine together.
const REST: i64 = 50;

#[derive(Debug)]
pub(super) struct Pace {
    limit_bytes: u64,
    max_files: u64,
    ask_at_ms: i64,
    asked_at_ms: i64,
    ask_every_ms: i64,
    look_begun_ms: i64,
    look_ended_ms: i64,
    look_took_ms: i64,
    look_every_ms: i64,
    /// What the last look has found; before the first, the limit: what was there at the start is not known.
    found_bytes: u64,
    found_files: u64,
    /// When there are too many files if they go on growing in number as they did up to the last look.
    files_at_ms: i64,
    /// Since the last look began.
    written_bytes: u64,
    is_active: bool,
    is_suspect: bool,
    /// On the machine, as far as it was told.
    tasks: i64,
}

impl Pace {
    pub(super) fn new(limit_bytes: u64, max_files: u64, now_ms: i64) -> Pace {
        let limit_bytes = if limit_bytes == 0 { u64::MAX } else { limit_bytes };
        Pace {
            limit_bytes,
            max_files,
            ask_at_ms: now_ms + FIRST_ASK_MS,
            asked_at_ms: now_ms,
            ask_every_ms: FIRST_ASK_MS,
            look_begun_ms: now_ms,
            look_ended_ms: now_ms,
            look_took_ms: 0,
            look_every_ms: LOOK_MS,
            found_bytes: limit_bytes,
            found_files: 0,
            files_at_ms: i64::MAX,
            written_bytes: 0,
            is_active: false,
            is_suspect: false,
            tasks: 1,
        }
    }

    pub(super) fn due_ms(&self) -> i64 {
        self.ask_at_ms
    }

    /// It is one of so many tasks that may have taken what the machine's disk has lost.
    pub(super) fn suspect(&mut self, now_ms: i64, tasks: u32) {
        self.tasks = i64::from(tasks.max(1));
        self.is_suspect = true;
        self.ask_at_ms = self.ask_at_ms.min(now_ms.max(self.suspect_at_ms()));
    }

    /// Takes in what was seen; whether a look is to begin now.
    pub(super) fn sampled(&mut self, now_ms: i64, seen: Seen) -> bool {
        let took_ms = (now_ms - self.asked_at_ms).max(1);
        self.asked_at_ms = now_ms;
        let (written, longest_ms) = match seen {
            Seen::Idle => (0, IDLE_ASK_MS),
            Seen::Active { written: 0 } => (0, ACTIVE_ASK_MS),
            Seen::Active { written } => (written, WRITING_ASK_MS),
        };
        self.is_active |= seen != Seen::Idle;
        self.written_bytes = self.written_bytes.saturating_add(written);
        if written > 0 {
            self.look_every_ms = LOOK_MS;
        }
        // Until half of what is left of the limit, but no less than may pass.
        let next_bytes = ASK_BYTES.max(self.left_bytes().saturating_sub(self.written_bytes) / 2);
        let until_ms = match written {
            0 => self.ask_every_ms.saturating_mul(2),
            _ => i64::try_from(u128::from(next_bytes) * took_ms as u128 / u128::from(written)).unwrap_or(i64::MAX),
        };
        self.ask_every_ms = until_ms.clamp(LEAST_ASK_MS, longest_ms);
        self.ask_at_ms = now_ms + self.ask_every_ms;
        let look = if self.is_active { self.is_look_due(now_ms) } else { self.is_idle_look_due(now_ms) };
        self.is_suspect &= self.is_active && !look;
        if look {
            self.look_begun_ms = now_ms;
            (self.written_bytes, self.is_active) = (0, false);
        } else if self.is_active {
            self.ask_at_ms = self.ask_at_ms.min(self.look_at_ms().max(now_ms + LEAST_ASK_MS));
        }
        look
    }

    fn is_look_due(&self, now_ms: i64) -> bool {
        let is_long = self.look_took_ms > SHORT_LOOK_MS;
        let early_bytes = if is_long { EARLY_BYTES_OF_MANY } else { EARLY_BYTES };
        let may_be_over = self.written_bytes >= self.left_bytes().max(early_bytes);
        // Half of the time at most, whatever is written.
        let is_rested = now_ms >= self.look_ended_ms + self.look_took_ms;
        (may_be_over && is_rested) || (self.is_suspect && now_ms >= self.suspect_at_ms()) || now_ms >= self.look_at_ms()
    }

    /// What an idle task has may have been put there by another, as whoever copies files into its sandbox.
    fn is_idle_look_due(&self, now_ms: i64) -> bool {
        self.is_suspect && now_ms >= self.look_ended_ms + LONGEST_LOOK_MS.max(self.rest_ms())
    }

    /// Not more often than looks for no other reason than time, if they take long.
    fn suspect_at_ms(&self) -> i64 {
        self.look_ended_ms + SUSPECT_LOOK_MS.max(self.rest_ms())
    }

    fn look_at_ms(&self) -> i64 {
        let by_time_ms = self.look_ended_ms + self.look_every_ms.max(self.rest_ms());
        by_time_ms.min(self.files_at_ms)
    }

    /// After a look. One that takes less than a millisecond counts as one.
    fn rest_ms(&self) -> i64 {
        let part_ms = self.look_took_ms.clamp(1, 1 << 20) * REST;
        part_ms * self.tasks
    }

    fn left_bytes(&self) -> u64 {
        self.limit_bytes.saturating_sub(self.found_bytes)
    }

    /// A look has ended, and found so much.
    pub(super) fn looked(&mut self, now_ms: i64, Found { bytes, files }: Found) {
        let since_ms = now_ms - self.look_ended_ms;
        let (grown, left) = (files.saturating_sub(self.found_files), self.max_files.saturating_sub(files));
        let until_ms = u128::from(left) * since_ms.unsigned_abs() as u128 / u128::from(grown.max(1));
        // Half of the time at most is spent on looks.
        let until_ms = i64::try_from(until_ms).unwrap_or(i64::MAX).max(now_ms - self.look_begun_ms).max(LEAST_ASK_MS);
        self.files_at_ms = if grown > 0 { now_ms.saturating_add(until_ms) } else { i64::MAX };
        self.look_every_ms = match bytes == self.found_bytes {
            true => (self.look_every_ms * 2).min(LONGEST_LOOK_MS),
            false => LOOK_MS,
        };
        self.look_took_ms = now_ms - self.look_begun_ms;
        (self.look_ended_ms, self.found_bytes, self.found_files) = (now_ms, bytes, files);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn with(bytes: u64) -> Found {
        Found { bytes, files: 3 }
    }

    /// A task that writes `rate` bytes a millisecond from `from_ms` on, watched until `until_ms`: times of looks, and the
    /// number of questions.
    fn watched(pace: &mut Pace, rate: u64, from_ms: i64, until_ms: i64, base: u64) -> (Vec<i64>, usize) {
        let (mut looks, mut asked, mut at_ms) = (Vec::new(), 0, from_ms);
        while pace.due_ms() < until_ms {
            let now_ms = pace.due_ms().max(at_ms);
            asked += 1;
            let written = rate * u64::try_from(now_ms - at_ms).unwrap();
            if pace.sampled(now_ms, Seen::Active { written }) {
                looks.push(now_ms);
                pace.looked(now_ms, with(base + rate * u64::try_from(now_ms - from_ms).unwrap()));
            }
            at_ms = now_ms;
        }
        (looks, asked)
    }

    #[test]
    fn a_fast_writer_is_looked_at_before_it_is_far_beyond_its_limit() {
        for rate in [MIB, 2 * MIB, MIB / 10] {
            let mut pace = Pace::new(64 * MIB, 1_000, 0);
            let (looks, _) = watched(&mut pace, rate, 0, 5_000, 0);
            let over = |at_ms: &i64| rate * u64::try_from(*at_ms).unwrap() > 64 * MIB;
            let first = *looks.iter().find(|at_ms| over(at_ms)).expect("a look after the limit is reached");
            assert!(rate * u64::try_from(first).unwrap() <= 64 * MIB + PASS_BYTES, "{rate}: {first} ms");
        }
    }

    #[test]
    fn one_that_has_room_for_what_it_writes_is_asked_seldom_and_looked_at_by_time_alone() {
        let mut pace = Pace::new(1 << 40, 1_000, 0);
        pace.looked(0, with(0));
        let (looks, asked) = watched(&mut pace, MIB / 10, 0, 20_000, 0);
        assert!(looks.windows(2).all(|two| two[1] - two[0] >= LOOK_MS) && looks.len() <= 4, "{looks:?}");
        assert!(asked <= 30, "{asked}");
    }

    #[test]
    fn one_that_does_nothing_is_asked_ever_more_seldom_and_never_looked_at() {
        let mut pace = Pace::new(64 * MIB, 1_000, 0);
        let mut asked = 0;
        while pace.due_ms() < 3_600_000 {
            let now_ms = pace.due_ms();
            asked += 1;
            assert!(!pace.sampled(now_ms, Seen::Idle));
        }
        assert!(asked < 3_600 / 30 + 12, "{asked}");
        // And is asked at once when the disk has lost something.
        let at_ms = pace.due_ms() - 20_000;
        pace.suspect(at_ms, 1);
        assert_eq!(pace.due_ms(), at_ms);
        assert!(pace.sampled(at_ms, Seen::Idle), "another may have put something there");
        pace.looked(at_ms, with(0));
        for (after_ms, seen, look) in [
            (1_000, Seen::Idle, false),
            // It may have allocated what it did not write.
            (2_000, Seen::Active { written: 0 }, true),
        ] {
            pace.suspect(at_ms + after_ms, 1);
            assert_eq!(pace.sampled(at_ms + after_ms, seen), look);
        }
    }

    #[test]
    fn what_is_busy_and_writes_nothing_is_looked_at_more_and_more_seldom() {
        let mut pace = Pace::new(64 * MIB, 1_000, 0);
        let (looks, _) = watched(&mut pace, 0, 0, 600_000, 7);
        assert_eq!(looks[0], LOOK_MS);
        assert!((10..20).contains(&looks.len()), "{looks:?}");
    }

    #[test]
    fn long_looks_take_no_more_than_their_part_of_the_time() {
        let mut pace = Pace::new(64 * MIB, 1_000, 0);
        assert!(pace.sampled(5_000, Seen::Active { written: 1 }));
        pace.looked(7_000, with(0));
        assert!(!pace.sampled(7_500, Seen::Active { written: 1 }));
        assert!(!pace.sampled(8_999, Seen::Active { written: PASS_BYTES }), "not again before it has rested as long");
        assert!(pace.sampled(9_000, Seen::Active { written: 0 }));
        pace.looked(11_000, with(0));
        assert!(!pace.sampled(11_000 + 99_000, Seen::Active { written: 0 }));
        assert!(pace.sampled(11_000 + 100_000, Seen::Active { written: 0 }));
    }

    #[test]
    fn looks_of_all_tasks_together_take_a_fiftieth_of_a_cpu_while_the_disk_goes_on_losing() {
        for (tasks, took_ms) in [(1, 4), (1_000, 50), (1_000, 0), (100, 5)] {
            let mut pace = Pace::new(64 * MIB, 1_000, 0);
            assert!(pace.sampled(5_000, Seen::Active { written: 0 }));
            pace.looked(5_000 + took_ms, with(1));
            let (mut now_ms, mut looks, until_ms) = (5_000 + took_ms, 0, 3_000_000);
            while now_ms < until_ms {
                now_ms += 100;
                pace.suspect(now_ms, tasks);
                if now_ms >= pace.due_ms() && pace.sampled(now_ms, Seen::Active { written: 1 }) {
                    now_ms += took_ms;
                    looks += 1;
                    pace.looked(now_ms, with(looks));
                }
            }
            let spent_ms = i64::try_from(looks).unwrap() * i64::from(tasks) * took_ms.max(1);
            assert!(looks > 0 && spent_ms <= until_ms / REST, "{tasks} tasks, {took_ms} ms: {spent_ms} ms");
        }
    }

    #[test]
    fn files_that_grow_fast_in_number_are_looked_at_when_they_may_be_too_many() {
        let mut pace = Pace::new(64 * MIB, 100_000, 0);
        assert!(pace.sampled(5_000, Seen::Active { written: 0 }));
        // A long look, after which 50 times as long would be waited.
        pace.looked(6_000, Found { bytes: 0, files: 60_000 });
        assert!(!pace.sampled(9_999, Seen::Active { written: 0 }));
        assert!(pace.due_ms() <= 10_050, "{}", pace.due_ms());
        assert!(pace.sampled(10_050, Seen::Active { written: 0 }));
        pace.looked(10_100, Found { bytes: 0, files: 60_000 });
        assert!(!pace.sampled(15_000, Seen::Active { written: 0 }), "no more have come");
    }
}
