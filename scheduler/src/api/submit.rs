//! Jobs are submitted: one, or many as one.

use dawn_proto::validate::FieldError;
use std::collections::BTreeSet;

use dawn_proto::JobKey;
use dawn_proto::v1::{self, SubmitOutcome};
use prost::Message;
use tonic::Status;

use super::command::text;
use super::status;
use super::{ClientService, reads};
use crate::model::bounds::DECISION_BYTES;
use crate::model::{Command, JobSpec, State, answers};

/// Most jobs in one request.
const MAX_JOBS: usize = 1_000;

impl ClientService {
    pub(super) async fn submit(&self, request: v1::SubmitJobRequest) -> Result<v1::SubmitJobResponse, Status> {
        let spec = self.parsed(request.spec)?;
        let warnings = self.warnings(&spec, &BTreeSet::new()).await?;
        let command = Command::Submit { spec, author: text(request.author), message: text(request.message) };
        let (answers::Submitted { key, version, outcome }, index) = self.ask(command).await?;
        self.submitted((key, version, outcome), warnings, index).await
    }

    pub(super) async fn submit_all(&self, request: v1::SubmitJobsRequest) -> Result<v1::SubmitJobsResponse, Status> {
        let specs = self.all_parsed(request.specs)?;
        let keys: BTreeSet<JobKey> = specs.iter().map(|spec| spec.key.clone()).collect();
        let mut warnings = Vec::new();
        for spec in &specs {
            warnings.push(self.warnings(spec, &keys).await?);
        }
        let command = Command::SubmitAll { specs, author: text(request.author), message: text(request.message) };
        let (answers::AllSubmitted(all), index) = self.ask(command).await?;
        let mut jobs = Vec::new();
        for (submitted, warnings) in all.into_iter().zip(warnings) {
            jobs.push(self.submitted(submitted, warnings, index).await?);
        }
        Ok(v1::SubmitJobsResponse { jobs, index })
    }

    /// Specs from outside: every field of every one that is wrong is named at once.
    fn all_parsed(&self, specs: Vec<v1::JobSpec>) -> Result<Vec<JobSpec>, Status> {
        if specs.is_empty() || specs.len() > MAX_JOBS {
            let message = format!("{} jobs; at least one and at most {MAX_JOBS} are allowed at once", specs.len());
            return Err(status::wrong("specs", message));
        }
        let bytes: usize = specs.iter().map(Message::encoded_len).sum();
        if bytes > DECISION_BYTES {
            let message = format!(
                "the jobs take {bytes} bytes in the journal; at most {DECISION_BYTES} are allowed at once: submit fewer \
                 together"
            );
            return Err(status::too_large(bytes, DECISION_BYTES, message).into());
        }
        let (mut parsed, mut wrong, mut keys) = (Vec::new(), Vec::new(), BTreeSet::new());
        for (at, spec) in specs.into_iter().enumerate() {
            match self.checked(spec) {
                Ok(spec) if !keys.insert(spec.key.clone()) => {
                    let message = format!("{} is there twice", spec.key);
                    wrong.push(FieldError { path: format!("specs[{at}]"), message });
                }
                Ok(spec) => parsed.push(*spec),
                Err(errors) => wrong.extend(errors.into_iter().map(|error| error.below(&format!("specs[{at}]")))),
            }
        }
        match wrong.is_empty() {
            true => Ok(parsed),
            false => Err(status::of_field_errors(wrong)),
        }
    }

    /// What to tell whoever submits it now, together with the jobs of these keys.
    pub(super) async fn warnings(&self, spec: &JobSpec, together: &BTreeSet<JobKey>) -> Result<Vec<String>, Status> {
        let mut warnings = self.reader.submit_warnings(spec.clone()).await?;
        let mut asked = spec.clone();
        asked.flow.after.retain(|dependency| !together.contains(&dependency.job));
        let now = self.live.borrow().now.wall;
        warnings.extend(self.reader.find(move |state: &State| reads::submit_notes(state, &asked, now)).await?);
        Ok(warnings)
    }

    async fn submitted(
        &self,
        (key, version, outcome): (JobKey, u32, SubmitOutcome),
        warnings: Vec<String>,
        index: u64,
    ) -> Result<v1::SubmitJobResponse, Status> {
        let job = v1::JobKey::from(&key);
        let mut warnings = warnings;
        if outcome == SubmitOutcome::Replaced {
            let key = key.clone();
            warnings.extend(self.reader.find(move |state| reads::why_replaced(state, &key, version)).await?);
        }
        let update = match outcome {
            // Sent once more while the update to it is under way.
            SubmitOutcome::Updating | SubmitOutcome::Unchanged => {
                self.reader.find(move |state| reads::active_update(state, &key)).await?
            }
            _ => 0,
        };
        Ok(v1::SubmitJobResponse { key: Some(job), version, outcome: outcome.into(), warnings, index, update })
    }
}
