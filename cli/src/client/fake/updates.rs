//! The same scheduler's service of updates.

use dawn_proto::v1::updates_server::Updates;

use super::*;

type Answered<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl Updates for Script {
    async fn start_update(&self, request: Request<StartUpdateRequest>) -> Answered<StartUpdateResponse> {
        let spec = request.into_inner().spec.unwrap_or_default();
        self.next(&format!("start update {}", key(spec.key.as_ref())), &self.start_update).await
    }

    async fn diff_update(&self, _: Request<StartUpdateRequest>) -> Answered<UpdateDiff> {
        Err(Status::unimplemented("no answer to a diff"))
    }

    async fn restart_job(&self, request: Request<RestartJobRequest>) -> Answered<StartUpdateResponse> {
        self.next(&format!("restart {}", key(request.into_inner().key.as_ref())), &self.start_update).await
    }

    async fn scale_job(&self, request: Request<ScaleJobRequest>) -> Answered<ScaleJobResponse> {
        self.next(&format!("scale {}", key(request.into_inner().key.as_ref())), &self.scale).await
    }

    async fn control_update(&self, _: Request<ControlUpdateRequest>) -> Answered<UpdateInfo> {
        Err(Status::unimplemented("no answer to a control of an update"))
    }

    async fn get_update(&self, request: Request<GetUpdateRequest>) -> Answered<UpdateInfo> {
        self.next(&format!("update {}", key(request.into_inner().key.as_ref())), &self.update).await
    }

    async fn list_updates(&self, _: Request<ListUpdatesRequest>) -> Answered<ListUpdatesResponse> {
        Err(Status::unimplemented("no answer to a list of updates"))
    }
}
