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
    Tell,
    Force,
    KillExecutor,
}

/// The kill as it goes on after an order: a shorter grace wins over the one under way. None: the order changes nothing,
/// and the executor need not be told.
pub fn order(task: &HeldTask, reason: Reason, grace_period_ms: Option<u64>, now_ms: u64) -> Option<KillProgress> {
    let effective = |wish: Option<u64>| wish.unwrap_or(task.plan.grace_period_ms);
    let force_at_ms = now_ms
        .saturating_add(effective(grace_period_ms))
        .saturating_add(task.plan.ladder_ms)
        .saturating_add(EXECUTOR_MARGIN_MS);
    let tell_at_ms = now_ms.saturating_add(TELL_AGAIN_MS);
    match &task.kill {
        Some(kill)
            if force_at_ms >= kill.force_at_ms || effective(kill.grace_period_ms) <= effective(grace_period_ms) =>
        {
            None
        }
        Some(kill) => Some(KillProgress { grace_period_ms, force_at_ms, tell_at_ms, ..kill.clone() }),
        None => {
            let (begun, forced_at_ms) = (false, None);
            Some(KillProgress { reason, grace_period_ms, begun, tell_at_ms, force_at_ms, forced_at_ms })
        }
    }
}

/// A kill that an earlier life of the agent relayed: the executor has begun, and is given its whole time once more.
pub fn resumed(reason: Reason, grace_period_ms: u64, ladder_ms: u64, now_ms: u64) -> KillProgress {
    let force_at_ms =
        now_ms.saturating_add(grace_period_ms).saturating_add(ladder_ms).saturating_add(EXECUTOR_MARGIN_MS);
    KillProgress { reason, grace_period_ms: None, begun: true, tell_at_ms: now_ms, force_at_ms, forced_at_ms: None }
}

/// What is due, and the kill as it is once that is done. None: nothing is.
pub fn due(kill: &KillProgress, now_ms: u64) -> Option<(Due, KillProgress)> {
    let forced = KillProgress { forced_at_ms: Some(now_ms), ..kill.clone() };
    match kill.forced_at_ms {
        Some(at) if now_ms >= at.saturating_add(AFTER_FORCE_MS) => Some((Due::KillExecutor, forced)),
        Some(_) => None,
        None if now_ms >= kill.force_at_ms => Some((Due::Force, forced)),
        None if !kill.begun && now_ms >= kill.tell_at_ms => {
            Some((Due::Tell, KillProgress { tell_at_ms: now_ms.saturating_add(TELL_AGAIN_MS), ..kill.clone() }))
        }
        None => None,
    }
}

#[cfg(test)]
mod tests {
    use dawn_proto::{TaskId, Timestamp};

    use super::*;
    use crate::model::{Stage, TaskPlan};

    fn task(grace_period_ms: u64, ladder_ms: u64) -> HeldTask {
        let plan = TaskPlan { grace_period_ms, ladder_ms, ..TaskPlan::default() };
        HeldTask::new(TaskId(1), plan, Stage::Live, Timestamp(0))
    }

    /// Takes an order in; whether the executor is told.
    fn ordered(task: &mut HeldTask, reason: Reason, grace_period_ms: Option<u64>, now_ms: u64) -> bool {
        let kill = order(task, reason, grace_period_ms, now_ms);
        let is_told = kill.is_some();
        task.kill = kill.or(task.kill.take());
        is_told
    }

    /// Does what is due.
    fn done(task: &mut HeldTask, now_ms: u64) -> Option<Due> {
        let (due, kill) = due(task.kill.as_ref().unwrap(), now_ms)?;
        task.kill = Some(kill);
        Some(due)
    }

    #[test]
    fn the_executor_is_told_until_its_log_shows_it_then_forced_then_killed() {
        let mut task = task(5_000, 2_000);
        assert!(ordered(&mut task, Reason::UserRequest, None, 100));
        assert_eq!(task.kill.as_ref().unwrap().force_at_ms, 17_100);
        assert_eq!(done(&mut task, 1_099), None);
        assert_eq!(done(&mut task, 1_100), Some(Due::Tell));
        assert_eq!(done(&mut task, 1_101), None);
        task.kill.as_mut().unwrap().begun = true;
        assert_eq!(done(&mut task, 5_000), None);
        assert_eq!(done(&mut task, 17_100), Some(Due::Force));
        assert_eq!(done(&mut task, 17_101), None);
        assert_eq!(done(&mut task, 22_100), Some(Due::KillExecutor));
        assert_eq!(done(&mut task, 22_101), None);
    }

    #[test]
    fn a_shorter_grace_wins_and_a_longer_or_equal_one_changes_nothing() {
        let mut task = task(5_000, 0);
        assert!(ordered(&mut task, Reason::UserRequest, None, 0));
        assert!(!ordered(&mut task, Reason::NodeDrain, None, 10), "a repeat");
        assert!(!ordered(&mut task, Reason::NodeDrain, Some(9_000), 10));
        let before = task.kill.clone().unwrap();
        assert_eq!((before.reason, before.force_at_ms), (Reason::UserRequest, 15_000));
        assert!(ordered(&mut task, Reason::Preempted, Some(0), 10));
        assert_eq!(task.kill.unwrap().force_at_ms, 10_010);
    }

    #[test]
    fn absurd_periods_do_not_overflow() {
        let mut task = task(u64::MAX, u64::MAX);
        assert!(ordered(&mut task, Reason::UserRequest, None, 5));
        assert_eq!(task.kill.unwrap().force_at_ms, u64::MAX);
    }
}
