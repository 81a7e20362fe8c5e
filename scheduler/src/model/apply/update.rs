//! Applies what the journal says of updates. Not here: versions and tasks (`apply`).

use std::collections::BTreeMap;

use dawn_proto::v1::{JobKind, Reason, UpdateKind, UpdateState};
use dawn_proto::{SpecId, TaskId, TaskState, Timestamp};

use crate::model::{Changes, Instances, Job, JobId, State, Update, UpdateChange, UpdateEvent, UpdateMutation};
use crate::model::{is_over, update};

impl State {
    pub(super) fn apply_update(&mut self, mutation: &UpdateMutation, at: Timestamp) {
        let id = mutation.job;
        self.unindex_job(id);
        match &mutation.what {
            UpdateChange::Begun(update) => self.begin_update(id, update, at),
            UpdateChange::Advanced(instances) => self.advance(id, instances),
            UpdateChange::Passed(instances) => {
                let update = self.update_mut(id);
                update.passed.extend(instances.iter());
                instances.iter().for_each(|instance| _ = update.failures.remove(&instance));
                update.progress = at;
            }
            UpdateChange::GaveUp(instances) => {
                let update = self.update_mut(id);
                update.gave_up.extend(instances.iter());
                instances.iter().for_each(|instance| _ = update.failures.remove(&instance));
            }
            UpdateChange::Kept { instances, spec } => self.keep(id, instances, *spec),
            UpdateChange::Moved { to, author, message } => {
                self.move_update(id, *to, at, author.clone(), message.clone());
            }
            UpdateChange::Pulsed => self.update_mut(id).pulsed = at,
            UpdateChange::Promoted => self.update_mut(id).promoted = true,
            UpdateChange::Group(group) => self.update_mut(id).group = *group,
            UpdateChange::Replaced { author } => self.replace(id, author, at),
        }
        self.index_job(id);
    }

    /// Nothing was placed for a while: no update failed for that, nor did whoever gives it its pulse fall silent.
    pub(super) fn updates_go_on(&mut self, at: Timestamp) {
        for id in self.indexes.updating.clone() {
            self.unindex_job(id);
            let update = self.job_mut(id).changes.updates.back_mut().filter(|update| update.is_active());
            if let Some(update) = update {
                (update.progress, update.pulsed) = (at, update.pulsed.max(at));
            }
            self.index_job(id);
        }
    }

    fn update_mut(&mut self, id: JobId) -> &mut Update {
        let update = self.job_mut(id).changes.updates.back_mut().filter(|update| update.is_active());
        update.unwrap_or_else(|| panic!("{id} has no active update"))
    }

    fn begin_update(&mut self, id: JobId, begun: &Update, at: Timestamp) {
        let mut update = begun.clone();
        (update.began, update.pulsed, update.progress, update.first_task) = (at, at, at, self.truth.next_task);
        update.state = UpdateState::RollingForward;
        update.events = [event(UpdateState::RollingForward, at, &update.author, &update.message)].into();
        specs_of(&update).into_iter().for_each(|spec| self.use_spec(spec));
        let pins = |update: &Update| {
            let runs = update.before.iter();
            runs.flat_map(|(first, last, spec)| (*first..=*last).map(|at| (at, *spec))).collect::<BTreeMap<_, _>>()
        };
        self.set_pins(id, pins(&update));
        let job = self.job_mut(id);
        assert!(job.changes.active().is_none(), "{id} is updated twice");
        job.changes.updates.push_back(update);
        if job.changes.updates.len() > Changes::KEPT_UPDATES {
            job.changes.updates.pop_front();
        }
    }

    fn replace(&mut self, id: JobId, author: &str, at: Timestamp) {
        let Some(version) = self.job_mut(id).versions.back_mut() else { return };
        version.replaces = true;
        let why = format!("version {} replaces what never was healthy", version.version);
        if self.truth.jobs[&id].changes.active().is_some() {
            self.move_update(id, UpdateState::Aborted, at, author.into(), why);
        }
        self.set_pins(id, BTreeMap::new());
    }

    fn advance(&mut self, id: JobId, instances: &Instances) {
        for instance in instances.iter() {
            self.update_mut(id).advanced.insert(instance);
            let job = &self.truth.jobs[&id];
            let goal = job.changes.active().and_then(|update| self.goal(job, update, instance)).map(|spec| spec.id);
            self.pin(id, instance, (goal != self.usual_spec(id, instance)).then_some(goal));
        }
    }

    fn keep(&mut self, id: JobId, instances: &Instances, spec: Option<SpecId>) {
        for instance in instances.iter() {
            self.pin(id, instance, (spec != self.usual_spec(id, instance)).then_some(spec));
        }
        let update = self.job_mut(id).changes.updates.back_mut().filter(|update| update.is_active());
        let Some(update) = update else { return };
        update.advanced = update.advanced.iter().filter(|at| !instances.contains(*at)).collect();
        let is_undone = update.advanced.is_empty() && update.kind == UpdateKind::Change && !update.is_back();
        let restored = update.from_version;
        if is_undone {
            let wanted = self.wanted_now(id);
            self.restore_version(id, restored, &wanted);
        }
    }

    /// What each instance wants, or will when it is not stopped any more.
    fn wanted_now(&self, id: JobId) -> Vec<Option<SpecId>> {
        let job = &self.truth.jobs[&id];
        (0..self.wanted_bound(job)).map(|instance| self.intended_spec(job, instance).map(|spec| spec.id)).collect()
    }

    /// Another version is in force; every instance wants what it wanted.
    fn restore_version(&mut self, id: JobId, version: u32, wanted: &[Option<SpecId>]) {
        self.job_mut(id).changes.restored = Some(version);
        let last = self.wanted_bound(&self.truth.jobs[&id]).max(wanted.len() as u32);
        let pins = (0..last).filter_map(|instance| {
            let wanted = wanted.get(instance as usize).copied().flatten();
            (wanted != self.usual_spec(id, instance)).then_some((instance, wanted))
        });
        let pins = pins.collect();
        self.set_pins(id, pins);
        self.indexes.recount(&self.truth, id);
    }

    pub(super) fn move_update(&mut self, id: JobId, to: UpdateState, at: Timestamp, author: String, message: String) {
        let update = self.update_mut(id);
        let turns = update::is_back(to) && !update.is_back();
        update.state = to;
        update.progress = at;
        update.pulsed = at;
        update.events.push_back(event(to, at, &author, &message));
        if update.events.len() > Update::KEPT_EVENTS {
            update.events.remove(1);
        }
        if turns {
            self.turn_back(id);
        }
        if is_over(to) {
            let update = self.job_mut(id).changes.updates.back_mut();
            let held = update.as_deref().map(specs_of).unwrap_or_default();
            if let Some(update) = update {
                (update.before, update.failures) = Default::default();
            }
            held.into_iter().for_each(|spec| self.drop_spec(spec));
            // Looked at once more: a service of which nothing lives any more is over.
            self.job_mut(id).settled = 0;
        }
    }

    /// The version before is the current one again; every instance wants what it wanted a moment ago until its turn comes.
    fn turn_back(&mut self, id: JobId) {
        let wanted = self.wanted_now(id);
        let (job, last) = (&self.truth.jobs[&id], wanted.len() as u32);
        // Agents that came while a daemon job went forward have what is new there, as if they had been advanced.
        let is_daemon = self.current_spec(job).is_some_and(|current| current.job.kind == JobKind::Daemon);
        let joined: Vec<u32> = match is_daemon {
            true => {
                (0..last).filter(|at| wanted[*at as usize].is_some() && !job.changes.pins.contains_key(at)).collect()
            }
            false => Vec::new(),
        };
        let update = self.update_mut(id);
        update.instances = std::mem::take(&mut update.advanced);
        update.instances.extend(joined);
        (update.passed, update.gave_up, update.failures, update.group) = Default::default();
        let restored = update.from_version;
        self.restore_version(id, restored, &wanted);
    }

    /// What the current version has for an instance, pins aside.
    fn usual_spec(&self, id: JobId, instance: u32) -> Option<SpecId> {
        let current = self.current_spec(self.truth.jobs.get(&id)?)?;
        self.may_have(current, instance).then_some(current.id)
    }

    pub(super) fn set_pins(&mut self, id: JobId, pins: BTreeMap<u32, Option<SpecId>>) {
        pins.values().flatten().for_each(|spec| self.use_spec(*spec));
        let before = std::mem::replace(&mut self.job_mut(id).changes.pins, pins);
        before.into_values().flatten().for_each(|spec| self.drop_spec(spec));
    }

    fn pin(&mut self, id: JobId, instance: u32, pin: Option<Option<SpecId>>) {
        if let Some(Some(spec)) = pin {
            self.use_spec(spec);
        }
        let pins = &mut self.job_mut(id).changes.pins;
        let before = match pin {
            Some(pin) => pins.insert(instance, pin),
            None => pins.remove(&instance),
        };
        if let Some(Some(spec)) = before {
            self.drop_spec(spec);
        }
    }

    /// A job's hold on specs apart from its versions and pins.
    pub(in crate::model) fn update_specs(job: &Job) -> Vec<SpecId> {
        job.changes.active().map(specs_of).unwrap_or_default()
    }

    /// A task has moved: an instance that is being updated may have failed.
    pub(super) fn count_failure(&mut self, id: TaskId, reason: Reason) {
        let Some(task) = self.truth.tasks.get(&id) else { return };
        let failed = match task.state() {
            TaskState::Failed | TaskState::Finished => true,
            TaskState::Lost => reason == Reason::LaunchRefused,
            _ => false,
        };
        let Some(job) = self.truth.jobs.get(&task.job).filter(|_| failed) else { return };
        let counts = |update: &Update| update.is_in_progress(task.instance) && id >= update.first_task;
        let wanted = || self.wanted_spec(job, task.instance).map(|spec| spec.id);
        if job.changes.active().is_some_and(counts) && wanted() == Some(task.spec) {
            let (job, instance) = (task.job, task.instance);
            *self.update_mut(job).failures.entry(instance).or_default() += 1;
        }
    }
}

fn event(state: UpdateState, at: Timestamp, author: &str, message: &str) -> UpdateEvent {
    UpdateEvent { state, at, author: author.into(), message: message.into() }
}

/// Specs that an active update needs: each once.
fn specs_of(update: &Update) -> Vec<SpecId> {
    let before = update.before.iter().filter_map(|(_, _, spec)| *spec);
    let all: std::collections::BTreeSet<SpecId> = before.chain([update.to]).collect();
    all.into_iter().collect()
}
