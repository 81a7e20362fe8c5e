//! After a restore: which numbers the instances of a service have whose version was found on agents. These know the version, and not
//! the gaps that it left between the numbers: what runs keeps its number, and as many of the lower ones that nothing has are left out.

use std::collections::BTreeSet;

use dawn_proto::SpecId;
use dawn_proto::v1::JobKind;

use super::step::Step;
use crate::model::{Instances, Job, Mutation, UpdateChange, UpdateMutation};

/// Once agents had their time to say what they hold.
pub(super) fn keep(step: &mut Step) {
    let state = step.state;
    let Some(restored) = state.restores.last() else { return };
    let was_found = |job: &&Job| {
        let current = job.current().filter(|current| current.author.is_empty() && current.at >= restored.at);
        current.is_some() && job.ended.is_none() && job.changes.active().is_none()
    };
    for job in state.jobs.values().filter(was_found) {
        let Some(spec) = state.current_spec(job).filter(|spec| spec.job.kind == JobKind::Service) else { continue };
        let runs = state.living(job).filter(|task| task.held_on().is_some() && !task.state().is_stopping());
        let runs: BTreeSet<u32> = runs.map(|task| task.instance).collect();
        let bound = spec.bound();
        let unused = || (0..bound).rev().filter(|at| !runs.contains(at));
        let beyond: Instances = runs.range(bound..).copied().take(unused().count()).collect();
        let left_out: Instances = unused().take(beyond.len()).collect();
        push(step, job, beyond, Some(spec.id));
        push(step, job, left_out, None);
    }
}

fn push(step: &mut Step, job: &Job, instances: Instances, spec: Option<SpecId>) {
    if !instances.is_empty() {
        let what = UpdateChange::Kept { instances, spec };
        step.mutations.push(Mutation::Update(UpdateMutation { job: job.id, what }));
    }
}
