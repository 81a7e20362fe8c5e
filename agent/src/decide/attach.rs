//! What a starting agent does with each task it finds.
//!
//! An executor is started only while the task's event log is empty and only by who holds the lock that every executor
//! carries for life. An executor writes its first event before it starts anything, so an empty log
//! and a free lock together mean that nothing of the task runs or ever ran, and starting it is not starting it twice.

use dawn_proto::v1::Reason;
use dawn_proto::{TaskState, Timestamp};

use crate::model::{ExecutorProbe, Recovered};

/// What is done with a found task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attach {
    /// It ended: keep it for its log, and its report until acknowledged.
    Over,
    /// Its executor lives or is coming up: watch it.
    Watch,
    /// Its launch was cut short before anything ran: go on with it.
    Resume,
    /// It can't have lived on.
    Lost { reason: Reason, message: String },
    /// Its launch was cut short before it was checkpointed: it never was.
    Forget,
}

/// Clocks are set back by so much all the time.
const SET_BACK_MS: u64 = 1_000;

/// Judges a found task. A launch older than `resume_within_ms` is not resumed: the leader may have replaced it already.
pub fn verdict(found: &Recovered, rebooted: bool, now: Timestamp, resume_within_ms: u64) -> Attach {
    let terminal = |state: TaskState| state.is_terminal();
    if found.verdict.is_some() || found.last.as_ref().is_some_and(|report| terminal(report.state)) {
        return Attach::Over;
    }
    if found.record.is_none() && found.executor == ExecutorProbe::NeverStarted {
        return Attach::Forget;
    }
    if rebooted {
        return lost(Reason::AgentRebooted, "the machine was rebooted");
    }
    if found.record.is_none() {
        return lost(Reason::ExecutorLost, "the task's checkpoint can't be read");
    }
    match found.executor {
        ExecutorProbe::Alive | ExecutorProbe::Booting => Attach::Watch,
        ExecutorProbe::Dead => lost(Reason::ExecutorLost, "the executor died while the agent was away"),
        // One of the future is of any age: the clock was set back since.
        ExecutorProbe::NeverStarted
            if now.since_ms(found.checkpointed_at) <= resume_within_ms
                && found.checkpointed_at.since_ms(now) <= SET_BACK_MS =>
        {
            Attach::Resume
        }
        ExecutorProbe::NeverStarted => {
            lost(Reason::LaunchRefused, "the agent was away for too long between accepting the launch and starting it")
        }
    }
}

fn lost(reason: Reason, message: &str) -> Attach {
    Attach::Lost { reason, message: message.to_string() }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use dawn_proto::TaskId;

    use super::*;
    use crate::model::{Report, TaskPlan};

    fn found(executor: ExecutorProbe, readable: bool, ended: bool) -> Recovered {
        let report = Report::new(TaskId(1), 3, TaskState::Finished, Timestamp(5), Reason::None, "");
        Recovered {
            task: TaskId(1),
            record: readable.then(TaskPlan::default),
            checkpointed_at: Timestamp(1_000),
            executor,
            heard: if matches!(executor, ExecutorProbe::NeverStarted | ExecutorProbe::Booting) { 0 } else { 3 },
            last: ended.then_some(report),
            kill_begun: None,
            processes: BTreeMap::new(),
            verdict: None,
            released: false,
        }
    }

    fn reason(attach: &Attach) -> Option<Reason> {
        if let Attach::Lost { reason, .. } = attach { Some(*reason) } else { None }
    }

    #[test]
    fn nothing_is_resumed_unless_nothing_ever_ran_and_nothing_is_forgotten_that_may_run() {
        for executor in ExecutorProbe::ALL {
            for readable in [true, false] {
                for ended in [true, false] {
                    for rebooted in [true, false] {
                        for age_ms in [-1_001, -1_000, 0, 100, 101] {
                            let task = found(executor, readable, ended);
                            let attach = verdict(&task, rebooted, Timestamp(1_000 + age_ms), 100);
                            let case = format!("{executor:?} {readable} {ended} {rebooted} {age_ms}: {attach:?}");
                            let never = executor == ExecutorProbe::NeverStarted;
                            let fresh = (-1_000..=100).contains(&age_ms);
                            let resume = never && readable && fresh && !ended && !rebooted;
                            assert_eq!(attach == Attach::Resume, resume, "{case}");
                            assert_eq!(attach == Attach::Forget, never && !readable && !ended, "{case}");
                            assert_eq!(attach == Attach::Over, ended, "{case}");
                            let up = matches!(executor, ExecutorProbe::Alive | ExecutorProbe::Booting);
                            assert_eq!(attach == Attach::Watch, up && readable && !ended && !rebooted, "{case}");
                            if rebooted && !ended && attach != Attach::Forget {
                                assert_eq!(reason(&attach), Some(Reason::AgentRebooted), "{case}");
                            }
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn the_agents_own_verdict_stands() {
        let mut task = found(ExecutorProbe::Dead, true, false);
        assert_eq!(reason(&verdict(&task, false, Timestamp(0), 0)), Some(Reason::ExecutorLost));
        task.verdict = Some(Report::new(TaskId(1), 4, TaskState::Killed, Timestamp(5), Reason::UserRequest, ""));
        assert_eq!(verdict(&task, false, Timestamp(0), 0), Attach::Over);
    }
}
