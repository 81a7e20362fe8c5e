//! Preemption: production may take batch and revocable tasks of any role; within a tier only the same role's tasks of
//! lower priority (Aurora's rule). Among what is allowed: lowest priority first, then fewest victims, then least work lost;
//! a job's tasks are planned together, and the room is kept for them. Not here: which tasks of one agent are taken (`victims`).

use std::collections::{BTreeMap, BTreeSet};

use dawn_proto::v1::Reason;
use dawn_proto::{Dimension, TaskId, TaskState};

use crate::model::{JobId, Mutation, Nominated, State, TaskMoved};

use super::amounts::{Amounts, add, suffices};
use super::catalogue::Work;
use super::fleet::Held;
use super::numbers::{SlotId, WorkId};
use super::queue::{Ahead, BANDS};
use super::victims::{Loss, Pick, Victim, choose};
use super::wake::RETRY_MS;
use super::{Placer, Step};

/// Agents planned in detail for one turn, beyond two for each task: those that lack least.
const PLANNED_AGENTS: usize = 64;
/// Tasks of the same role looked at for one turn.
const LOOKED_AT: usize = 2_000;

/// How dear a victim is: revocable before batch before production, then by priority.
pub(super) fn rank(work: &Work) -> u32 {
    (BANDS as u32 - 1 - u32::from(work.band)) * 1001 + u32::from(work.priority)
}

/// Whether a task of `work` may take the room of one of `victim`.
pub(super) fn may_take(work: &Work, victim: &Work) -> bool {
    let lower_tier = work.band == 0 && victim.band > 0;
    lower_tier || work.band == victim.band && work.role == victim.role && victim.priority < work.priority
}

impl Placer {
    /// Plans room for up to `wanted` pending tasks of a work that fits nowhere; how many it found room for.
    pub(super) fn preempt(&mut self, state: &State, number: WorkId, wanted: usize, step: &mut Step) -> usize {
        if !self.settings.preemption || step.victims == 0 {
            return 0;
        }
        let need = &self.catalogue.shape_of(number).need;
        if need.iter().zip(self.fleet.scale().iter()).any(|(need, most)| need > most) {
            // No agent ever had that much.
            return 0;
        }
        // Looking costs more than placing: not again each time that some room comes free.
        if !self.queue.may_look(number, step.now) {
            return 0;
        }
        self.queue.look_again_at(number, step.now.mono_ms + RETRY_MS);
        self.prepare_for(number);
        let most = PLANNED_AGENTS + 2 * wanted;
        let mut planned = 0;
        if self.catalogue.work(number).band == 0 {
            planned = self.preempt_on(state, number, wanted, &self.promising(number, most), step);
        }
        // The role's own tasks of the same tier are dearer than any of a lower tier: only when those do not suffice.
        if planned < wanted {
            planned +=
                self.preempt_on(state, number, wanted - planned, &self.slots_of_own_role(state, number, most), step);
        }
        planned
    }

    /// Plans all the slots and carries out the cheapest plans.
    fn preempt_on(&mut self, state: &State, number: WorkId, wanted: usize, slots: &[SlotId], step: &mut Step) -> usize {
        let mut plans: BTreeMap<(Loss, SlotId), Pick> = BTreeMap::new();
        for slot in slots {
            if let Some(pick) = self.plan_slot(state, number, *slot, step) {
                plans.insert((pick.loss, *slot), pick);
            }
        }
        let mut planned = 0;
        while planned < wanted
            && let Some(((_, slot), pick)) = plans.pop_first()
        {
            // Others of this turn may have used up a budget, or room, since it was planned.
            let fresh = self.plan_slot(state, number, slot, step);
            match fresh {
                Some(fresh) if fresh.loss > pick.loss => _ = plans.insert((fresh.loss, slot), fresh),
                Some(fresh) if fresh.victims.len() <= step.victims => {
                    let Some(task) = self.queue.waiting(number).front().copied() else { return planned };
                    self.carry_out(task, number, slot, &fresh, step);
                    planned += 1;
                    if let Some(next) = self.plan_slot(state, number, slot, step) {
                        plans.insert((next.loss, slot), next);
                    }
                }
                _ => {}
            }
        }
        planned
    }

    /// Slots where tasks of lower tiers could make room, at most `most`, those that lack least.
    fn promising(&self, number: WorkId, most: usize) -> Vec<SlotId> {
        let work = self.catalogue.work(number);
        let shape = self.catalogue.shape(work.shape);
        let lack = |slot: SlotId| -> i64 {
            let (free, prey) = (&self.fleet.slot(slot).free, self.fleet.prey(slot));
            let lack = |at: Dimension| {
                let missing = (shape.need[at] - free[at] - prey.dying[at]).max(0);
                (missing as f64 * 1e6 / self.fleet.scale()[at] as f64) as i64
            };
            Dimension::ALL.into_iter().map(lack).sum()
        };
        let mut found: Vec<(i64, SlotId)> = Vec::new();
        for (slot, prey) in self.fleet.numbers().map(|slot| (slot, self.fleet.prey(slot))) {
            let mut room = self.fleet.slot(slot).free;
            add(&mut room, &prey.dying);
            add(&mut room, &prey.takeable);
            if self.fleet.slot(slot).is_open()
                && (self.fleet.slot(slot).tasks_free > 0 || !self.fleet.held(slot).is_empty())
                && suffices(&room, &shape.need)
                && shape.accepts(self.catalogue.attributes(), slot, self.fleet.slot(slot).class)
            {
                found.push((lack(slot), slot));
            }
        }
        if found.len() > most {
            found.select_nth_unstable(most);
            found.truncate(most);
        }
        found.into_iter().map(|(_, slot)| slot).collect()
    }

    /// Where the role's own tasks of lower priority in the same tier are, the lowest first; at most `most`.
    fn slots_of_own_role(&self, state: &State, number: WorkId, most: usize) -> Vec<SlotId> {
        let work = self.catalogue.work(number);
        let lower = self.catalogue.below(work).map(|other| self.catalogue.work(other)).filter(|other| other.held > 0);
        let jobs = lower.filter_map(|other| state.jobs.get(&other.job));
        let tasks = jobs
            .flat_map(|job| state.tasks_of(job.id).ids.iter())
            .take(LOOKED_AT)
            .filter_map(|task| state.tasks.get(task));
        let mut found = BTreeSet::new();
        for agent in tasks.filter_map(|task| task.held_on()) {
            found.insert(SlotId::of_agent(agent));
            if found.len() == most {
                break;
            }
        }
        found.into_iter().collect()
    }

    /// The least loss that makes room for one task of the work on the slot.
    pub(super) fn plan_slot(&self, state: &State, number: WorkId, slot: SlotId, step: &Step) -> Option<Pick> {
        let work = self.catalogue.work(number);
        let shape = self.catalogue.shape(work.shape);
        let row = self.fleet.slot(slot);
        if !self.view().is_open_for(slot, work)
            || !shape.accepts(self.catalogue.attributes(), slot, row.class)
            || self.view().misses_rules(slot, work).is_some()
        {
            return None;
        }
        let mut budgets: BTreeMap<JobId, u32> = BTreeMap::new();
        let mut victim = |held: &Held| -> Option<Victim> {
            let of = self.catalogue.work(held.work());
            if held.dying() || !may_take(work, of) || self.attracts(work, of) {
                return None;
            }
            if let Some(budget) = of.spec.job.disruption_budget {
                budgets.insert(of.job, budget.saturating_sub(self.claims.disrupted(of.job)));
            }
            let age_s = ((step.now.wall.0 / 1000).max(0) as u64).saturating_sub(held.since_s.into());
            let need = self.catalogue.shape(of.shape).need;
            Some(Victim { task: held.task, job: of.job, rank: rank(of), age_s, need })
        };
        let victims: Vec<Victim> = self.fleet.held(slot).iter().filter_map(&mut victim).collect();
        let mut room = row.free;
        add(&mut room, &self.fleet.prey(slot).dying);
        let dying = || self.fleet.held(slot).iter().filter(|held| held.dying()).count();
        let tasks_free = if row.tasks_free > 0 { 1 } else { i64::from(row.tasks_free) + dying() as i64 };
        let fits = |freed: &Amounts, taken: &[TaskId]| {
            let mut room = room;
            add(&mut room, freed);
            tasks_free + taken.len() as i64 > 0
                && suffices(&room, &shape.need)
                && (!shape.is_special() || self.special_fits(state, slot, number, taken))
        };
        choose(victims, &budgets, &shape.need, &room, &fits)
    }

    /// Whether the work may only be near tasks of the other one.
    fn attracts(&self, work: &Work, of: &Work) -> bool {
        let required = work.rules.neighbours.iter().filter(|neighbour| neighbour.required && neighbour.weight >= 0);
        required.into_iter().any(|neighbour| self.catalogue.counts().about(neighbour.count).0 == of.name)
    }

    /// Whether ports, devices and scalars suffice once what is dying and what would be taken is gone.
    fn special_fits(&self, state: &State, slot: SlotId, number: WorkId, taken: &[TaskId]) -> bool {
        let work = self.catalogue.work(number);
        let shape = self.catalogue.shape(work.shape);
        let detail = self.fleet.detail(slot);
        let (mut devices, mut ports, mut scalars) =
            (detail.devices.clone(), detail.ports.clone(), detail.custom.clone());
        let mut ports_free = self.fleet.slot(slot).ports_free;
        for held in self.fleet.held(slot).iter().filter(|held| held.dying() || taken.contains(&held.task)) {
            let of = self.catalogue.work(held.work());
            let gone = self.catalogue.shape(of.shape);
            ports_free += gone.ports;
            gone.custom.iter().for_each(|(name, amount)| *scalars.entry(*name).or_default() += amount);
            let place = state.tasks.get(&held.task).and_then(|task| task.status.place());
            let Some((own, gpus)) = place.map(|place| place.numbers(of.spec.job.ports.len())) else { continue };
            own.iter().for_each(|port| ports.release(*port));
            gpus.iter().for_each(|gpu| devices.release(*gpu, of.spec.job.demand.gpu_milli));
        }
        devices.fits(work.spec.job.demand.gpu_milli)
            && (shape.ports == 0 || ports_free >= shape.ports)
            && shape.custom.iter().all(|(name, need)| scalars.get(name).copied().unwrap_or(0) >= *need)
            && shape.fixed.iter().all(|port| ports.offers(*port) && !ports.is_used(*port))
    }

    /// Stops the victims and keeps the room for a pending task of the work.
    pub(super) fn carry_out(&mut self, task: TaskId, number: WorkId, slot: SlotId, pick: &Pick, step: &mut Step) {
        let mut grace_ms = 0;
        for victim in &pick.victims {
            let held = self.fleet.held(slot).iter().find(|held| held.task == victim.task);
            let of = held.map(|held| self.catalogue.work(held.work()).spec.job.grace_period_ms);
            grace_ms = grace_ms.max(of.unwrap_or(0));
            self.set_dying(slot, victim.task);
            self.claims.disrupt(victim.task, victim.job);
            self.queue.decide(Ahead::Preempting(victim.task));
            let message = format!("room for {task}").into();
            let (to, reason) = (TaskState::Preempting, Reason::Preempted);
            step.out.push(Mutation::TaskMoved(TaskMoved {
                task: victim.task,
                to,
                reason,
                message,
                exit: None,
                ended: None,
            }));
        }
        step.victims -= pick.victims.len();
        let until = step.now.wall.plus_ms(grace_ms.saturating_add(self.settings.nomination_ms));
        self.claim(task, number, slot, until);
        self.queue.decide(Ahead::Nominated(task));
        step.out.push(Mutation::Nominated(Nominated { task, agent: slot.agent(), until }));
    }
}
