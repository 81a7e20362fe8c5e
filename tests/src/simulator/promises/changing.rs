//! S10: an update changes no more instances at once than its policy lets it, ends, and leaves the new version everywhere
//! or, rolled back, exactly the one before.

use std::collections::BTreeMap;

use dawn_proto::SpecId;
use dawn_proto::v1::{JobKind, UpdateState};
use dawn_scheduler::model::{Batch, Job, JobId, Mutation, State, TaskMade, Update, UpdateChange, UpdateMutation};

#[derive(Default)]
pub(super) struct Ledger {
    /// What each instance wanted when the update began.
    before: BTreeMap<(JobId, u32), BTreeMap<u32, SpecId>>,
    pub ended: Counts,
}

/// How updates ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub forward: u32,
    pub back: u32,
}

impl Ledger {
    pub fn batch(&mut self, before: &State, batch: &Batch) {
        for mutation in &batch.mutations {
            let Mutation::Update(UpdateMutation { job, what }) = mutation else { continue };
            match what {
                UpdateChange::Begun(update) => {
                    let wants = before.jobs.get(job).map(|job| wants(before, job)).unwrap_or_default();
                    self.before.insert((*job, update.number), wants);
                }
                UpdateChange::Moved { to: UpdateState::RolledForward, .. } => self.ended.forward += 1,
                UpdateChange::Moved { to: UpdateState::RolledBack, .. } => self.ended.back += 1,
                _ => {}
            }
        }
    }

    /// Every update is over, and every instance wants what it is to want.
    pub fn end(&self, state: &State) -> Result<(), String> {
        for job in state.jobs.values().filter(|job| job.ended.is_none()) {
            let Some(update) = job.changes.updates.back() else { continue };
            if update.is_active() {
                return Err(format!("S10: update {} of {} is still {:?}", update.number, job.key, update.state));
            }
            let now = wants(state, job);
            let wanted = match update.state {
                UpdateState::RolledForward => now.keys().map(|instance| (*instance, update.to)).collect(),
                // Agents that came meanwhile are to have what the others had.
                UpdateState::RolledBack if is_daemon(state, job) => {
                    let before = self.before.get(&(job.id, update.number)).and_then(|before| before.values().next());
                    before.into_iter().flat_map(|spec| now.keys().map(|instance| (*instance, *spec))).collect()
                }
                UpdateState::RolledBack => self.before.get(&(job.id, update.number)).cloned().unwrap_or_default(),
                _ => continue,
            };
            if now != wanted {
                let (key, state) = (&job.key, update.state);
                return Err(format!("S10: {key} wants {now:?} after it {state:?}, {wanted:?} expected"));
            }
        }
        Ok(())
    }
}

fn is_daemon(state: &State, job: &Job) -> bool {
    state.current_spec(job).is_some_and(|spec| spec.job.kind == JobKind::Daemon)
}

fn wants(state: &State, job: &Job) -> BTreeMap<u32, SpecId> {
    let instances = state.current_spec(job).map_or(0, |spec| state.numbered(spec));
    (0..instances).filter_map(|at| Some((at, state.wanted_spec(job, at)?.id))).collect()
}

/// In the state that a batch made.
pub(super) fn bounded(after: &State, batch: &Batch) -> Result<(), String> {
    let changed = batch.mutations.iter().filter_map(|mutation| match mutation {
        Mutation::Update(UpdateMutation { job, .. }) | Mutation::TaskMade(TaskMade { job, .. }) => after.jobs.get(job),
        _ => None,
    });
    for job in changed {
        let Some(update) = job.changes.active() else { continue };
        let mut lives: BTreeMap<u32, u32> = BTreeMap::new();
        after.living(job).for_each(|task| *lives.entry(task.instance).or_default() += 1);
        let twice = lives.values().filter(|lives| **lives > 1).count();
        if twice > update.policy.surge as usize {
            return Err(format!("S10: {twice} instances of {} live twice, {} may", job.key, update.policy.surge));
        }
        let (busy, most) = (update.in_progress().count(), most(update));
        if !update.is_back() && busy > most {
            return Err(format!("S10: {busy} instances of {} are changed at once, {most} may", job.key));
        }
    }
    Ok(())
}

fn most(update: &Update) -> usize {
    let policy = &update.policy;
    policy.group_sizes.iter().copied().max().unwrap_or(1).max(policy.canaries) as usize
}
