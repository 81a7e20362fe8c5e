//! What time brings: heartbeats, a silent scheduler, reports not acknowledged, kills under way, space to make.

use tracing::{info, warn};

use super::Agent;
use super::life::RESEND_MS;
use crate::decide::stop::{self, Due};
use crate::decide::sweep;
use crate::model::{Effect, Message, Now, Observed, Phase};

/// Between two looks at how the agent stands.
const OBSERVE_EVERY_MS: u64 = 1_000;
/// Between two looks at what may be deleted.
const SWEEP_EVERY_MS: u64 = 10_000;

impl Agent {
    pub(super) fn on_tick(&mut self, now: Now) {
        if self.link.is_silent(now.mono_ms, self.memory.lease_ms) {
            warn!("the scheduler is silent; looking for another");
            self.hang_up(None, false);
        }
        if let Some(sequence) = self.link.beat(now.mono_ms) {
            self.lease.beating(sequence, now.mono_ms);
            self.send(Message::Heartbeat { sequence, wall: now.wall, welcome: self.memory.welcome });
        }
        if self.offer.readmit(now.mono_ms) {
            self.send(Message::Offer(self.offer.offer()));
        }
        self.resend_unacked(now, false);
        self.go_on_killing(now);
        self.begin_waiting(now);
        if now.mono_ms >= self.sweep_at_ms {
            self.sweep_at_ms = now.mono_ms + SWEEP_EVERY_MS;
            self.sweep(now);
        }
        if now.mono_ms >= self.observe_at_ms {
            self.observe_at_ms = now.mono_ms + OBSERVE_EVERY_MS;
            self.observe();
        }
    }

    fn observe(&mut self) {
        let mut observed = Observed {
            registered: self.link.registered_session().is_some(),
            total: self.offer.total.clone(),
            held: self.held.clone(),
            unacked: u32::try_from(self.unacked.len()).unwrap_or(u32::MAX),
            ..Observed::default()
        };
        for task in self.tasks.values() {
            *observed.states.entry(task.state()).or_default() += 1;
            if !task.is_living() && task.is_on_disk() {
                observed.sandboxes += 1;
                observed.sandbox_bytes = observed.sandbox_bytes.saturating_add(task.bytes());
            }
        }
        if observed != self.observed {
            self.observed.clone_from(&observed);
            self.effects.push(Effect::Observe(Box::new(observed)));
        }
    }

    /// Sends again what waits for its acknowledgement: what is due, or all of it.
    pub(super) fn resend_unacked(&mut self, now: Now, all: bool) {
        let mut due = Vec::new();
        for id in &self.unacked {
            let Some(task) = self.tasks.get_mut(id) else { continue };
            if all || task.resend_at_ms <= now.mono_ms {
                task.resend_at_ms = now.mono_ms + RESEND_MS;
                due.extend(task.unacked.iter().cloned());
            }
        }
        for report in due {
            self.report(report);
        }
    }

    fn go_on_killing(&mut self, now: Now) {
        for id in &self.killing {
            let Some(task) = self.tasks.get_mut(id).filter(|task| task.phase() == Phase::Live) else { continue };
            let processes = task.processes.identities();
            let Some((due, kill)) = task.kill.as_ref().and_then(|kill| stop::due(kill, now.mono_ms)) else { continue };
            let (reason, grace_period_ms) = (kill.reason, kill.grace_period_ms);
            task.kill = Some(kill);
            match due {
                Due::Tell => self.effects.push(Effect::TellKill { task: *id, reason, grace_period_ms }),
                Due::Force => {
                    warn!(task = %id, "the executor did not end the task in time; killing its processes");
                    self.effects.push(Effect::ForceKill { task: *id, processes });
                }
                Due::KillExecutor => {
                    warn!(task = %id, "the executor does not answer; killing it");
                    self.effects.push(Effect::KillExecutor { task: *id });
                }
            }
        }
    }

    fn sweep(&mut self, now: Now) {
        for id in sweep::victims(self.ended(), self.setup.keep, now.mono_ms.cast_signed()) {
            info!(task = %id, "removing its directory");
            self.remove(id);
        }
    }
}
