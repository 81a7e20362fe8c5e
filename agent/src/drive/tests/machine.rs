//! One task's directory on the simulated machine, and what runs of it: they survive the agent's crashes.

use std::collections::BTreeMap;

use dawn_proto::v1::Reason;
use dawn_proto::{TaskId, TaskState, Timestamp};

use super::world::demand;
use crate::model::{ExecutorEvent, ExecutorProbe, ProcessIdentity, Recovered, Report, TaskPlan};

/// One task directory and what runs of it.
#[derive(Clone, Debug, Default)]
pub struct Dir {
    pub plan: bool,
    pub events: Vec<ExecutorEvent>,
    pub verdict: Option<Report>,
    pub released: bool,
    pub group: bool,
    pub executor: bool,
    pub process: bool,
    /// How often an executor was started for it.
    pub starts: u32,
    /// How often its process was started.
    pub runs: u32,
    pub kill: Option<Reason>,
    /// Highest sequence passed on to the living agent; None: nobody watches.
    pub watched: Option<u64>,
}

impl Dir {
    pub fn is_over(&self) -> bool {
        self.events.last().is_some_and(ExecutorEvent::is_terminal)
    }

    fn write(&mut self, state: Option<TaskState>) {
        let sequence = self.events.len() as u64 + 1;
        let reason = self.kill.filter(|_| state.is_some_and(TaskState::is_terminal)).unwrap_or(Reason::None);
        self.events.push(match (state, sequence) {
            (Some(state), _) => {
                let message = String::new();
                ExecutorEvent::Changed { sequence, at: Timestamp(1), state, reason, message, ended: None }
            }
            (None, 1) => ExecutorEvent::Started { sequence, identity: ProcessIdentity { pid: 9, start_ticks: 9 } },
            (None, _) => ExecutorEvent::KillBegun { sequence, reason },
        });
    }

    /// The executor's next step, if it has one.
    pub fn progress(&mut self) -> bool {
        if !self.executor {
            return false;
        }
        match (self.events.len(), self.kill) {
            (0, _) => self.write(None),
            (1, _) => self.write(Some(TaskState::Starting)),
            (2, _) => {
                self.process = true;
                self.runs += 1;
                self.write(Some(TaskState::Running));
            }
            (_, Some(_)) => {
                self.process = false;
                self.write(Some(TaskState::Killed));
                self.executor = false;
            }
            _ => return false,
        }
        true
    }
}

/// The directory as a starting agent finds it.
pub fn found(task: TaskId, dir: &Dir) -> Recovered {
    let last = dir.events.iter().rev().find_map(|event| match event {
        ExecutorEvent::Changed { sequence, at, state, reason, message, ended } => {
            let report = Report::new(task, *sequence, *state, *at, *reason, message);
            Some(Report { ended: ended.clone(), ..report })
        }
        _ => None,
    });
    Recovered {
        task,
        record: dir.plan.then(|| TaskPlan { demand: demand(), grace_period_ms: 1_000, ..TaskPlan::default() }),
        checkpointed_at: Timestamp(1_000_000),
        executor: match (dir.executor, dir.events.is_empty()) {
            (true, true) => ExecutorProbe::Booting,
            (true, false) => ExecutorProbe::Alive,
            (false, true) => ExecutorProbe::NeverStarted,
            (false, false) => ExecutorProbe::Dead,
        },
        heard: dir.events.len() as u64,
        last,
        kill_begun: None,
        processes: BTreeMap::new(),
        verdict: dir.verdict.clone(),
        released: dir.released,
    }
}
