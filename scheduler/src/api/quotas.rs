//! The service of quotas.

use dawn_proto::v1;
use dawn_proto::v1::quotas_server::Quotas;
use tonic::{Request, Response};

use super::service::Answer;
use super::{ClientService, command, reads};
use crate::model::State;
use crate::shares::Caller;

#[tonic::async_trait]
impl Quotas for ClientService {
    async fn set_quota(&self, request: Request<v1::SetQuotaRequest>) -> Answer<v1::QuotaStatus> {
        let holder = Caller::of(request.extensions());
        self.set_quota(holder, request.into_inner()).await.map(Response::new)
    }

    async fn get_quota(&self, request: Request<v1::GetQuotaRequest>) -> Answer<v1::QuotaStatus> {
        let (_, client, v1::GetQuotaRequest { role }) = request.into_parts();
        command::check_role(&role)?;
        self.read(&client, reads::tasks_of_all, move |state| Ok(reads::quota_status(state, &role))).await
    }

    async fn list_quota(&self, request: Request<v1::ListQuotaRequest>) -> Answer<v1::ListQuotaResponse> {
        let look = |state: &State| Ok(reads::list_quotas(state));
        self.read(request.extensions(), reads::tasks_of_all, look).await
    }
}
