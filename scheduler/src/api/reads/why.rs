//! Why tasks wait, in the words of the decision itself.

use dawn_proto::v1;
use dawn_proto::{JobKey, TaskState, Timestamp};

use super::{ReadError, flow};
use crate::decide::place::{self, Explained, PlaceSettings};
use crate::drive::LiveView;
use crate::model::{JobSpec, State};

/// Why a job's tasks wait, by class of equal answers. Takes time for every task there is.
///
/// # Errors
/// When there is no such job.
pub fn why(
    state: &State,
    live: &LiveView,
    settings: &PlaceSettings,
    key: &JobKey,
) -> Result<v1::WhyResponse, ReadError> {
    let job = state.job(key).ok_or_else(|| ReadError::NoSuchJob(key.clone()))?;
    let classes = place::explain(state, settings, &|agent| live.is_connected(agent), job.id, live.now);
    let mut classes: Vec<_> = classes.into_iter().map(pending_class).collect();
    flow::explain(state, job, &mut classes);
    Ok(v1::WhyResponse { classes, index: state.index })
}

/// One answer as a message.
pub fn pending_class(explained: Explained) -> v1::PendingClass {
    let summary = summary(&explained);
    let veto =
        |veto: &place::Veto| v1::VetoCount { agents: veto.agents, text: veto.to_string(), kind: veto.kind.code() };
    v1::PendingClass {
        state: explained.state.into(),
        agents_total: explained.agents_total,
        vetoes: explained.vetoes.iter().map(veto).collect(),
        summary,
        pending_since_ms: explained.since.0,
        ready_at_ms: explained.ready_at.map_or(0, |ready_at| ready_at.0),
        instances: explained.instances,
        quota: explained.quota.map(|veto| v1::QuotaVeto {
            bound: veto.bound.to_string(),
            dimension: veto.dimension.into(),
            have: veto.have,
            used: veto.used,
            need: veto.need,
        }),
    }
}

/// The one-line answer, with instants as people write them.
fn summary(explained: &Explained) -> String {
    match (explained.state, explained.ready_at, &explained.nominated) {
        (TaskState::Throttled, Some(ready_at), _) => format!("waits until {} after failing", instant(ready_at)),
        (_, _, Some((agent, until))) => format!("room is being freed on {agent}, kept until {}", instant(*until)),
        _ => explained.to_string(),
    }
}

/// To the second, in UTC.
pub fn instant(at: Timestamp) -> String {
    jiff::Timestamp::from_millisecond(at.0).map_or_else(|_| at.to_string(), |at| at.strftime("%FT%TZ").to_string())
}

/// What to tell whoever submits the spec now.
pub fn submit_warnings(state: &State, spec: &JobSpec) -> Vec<String> {
    fit_warnings(place::could_ever_fit(state, spec), state.agents.len())
}

/// The same, from what is known of so many agents.
pub fn fit_warnings(fits: Result<(), Vec<place::Veto>>, agents: usize) -> Vec<String> {
    match fits {
        Ok(()) => Vec::new(),
        Err(_) if agents == 0 => vec!["no agent has registered yet; its tasks wait for one".into()],
        Err(vetoes) => {
            let reasons: Vec<_> = vetoes.iter().map(ToString::to_string).collect();
            vec![format!("fits none of the {agents} agents there are, even empty ones: {}", reasons.join("; "))]
        }
    }
}
