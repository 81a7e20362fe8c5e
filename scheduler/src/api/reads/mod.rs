//! The questions clients may ask of the follower's state, and their answers. Not here: how they travel.

use dawn_proto::JobKey;

use crate::model::{AgentNo, State};

mod absent;
mod cron;
mod earlier;
mod endpoints;
mod flow;
mod job;
mod node;
mod page;
mod port_holders;
mod quota;
mod sla;
mod task;
mod update;
mod why;

pub use cron::list_cron;
pub use endpoints::list_endpoints;
pub use flow::{submit_notes, waits_for};
pub use job::{job_status, job_status_at, list_jobs};
pub use node::{list_nodes, node_status};
pub use page::size as page_size;
pub use quota::{list_quotas, quota_status};
pub use sla::{job_sla, sla_report};
pub use task::list_tasks;
pub use update::{active_update, list_updates, tasks_of_update, update_diff, update_status, why_replaced};
pub use why::{fit_warnings, instant, pending_class, submit_warnings, why};

/// How many tasks a look at all of them goes through.
pub fn tasks_of_all(state: &State) -> usize {
    state.tasks.len()
}

/// How many tasks a look at one job goes through.
pub fn tasks_of(key: &JobKey) -> impl FnOnce(&State) -> usize + Send + 'static {
    let key = key.clone();
    move |state| state.job(&key).map_or(0, |job| state.tasks_of(job.id).ids.len())
}

/// Why a question has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    #[error("there is no job {0}")]
    NoSuchJob(JobKey),
    #[error("{key} has no version {version}; it keeps {first} to {last}")]
    NoSuchVersion { key: JobKey, version: u32, first: u32, last: u32 },
    #[error("{key} {}", no_update(*number))]
    NoSuchUpdate { key: JobKey, number: u32 },
    #[error("there is no node {0:?}")]
    NoSuchAgent(String),
    #[error("{0:?} is no page token of this list; leave it empty to begin anew")]
    PageToken(String),
}

/// 0 is the latest.
fn no_update(number: u32) -> String {
    match number {
        0 => "was never updated, or its updates are not kept any more".to_string(),
        number => {
            format!("has no update {number}: there was none, or it is not kept any more")
        }
    }
}

/// As people call an agent's machine; empty: it is forgotten.
pub fn host_of(state: &State, agent: AgentNo) -> String {
    state.agents.get(&agent).map(|agent| agent.hostname.to_string()).unwrap_or_default()
}

#[cfg(test)]
mod tests;
