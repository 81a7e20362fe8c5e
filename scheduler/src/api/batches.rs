//! The service of templates and paused cron jobs: dispatches become specs here, by the durable state.

use dawn_proto::v1;
use dawn_proto::v1::batches_server::Batches;
use dawn_proto::validate::MAX_DISPATCH_ID_BYTES;
use tonic::{Request, Response, Status};

use super::command::{key, text};
use super::reads::ReadError;
use super::{ClientService, reads, status};
use crate::model::{Command, FlowCommand, FlowRefusal, State, answers};
use crate::wire::{self, Arguments};

type Answered<T> = Result<Response<T>, Status>;

impl ClientService {
    async fn dispatch(&self, request: v1::DispatchJobRequest) -> Result<v1::DispatchJobResponse, Status> {
        self.only_leading()?;
        let v1::DispatchJobRequest { key, arguments, payload, id, author, message } = request;
        let template = self::key(key.as_ref())?;
        if id.len() > MAX_DISPATCH_ID_BYTES {
            let most = format!("{} bytes; at most {MAX_DISPATCH_ID_BYTES} are allowed", id.len());
            return Err(status::wrong("id", most));
        }
        let id = if id.is_empty() { fresh_id()? } else { id };
        let arguments = Arguments { given: arguments, payload };
        let content_hash = arguments.hash();
        let asked = template.clone();
        let read = move |state: &State| -> Result<_, Status> {
            let missing = || status::of_read_error(&ReadError::NoSuchJob(asked.clone()));
            let job = state.job(&asked).ok_or_else(missing)?;
            let spec = state.current_spec(job).filter(|spec| spec.job.flow.is_template);
            let none = || status::of_refusal(&FlowRefusal::NoTemplate { key: asked.clone() }.into());
            let spec = spec.ok_or_else(none)?;
            let made = wire::dispatched_key(&asked, &id);
            let made = wire::dispatched_spec(&spec.job, &made, &arguments);
            Ok((spec.id, made.map_err(status::of_field_errors)?))
        };
        let (template_spec, spec) = self.reader.find(read).await??;
        let (author, message) = (text(author), text(message));
        let message = if message.is_empty() { format!("dispatched from {template}") } else { message };
        let spec = Box::new(spec);
        let command = FlowCommand::Dispatch { template, template_spec, content_hash, spec, author, message };
        let (answers::Dispatched { key, existing }, index) = self.ask(Command::Flow(command)).await?;
        Ok(v1::DispatchJobResponse { key: Some((&key).into()), existing, index })
    }
}

/// An id for a dispatch whose caller gave none.
fn fresh_id() -> Result<String, Status> {
    let read = std::fs::read_to_string("/proc/sys/kernel/random/uuid");
    read.map_err(|error| status::internal(format!("making an id: {error}")))
}

#[tonic::async_trait]
impl Batches for ClientService {
    async fn dispatch_job(&self, request: Request<v1::DispatchJobRequest>) -> Answered<v1::DispatchJobResponse> {
        self.dispatch(request.into_inner()).await.map(Response::new)
    }

    async fn pause_cron(&self, request: Request<v1::PauseCronRequest>) -> Answered<v1::PauseCronResponse> {
        let v1::PauseCronRequest { key, author } = request.into_inner();
        let command = FlowCommand::PauseCron { key: self::key(key.as_ref())?, author: text(author) };
        let (answers::CronPaused, index) = self.ask(Command::Flow(command)).await?;
        Ok(Response::new(v1::PauseCronResponse { index }))
    }

    async fn resume_cron(&self, request: Request<v1::ResumeCronRequest>) -> Answered<v1::ResumeCronResponse> {
        let key = self::key(request.get_ref().key.as_ref())?;
        let (answers::CronResumed, index) =
            self.ask(Command::Flow(FlowCommand::ResumeCron { key: key.clone() })).await?;
        let status = self.reader.find(move |state| reads::job_status(state, &key, 0)).await?;
        let status = status.map_err(|error| status::of_read_error(&error))?;
        // When it fires, jitter included.
        let next_ms = status.cron.map_or(0, |cron| cron.next_ms.saturating_add_unsigned(cron.jitter_ms));
        Ok(Response::new(v1::ResumeCronResponse { next_ms, index }))
    }
}
