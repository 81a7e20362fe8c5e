//! How a kill goes on: when the executor is told again, and when the agent kills by itself.

use dawn_proto::v1::Reason;

use crate::model::{HeldTask, KillProgress};

/// Beyond grace and ladder the executor has this long before the agent kills the cgroup itself.
const EXECUTOR_MARGIN_MS: u64 = 10_000;
/// After the cgroup was killed the executor has this long to report it before it is killed too.
const AFTER_FORCE_MS: u64 = 5_000;
/// An order is told again to an executor whose log does not show it.
const TELL_AGAIN_MS: u64 = 1_000;

/// What is due now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    Nothing,
    Tell,
    Force,
    KillExecutor,
}

/// Takes an order in: a shorter grace wins over the one under way. True when the executor must be told.
pub fn order(task: &mut HeldTask, reason: Reason, grace_period_ms: Option<u64>, now_ms: u64) -> bool {
    let effective = |wish: Option<u64>| wish.unwrap_or(task.grace_period_ms);
    let force_at_ms = now_ms
        .saturating_add(effective(grace_period_ms))
        .saturating_add(task.ladder_ms)
        .saturating_add(EXECUTOR_MARGIN_MS);
    let tell_at_ms = now_ms + TELL_AGAIN_MS;
    match &mut task.kill {
        Some(kill)
            if force_at_ms >= kill.force_at_ms || effective(kill.grace_period_ms) <= effective(grace_period_ms) =>
        {
            false
        }
        Some(kill) => {
            kill.grace_period_ms = grace_period_ms;
            kill.force_at_ms = force_at_ms;
            kill.tell_at_ms = tell_at_ms;
            true
        }
        None => {
            let (begun, forced_at_ms) = (false, None);
            task.kill = Some(KillProgress { reason, grace_period_ms, begun, tell_at_ms, force_at_ms, forced_at_ms });
            true
        }
    }
}

/// A kill that an earlier life of the agent relayed: the executor has begun, and is given its whole time once more.
pub fn resumed(reason: Reason, grace_period_ms: u64, ladder_ms: u64, now_ms: u64) -> KillProgress {
    let force_at_ms =
        now_ms.saturating_add(grace_period_ms).saturating_add(ladder_ms).saturating_add(EXECUTOR_MARGIN_MS);
    KillProgress { reason, grace_period_ms: None, begun: true, tell_at_ms: now_ms, force_at_ms, forced_at_ms: None }
}

/// What is due, noting that it is done.
pub fn due(kill: &mut KillProgress, now_ms: u64) -> Due {
    match kill.forced_at_ms {
        Some(at) if now_ms >= at.saturating_add(AFTER_FORCE_MS) => {
            kill.forced_at_ms = Some(now_ms);
            Due::KillExecutor
        }
        Some(_) => Due::Nothing,
        None if now_ms >= kill.force_at_ms => {
            kill.forced_at_ms = Some(now_ms);
            Due::Force
        }
        None if !kill.begun && now_ms >= kill.tell_at_ms => {
            kill.tell_at_ms = now_ms + TELL_AGAIN_MS;
            Due::Tell
        }
        None => Due::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use dawn_proto::{TaskId, TaskState, Timestamp};

    use super::*;
    use crate::model::{Phase, Report};

    fn task(grace_period_ms: u64, ladder_ms: u64) -> HeldTask {
        HeldTask {
            id: TaskId(1),
            job: String::new(),
            phase: Phase::Live,
            demand: Default::default(),
            ports: Vec::new(),
            limits: Default::default(),
            identity: Default::default(),
            grace_period_ms,
            ladder_ms,
            at_most_one: false,
            artifacts: Vec::new(),
            record: None,
            on_disk: true,
            heard: 1,
            last: Report::new(TaskId(1), 1, TaskState::Running, Timestamp(0), Reason::None, ""),
            verdict: None,
            withheld: None,
            unacked: Default::default(),
            resend_at_ms: 0,
            kill: None,
            processes: Default::default(),
            released: false,
            ended_ms: None,
            cleaned: false,
            bytes: 0,
        }
    }

    #[test]
    fn the_executor_is_told_until_its_log_shows_it_then_forced_then_killed() {
        let mut task = task(5_000, 2_000);
        assert!(order(&mut task, Reason::UserRequest, None, 100));
        let kill = task.kill.as_mut().unwrap();
        assert_eq!(kill.force_at_ms, 17_100);
        assert_eq!(due(kill, 1_099), Due::Nothing);
        assert_eq!(due(kill, 1_100), Due::Tell);
        assert_eq!(due(kill, 1_101), Due::Nothing);
        kill.begun = true;
        assert_eq!(due(kill, 5_000), Due::Nothing);
        assert_eq!(due(kill, 17_100), Due::Force);
        assert_eq!(due(kill, 17_101), Due::Nothing);
        assert_eq!(due(kill, 22_100), Due::KillExecutor);
        assert_eq!(due(kill, 22_101), Due::Nothing);
    }

    #[test]
    fn a_shorter_grace_wins_and_a_longer_or_equal_one_changes_nothing() {
        let mut task = task(5_000, 0);
        assert!(order(&mut task, Reason::UserRequest, None, 0));
        assert!(!order(&mut task, Reason::NodeDrain, None, 10), "a repeat");
        assert!(!order(&mut task, Reason::NodeDrain, Some(9_000), 10));
        let before = task.kill.clone().unwrap();
        assert_eq!((before.reason, before.force_at_ms), (Reason::UserRequest, 15_000));
        assert!(order(&mut task, Reason::Preempted, Some(0), 10));
        assert_eq!(task.kill.unwrap().force_at_ms, 10_010);
    }

    #[test]
    fn absurd_periods_do_not_overflow() {
        let mut task = task(u64::MAX, u64::MAX);
        assert!(order(&mut task, Reason::UserRequest, None, 5));
        assert_eq!(task.kill.unwrap().force_at_ms, u64::MAX);
    }
}
