//! The service of updates: commands to the pulse, questions to the follower.

use std::collections::BTreeSet;
use std::sync::Arc;

use dawn_proto::JobKey;
use dawn_proto::v1::updates_server::Updates;
use dawn_proto::v1::{self, UpdateAction};
use tonic::{Request, Response, Status};

use super::command::{key, ranges, text};
use super::reads;
use super::{ClientService, status};
use crate::model::{Command, JobSpec, Scale, State, UpdateCommand, answers};
use crate::shares::{Caller, Holder};
use crate::wire;

type Answered<T> = Result<Response<T>, Status>;

impl ClientService {
    /// Starts what `command` says, and says what that does: compared before, so that it says what changed.
    async fn begin(
        &self,
        command: UpdateCommand,
        job: v1::JobKey,
        diff: Option<v1::UpdateDiff>,
        warnings: Vec<String>,
    ) -> Answered<v1::StartUpdateResponse> {
        let (answers::UpdateBegun { version, number }, index) = self.ask(Command::Update(command)).await?;
        let number = number.unwrap_or(0);
        Ok(Response::new(v1::StartUpdateResponse { key: Some(job), version, number, diff, index, warnings }))
    }

    /// An update, with why what it waits for is not there.
    async fn update(&self, client: tonic::Extensions, key: JobKey, number: u32) -> Answered<v1::UpdateInfo> {
        let (live, facts) = (self.live.borrow().clone(), Arc::clone(&self.facts));
        let entries = reads::tasks_of_update(&key);
        let look = move |state: &State| reads::update_status(state, &live, &facts.place, &facts.settings, &key, number);
        self.read(&client, entries, look).await
    }

    async fn compare(
        &self,
        client: Holder,
        spec: &JobSpec,
        instances: &[(u32, u32)],
    ) -> Result<v1::UpdateDiff, Status> {
        let (spec, instances) = (spec.clone(), instances.to_vec());
        let entries = reads::tasks_of(&spec.key);
        let now = self.live.borrow().now.wall;
        let look = move |state: &State| reads::update_diff(state, &spec, &instances, now);
        self.reader.read(Some(client), entries, look).await
    }
}

#[tonic::async_trait]
impl Updates for ClientService {
    async fn start_update(&self, request: Request<v1::StartUpdateRequest>) -> Answered<v1::StartUpdateResponse> {
        let client = Caller::of(request.extensions());
        let v1::StartUpdateRequest { spec, instances, author, message } = request.into_inner();
        let (spec, instances) = (self.parsed(spec)?, ranges(&instances)?);
        let diff = self.compare(client, &spec, &instances).await?;
        let warnings = self.warnings(&spec, &BTreeSet::new()).await?;
        let job = v1::JobKey::from(&spec.key);
        let (author, message) = (text(author), text(message));
        self.begin(UpdateCommand::Start { spec, instances, author, message }, job, Some(diff), warnings).await
    }

    async fn diff_update(&self, request: Request<v1::StartUpdateRequest>) -> Answered<v1::UpdateDiff> {
        let client = Caller::of(request.extensions());
        let v1::StartUpdateRequest { spec, instances, .. } = request.into_inner();
        self.compare(client, &*self.parsed(spec)?, &ranges(&instances)?).await.map(Response::new)
    }

    async fn restart_job(&self, request: Request<v1::RestartJobRequest>) -> Answered<v1::StartUpdateResponse> {
        let v1::RestartJobRequest { key: wire_key, instances, policy, author, message } = request.into_inner();
        let key = key(wire_key.as_ref())?;
        let job = v1::JobKey::from(&key);
        if let Some(policy) = &policy {
            dawn_proto::validate::update_policy(policy).map_err(status::of_field_errors)?;
        }
        let policy = policy.map(|policy| wire::update_policy(Some(&policy)));
        let (instances, author, message) = (ranges(&instances)?, text(author), text(message));
        self.begin(UpdateCommand::Restart { key, instances, policy, author, message }, job, None, Vec::new()).await
    }

    async fn scale_job(&self, request: Request<v1::ScaleJobRequest>) -> Answered<v1::ScaleJobResponse> {
        let v1::ScaleJobRequest { key: wire_key, instances, add, author, message } = request.into_inner();
        let key = key(wire_key.as_ref())?;
        let to = match (instances, add) {
            (Some(instances), 0) => Scale::To(instances),
            (None, add) if add > 0 => Scale::By(add),
            _ => return Err(status::wrong("instances", "give either a number of them, or how many to add")),
        };
        let command = UpdateCommand::Scale { key, to, author: text(author), message: text(message) };
        let (answers::Scaled { version, instances }, index) = self.ask(Command::Update(command)).await?;
        Ok(Response::new(v1::ScaleJobResponse { instances, version, index }))
    }

    async fn control_update(&self, request: Request<v1::ControlUpdateRequest>) -> Answered<v1::UpdateInfo> {
        let (_, client, request) = request.into_parts();
        let key = key(request.key.as_ref())?;
        let action = request.action();
        if action == UpdateAction::Unspecified {
            return Err(status::wrong("action", "pause, resume, abort, rollback, pulse or promote"));
        }
        let (author, message) = (text(request.author), text(request.message));
        let command = UpdateCommand::Control { key: key.clone(), action, author, message };
        let (answers::UpdateTold { number }, _) = self.ask(Command::Update(command)).await?;
        self.update(client, key, number).await
    }

    async fn get_update(&self, request: Request<v1::GetUpdateRequest>) -> Answered<v1::UpdateInfo> {
        let (_, client, request) = request.into_parts();
        let key = key(request.key.as_ref())?;
        self.update(client, key, request.number).await
    }

    async fn list_updates(&self, request: Request<v1::ListUpdatesRequest>) -> Answered<v1::ListUpdatesResponse> {
        let (_, client, request) = request.into_parts();
        let key = request.key.as_ref().map(|wire_key| key(Some(wire_key))).transpose()?;
        let look = move |state: &State| reads::list_updates(state, &request.role, key.as_ref());
        self.read(&client, reads::tasks_of_all, look).await
    }
}
