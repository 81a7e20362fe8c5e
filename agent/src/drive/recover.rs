//! A starting agent: what it remembers and finds becomes its state, and each found task gets its verdict.

use dawn_proto::TaskState;
use dawn_proto::v1::Reason;
use tracing::{info, warn};

use super::leader::Link;
use super::lease::Lease;
use super::life::MOST_WITH_WORDS;
use super::{Agent, Setup};
use crate::decide::attach::{self, Attach};
use crate::decide::stop;
use crate::model::{Effect, Ending, HeldTask, Memory, Now, Recovered, Remains, Report, Stage, TaskPlan, last_sequence};

/// Within this time a launch cut short is resumed, if the leader never told its lease.
const DEFAULT_LEASE_MS: u64 = 10_000;

/// A directory found at the start stays for so long, however old it seems.
const FOUND_KEPT_MS: u64 = 600_000;

impl Agent {
    /// An agent with what an earlier life of it left. The effects come before those of any step.
    pub fn new(setup: Setup, memory: Memory, found: Vec<Recovered>, now: Now) -> (Agent, Vec<Effect>) {
        let rebooted = memory.is_of_another_boot(&setup.boot_id);
        let wall_ms = u64::try_from(now.wall.0).unwrap_or(0);
        let offer_epoch = wall_ms.max(memory.offer_epoch.saturating_add(1));
        let memory = Memory { agent_id: setup.agent_id.to_string(), offer_epoch, ..memory };
        let resume_within_ms = if memory.lease_ms == 0 { DEFAULT_LEASE_MS } else { memory.lease_ms };
        let mut offer = setup.offer.clone();
        offer.epoch = offer_epoch;
        let mut agent = Agent {
            setup,
            memory,
            offer,
            link: Link::Down,
            compared: false,
            lease: Lease::new(resume_within_ms, now.mono_ms),
            tasks: Default::default(),
            held: Default::default(),
            ports: Default::default(),
            gpus: Default::default(),
            living: 0,
            specs: Default::default(),
            spec_order: Default::default(),
            waiting: Default::default(),
            unacked: Default::default(),
            killing: Default::default(),
            forgotten: Default::default(),
            forgotten_order: Default::default(),
            reboot_verdicts: Default::default(),
            sweep_at_ms: now.mono_ms,
            space: Default::default(),
            draining: false,
            observe_at_ms: now.mono_ms,
            observed: Default::default(),
            effects: Vec::new(),
        };
        for one in found {
            agent.take_in(one, rebooted, resume_within_ms, now);
        }
        agent.remember_boot();
        let effects = std::mem::take(&mut agent.effects);
        (agent, effects)
    }

    fn take_in(&mut self, found: Recovered, rebooted: bool, resume_within_ms: u64, now: Now) {
        let verdict = attach::verdict(&found, rebooted, now.wall, resume_within_ms);
        let id = found.task;
        info!(task = %id, ?verdict, "found");
        if verdict == Attach::Forget {
            self.effects.push(Effect::Delete { task: id });
            return;
        }
        let heard = found.heard;
        if verdict == Attach::Over {
            return self.take_in_ended(found, now);
        }
        let stage = if verdict == Attach::Resume { Stage::Preparing } else { Stage::Live };
        let task = living(found, stage, now);
        let (limits, identity) = (task.plan.limits.clone(), task.plan.identity.clone());
        self.take_room(&task);
        if task.kill.is_some() {
            self.killing.insert(id);
        }
        self.tasks.insert(id, Box::new(task));
        match verdict {
            Attach::Watch => self.effects.push(Effect::Attach { task: id, heard }),
            Attach::Resume => self.effects.push(Effect::Prepare { task: id, limits, identity }),
            Attach::Lost { reason, message } => {
                warn!(task = %id, message, "lost");
                if rebooted {
                    self.reboot_verdicts.insert(id);
                }
                self.end(id, TaskState::Lost, reason, &message, now);
            }
            Attach::Over | Attach::Forget => {}
        }
    }

    /// Forgets the last boot once all it ended is durably so: a crash before must not take the dead for living.
    pub(super) fn remember_boot(&mut self) {
        if self.reboot_verdicts.is_empty() {
            self.memory.boot_id.clone_from(&self.setup.boot_id);
        }
        self.effects.push(Effect::Remember(self.memory.clone()));
    }

    fn take_in_ended(&mut self, found: Recovered, now: Now) {
        let (id, processes) = (found.task, found.processes.values().copied().collect());
        let mut task = ended(found, self.setup.keep.age_ms, now);
        let is_withheld = task.ending().is_some_and(|ending| ending.withheld.is_some());
        if !task.released && !is_withheld {
            let mut report = task.last.clone();
            if self.unacked.len() >= MOST_WITH_WORDS {
                report.forget_words();
            }
            task.unacked.push_back(report);
            self.unacked.insert(id);
        }
        task.last.forget_words();
        // Its end may have come while nobody watched: whatever is left of its group goes now.
        if self.setup.adds_what_is_left {
            self.space.found.insert(id);
        }
        self.effects.push(Effect::CleanUp { task: id, processes });
        self.tasks.insert(id, Box::new(task));
    }
}

/// The plan as found. What can't be read may be what must not live twice.
fn plan_of(record: Option<TaskPlan>) -> TaskPlan {
    record.unwrap_or_else(|| TaskPlan { at_most_one: true, ..TaskPlan::default() })
}

/// Where a found task's log says that it stands.
fn told(found: &Recovered, plan: &TaskPlan) -> Report {
    let base = last_sequence(plan.artifacts.len());
    match &found.last {
        Some(last) => Report { sequence: base.saturating_add(last.sequence), ..last.clone() },
        None => Report::new(found.task, 0, TaskState::Assigned, found.checkpointed_at, Reason::None, ""),
    }
}

/// A found task that is taken for living.
fn living(found: Recovered, stage: Stage, now: Now) -> HeldTask {
    let plan = plan_of(found.record.clone());
    let last = told(&found, &plan);
    let kill = found.kill_begun.map(|reason| stop::resumed(reason, plan.grace_period_ms, plan.ladder_ms, now.mono_ms));
    let (heard, processes) = (found.heard, found.processes.into());
    HeldTask { heard, last, kill, processes, ..HeldTask::new(found.task, plan, stage, now.wall) }
}

/// A found task that has ended.
fn ended(found: Recovered, keep_ms: u64, now: Now) -> HeldTask {
    let plan = plan_of(found.record.clone());
    let told = told(&found, &plan);
    // The verdict on what must not live twice waits until nothing of it is left.
    let (last, withheld) = match found.verdict {
        Some(verdict) if plan.at_most_one && !found.released => (told, Some(Box::new(verdict))),
        verdict => (verdict.unwrap_or(told), None),
    };
    let ended_at = withheld.as_ref().map_or(last.at, |verdict| verdict.at);
    // Told by the wall clock, which may be wrong just now: nothing goes for its age at once.
    let age_ms = now.wall.since_ms(ended_at).min(keep_ms.saturating_sub(FOUND_KEPT_MS));
    let ended_ms = now.mono_ms.cast_signed().saturating_sub_unsigned(age_ms);
    let stage = Stage::Over(Ending { ended_ms, remains: Remains::Unmeasured, withheld });
    let (heard, released) = (found.heard, found.released);
    HeldTask { heard, last, released, ..HeldTask::new(found.task, plan, stage, now.wall) }
}
