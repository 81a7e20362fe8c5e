//! What is left of an update that ends before it is through: each instance keeps one life, and wants what that runs. As long as a
//! new set was not promoted, the old one stays. Which of two lives stays is said here for everybody.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use dawn_proto::v1::{UpdateKind, UpdateStrategy};
use dawn_proto::{SpecId, TaskId, TaskState};

use super::control::push;
use super::is_updates;
use crate::decide::step::Step;
use crate::model::{Instances, Job, PlacedState, Spec, State, Status, Task, Update, UpdateChange};

/// Decides which life each instance keeps when its update ends before it is through.
pub(super) fn keep_one_life(step: &mut Step, job: &Job, update: &Update) {
    let all: Vec<u32> = update.instances.iter().collect();
    // Those whose turn had not come are named too: nothing may be left of what the update was to bring.
    keep(step, job, update, &all, |instance| !update.advanced.contains(instance));
}

/// Before an update goes back: instances that it has not touched yet are not among those that are changed back.
pub(super) fn spare_untouched(step: &mut Step, job: &Job, update: &Update) {
    let state = step.state;
    let is_untouched = |instance: &u32| {
        let newest = state.tasks_of(job.id).newest(Default::default(), *instance).and_then(|id| state.tasks.get(&id));
        newest.is_some_and(|life| life.id < update.first_task && is_kept(life))
    };
    let untouched = update.advanced.iter().filter(is_untouched);
    let untouched = untouched.filter_map(|at| Some((update.before(at)?, at)));
    let mut kept: BTreeMap<Option<SpecId>, Instances> = BTreeMap::new();
    untouched.for_each(|(spec, at)| kept.entry(spec).or_default().insert(at));
    kept.into_iter().for_each(|(spec, instances)| push(step, job, UpdateChange::Kept { instances, spec }));
}

/// A journal of a version before may hold updates that ended and left two lives of an instance: they are settled.
pub(crate) fn elected(step: &mut Step) {
    for job in step.state.jobs.values() {
        let over = job.changes.updates.back().filter(|update| !update.is_active());
        let Some(update) = over.filter(|_| job.ended.is_none()) else { continue };
        let mut lives: BTreeMap<u32, u32> = BTreeMap::new();
        let stay = step.state.living(job).filter(|task| is_kept(task));
        stay.for_each(|task| *lives.entry(task.instance).or_default() += 1);
        let twice: Vec<u32> = lives.into_iter().filter(|(_, lives)| *lives > 1).map(|(at, _)| at).collect();
        if !twice.is_empty() {
            keep(step, job, update, &twice, |_| false);
            step.settle(job.id, 0);
        }
    }
}

/// `always`: instances of which it is said although it is what they want already.
fn keep(step: &mut Step, job: &Job, update: &Update, instances: &[u32], always: impl Fn(u32) -> bool) {
    let is_old_set = update.policy.strategy == UpdateStrategy::BlueGreen && !is_switched(step.state, job, update);
    let mut kept: BTreeMap<Option<SpecId>, Instances> = BTreeMap::new();
    for instance in instances.iter().copied() {
        let wanted = step.state.intended_spec(job, instance).map(|spec| spec.id);
        let before = update.before(instance);
        let life = || {
            let life = stays(step.state, job, update, instance, is_old_set)?;
            // A life of an earlier version may be the same task as what is, or was, wanted.
            let mut known = [wanted, before.flatten()].into_iter().flatten();
            Some(Some(known.find(|known| is_same(step.state, *known, life)).unwrap_or(life.spec)))
        };
        // Nothing of it is to live: nothing that the update brought is left.
        let is_before = is_old_set || job.stopped.contains(&instance);
        let Some(stays) = before.filter(|_| is_before).or_else(life) else { continue };
        if stays != wanted || always(instance) {
            kept.entry(stays).or_default().insert(instance);
        }
    }
    kept.into_iter().for_each(|(spec, instances)| push(step, job, UpdateChange::Kept { instances, spec }));
}

fn is_same(state: &State, spec: SpecId, life: &Task) -> bool {
    let same_task = |spec: &Spec| spec.job.same_task(&state.spec_of(life).job);
    spec == life.spec || state.specs.get(&spec).is_some_and(|spec| same_task(spec))
}

/// The life that an instance keeps: the old one, if it is up or the new one is not.
fn stays<'a>(state: &'a State, job: &'a Job, update: &Update, instance: u32, is_old_set: bool) -> Option<&'a Task> {
    let is_promoted = update.policy.strategy == UpdateStrategy::BlueGreen && !is_old_set;
    let lives = || lives(state, job, instance).map(|task| (task, is_new(update, task)));
    let of_old_set = lives().find(|(_, is_new)| is_old_set && !is_new).map(|(task, _)| task);
    let best = lives().max_by_key(|(task, is_new)| (is_up(task), *is_new == is_promoted, Reverse(task.id)));
    of_old_set.or(best.map(|(task, _)| task))
}

/// Those that nobody stops.
fn lives<'a>(state: &'a State, job: &'a Job, instance: u32) -> impl Iterator<Item = &'a Task> {
    let tasks = state.tasks_of(job.id).slot(Default::default(), instance).filter_map(|id| state.tasks.get(&id));
    tasks.filter(|task| is_kept(task))
}

/// It lives, and nobody stops it.
fn is_kept(task: &Task) -> bool {
    !task.state().is_terminal() && !task.state().is_stopping()
}

fn is_up(task: &Task) -> bool {
    matches!(task.status, Status::Placed(PlacedState::Assigned | PlacedState::Starting | PlacedState::Running, _))
}

/// Whether the task was made by an update, as what that brings.
fn is_new(update: &Update, task: &Task) -> bool {
    task.spec == update.to && (update.kind != UpdateKind::Restart || task.id >= update.first_task)
}

/// Whether the new set of a blue/green update has taken the place of the old one, or begun to: it was promoted or, where
/// nobody is asked, the old one was told to go.
pub fn is_switched(state: &State, job: &Job, update: &Update) -> bool {
    let was_told = |task: &Task| {
        let mut history = task.history.iter();
        let is_stop = |to: TaskState| to.is_stopping() || to.is_terminal();
        !is_new(update, task) && history.any(|one| is_stop(one.to) && is_updates(one.reason) && one.at >= update.began)
    };
    let mut tasks = state.tasks_of(job.id).ids.iter().filter_map(|id| state.tasks.get(id));
    update.promoted || !update.policy.manual_promotion && tasks.any(was_told)
}

/// Whether a task is to go because its instance has a better life, of a job without an update under way.
pub fn is_surplus(state: &State, job: &Job, task: &Task, wanted: Option<&Spec>) -> bool {
    let as_wanted = |life: &Task| {
        wanted.is_some_and(|wanted| life.spec == wanted.id || state.spec_of(life).job.same_task(&wanted.job))
    };
    let rank = |life: &Task| (as_wanted(life), is_up(life), Reverse(life.id));
    let is_less = |other: &Task| other.id != task.id && rank(other) > rank(task);
    !task.state().is_stopping() && lives(state, job, task.instance).any(is_less)
}

/// The newest life of an instance, if it is the only one that counts for the next.
pub(super) fn is_newest(state: &State, job: &Job, task: &Task) -> bool {
    state.tasks_of(job.id).newest(Default::default(), task.instance) == Some::<TaskId>(task.id)
}
