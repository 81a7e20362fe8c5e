//! Whether an instance that an update is about to stop can come back as what it is to be. Where its next life would fit nowhere,
//! not even where the one before was, or the role's quota would refuse it, that one stays up, and the update says why. Whether it
//! fits is asked only where the next life asks for more, or for something else, than the one before: otherwise it fits where that was.
//! Not here: when an update stops an instance.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use dawn_proto::v1::{JobKind, Reason, UpdateKind, UpdateState, UpdateStrategy};
use dawn_proto::{TaskId, TaskState};

use crate::model::{
    AgentNo, Job, JobId, JobSpec, Mutation, Now, PlacedState, Spec, State, Status, Task, TaskMoved, Update,
    UpdateChange, UpdateMutation,
};

use super::explain::{Explained, Reasons, each_once};
use super::fleet::Held;
use super::numbers::{SlotId, WorkId};
use super::{PlaceSettings, Placer, Step};

/// Updates whose end is explained in one step; the ends of others say what waits, not why.
const EXPLAINED: usize = 8;
/// Most bytes that the reason adds to an update's end.
const REASON_BYTES: usize = 512;

/// Why an update does not stop an instance, from any State. Takes time for every task there is.
pub fn stays_up(
    state: &State,
    settings: &PlaceSettings,
    connected: &dyn Fn(AgentNo) -> bool,
    job: JobId,
    now: Now,
) -> Option<Explained> {
    let (job, update) = state.jobs.get(&job).and_then(|job| Some((job, job.changes.active()?)))?;
    held_back(state, job, update)?;
    let mut placer = Placer::rebuild(state, settings);
    for agent in state.agents.keys().filter(|agent| connected(**agent)) {
        placer.connected(state, *agent, true);
    }
    placer.begin(state, now);
    placer.stays_up(state, job, update, now)
}

/// The first instance that runs on as it was, although its turn has come, and what it is to be.
fn held_back<'a>(state: &'a State, job: &'a Job, update: &'a Update) -> Option<(&'a Task, &'a Arc<Spec>)> {
    let is_up = |task: &Task| {
        matches!(task.status, Status::Placed(PlacedState::Assigned | PlacedState::Starting | PlacedState::Running, _))
    };
    update.in_progress().find_map(|instance| {
        let next = next_of(state, job, update, instance)?;
        let is_new =
            |task: &Task| task.spec == next.id && (update.kind == UpdateKind::Change || task.id >= update.first_task);
        let lives = || state.tasks_of(job.id).slot(Default::default(), instance).filter_map(|id| state.tasks.get(&id));
        let is_replaced = lives().any(|task| is_new(task) && !task.state().is_terminal());
        let old = lives().find(|task| is_up(task) && !is_new(task)).filter(|_| !is_replaced)?;
        Some((old, next))
    })
}

/// What an instance is to be by an update that stops it before it makes its next life.
fn next_of<'a>(state: &'a State, job: &Job, update: &Update, instance: u32) -> Option<&'a Arc<Spec>> {
    let is_beside = update.policy.surge > 0 || update.policy.strategy == UpdateStrategy::BlueGreen;
    let stops_first = !update.is_back() && !is_beside;
    state.goal(job, update, instance).filter(|_| stops_first)
}

/// Whether a life may not fit where one of the other spec was.
fn asks_for_more(next: &JobSpec, before: &JobSpec) -> bool {
    let ports = |spec: &JobSpec| spec.ports.iter().map(|port| port.fixed).collect::<Vec<_>>();
    before.demand.lacks(&next.demand).is_some()
        || next.ports.len() > before.ports.len()
        || ports(next).iter().any(|port| port.is_some() && !ports(before).contains(port))
        || next.constraints != before.constraints
        || next.dedicated != before.dedicated
        || next.affinities != before.affinities
}

impl Placer {
    /// Takes out of what a tick decided each stop of an instance that could not come back; whether there was one.
    pub fn keep_up(&mut self, state: &State, mutations: &mut Vec<Mutation>, now: Now) -> bool {
        let (mut blocked, mut passed) = (BTreeSet::new(), BTreeMap::<JobId, Vec<TaskId>>::new());
        let before = mutations.len();
        mutations.retain(|mutation| {
            let Mutation::TaskMoved(TaskMoved { task, to: TaskState::Restarting, reason, .. }) = mutation else {
                return true;
            };
            let task = state.tasks.get(task).filter(|_| matches!(reason, Reason::Updated | Reason::Restarted));
            let Some(task) = task else { return true };
            let job = state.jobs.get(&task.job);
            let update = job.and_then(|job| Some((job, next_of(state, job, job.changes.active()?, task.instance)?)));
            let Some((job, next)) = update else { return true };
            let freed = passed.entry(job.id).or_default();
            // What is true of one is true of those after it.
            let fits = !blocked.contains(&job.id) && self.fits_instead(state, job, next, task, freed, now).is_ok();
            if fits {
                freed.push(task.id);
            } else {
                blocked.insert(job.id);
            }
            fits
        });
        mutations.len() < before
    }

    /// Ends of updates of which nothing became healthy say why what is pending is, or what was not stopped; whether there was one.
    pub fn explain_stalls(&mut self, state: &State, mutations: &mut [Mutation], now: Now) -> bool {
        let is_failed = |to| matches!(to, UpdateState::RollingBack | UpdateState::Failed | UpdateState::Error);
        let ends = mutations.iter_mut().filter_map(|mutation| match mutation {
            Mutation::Update(UpdateMutation { job, what: UpdateChange::Moved { to, author, message } })
                if author.is_empty() && is_failed(*to) =>
            {
                Some((*job, message))
            }
            _ => None,
        });
        let mut told = false;
        for (job, message) in ends.take(EXPLAINED) {
            let job = state.jobs.get(&job).and_then(|job| Some((job, job.changes.active()?)));
            let Some((job, update)) = job else { continue };
            if let Some(why) = self.why_stalled(state, job, update, now) {
                *message += &format!("; {}", &why[..why.floor_char_boundary(REASON_BYTES)]);
                told = true;
            }
        }
        told
    }

    /// Why an instance that is being updated waits for a place, or was left as it is.
    fn why_stalled(&mut self, state: &State, job: &Job, update: &Update, now: Now) -> Option<String> {
        let classes = self.explain(state, job.id);
        let pending = classes.into_iter().filter(|class| class.state == TaskState::Pending);
        let of_update = |class: &Explained| class.instances.iter().find(|at| update.is_in_progress(**at)).copied();
        let found = pending.filter_map(|class| Some((of_update(&class)?, class))).next();
        match found {
            Some((instance, class)) => Some(format!("instance {instance} is pending: {class}")),
            None => self.stays_up(state, job, update, now).map(|class| class.to_string()),
        }
    }

    pub(super) fn stays_up(&mut self, state: &State, job: &Job, update: &Update, now: Now) -> Option<Explained> {
        let (task, next) = held_back(state, job, update)?;
        self.fits_instead(state, job, next, task, &[], now).err().map(|explained| *explained)
    }

    /// Whether the next life of a task's instance would fit if the task were gone, with all others of its job that are on their
    /// way to such a life.
    fn fits_instead(
        &mut self,
        state: &State,
        job: &Job,
        next: &Arc<Spec>,
        task: &Task,
        others: &[TaskId],
        now: Now,
    ) -> Result<(), Box<Explained>> {
        let restarting =
            state.living(job).filter(|other| matches!(other.status, Status::Placed(PlacedState::Restarting, _)));
        let mut gone: BTreeSet<TaskId> = restarting.map(|task| task.id).collect();
        gone.extend(others.iter().chain([&task.id]));
        // Stands for those to come: no task of the spec need be there yet.
        let asks_for_more = asks_for_more(&next.job, &state.spec_of(task).job);
        let role = self.queue.role(next.job.key.role());
        if !asks_for_more && !self.queue.is_bounded(role) {
            return Ok(());
        }
        let first = Task { id: TaskId(u64::MAX), spec: next.id, status: Status::PENDING, ..task.clone() };
        let number = self.work_of(state, &first);
        self.catalogue.claim(number);
        self.catalogue.count_asked(state);
        let needed = gone.len() + self.queue.waiting(number).len();
        let released = self.take_away(state, gone);
        self.prepare_for(number);
        let refused = self.refused_by_quota(next, number, needed);
        let own = (next.job.kind == JobKind::Daemon).then_some(SlotId(task.instance));
        let slots: Vec<SlotId> = self.fleet.with_agents().filter(|slot| own.is_none_or(|own| own == *slot)).collect();
        let step = Step { now, left: needed, victims: self.settings.max_victims, out: Vec::new() };
        let mut room = if asks_for_more { 0 } else { needed };
        for slot in slots.iter().filter(|_| asks_for_more && refused.is_none()) {
            room += self.rooms(state, *slot, number, &step).min(needed);
            if room >= needed {
                break;
            }
        }
        let fits = match refused {
            Some(quota) => Err(Box::new(Explained { quota: Some(quota), ..unfit(task, next) })),
            None if room >= needed => Ok(()),
            None => Err(Box::new(self.nowhere(state, number, task, next, &slots))),
        };
        self.put_back(state, released);
        self.catalogue.unclaim(number);
        if self.is_over(number) {
            self.drop_work(number);
        }
        fits
    }

    /// How many more tasks of the work the slot takes, about: with what it may push aside at least one.
    fn rooms(&self, state: &State, slot: SlotId, number: WorkId, step: &Step) -> usize {
        let work = self.catalogue.work(number);
        if self.view().misses(slot, number).is_some() {
            return usize::from(self.plan_slot(state, number, slot, step).is_some());
        }
        let (row, shape) = (self.fleet.slot(slot), self.catalogue.shape(work.shape));
        if shape.is_special() || !work.rules.limits.is_empty() || !work.rules.neighbours.is_empty() {
            return 1;
        }
        let by_amounts =
            shape.need.iter().zip(row.free.iter()).filter(|(need, _)| **need > 0).map(|(need, free)| free / need);
        by_amounts.chain([i64::from(row.tasks_free)]).min().unwrap_or(0).max(1) as usize
    }

    /// The tasks give back what they hold, for a moment.
    fn take_away(&mut self, state: &State, tasks: BTreeSet<TaskId>) -> Vec<(SlotId, Held)> {
        let mut released = Vec::new();
        for task in tasks.iter().filter_map(|id| state.tasks.get(id)) {
            let Some(place) = task.status.place() else { continue };
            let slot = SlotId::of_agent(place.agent);
            if !self.fleet.has(slot) {
                continue;
            }
            let held = self.fleet.held(slot).iter().find(|held| held.task == task.id).copied();
            let Some(held) = held else { continue };
            // The work must outlive the moment in which none of its tasks is counted.
            self.catalogue.claim(held.work());
            self.release(slot, task.id, place);
            released.push((slot, held));
        }
        released
    }

    fn put_back(&mut self, state: &State, released: Vec<(SlotId, Held)>) {
        for (slot, held) in released.into_iter().rev() {
            let place = state.tasks.get(&held.task).and_then(|task| task.status.place());
            let work = held.work();
            self.hold(slot, held, place);
            self.catalogue.unclaim(work);
        }
    }

    fn nowhere(&self, state: &State, number: WorkId, task: &Task, next: &Spec, slots: &[SlotId]) -> Explained {
        let mut reasons = Reasons::default();
        for slot in slots {
            let misses = self.view().all_misses(*slot, number).into_iter();
            for (kind, miss) in each_once(misses.map(|miss| (self.view().kind_on(&miss, next, state, *slot), miss))) {
                reasons.count(*slot, kind, &miss, None);
            }
        }
        let (agents_total, vetoes) = (slots.len() as u32, reasons.finish(&state.agents));
        Explained { agents_total, vetoes, ..unfit(task, next) }
    }
}

/// No node is told.
fn unfit(task: &Task, next: &Spec) -> Explained {
    Explained {
        version: next.version,
        instances: vec![task.instance],
        state: TaskState::Pending,
        since: task.since(),
        ready_at: None,
        nominated: None,
        stays_up: true,
        quota: None,
        agents_total: 0,
        agents_fit: 0,
        is_gang: false,
        room_for: 0,
        vetoes: Vec::new(),
    }
}
