//! Submitting the jobs of files: all of them at once, or none.

use dawn_proto::v1::{self, JobSpec};
use tonic::{Code, Response};

use crate::args::Context;
use crate::client::{Client, Repeat};
use crate::commands::author;
use crate::exit::Failure;

/// Submits all of the jobs or, when one is refused, none of them; answers in their order. A scheduler of the version before
/// does not know how: it is given one after the other.
///
/// # Errors
/// Why none was taken; with an old scheduler those before the one that was refused are there.
pub async fn submit_all(
    context: &mut Context,
    specs: &[JobSpec],
    message: &str,
) -> Result<Vec<v1::SubmitJobResponse>, Failure> {
    let request = v1::SubmitJobsRequest { specs: specs.to_vec(), author: author(), message: message.to_string() };
    let call = async |client: &mut Client, request| match client.jobs().submit_jobs(request).await {
        Err(status) if status.code() == Code::Unimplemented => Ok(Response::new(None)),
        answer => answer.map(|answer| Response::new(Some(answer.into_inner().jobs))),
    };
    if let Some(jobs) = context.scheduler.call(request, Repeat::Harmless, call).await? {
        return Ok(jobs);
    }
    let mut responses: Vec<v1::SubmitJobResponse> = Vec::new();
    for spec in specs {
        let response = submit_one(context, spec.clone(), message).await;
        responses.push(response.map_err(|failure| match responses.len() {
            0 => failure.hint("nothing was submitted"),
            count => failure.hint(format!("the first {} of the jobs were submitted", count)),
        })?);
    }
    Ok(responses)
}

pub async fn submit_one(context: &mut Context, spec: JobSpec, message: &str) -> Result<v1::SubmitJobResponse, Failure> {
    let request = v1::SubmitJobRequest { spec: Some(spec), author: author(), message: message.to_string() };
    let call = async |client: &mut Client, request| client.jobs().submit_job(request).await;
    context.scheduler.call(request, Repeat::Harmless, call).await
}
