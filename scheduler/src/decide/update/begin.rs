//! An update begins: what differs, instance by instance, and what it is to be.

use std::sync::Arc;

use dawn_proto::v1::{JobKind, SubmitOutcome, UpdateKind, UpdateState, UpdateStrategy};
use dawn_proto::{JobKey, SpecId, Timestamp};

use super::footing::{Footing, footing};
use super::replace::replace;
use crate::decide::daemon;
use crate::decide::numbers;
use crate::decide::step::Step;
use crate::decide::submit as submission;
use crate::model::{
    Answer, FlowMutation, Instances, Job, JobSpec, JobVersioned, Mutation, Refusal, Scale, Spec, State, Update,
    UpdateChange, answers,
};
use crate::model::{UpdateMutation, UpdatePolicy};

/// What going to another spec does to each instance.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Diff {
    pub changed: Instances,
    pub added: Instances,
    pub removed: Instances,
    pub unchanged: Instances,
}

impl Diff {
    /// Those for which something is done.
    pub fn touched(&self) -> Instances {
        let all = [&self.changed, &self.added, &self.removed];
        all.into_iter().flat_map(Instances::iter).collect()
    }
}

/// Whether an instance is in one of the ranges, which are ascending and don't touch; none: all are.
pub(crate) fn is_chosen(chosen: &[(u32, u32)], instance: u32) -> bool {
    let at = chosen.partition_point(|(_, last)| *last < instance);
    chosen.is_empty() || chosen.get(at).is_some_and(|(first, _)| *first <= instance)
}

/// The next version of a job, of which the chosen instances are to be (inclusive ranges; none: all).
pub fn target(state: &State, job: &Job, spec: &JobSpec, chosen: &[(u32, u32)], now: Timestamp) -> Spec {
    let gaps = numbers::gaps(state, job, spec, chosen, now);
    Spec { gaps, ..Spec::new(state.next_spec, submission::next_version(job), spec.clone()) }
}

/// Compares what a job's instances want with its next version, in the chosen ones (inclusive ranges; none: all).
pub fn diff(state: &State, job: &Job, to: &Spec, chosen: &[(u32, u32)]) -> Diff {
    let is_chosen = |at: u32| is_chosen(chosen, at);
    let mut diff = Diff::default();
    for instance in 0..bound(state, job, to) {
        let before = state.wanted_spec(job, instance).filter(|before| is_there(state, &before.job, instance));
        let wanted = has(state, to, instance);
        match (before, wanted && is_chosen(instance)) {
            (None, true) => diff.added.insert(instance),
            (Some(before), true) if before.job.same_task(&to.job) => diff.unchanged.insert(instance),
            (Some(_), true) => diff.changed.insert(instance),
            (Some(_), false) if is_chosen(instance) && !wanted => diff.removed.insert(instance),
            (Some(_), false) => diff.unchanged.insert(instance),
            (None, false) => {}
        }
    }
    diff
}

/// Instances that a job has, or has after it went to a spec, are numbered below this.
fn bound(state: &State, job: &Job, to: &Spec) -> u32 {
    state.wanted_bound(job).max(state.numbered(to))
}

/// Of a daemon job: whether the agent of an instance is the job's.
fn is_there(state: &State, spec: &JobSpec, instance: u32) -> bool {
    spec.kind != JobKind::Daemon || daemon::is_of(state, spec, instance)
}

/// Whether a spec has an instance of that number.
pub fn has(state: &State, spec: &Spec, instance: u32) -> bool {
    match spec.job.kind {
        JobKind::Daemon => daemon::is_of(state, &spec.job, instance),
        _ => spec.has(instance),
    }
}

/// `dawn job run` with another spec of a service or daemon job.
pub(crate) fn submit(step: &mut Step, job: &Job, spec: &JobSpec, by: (&str, &str)) -> Result<Answer, Refusal> {
    if footing(step.state, job, step.now.wall) == Footing::Never {
        return replace(step, job, spec, by);
    }
    not_updating(job)?;
    let (version, number) = begin(step, job, target(step.state, job, spec, &[], step.now.wall), &[], by)?;
    if !spec.flow.after.is_empty() && !job.flow.released {
        // It runs already: jobs named only now keep none of its instances back.
        step.mutations.push(Mutation::Flow(FlowMutation::Released { job: job.id }));
    }
    // Only its policies differ: no task is touched.
    let outcome = if number.is_some() { SubmitOutcome::Updating } else { SubmitOutcome::Replaced };
    Ok(Answer::Submitted(answers::Submitted { key: spec.key.clone(), version, outcome }))
}

/// `dawn update start`.
pub(crate) fn start(
    step: &mut Step,
    spec: &JobSpec,
    chosen: &[(u32, u32)],
    (author, message): (&str, &str),
) -> Result<Answer, Refusal> {
    let job = step.state.job(&spec.key).ok_or_else(|| Refusal::NoSuchJob { key: spec.key.clone() })?;
    let current = updatable(step, job)?;
    if spec.kind != current.job.kind {
        return Err(Refusal::Differs { key: spec.key.clone(), version: current.version });
    }
    let to = target(step.state, job, spec, chosen, step.now.wall);
    let numbers = numbers_in(bound(step.state, job, &to), |at| {
        has(step.state, &to, at) || step.state.wanted_spec(job, at).is_some()
    });
    are_there(&spec.key, chosen, numbers)?;
    let version = job.current().map_or(0, |current| current.version);
    let touched = diff(step.state, job, &to, chosen).touched();
    if touched.is_empty() && (current.job.same_as(spec) || !chosen.is_empty()) {
        return Ok(Answer::UpdateBegun(answers::UpdateBegun { version, number: None }));
    }
    let (version, number) = begin(step, job, to, chosen, (author, message))?;
    Ok(Answer::UpdateBegun(answers::UpdateBegun { version, number }))
}

/// The job, if it may be updated now; with its current spec.
fn updatable<'a>(step: &Step<'a>, job: &Job) -> Result<&'a Arc<Spec>, Refusal> {
    let key = job.key.clone();
    if job.ended.is_some() {
        return Err(Refusal::JobEnded { key });
    }
    let current = step.state.current_spec(job).ok_or_else(|| Refusal::NoSuchJob { key: key.clone() })?;
    if !current.job.kind.runs_for_ever() {
        return Err(Refusal::NotUpdatable { key, kind: current.job.kind });
    }
    not_updating(job)?;
    Ok(current)
}

/// One update at a time.
pub(crate) fn not_updating(job: &Job) -> Result<(), Refusal> {
    match job.changes.active() {
        None => Ok(()),
        Some(update) => Err(Refusal::Updating {
            key: job.key.clone(),
            number: update.number,
            state: update.state,
            author: update.author.clone(),
            done: (update.passed.len() + update.gave_up.len()) as u32,
            of: update.instances.len() as u32,
        }),
    }
}

fn numbers_in(bound: u32, has: impl Fn(u32) -> bool) -> Instances {
    (0..bound).filter(|at| has(*at)).collect()
}

/// Whether the chosen ranges reach no further than the numbers of instances, and each has one of them.
pub(crate) fn are_there(key: &JobKey, chosen: &[(u32, u32)], numbers: Instances) -> Result<(), Refusal> {
    let is_wrong = |(first, last): &&(u32, u32)| *last >= numbers.bound() || !numbers.has_any(*first, *last);
    match chosen.iter().find(is_wrong) {
        None => Ok(()),
        Some((_, last)) => Err(Refusal::NoSuchInstance { key: key.clone(), instance: *last, instances: numbers }),
    }
}

/// A new version and the update to it; no update when no instance differs.
fn begin(
    step: &mut Step,
    job: &Job,
    to: Spec,
    chosen: &[(u32, u32)],
    (author, message): (&str, &str),
) -> Result<(u32, Option<u32>), Refusal> {
    submission::admit(step, Some(job), &to.job)?;
    let diff = diff(step.state, job, &to, chosen);
    let from_version = job.current().map_or(0, |current| current.version);
    let (version, to) = (to.version, Arc::new(to));
    let before = before(step.state, job, &to);
    step.mutations.push(Mutation::JobVersioned(JobVersioned {
        job: job.id,
        spec: to.clone(),
        author: author.into(),
        message: message.into(),
    }));
    let touched = diff.touched();
    if touched.is_empty() {
        return Ok((version, None));
    }
    let update = Update {
        kind: UpdateKind::Change,
        from_version,
        to_version: version,
        instances: touched,
        before,
        ..fresh(job, to.id, policy_to(step.state, job, &to.job, step.now.wall), (author, message))
    };
    let number = update.number;
    let what = UpdateChange::Begun(Box::new(update));
    step.mutations.push(Mutation::Update(UpdateMutation { job: job.id, what }));
    Ok((version, Some(number)))
}

/// The spec's policy; to what was in force before it goes straight, and waits for nobody: no canary, no promotion, no pause, no
/// pulse. So it does from what never was healthy, everywhere at once, and from that and what failed there is no way back.
fn policy_to(state: &State, job: &Job, spec: &JobSpec, now: Timestamp) -> UpdatePolicy {
    let own = spec.update.clone();
    let policy = if was_in_force(state, job, spec, now) { straight(own) } else { own };
    match footing(state, job, now) {
        Footing::Good => policy,
        Footing::Failed => UpdatePolicy { no_rollback: true, ..policy },
        Footing::Never => UpdatePolicy {
            strategy: UpdateStrategy::RollingQueue,
            group_sizes: vec![dawn_proto::validate::MAX_INSTANCES],
            surge: 0,
            sla_aware: false,
            no_rollback: true,
            ..straight(policy)
        },
    }
}

/// Without canaries, promotion, pauses and pulses.
fn straight(policy: UpdatePolicy) -> UpdatePolicy {
    UpdatePolicy {
        strategy: match policy.strategy {
            UpdateStrategy::Canary => UpdateStrategy::RollingQueue,
            other => other,
        },
        manual_promotion: false,
        pause_between: false,
        pulse_interval_ms: None,
        ..policy
    }
}

/// Whether a kept version with the same task was in force: it was healthy once, and the update to it went through or, where
/// there was none (or none is kept), it was what an update began from. One whose update was given up was not.
fn was_in_force(state: &State, job: &Job, spec: &JobSpec, now: Timestamp) -> bool {
    let updates = || job.changes.updates.iter().filter(|update| update.kind == UpdateKind::Change);
    let counted = |version: u32| match updates().rfind(|update| update.to_version == version) {
        Some(own) => own.state == UpdateState::RolledForward && own.gave_up.is_empty(),
        None => {
            let is_current = job.current().is_some_and(|current| current.version == version);
            version == 1 || is_current || updates().any(|update| update.from_version == version)
        }
    };
    let same = |of: SpecId| {
        let kept = state.specs.get(&of).filter(|kept| kept.job.same_task(spec));
        kept.is_some_and(|kept| state.was_healthy(job, kept, now))
    };
    job.versions.iter().any(|version| counted(version.version) && same(version.spec))
}

/// What is wanted now where that is not as good as what the target wants.
fn before(state: &State, job: &Job, to: &Spec) -> Vec<(u32, u32, Option<SpecId>)> {
    let mut runs: Vec<(u32, u32, Option<SpecId>)> = Vec::new();
    for instance in 0..bound(state, job, to) {
        let before = state.wanted_spec(job, instance);
        let wanted = has(state, to, instance);
        let same = match before.filter(|before| is_there(state, &before.job, instance)) {
            Some(before) => wanted && before.job.same_task(&to.job),
            None => !wanted,
        };
        let before = before.map(|spec| spec.id);
        match runs.last_mut() {
            _ if same => {}
            Some((_, last, spec)) if *last + 1 == instance && *spec == before => *last = instance,
            _ => runs.push((instance, instance, before)),
        }
    }
    runs
}

fn fresh(job: &Job, to: SpecId, policy: UpdatePolicy, (author, message): (&str, &str)) -> Update {
    let version = job.current().map_or(0, |current| current.version);
    Update {
        number: job.changes.updates.back().map_or(0, |update| update.number) + 1,
        kind: UpdateKind::Restart,
        to,
        from_version: version,
        to_version: version,
        policy,
        author: author.into(),
        message: message.into(),
        instances: Instances::default(),
        before: Vec::new(),
        began: Default::default(),
        first_task: Default::default(),
        state: UpdateState::RollingForward,
        advanced: Instances::default(),
        passed: Instances::default(),
        gave_up: Instances::default(),
        failures: Default::default(),
        promoted: false,
        group: 0,
        pulsed: Default::default(),
        progress: Default::default(),
        events: Default::default(),
    }
}

/// `dawn job restart`: every chosen instance anew, as an update to the version it has.
pub(crate) fn restart(
    step: &mut Step,
    key: &JobKey,
    chosen: &[(u32, u32)],
    policy: Option<&UpdatePolicy>,
    by: (&str, &str),
) -> Result<Answer, Refusal> {
    let job = step.state.job(key).ok_or_else(|| Refusal::NoSuchJob { key: key.clone() })?;
    let current = updatable(step, job)?;
    let is_wanted = |at: u32| step.state.wanted_spec(job, at).is_some_and(|spec| is_there(step.state, &spec.job, at));
    let wanted = numbers_in(step.state.wanted_bound(job), is_wanted);
    let instances: Instances = wanted.iter().filter(|at| is_chosen(chosen, *at)).collect();
    // One that a user stopped is there, and stays stopped.
    let mut there = wanted;
    there.extend(job.stopped.iter().copied());
    are_there(key, chosen, there)?;
    // As back to a version that worked: straight.
    let own = || match was_in_force(step.state, job, &current.job, step.now.wall) {
        true => straight(current.job.update.clone()),
        false => current.job.update.clone(),
    };
    let policy = policy.cloned().unwrap_or_else(own);
    if policy.surge > 0 && current.job.at_most_one {
        return Err(Refusal::SurgeAtMostOne { key: key.clone() });
    }
    let version = current.version;
    if instances.is_empty() {
        return Ok(Answer::UpdateBegun(answers::UpdateBegun { version, number: None }));
    }
    // There is nothing to go back to.
    let policy = UpdatePolicy { no_rollback: true, ..policy };
    // Instances that an update left at another version are restarted as that.
    let pins = job.changes.pins.iter().map(|(at, spec)| (*at, *at, *spec)).collect();
    let update = Update { instances, before: pins, ..fresh(job, current.id, policy, by) };
    let number = Some(update.number);
    let what = UpdateChange::Begun(Box::new(update));
    step.mutations.push(Mutation::Update(UpdateMutation { job: job.id, what }));
    Ok(Answer::UpdateBegun(answers::UpdateBegun { version, number }))
}

/// `dawn job scale`: the same spec with another number of instances, at once.
pub(crate) fn scale(step: &mut Step, key: &JobKey, to: Scale, by: (&str, &str)) -> Result<Answer, Refusal> {
    let job = step.state.job(key).ok_or_else(|| Refusal::NoSuchJob { key: key.clone() })?;
    let current = updatable(step, job)?;
    if current.job.kind == JobKind::Daemon {
        return Err(Refusal::NotScalable { key: key.clone() });
    }
    let instances = match to {
        Scale::To(instances) => instances,
        Scale::By(more) => current.job.instances.saturating_add(more),
    };
    let spec = current.job.with_instances(instances);
    let spec = spec.ok_or(Refusal::BadCount { instances, most: dawn_proto::validate::MAX_INSTANCES })?;
    match submission::submit(step, &spec, by.0, by.1)? {
        Answer::Submitted(answers::Submitted { version, .. }) => {
            Ok(Answer::Scaled(answers::Scaled { version, instances }))
        }
        other => Ok(other),
    }
}
