//! Starting processes in order, RUNNING, and health. Not here: stopping.

use dawn_proto::v1::{Reason, TaskState};

use super::Step;
use crate::model::{Effect, Ended, Phase, Plan, Record, Soft, Stage, State};

/// Failed health checks in a row after which a task that goes on says so.
const FIRST_TOLD: u32 = 3;

/// Processes of the present stage that wait for nothing but time, with that time.
fn due(plan: &Plan, state: &State) -> impl Iterator<Item = (usize, i64)> {
    let finals = state.stage == Stage::Finalizing;
    plan.processes.iter().enumerate().filter_map(move |(i, process)| {
        let own = &state.processes[i];
        let ready = own.phase == Phase::Waiting
            && process.is_final == finals
            && process.after.iter().all(|dep| state.processes[*dep].phase == Phase::Succeeded);
        let earliest_ms =
            own.last_start_ms.map_or(i64::MIN, |last| last.saturating_add_unsigned(process.min_duration_ms));
        ready.then_some((i, earliest_ms))
    })
}

/// Whether a process may be started at all. An executor that was started again starts nothing: what an earlier one
/// started, and had no time to write down, would run twice.
pub(super) fn may_start(state: &State) -> bool {
    state.generation <= 1
}

/// When the next process is to be started; None: never by time alone.
pub(super) fn next_start_ms(plan: &Plan, state: &State) -> Option<i64> {
    let room = may_start(state) && state.alive().count() < plan.max_concurrency;
    room.then(|| due(plan, state).map(|(_, at_ms)| at_ms).min()).flatten()
}

pub(super) fn deadline_ms(plan: &Plan, state: &State) -> Option<i64> {
    next_start_ms(plan, state).into_iter().chain(state.health.next_at_ms).min()
}

/// Failed checks of a task that was never healthy are told where it has patience for many: of the third in a row, and then
/// whenever they are twice as many.
fn is_to_be_told(failures: u32) -> bool {
    failures.is_multiple_of(FIRST_TOLD) && (failures / FIRST_TOLD).is_power_of_two()
}

impl Step<'_> {
    pub(super) fn advance_active(&mut self) {
        self.start_due();
        self.advance_running();
        self.advance_health();
        if !may_start(&self.state) && self.state.outcome.is_none() && self.state.alive().next().is_none() {
            let message = "the executor died before every process was started".to_string();
            self.soft(Soft::LostTrack { message });
        }
    }

    /// Starts what is due, within the limit on concurrency.
    pub(super) fn start_due(&mut self) {
        if !may_start(&self.state) {
            return;
        }
        let room = self.plan.max_concurrency.saturating_sub(self.state.alive().count());
        let now_ms = self.now_ms;
        let starting: Vec<usize> =
            due(self.plan, &self.state).filter(|(_, at_ms)| *at_ms <= now_ms).map(|(i, _)| i).take(room).collect();
        for process in starting {
            let run = self.state.processes[process].runs + 1;
            self.soft(Soft::Launching { process });
            self.act(Effect::Start { process, run });
        }
    }

    /// RUNNING once the first batch is started and, with a health check, healthy.
    fn advance_running(&mut self) {
        let launched = self.state.processes.iter().all(|process| process.phase != Phase::Launching)
            && self.state.processes.iter().any(|process| matches!(process.phase, Phase::Running { .. }));
        if self.state.task != TaskState::Starting || !launched {
            return;
        }
        match &self.plan.health {
            Some(health) if self.state.health.successes < health.min_successes => {}
            _ => self.report(TaskState::Running, Reason::None, String::new(), Ended::default()),
        }
    }

    fn advance_health(&mut self) {
        let Some(health) = &self.plan.health else { return };
        let launched = self.state.processes.iter().any(|process| matches!(process.phase, Phase::Running { .. }));
        let state = &self.state.health;
        match state.next_at_ms {
            None if !state.probing && launched => {
                let first_at_ms = self.now_ms.saturating_add_unsigned(health.initial_delay_ms);
                self.soft(Soft::HealthArmed { first_at_ms });
                self.probe_if_due();
            }
            Some(_) => self.probe_if_due(),
            None => {}
        }
    }

    fn probe_if_due(&mut self) {
        if self.state.health.next_at_ms.is_some_and(|at_ms| at_ms <= self.now_ms) {
            self.soft(Soft::ProbeBegun);
            self.act(Effect::Probe);
        }
    }

    pub(super) fn probed(&mut self, healthy: bool, snoozed: bool, detail: &str) {
        let Some(health) = &self.plan.health else { return };
        if !self.state.health.probing {
            return;
        }
        let next_at_ms = self.now_ms.saturating_add_unsigned(health.interval_ms);
        self.soft(Soft::Probed { healthy, snoozed, detail: detail.to_string(), next_at_ms });
        if healthy || snoozed {
            return;
        }
        let (failures, max_failures) = (self.state.health.failures, health.max_failures);
        let colon = if detail.is_empty() { "" } else { ": " };
        let times = dawn_proto::amounts::times_in_a_row(failures);
        let message = format!("health check failed {times}{colon}{detail}");
        if failures >= max_failures {
            self.fail(Reason::HealthCheck, message);
        } else if self.state.task == TaskState::Starting && self.state.outcome.is_none() && is_to_be_told(failures) {
            let message = format!("{message}; the task goes on until {max_failures} in a row have failed");
            self.report(TaskState::Starting, Reason::None, message, Ended::default());
        }
    }

    /// Ends the task by its ladder, as failed.
    pub(super) fn fail(&mut self, reason: Reason, message: String) {
        if self.state.outcome.is_none() {
            self.record(Record::KillBegun { reason, grace_period_ms: self.plan.grace_period_ms, message });
        }
    }
}
