//! What a restore changes, and tasks that come back from agents.

use std::sync::Arc;

use dawn_proto::v1::Reason;
use dawn_proto::{SpecId, Timestamp};

use crate::model::{
    Job, JobId, Place, RestoreMutation, Restored, Restores, Spec, State, Status, Task, TaskAdopted, Transition, Version,
};

impl State {
    pub(super) fn apply_restore(&mut self, mutation: &RestoreMutation, at: Timestamp) {
        match mutation {
            RestoreMutation::Restored(restored) => self.restore(restored),
            RestoreMutation::Over => {
                self.truth.restores.waiting = false;
                self.updates_go_on(at);
            }
            RestoreMutation::Behind { next_task, next_spec } => {
                self.truth.restores.behind = true;
                self.truth.restores.first_lost_task = (next_task.0 > 0).then_some(self.truth.next_task);
                self.truth.next_task = self.truth.next_task.max(*next_task);
                self.truth.next_spec = self.truth.next_spec.max(*next_spec);
            }
            RestoreMutation::BehindOver => {
                (self.truth.restores.behind, self.truth.restores.first_lost_task) = (false, None);
                self.updates_go_on(at);
            }
            RestoreMutation::EpochRaised { floor } => self.truth.restores.epoch_floor = *floor,
            RestoreMutation::SpecAdopted { job, spec, current } => self.adopt_spec(*job, spec, *current, at),
            RestoreMutation::TaskAdopted(adopted) => self.adopt_task(adopted, at),
        }
    }

    fn restore(&mut self, restored: &Restored) {
        self.truth.next_task = self.truth.next_task.max(restored.next_task);
        self.truth.next_spec = self.truth.next_spec.max(restored.next_spec);
        self.truth.restores.waiting = true;
        (self.truth.restores.behind, self.truth.restores.first_lost_task) = (false, None);
        self.forget_welcomes();
        self.truth.restores.kept.push(restored.clone());
        if self.truth.restores.kept.len() > Restores::KEPT {
            self.truth.restores.kept.remove(0);
        }
    }

    /// A spec that no version names is kept by its tasks alone: it is used only once they are adopted.
    fn adopt_spec(&mut self, id: JobId, spec: &Arc<Spec>, current: bool, at: Timestamp) {
        assert!(self.truth.restores.kept.iter().any(|one| spec.id < one.next_spec), "{} was never lost", spec.id);
        assert!(!self.truth.specs.contains_key(&spec.id), "{} is adopted twice", spec.id);
        if !self.truth.jobs.contains_key(&id) {
            self.make_job(id, spec.job.key.clone(), at);
        }
        self.truth.specs.insert(spec.id, spec.clone());
        if !current {
            return;
        }
        self.use_spec(spec.id);
        let mut oldest = None;
        self.change_job(id, |job| {
            let message = "found on an agent after a restore".to_string();
            // Nothing is known of how it went: it is gone back to as one that worked.
            let (author, was_healthy, replaces) = (String::new(), true, false);
            let (version, spec) = (spec.version, spec.id);
            let version = Version { version, spec, at, author, message, was_healthy, replaces };
            job.versions.push_back(version);
            (job.ended, job.settled) = (None, 0);
            job.stopped.clear();
            if job.versions.len() > Job::KEPT_VERSIONS {
                oldest = job.versions.pop_front();
            }
        });
        if let Some(oldest) = oldest {
            self.drop_spec(oldest.spec);
        }
        self.indexes.recount(&self.truth, id);
    }

    fn adopt_task(&mut self, adopted: &TaskAdopted, at: Timestamp) {
        let TaskAdopted { task: id, job, spec, instance, attempt, run_at, agent, ports, devices, state } = adopted;
        assert!(
            *id < self.truth.next_task && !self.truth.tasks.contains_key(id),
            "{id} is adopted twice, or never was made"
        );
        self.use_spec(SpecId(spec.0));
        let place = Place { agent: *agent, ports: ports.clone(), devices: devices.clone() };
        let status = Status::with_place(*state, Some(place));
        let status = status.unwrap_or_else(|| panic!("{id} can't be adopted in {state:?}"));
        let first = Transition { to: *state, at, reason: Reason::Restored, message: "".into(), exit: None };
        let task = Task {
            id: *id,
            job: *job,
            spec: *spec,
            instance: *instance,
            attempt: *attempt,
            failures: 0,
            restarts: 0,
            run_at: *run_at,
            status,
            history: Task::history_from(first),
        };
        self.indexes.add_task(&self.truth, &task);
        self.truth.tasks.insert(*id, task);
        self.indexes.recount(&self.truth, *job);
    }
}
