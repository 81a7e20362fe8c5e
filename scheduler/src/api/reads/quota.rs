//! Quotas with what roles hold and ask for.

use std::collections::BTreeSet;

use dawn_proto::v1::Tier;
use dawn_proto::{Dimension, v1};

use crate::decide::{Asked, asked};
use crate::model::{Bound, Quota, State, amount, amount_of};
use crate::wire;

/// The quota that counts for a role, and what is used of it. Takes time for each task of the role.
pub fn quota_status(state: &State, role: &str) -> v1::QuotaStatus {
    let quota = state.quota_of(role);
    let (held, asked) = (held(state, role), asked(state, role, None));
    v1::QuotaStatus {
        quota: Some(wire::quota_to_wire(role, &quota)),
        own: state.quotas.contains_key(role),
        used_production: Some((&held.production).into()),
        used: Some((&held.all).into()),
        asked_production: Some((&asked.production).into()),
        asked: Some((&asked.all).into()),
        warnings: warnings(role, &quota, &held, &asked),
        index: state.index,
    }
}

/// Of every role that has a quota or a job. Takes time for every task there is.
pub fn list_quotas(state: &State) -> v1::ListQuotaResponse {
    let of_jobs = state.indexes().job_by_key.keys().map(|key| key.role());
    let roles: BTreeSet<&str> = state.quotas.keys().map(String::as_str).chain(of_jobs).collect();
    let quotas = roles.into_iter().map(|role| quota_status(state, role)).collect();
    v1::ListQuotaResponse { quotas, index: state.index }
}

/// By tasks that are on agents.
fn held(state: &State, role: &str) -> Asked {
    let mut held = Asked::default();
    for job in state.jobs_of_role(role) {
        for task in state.living(job).filter(|task| task.held_on().is_some()) {
            let spec = &state.spec_of(task).job;
            for dimension in Dimension::ALL {
                let amount = spec.demand.amount(dimension);
                held.all[dimension] = held.all[dimension].saturating_add(amount);
                if spec.tier == Tier::Production {
                    held.production[dimension] = held.production[dimension].saturating_add(amount);
                }
            }
        }
    }
    held
}

fn warnings(role: &str, quota: &Quota, held: &Asked, asked: &Asked) -> Vec<String> {
    let mut warnings = Vec::new();
    for bound in Bound::ALL {
        for (dimension, have) in quota.bounds(bound).pairs() {
            let (held, asked, what) = (held.under(bound)[dimension], asked.under(bound)[dimension], bound.of_what());
            let dimension = dimension.name();
            if held > have {
                warnings.push(format!(
                    "role {role} holds {}{what}, {} above its {bound} of {}: nothing is stopped for it, and nothing more \
                     is placed until it holds less",
                    amount_of(dimension, held),
                    amount(dimension, held - have),
                    amount(dimension, have)
                ));
            } else if asked > have {
                warnings.push(format!(
                    "the jobs of role {role} ask for {}{what}, {} above its {bound} of {}: what is above waits",
                    amount_of(dimension, asked),
                    amount(dimension, asked - have),
                    amount(dimension, have)
                ));
            }
        }
    }
    warnings
}
