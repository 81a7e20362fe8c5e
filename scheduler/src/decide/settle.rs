//! Makes what a job wants and stops what it doesn't, in slices, until the two agree.
//! Not here: lives after the first of a version (`retry`), runs of cron jobs (`cron`).

use std::collections::BTreeMap;

use dawn_proto::v1::{JobKind, Reason};
use dawn_proto::{SpecId, TaskState, Timestamp};

use super::daemon;
use super::step::{Life, Step};
use super::update;
use crate::model::{Job, JobId, Spec, Task};

/// What a job is to become. Apart from `Job` because it may be decided in this very step.
pub(super) struct Aim<'a> {
    pub id: JobId,
    pub spec: &'a Spec,
    /// None when the job is made in this step.
    pub job: Option<&'a Job>,
    pub ended: bool,
    /// By ranges, in addition to those the job knows.
    pub stopped: &'a dyn Fn(u32) -> bool,
    /// Instances that want another spec than `spec`.
    pub pins: Option<&'a BTreeMap<u32, Option<SpecId>>>,
    /// Instances below it are made.
    pub made: u32,
}

/// Goes on with jobs that are not settled.
pub(super) fn tick(step: &mut Step) {
    for id in &step.state.indexes().unsettled {
        if step.is_full() {
            return;
        }
        let Some(job) = step.state.jobs.get(id) else { continue };
        let Some(spec) = step.state.current_spec(job) else { continue };
        let stopped = |instance| job.stopped.contains(&instance);
        let ended = step.is_ended(job);
        let replaces = !ended && job.changes.active().is_none() && job.current().is_some_and(|one| one.replaces);
        if replaces && !update::stop_replaced(step, job, spec, &stopped) {
            return;
        }
        let pins = Some(&job.changes.pins);
        run(step, &Aim { id: *id, spec, job: Some(job), ended, stopped: &stopped, pins, made: job.settled });
        // Taken in after a restore with nothing left to do.
        if step.settled(job) == Job::SETTLED && step.living(job) == 0 {
            step.touch(*id);
        }
    }
}

/// One slice.
pub(super) fn run(step: &mut Step, aim: &Aim) {
    let all_stopped = stop_unwanted(step, aim);
    let made = make_wanted(step, aim);
    let wanted = aim.bound(step);
    let to = if all_stopped && made >= wanted { Job::SETTLED } else { made };
    step.settle(aim.id, to);
}

impl Aim<'_> {
    /// Whether instances as such are made; a cron job's are made by run, a template's by dispatch.
    fn makes(&self) -> bool {
        !self.ended && self.spec.job.kind != JobKind::Cron && !self.spec.job.flow.is_template
    }

    fn is_daemon(&self) -> bool {
        self.spec.job.kind == JobKind::Daemon
    }

    /// No instance from here on is made.
    fn bound(&self, step: &Step) -> u32 {
        let pinned = self.pins.and_then(|pins| pins.last_key_value()).map_or(0, |(last, _)| last + 1);
        match self.makes() {
            true if self.is_daemon() => step.state.next_agent.0,
            true => self.spec.bound().max(pinned),
            false => 0,
        }
    }

    fn wants(&self, step: &Step, instance: u32) -> bool {
        match self.pins.and_then(|pins| pins.get(&instance)) {
            Some(None) => false,
            _ if self.is_daemon() => daemon::wants(step.state, &self.spec_of(step, instance).job, instance),
            Some(Some(_)) => true,
            None => self.spec.has(instance),
        }
    }

    /// What a wanted instance is made from.
    fn spec_of<'b>(&'b self, step: &Step<'b>, instance: u32) -> &'b Spec {
        let pinned = self.pins.and_then(|pins| pins.get(&instance)).copied().flatten();
        pinned.and_then(|spec| step.state.specs.get(&spec)).map_or(self.spec, |spec| spec)
    }

    /// Whether an update that is over left it beside a life of its instance that stays.
    fn is_surplus(&self, step: &Step, job: &Job, task: &Task) -> bool {
        let is_over = self.spec.job.kind.runs_for_ever() && self.makes() && job.changes.active().is_none();
        is_over && update::is_surplus(step.state, job, task, Some(self.spec_of(step, task.instance)))
    }

    fn unwanted(&self, step: &Step, task: &Task) -> Option<Reason> {
        if self.ended {
            // A job that ended by itself has living tasks only when its time was over.
            let by_itself = self.job.is_some_and(|job| step.ended_by_itself(job));
            Some(if by_itself { Reason::Deadline } else { Reason::UserRequest })
        } else if (self.stopped)(task.instance) && self.makes() {
            Some(Reason::UserRequest)
        } else if self.makes() && self.is_daemon() {
            let spec = self.spec_of(step, task.instance);
            match daemon::unwanted(step.state, &spec.job, task.instance) {
                true => Some(Reason::NotMatching),
                false => self.job.filter(|job| daemon::is_outdated(step.state, job, task)).map(|_| Reason::Updated),
            }
        } else if self.makes() && !self.wants(step, task.instance) {
            Some(Reason::ScaledDown)
        } else {
            self.job.filter(|job| self.is_surplus(step, job, task)).map(|_| Reason::Updated)
        }
    }
}

/// Whether nothing is left to be told to stop.
fn stop_unwanted(step: &mut Step, aim: &Aim) -> bool {
    let Some(job) = aim.job else { return true };
    for task in step.state.living(job) {
        let Some(reason) = aim.unwanted(step, task) else { continue };
        if !step.is_living(task) || step.state_of(task) == TaskState::Killing {
            continue;
        }
        if step.is_full() {
            return false;
        }
        step.stop(task, reason, "");
    }
    true
}

/// The first instance not made yet.
fn make_wanted(step: &mut Step, aim: &Aim) -> u32 {
    let wanted = aim.bound(step);
    let window = aim.spec.job.flow.max_running.unwrap_or(u32::MAX);
    for instance in aim.made..wanted {
        // A gang is made at once: what is pending of it is placed together.
        let is_full = step.is_full() && !aim.spec.job.flow.gang;
        if is_full || step.living_of(aim.id) >= window {
            return instance;
        }
        if (aim.stopped)(instance) || !aim.wants(step, instance) {
            continue;
        }
        let spec = aim.spec_of(step, instance);
        let newest = aim.job.and_then(|job| step.state.tasks_of(job.id).newest(Timestamp(0), instance));
        let newest = newest.and_then(|id| step.state.tasks.get(&id));
        match newest {
            None => _ = step.make_task(aim.id, spec, Life::first(instance, Timestamp(0))),
            // One of this version that has ended, or any that lived before this step, is `retry`'s when it ends.
            Some(task) if task.spec == spec.id || !task.state().is_terminal() => {}
            // An update started its next life beside it, and went back.
            Some(_) if aim.job.is_some_and(|job| lives(step, job, instance)) => {}
            Some(task) => _ = step.make_task(aim.id, spec, Life::after(task)),
        }
    }
    wanted.max(aim.made)
}

fn lives(step: &Step, job: &Job, instance: u32) -> bool {
    let tasks = step.state.tasks_of(job.id).slot(Timestamp(0), instance).filter_map(|id| step.state.tasks.get(&id));
    tasks.into_iter().any(|task| !task.state().is_terminal())
}
