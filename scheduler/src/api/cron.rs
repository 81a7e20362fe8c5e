//! The service of cron jobs: runs by hand, pauses, and when each runs next.

use dawn_proto::v1;
use dawn_proto::v1::cron_server::Cron;
use tonic::{Request, Response};

use super::command::text;
use super::service::Answer;
use super::{ClientService, command, reads, status};
use crate::model::{Command, FlowCommand, answers};

#[tonic::async_trait]
impl Cron for ClientService {
    async fn start_cron(&self, request: Request<v1::StartCronRequest>) -> Answer<v1::StartCronResponse> {
        self.start(request.into_inner()).await.map(Response::new)
    }

    async fn deschedule_cron(&self, request: Request<v1::DescheduleCronRequest>) -> Answer<v1::DescheduleCronResponse> {
        self.deschedule(request.into_inner()).await.map(Response::new)
    }

    async fn pause_cron(&self, request: Request<v1::PauseCronRequest>) -> Answer<v1::PauseCronResponse> {
        let v1::PauseCronRequest { key, author } = request.into_inner();
        let command = FlowCommand::PauseCron { key: command::key(key.as_ref())?, author: text(author) };
        let (answers::CronPaused, index) = self.ask(Command::Flow(command)).await?;
        Ok(Response::new(v1::PauseCronResponse { index }))
    }

    async fn resume_cron(&self, request: Request<v1::ResumeCronRequest>) -> Answer<v1::ResumeCronResponse> {
        let key = command::key(request.get_ref().key.as_ref())?;
        let (answers::CronResumed, index) =
            self.ask(Command::Flow(FlowCommand::ResumeCron { key: key.clone() })).await?;
        let status = self.reader.find(move |state| reads::job_status(state, &key, 0)).await?;
        let status = status.map_err(|error| status::of_read_error(&error))?;
        // When it fires, jitter included.
        let next_ms = status.cron.map_or(0, |cron| cron.next_ms.saturating_add_unsigned(cron.jitter_ms));
        Ok(Response::new(v1::ResumeCronResponse { next_ms, index }))
    }

    async fn list_cron(&self, request: Request<v1::ListCronRequest>) -> Answer<v1::ListCronResponse> {
        let (_, client, request) = request.into_parts();
        self.read(&client, |state| state.jobs.len(), move |state| Ok(reads::list_cron(state, &request.role))).await
    }
}
