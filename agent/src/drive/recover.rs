//! A starting agent: what it remembers and finds becomes its state, and each found task gets its verdict.

use dawn_proto::v1::Reason;
use dawn_proto::{TaskId, TaskState};
use tracing::{info, warn};

use super::leader::Link;
use super::lease::Lease;
use super::life::MOST_WITH_WORDS;
use super::{Agent, Setup};
use crate::decide::attach::{self, Attach};
use crate::decide::stop;
use crate::model::{Effect, HeldTask, Memory, Now, Phase, Recovered, RecoveredRecord, Report, last_sequence};

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
        let task = restored(found, now);
        if verdict == Attach::Over {
            return self.take_in_ended(task, now);
        }
        let (limits, identity) = (task.limits.clone(), task.identity.clone());
        self.take_room(&task);
        if task.kill.is_some() {
            self.killing.insert(id);
        }
        self.tasks.insert(id, Box::new(task));
        match verdict {
            Attach::Watch => self.effects.push(Effect::Attach { task: id, heard }),
            Attach::Resume => {
                self.set_phase(id, Phase::Preparing);
                self.effects.push(Effect::Prepare { task: id, limits, identity });
            }
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

    fn set_phase(&mut self, id: TaskId, phase: Phase) {
        if let Some(task) = self.tasks.get_mut(&id) {
            task.phase = phase;
        }
    }

    fn take_in_ended(&mut self, mut task: HeldTask, now: Now) {
        let id = task.id;
        task.phase = Phase::Over;
        let ended_at = task.withheld.as_ref().unwrap_or(&task.last).at;
        // Told by the wall clock, which may be wrong just now: nothing goes for its age at once.
        let young_ms = self.setup.keep.age_ms.saturating_sub(FOUND_KEPT_MS);
        let age_ms = now.wall.since_ms(ended_at).min(young_ms);
        task.ended_ms = Some(now.mono_ms.cast_signed().saturating_sub_unsigned(age_ms));
        if !task.released && task.withheld.is_none() {
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
        let processes = task.processes.take();
        self.effects.push(Effect::CleanUp { task: id, processes });
        self.tasks.insert(id, Box::new(task));
    }
}

fn restored(found: Recovered, now: Now) -> HeldTask {
    // What can't be read may be what must not live twice.
    let unreadable = RecoveredRecord { at_most_one: true, ..RecoveredRecord::default() };
    let RecoveredRecord { job, demand, ports, limits, identity, grace_period_ms, ladder_ms, at_most_one, artifacts } =
        found.record.unwrap_or(unreadable);
    let base = last_sequence(artifacts.len());
    let standing = Report::new(found.task, 0, TaskState::Assigned, found.checkpointed_at, Reason::None, "");
    let kill = found.kill_begun.map(|reason| stop::resumed(reason, grace_period_ms, ladder_ms, now.mono_ms));
    let last = found.last.map(|last| Report { sequence: base.saturating_add(last.sequence), ..last });
    let told = last.unwrap_or(standing);
    // The verdict on what must not live twice waits until nothing of it is left.
    let (last, withheld) = match found.verdict {
        Some(verdict) if at_most_one && !found.released => (told, Some(verdict)),
        verdict => (verdict.unwrap_or(told), None),
    };
    HeldTask {
        job,
        phase: Phase::Live,
        demand,
        ports,
        limits,
        identity,
        grace_period_ms,
        ladder_ms,
        at_most_one,
        artifacts,
        on_disk: true,
        heard: found.heard,
        last,
        withheld,
        kill,
        processes: found.processes.into(),
        released: found.released,
        ..super::launch::bare_task(found.task, now)
    }
}
