//! The service of jobs, each rpc in a line or two.

use std::pin::Pin;
use std::sync::Arc;

use dawn_proto::v1;
use dawn_proto::v1::jobs_server::Jobs;
use futures_util::{Stream, StreamExt, stream};
use tonic::{Request, Response, Status};

use super::service::Answer;
use super::{ClientService, command, plan, reads, status};
use crate::drive::Role;
use crate::model::State;
use crate::shares::Caller;
use crate::wire;

#[tonic::async_trait]
impl Jobs for ClientService {
    type WatchJobStream = Pin<Box<dyn Stream<Item = Result<v1::JobStatus, Status>> + Send>>;
    type PlanJobsStream = Pin<Box<dyn Stream<Item = Result<v1::JobPlan, Status>> + Send>>;

    async fn submit_job(&self, request: Request<v1::SubmitJobRequest>) -> Answer<v1::SubmitJobResponse> {
        self.submit(request.into_inner()).await.map(Response::new)
    }

    async fn submit_jobs(&self, request: Request<v1::SubmitJobsRequest>) -> Answer<v1::SubmitJobsResponse> {
        self.submit_all(request.into_inner()).await.map(Response::new)
    }

    async fn plan_jobs(&self, request: Request<v1::PlanJobsRequest>) -> Result<Response<Self::PlanJobsStream>, Status> {
        if let Role::Following { leader } = &*self.role.borrow() {
            return Err(status::not_leader(leader.as_deref()));
        }
        let holder = Caller::of(request.extensions());
        let specs = request.into_inner().specs;
        if specs.len() > plan::JOBS {
            let words = format!("{} jobs, at most {} are planned together", specs.len(), plan::JOBS);
            return Err(status::wrong("specs", words));
        }
        let parsed = specs.into_iter().map(wire::parse_job_spec).collect::<Result<Vec<_>, _>>();
        let parsed = parsed.map_err(status::of_field_errors)?;
        let service = self.clone();
        let planned = stream::once(async move {
            // Copied under the lock, tried outside of it.
            let turn = service.reader.turn(holder).await;
            match service.reader.find(State::clone).await {
                Ok(state) => service.plans(state, parsed, turn).await,
                Err(error) => vec![Err(error)],
            }
        });
        Ok(Response::new(Box::pin(futures_util::StreamExt::flat_map(planned, stream::iter))))
    }

    async fn dispatch_job(&self, request: Request<v1::DispatchJobRequest>) -> Answer<v1::DispatchJobResponse> {
        self.dispatch(request.into_inner()).await.map(Response::new)
    }

    async fn kill_job(&self, request: Request<v1::KillJobRequest>) -> Answer<v1::KillJobResponse> {
        self.kill(request.into_inner()).await.map(Response::new)
    }

    async fn list_jobs(&self, request: Request<v1::ListJobsRequest>) -> Answer<v1::ListJobsResponse> {
        let (_, client, request) = request.into_parts();
        let now = self.live.borrow().now.wall;
        let look = move |state: &State| reads::list_jobs(state, &request, now.max(state.at));
        self.read(&client, |state| state.jobs.len(), look).await
    }

    async fn get_job(&self, request: Request<v1::GetJobRequest>) -> Answer<v1::JobStatus> {
        let (_, client, request) = request.into_parts();
        let key = command::key(request.key.as_ref())?;
        let entries = reads::tasks_of(&key);
        let now = self.live.borrow().now.wall;
        let look = move |state: &State| reads::job_status_at(state, &key, request.version, now.max(state.at));
        self.read(&client, entries, look).await
    }

    async fn watch_job(&self, request: Request<v1::GetJobRequest>) -> Answer<Self::WatchJobStream> {
        let holder = Caller::of(request.extensions());
        let request = request.into_inner();
        let key = command::key(request.key.as_ref())?;
        let (places, shown) = self.watches.watch(holder, key, request.version).await?;
        let shown = shown.map(|shown| shown.map(|shown| shown.status.clone()));
        let mut response = Response::new(Box::pin(shown) as Self::WatchJobStream);
        response.extensions_mut().insert(places);
        Ok(response)
    }

    async fn list_endpoints(&self, request: Request<v1::ListEndpointsRequest>) -> Answer<v1::ListEndpointsResponse> {
        let key = command::key(request.get_ref().key.as_ref())?;
        let entries = reads::tasks_of(&key);
        self.read(request.extensions(), entries, move |state| reads::list_endpoints(state, &key)).await
    }

    async fn why(&self, request: Request<v1::WhyRequest>) -> Answer<v1::WhyResponse> {
        let key = command::key(request.get_ref().key.as_ref())?;
        let live = self.live.borrow().clone();
        let facts = Arc::clone(&self.facts);
        let look = move |state: &State| reads::why(state, &live, &facts.place, &facts.settings, &key);
        self.read(request.extensions(), reads::tasks_of_all, look).await
    }

    async fn get_sla(&self, request: Request<v1::GetSlaRequest>) -> Answer<v1::SlaReport> {
        let (_, client, request) = request.into_parts();
        let key = request.key.as_ref().map(|wire_key| command::key(Some(wire_key))).transpose()?;
        let now = self.live.borrow().now.wall;
        let look = move |state: &State| reads::sla_report(state, key.as_ref(), &request.role, request.window_ms, now);
        self.read(&client, reads::tasks_of_all, look).await
    }
}
