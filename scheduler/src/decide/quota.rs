//! Quotas at submission, and setting them. What they mean: `model/quota.rs`. Not here: placement, which keeps them too.

use dawn_proto::v1::{JobKind, Tier};
use dawn_proto::{ByDimension, Dimension};

use super::daemon;
use super::step::Step;
use crate::model::{Answer, Bound, Bounds, Job, JobId, JobSpec, Mutation, Quota, QuotaSet, Refusal, State, answers};

/// Amounts: production tasks, and all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    pub production: ByDimension<u64>,
    pub all: ByDimension<u64>,
}

impl Asked {
    /// By so many tasks of a spec.
    fn by(spec: &JobSpec, tasks: u64) -> Asked {
        let all = spec.demand.amounts().map(|amount| amount.saturating_mul(tasks));
        let production = if spec.tier == Tier::Production { all } else { ByDimension::default() };
        Asked { production, all }
    }

    fn with(self, other: Asked, join: fn(u64, u64) -> u64) -> Asked {
        let joined = |a: ByDimension<u64>, b: ByDimension<u64>| {
            ByDimension::from_fn(|dimension| join(a[dimension], b[dimension]))
        };
        Asked { production: joined(self.production, other.production), all: joined(self.all, other.all) }
    }

    /// What a bound is about.
    pub fn under(&self, bound: Bound) -> &ByDimension<u64> {
        match bound {
            Bound::Guarantee => &self.production,
            Bound::Limit => &self.all,
        }
    }
}

/// What a role's jobs ask for, but for one of them. Takes time for each job of the role.
pub fn asked(state: &State, role: &str, but_for: Option<JobId>) -> Asked {
    let jobs = state.jobs_of_role(role).filter(|job| Some(job.id) != but_for);
    jobs.map(|job| asked_by(state, job)).fold(Asked::default(), |sum, one| sum.with(one, u64::saturating_add))
}

/// As many tasks as it wants or, where that is more, still has.
fn asked_by(state: &State, job: &Job) -> Asked {
    let Some(spec) = state.current_spec(job) else { return Asked::default() };
    let wanted = match spec.job.kind {
        _ if job.ended.is_some() => 0,
        // Instances that are done ask for nothing more.
        JobKind::Batch if job.settled == Job::SETTLED => 0,
        _ => tasks_of(state, &spec.job).saturating_sub(job.stopped.len() as u64),
    };
    Asked::by(&spec.job, wanted.max(u64::from(state.tasks_of(job.id).living)))
}

/// How many tasks of a spec there are at once.
fn tasks_of(state: &State, spec: &JobSpec) -> u64 {
    match spec.kind {
        JobKind::Daemon => daemon::matching(state, spec),
        _ if spec.flow.is_template => 0,
        _ => u64::from(spec.instances.min(spec.flow.max_running.unwrap_or(u32::MAX))),
    }
}

/// Whether what is submitted fits the role's quota.
pub(super) fn admit(state: &State, job: Option<&Job>, spec: &JobSpec) -> Result<(), Refusal> {
    let role = spec.key.role();
    let quota = state.quota_of(role);
    if Bound::ALL.iter().all(|bound| quota.bounds(*bound).is_none()) {
        return Ok(());
    }
    let before = job.map(|job| asked_by(state, job)).unwrap_or_default();
    let after = Asked::by(spec, tasks_of(state, spec));
    let others = asked(state, role, job.map(|job| job.id));
    let used = others.with(before, u64::saturating_add);
    let asks = others.with(before.with(after, u64::max), u64::saturating_add);
    for bound in Bound::ALL {
        for (dimension, have) in quota.bounds(bound).pairs() {
            let is_more = after.under(bound)[dimension] > before.under(bound)[dimension];
            if is_more && asks.under(bound)[dimension] > have {
                return Err(Refusal::OverQuota {
                    role: role.to_string(),
                    bound,
                    dimension: dimension.name(),
                    have,
                    used: used.under(bound)[dimension],
                    asks: asks.under(bound)[dimension],
                });
            }
        }
    }
    Ok(())
}

/// Sets what is given of a role's quota; the rest stays as it counts now.
pub(super) fn set(
    step: &mut Step,
    role: &str,
    (guarantee, limit, weight): (Option<Bounds>, Option<Bounds>, Option<u32>),
    author: &str,
) -> Result<Answer, Refusal> {
    let state = step.state;
    let now = state.quota_of(role);
    let quota = Quota {
        guarantee: guarantee.unwrap_or(now.guarantee),
        limit: limit.unwrap_or(now.limit),
        weight: weight.unwrap_or(now.weight),
    };
    for dimension in Dimension::ALL {
        if let (Some(guarantee), Some(limit)) = (quota.guarantee.0[dimension], quota.limit.0[dimension])
            && guarantee > limit
        {
            return Err(Refusal::GuaranteeAboveLimit { dimension: dimension.name(), guarantee, limit });
        }
    }
    let own = state.quotas.get(role).copied();
    if own.is_none() && state.quotas.len() >= Quota::MOST {
        return Err(Refusal::Full { what: "quotas", have: state.quotas.len() });
    }
    if own.unwrap_or_default() != quota {
        step.mutations.push(Mutation::QuotaSet(Box::new(QuotaSet { role: role.into(), quota, author: author.into() })));
    }
    Ok(Answer::QuotaSet(answers::QuotaSet))
}
