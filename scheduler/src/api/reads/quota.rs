//! Quotas with what roles hold and ask for.

use std::collections::BTreeSet;

use dawn_proto::v1;
use dawn_proto::v1::Tier;

use crate::decide::{Asked, asked};
use crate::model::{BOUNDED, Bound, Quota, State, amount, amount_of, bounded};
use crate::wire;

/// The quota that counts for a role, and what is used of it. Takes time for each task of the role.
pub fn quota_status(state: &State, role: &str) -> v1::QuotaStatus {
    let quota = state.quota_of(role);
    let (held, asked) = (held(state, role), asked(state, role, None));
    v1::QuotaStatus {
        quota: Some(wire::quota_to_wire(role, &quota)),
        own: state.quotas.contains_key(role),
        used_production: Some(amounts(&held.production)),
        used: Some(amounts(&held.all)),
        asked_production: Some(amounts(&asked.production)),
        asked: Some(amounts(&asked.all)),
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

fn amounts([cpu_milli, memory_bytes, disk_bytes, gpu_milli]: &[u64; 4]) -> v1::Resources {
    let (cpu_milli, memory_bytes, disk_bytes, gpu_milli) = (*cpu_milli, *memory_bytes, *disk_bytes, *gpu_milli);
    v1::Resources { cpu_milli, memory_bytes, disk_bytes, gpu_milli, ..Default::default() }
}

/// By tasks that are on agents.
fn held(state: &State, role: &str) -> Asked {
    let mut held = Asked::default();
    for job in state.jobs_of_role(role) {
        for task in state.living(job).filter(|task| task.held_on().is_some()) {
            let spec = &state.spec_of(task).job;
            for (at, amount) in bounded(&spec.demand).into_iter().enumerate() {
                held.all[at] = held.all[at].saturating_add(amount);
                if spec.tier == Tier::Production {
                    held.production[at] = held.production[at].saturating_add(amount);
                }
            }
        }
    }
    held
}

fn warnings(role: &str, quota: &Quota, held: &Asked, asked: &Asked) -> Vec<String> {
    let mut warnings = Vec::new();
    for bound in Bound::ALL {
        for (at, have) in quota.bounds(bound).0.iter().enumerate() {
            let Some(have) = *have else { continue };
            let (held, asked, what) = (held.under(bound)[at], asked.under(bound)[at], bound.of_what());
            if held > have {
                warnings.push(format!(
                    "role {role} holds {}{what}, {} above its {bound} of {}: nothing is stopped for it, and nothing more \
                     is placed until it holds less",
                    amount_of(BOUNDED[at], held),
                    amount(BOUNDED[at], held - have),
                    amount(BOUNDED[at], have)
                ));
            } else if asked > have {
                warnings.push(format!(
                    "the jobs of role {role} ask for {}{what}, {} above its {bound} of {}: what is above waits",
                    amount_of(BOUNDED[at], asked),
                    amount(BOUNDED[at], asked - have),
                    amount(BOUNDED[at], have)
                ));
            }
        }
    }
    warnings
}
