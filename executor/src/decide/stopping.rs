//! Kills, the ladder, and the final processes. Not here: how a signal is sent.

use dawn_proto::v1::Reason;

use super::{Step, active};
use crate::model::{Effect, Lifecycle, LifecycleStep, Outcome, Phase, Record, Rung, Soft, Stage, Trigger, failure};

impl Step<'_> {
    /// The first kill decides the reason; a later one counts only with a shorter grace.
    pub(super) fn kill(&mut self, reason: Reason, grace_period_ms: Option<u64>) {
        let grace_period_ms = grace_period_ms.unwrap_or(self.plan.grace_period_ms);
        if self.state.kill.is_some_and(|kill| kill.grace_period_ms <= grace_period_ms) {
            return;
        }
        self.record(Record::KillBegun { reason, grace_period_ms, message: String::new() });
        let until_ms = self.now_ms.saturating_add_unsigned(grace_period_ms);
        match (self.state.stage, self.state.rung) {
            (Stage::Cleaning, Some((Rung::Graceful | Rung::Shutdown, _))) => {
                self.soft(Soft::Climbed { rung: Rung::Terminate, until_ms });
                self.act(Effect::Terminate);
            }
            (Stage::Cleaning, Some((Rung::Terminate, present_ms))) => {
                self.soft(Soft::Climbed { rung: Rung::Terminate, until_ms: until_ms.min(present_ms) });
            }
            (Stage::Finalizing, _) => {
                let until_ms = until_ms.min(self.state.finalize_until_ms.unwrap_or(i64::MAX));
                self.soft(Soft::FinalizeUntil { until_ms });
            }
            _ => {}
        }
    }

    /// A kill begins with the endpoints, everything else with SIGTERM. An executor that was started again goes on
    /// with SIGTERM, in what is left of the grace.
    pub(super) fn begin_cleaning(&mut self) {
        let first = match &self.state.kill {
            Some(_) if active::may_start(&self.state) => Rung::Graceful,
            _ => Rung::Terminate,
        };
        self.step_on(first);
    }

    /// Steps on the first rung from `rung` on that there is something to do on.
    fn step_on(&mut self, rung: Rung) {
        let mut rung = rung;
        loop {
            let wait_ms = match self.state.alive().next() {
                Some(_) => self.wait_ms(rung),
                None => None,
            };
            let (next, wait_ms) = match (wait_ms, rung.next()) {
                (Some(wait_ms), Some(_)) => (None, wait_ms),
                (_, next) => (next, 0),
            };
            match next {
                Some(next) => rung = next,
                None => return self.stand_on(rung, wait_ms),
            }
        }
    }

    fn stand_on(&mut self, rung: Rung, wait_ms: u64) {
        let kill_began_ms = self.state.kill.map_or(self.now_ms, |kill| kill.begun_at_ms);
        // After a restart the grace counts from the kill, not from the restart.
        let from_ms = if active::may_start(&self.state) { self.now_ms } else { kill_began_ms };
        match rung {
            Rung::Sweep => {
                if self.state.alive().next().is_some() {
                    self.soft(Soft::Forced);
                }
                self.soft(Soft::Climbed { rung, until_ms: i64::MAX });
                self.act(Effect::Sweep);
            }
            _ => {
                self.soft(Soft::Climbed { rung, until_ms: from_ms.saturating_add_unsigned(wait_ms) });
                self.act(match rung {
                    Rung::Graceful => Effect::Post(LifecycleStep::Graceful),
                    Rung::Shutdown => Effect::Post(LifecycleStep::Shutdown),
                    _ => Effect::Terminate,
                });
            }
        }
    }

    /// How long the task may stay on a rung; None: there is nothing to do on it.
    fn wait_ms(&self, rung: Rung) -> Option<u64> {
        let asked = |path: fn(&Lifecycle) -> (&str, u64)| {
            let (path, wait_ms) = path(self.plan.lifecycle.as_ref()?);
            (!path.is_empty()).then_some(wait_ms)
        };
        match rung {
            Rung::Graceful => asked(|lifecycle| (&lifecycle.graceful_path, lifecycle.graceful_wait_ms)),
            Rung::Shutdown => asked(|lifecycle| (&lifecycle.shutdown_path, lifecycle.shutdown_wait_ms)),
            Rung::Terminate => Some(self.state.kill.map_or(self.plan.grace_period_ms, |kill| kill.grace_period_ms)),
            Rung::Sweep => None,
        }
    }

    /// Climbs when the time of a rung is up, or straight to the sweep when no process is left.
    pub(super) fn climb(&mut self) {
        match self.state.rung {
            Some((Rung::Sweep, _)) | None => {}
            Some(_) if self.state.alive().next().is_none() => self.step_on(Rung::Sweep),
            Some((rung, until_ms)) if until_ms <= self.now_ms => {
                if let Some(next) = rung.next() {
                    self.step_on(next);
                    // A rung without a wait is left at once.
                    self.climb();
                }
            }
            Some(_) => {}
        }
    }

    pub(super) fn emptied(&mut self) {
        match self.state.stage {
            Stage::Cleaning if self.state.alive().next().is_none() => {
                if self.has_finals() {
                    self.enter(Trigger::Emptied);
                } else {
                    self.end();
                }
            }
            Stage::Closing if self.state.alive().next().is_none() => self.end(),
            _ => {}
        }
    }

    fn has_finals(&self) -> bool {
        active::may_start(&self.state) && self.plan.processes.iter().any(|process| process.is_final)
    }

    /// Final processes run like any others, until done or out of time.
    pub(super) fn advance_finalizing(&mut self) {
        let expired = self.state.finalize_until_ms.is_some_and(|until_ms| until_ms <= self.now_ms);
        if !expired {
            self.start_due();
        }
        let waiting = active::next_start_ms(self.plan, &self.state).is_some();
        if expired || (self.state.alive().next().is_none() && !waiting) {
            self.enter(Trigger::Finalized);
            self.act(Effect::Sweep);
        }
    }

    /// What the final processes leave of a task that finished: it fails after all when too many of them did not
    /// succeed, and is lost when an executor's death kept them from running.
    pub(super) fn outcome_of_finals(&self) -> Outcome {
        let phase = |i: usize| self.state.processes[i].phase;
        let counted = || self.plan.processes.iter().enumerate().filter(|(_, rules)| !rules.ephemeral);
        let finals = || counted().filter(|(_, rules)| rules.is_final);
        if !active::may_start(&self.state)
            && let Some((_, last)) = finals().find(|(i, _)| !matches!(phase(*i), Phase::Succeeded | Phase::Failed))
        {
            let message = format!("the executor died before final process {} was done", last.name);
            return Outcome::Lost { message };
        }
        let failed = counted().filter(|(i, _)| phase(*i) == Phase::Failed).count();
        match finals().find(|(i, _)| phase(*i) == Phase::Failed) {
            Some((cause, _)) if failed >= self.plan.max_failed_processes as usize => {
                failure(self.plan, &self.state, cause)
            }
            _ => Outcome::Finished,
        }
    }
}
