//! When the clock follows, by how much, and what it says.

use super::*;
use crate::model::{AgentNo, LinkId};

const WALL: i64 = 1_800_000_000_000;
const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// A scheduler's machine, its clock, and what its agents' clocks show more than the true time.
struct Bench {
    clock: Clock,
    live: Live,
    ms: u64,
    /// The scheduler's wall clock is wrong by so much.
    off: i64,
    agents: Vec<i64>,
    /// The agents tell nothing, and stay connected.
    are_quiet: bool,
    shifts: Vec<Shift>,
    told: Option<Told>,
}

fn bench(last: Option<Timestamp>, agents: &[i64]) -> Bench {
    let live = Live::default();
    let (clock, agents) = (Clock::new(last), agents.into());
    Bench { clock, live, ms: 5_000_000, off: 0, agents, are_quiet: false, shifts: vec![], told: None }
}

fn fresh(agents: &[i64]) -> Bench {
    let mut bench = bench(None, agents);
    bench.pass(1);
    bench
}

impl Bench {
    fn true_wall(&self) -> i64 {
        WALL + self.ms.cast_signed()
    }

    fn pass(&mut self, seconds: u64) {
        for _ in 0..seconds * 4 {
            self.ms += 250;
            for (no, off) in self.agents.iter().enumerate() {
                let (agent, link) = (AgentNo(no as u32), LinkId(no as u64));
                self.live.bind(link, agent, self.ms);
                let wall = Timestamp(self.true_wall() + off);
                if !self.are_quiet {
                    self.live.told_wall(link, wall, self.ms);
                }
            }
            let wall = Timestamp(self.true_wall() + self.off);
            let reading = Reading { wall, mono_ms: self.ms, boot_ms: self.ms };
            let told = self.clock.tell(reading, &self.live, &State::default());
            self.shifts.extend(told.shift);
            self.told = Some(told);
        }
    }

    /// How far the clock is from the true time.
    fn wrong(&self) -> i64 {
        self.told.as_ref().unwrap().now.wall.0 - self.true_wall()
    }

    fn trouble(&self) -> String {
        self.told.as_ref().unwrap().trouble.clone().unwrap_or_default()
    }

    fn cron_waits(&self) -> bool {
        let told = self.told.as_ref().unwrap();
        told.cron_hold.is_some_and(|hold| told.now.wall < hold.until)
    }
}

#[test]
fn a_large_step_that_is_taken_back_changes_nothing() {
    for off in [3 * DAY, -3 * DAY, MINUTE + 1_000] {
        let mut bench = fresh(&[0, 0, 0]);
        bench.off = off;
        bench.pass(2);
        assert!(bench.wrong() == 0 && bench.trouble().contains("was set"), "{}", bench.trouble());
        bench.off = 0;
        bench.pass(300);
        assert_eq!((bench.wrong(), bench.shifts.len(), bench.trouble().as_str()), (0, 0, ""));
    }
}

#[test]
fn a_large_step_is_followed_once_it_has_stood_for_a_minute_and_the_agents_agree() {
    for off in [3 * DAY, -2 * HOUR] {
        let mut bench = fresh(&[off, off, 0]);
        bench.off = off;
        bench.pass(59);
        assert_eq!((bench.wrong(), bench.shifts.len()), (0, 0));
        bench.pass(2);
        assert_eq!((bench.wrong(), &bench.shifts[..]), (off, &[Shift { by_ms: off, after: Timestamp(0) }][..]));
        assert!(bench.trouble().contains("Dawn's clock with it"), "{}", bench.trouble());
        bench.pass(600);
        assert_eq!(bench.trouble(), "");
    }
}

#[test]
fn agents_that_disagree_keep_a_step_away_and_never_make_one() {
    let mut bench = fresh(&[0, 0, 2 * HOUR]);
    bench.off = 2 * HOUR;
    bench.pass(600);
    assert_eq!((bench.wrong(), bench.shifts.len()), (0, 0));
    assert!(bench.trouble().contains("(3 told theirs) don't agree"), "{}", bench.trouble());
    // However many lie: this scheduler's own clock must say the same.
    let mut bench = fresh(&[2 * HOUR, 2 * HOUR, i64::MAX / 2, i64::MIN / 2]);
    bench.pass(600);
    assert_eq!((bench.wrong(), bench.shifts.len()), (0, 0));
}

#[test]
fn one_of_two_agents_cannot_decide_alone() {
    let mut bench = fresh(&[0, 3 * DAY]);
    bench.off = 3 * DAY;
    bench.pass(120);
    assert_eq!((bench.shifts.len(), bench.wrong()), (0, 0));
    assert!(bench.trouble().contains("(2 told theirs) don't agree"), "{}", bench.trouble());
    bench.agents = vec![3 * DAY, 3 * DAY];
    bench.pass(1);
    assert_eq!(bench.shifts.len(), 1);
}

#[test]
fn agents_that_have_not_told_lately_are_no_agreement() {
    let mut bench = fresh(&[0]);
    bench.are_quiet = true;
    bench.off = 3 * DAY;
    bench.pass(300);
    assert_eq!((bench.shifts.len(), bench.wrong()), (0, 0));
    assert!(bench.trouble().contains("follows when an agent has told its own again"), "{}", bench.trouble());
    bench.agents = vec![3 * DAY];
    bench.are_quiet = false;
    bench.pass(1);
    assert_eq!(bench.shifts.len(), 1);
}

#[test]
fn without_agents_a_step_that_has_stood_is_followed() {
    let mut bench = fresh(&[]);
    bench.off = -HOUR;
    bench.pass(62);
    assert_eq!(bench.wrong(), -HOUR);
}

#[test]
fn a_step_that_does_not_stand_still_is_not_followed() {
    let mut bench = fresh(&[]);
    for minute in 0..20 {
        bench.off = HOUR + minute * 10_000;
        bench.pass(30);
    }
    assert_eq!((bench.wrong(), bench.shifts.len()), (0, 0));
}

#[test]
fn a_step_within_a_minute_is_followed_at_once_but_not_often() {
    let mut bench = fresh(&[0]);
    bench.off = -40_000;
    bench.pass(2);
    assert_eq!((bench.wrong(), bench.shifts.len()), (-40_000, 1));
    for step in 0..20 {
        bench.off = step % 2 * 20_000;
        bench.pass(3);
    }
    assert!(bench.shifts.len() <= 7, "{}", bench.shifts.len());
}

#[test]
fn less_than_a_second_is_followed_by_running_faster_or_slower_and_never_backwards() {
    for off in [900, -900] {
        let mut bench = fresh(&[0]);
        bench.off = off;
        let mut before = bench.told.as_ref().unwrap().now.wall;
        for _ in 0..25 {
            bench.pass(1);
            let now = bench.told.as_ref().unwrap().now.wall;
            assert!((950..=1_050).contains(&now.since_ms(before)), "{}", now.since_ms(before));
            before = now;
        }
        assert_eq!((bench.wrong(), bench.shifts.len()), (off, 0));
    }
}

/// The last record was made so long before the leader begins.
fn took_over(ago: i64, agents: &[i64]) -> Bench {
    let mut bench = bench(None, agents);
    let last = Timestamp(bench.true_wall() - ago);
    bench.clock = Clock::new(Some(last));
    bench
}

#[test]
fn a_minute_without_a_record_has_passed() {
    let mut bench = took_over(MINUTE - 1_000, &[]);
    bench.pass(1);
    assert_eq!((bench.wrong(), bench.shifts.len(), bench.cron_waits()), (0, 0, false));
}

#[test]
fn more_has_passed_when_the_agents_agree_and_nothing_noted_before_moves() {
    let mut bench = took_over(HOUR, &[0, 0]);
    let last = bench.true_wall() - HOUR;
    bench.pass(1);
    assert_eq!(bench.wrong(), 0);
    assert_eq!(bench.shifts, [Shift { by_ms: HOUR + 249, after: Timestamp(last) }]);
    assert!(bench.cron_waits());
    bench.pass(60);
    assert!(!bench.cron_waits());
    // Nobody to ask.
    let mut bench = took_over(HOUR, &[]);
    bench.pass(59);
    assert_eq!((bench.wrong(), bench.trouble().as_str()), (-HOUR - 249, ""));
    bench.pass(2);
    assert_eq!((bench.wrong(), bench.shifts[0].after), (0, Timestamp(last)));
}

#[test]
fn a_scheduler_that_was_down_does_not_say_that_its_clock_was_set() {
    // Down for five minutes, or another leader whose clock is a little behind the last one's: all is well.
    for ago in [5 * MINUTE + 18_000, HOUR, -20_000, -3_000] {
        for agents in [&[0, 0][..], &[]] {
            let mut bench = took_over(ago, agents);
            for _ in 0..700 {
                bench.pass(1);
                assert_eq!(bench.trouble(), "", "the last record was {ago} ms ago");
            }
            assert_eq!(bench.wrong(), 0);
        }
    }
}

#[test]
fn a_real_step_is_told_until_a_minute_after_it_was_followed() {
    let mut bench = fresh(&[2 * HOUR, 2 * HOUR]);
    bench.off = 2 * HOUR;
    bench.pass(100);
    assert!(bench.trouble().contains("was set forward by 2h, and Dawn's clock with it"), "{}", bench.trouble());
    bench.pass(25);
    assert_eq!(bench.trouble(), "");
}

#[test]
fn a_new_leader_with_a_wrong_clock_goes_on_from_the_last_record() {
    for off in [2 * HOUR, -2 * HOUR] {
        let mut bench = took_over(5_000, &[0, 0, 0]);
        bench.off = off;
        bench.pass(600);
        assert_eq!((bench.wrong(), bench.shifts.len()), (-5_249, 0));
        assert!(bench.trouble().contains("don't agree") && !bench.cron_waits(), "{}", bench.trouble());
        bench.off = 0;
        bench.pass(12);
        assert_eq!(bench.wrong(), 0);
    }
}

#[test]
fn a_last_record_that_lies_ahead_is_gone_back_from_when_the_agents_agree() {
    let mut bench = took_over(-3 * DAY, &[0, 0, 0]);
    bench.pass(59);
    assert!(bench.wrong() > 2 * DAY && bench.cron_waits());
    bench.pass(2);
    assert_eq!((bench.wrong(), bench.shifts.len(), bench.shifts[0].after), (0, 1, Timestamp(0)));
    assert!(!bench.cron_waits());
}

#[test]
fn spans_are_told_in_their_two_largest_units() {
    let told: Vec<String> = [5_000, 61_000, 2 * HOUR + MINUTE, 3 * DAY + HOUR].map(span).into();
    assert_eq!(told, ["5s", "1m1s", "2h1m", "3d1h"]);
    assert!(way(-5_000) == "back by 5s" && than(-HOUR) == "1h behind");
}

#[test]
fn a_step_is_told_to_the_nearest_of_its_two_largest_units() {
    for (ms, said) in [
        (7_199_605, "2h"),
        (-7_200_400, "2h"),
        (259_199_700, "3d"),
        (90_000, "1m30s"),
        (59_700, "1m"),
        (-500, "1s"),
        (3_690_000, "1h2m"),
        (90_000_000, "1d1h"),
    ] {
        assert_eq!(span(ms), said, "{ms}");
    }
}
