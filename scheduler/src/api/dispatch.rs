//! Dispatches of templates: they become specs here, by the durable state.

use dawn_proto::v1;
use dawn_proto::validate::MAX_DISPATCH_ID_BYTES;
use tonic::Status;

use super::command::{key, text};
use super::reads::ReadError;
use super::{ClientService, status};
use crate::model::{Command, FlowCommand, FlowRefusal, State, answers};
use crate::wire::{self, Arguments};

impl ClientService {
    pub(super) async fn dispatch(&self, request: v1::DispatchJobRequest) -> Result<v1::DispatchJobResponse, Status> {
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
