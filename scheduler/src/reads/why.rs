//! Why tasks wait.

use dawn_proto::JobKey;
use dawn_proto::v1;

use super::ReadError;
use crate::drive::LiveView;
use crate::model::{JobSpec, State};

/// Why a job's tasks wait, by class of equal answers.
///
/// # Errors
/// When there is no such job.
pub fn why(state: &State, _live: &LiveView, key: &JobKey) -> Result<v1::WhyResponse, ReadError> {
    state.job(key).ok_or_else(|| ReadError::NoSuchJob(key.clone()))?;
    Ok(v1::WhyResponse { classes: Vec::new(), index: state.index })
}

/// What to tell whoever submits the spec now.
pub fn submit_warnings(_state: &State, _spec: &JobSpec) -> Vec<String> {
    Vec::new()
}
