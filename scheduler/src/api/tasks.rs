//! The service of tasks: lists, logs and last words.

use dawn_proto::v1;
use dawn_proto::v1::tasks_server::Tasks;
use tonic::{Request, Response};

use super::service::{Answer, LogStream};
use super::{ClientService, command, reads};
use crate::model::State;
use crate::shares::Caller;

/// Tasks in one look at the state: well under a millisecond.
const TASKS_A_LOOK: usize = 250;

#[tonic::async_trait]
impl Tasks for ClientService {
    type ReadLogStream = LogStream;

    async fn list_tasks(&self, request: Request<v1::ListTasksRequest>) -> Answer<v1::ListTasksResponse> {
        let (_, client, mut request) = request.into_parts();
        let key = request.job.as_ref().map(|key| command::key(Some(key))).transpose()?;
        // In short looks: the state is applied to between them, and nobody's command waits for a page of thousands.
        let wanted = reads::page_size(request.page_size);
        let mut page = v1::ListTasksResponse::default();
        loop {
            let asked = (wanted - page.tasks.len()).min(TASKS_A_LOOK);
            request.page_size = u32::try_from(asked).unwrap_or(u32::MAX);
            let (key, part) = (key.clone(), request.clone());
            let look = move |state: &State| reads::list_tasks(state, key.as_ref(), &part);
            let part = self.read(&client, move |_| asked, look).await?.into_inner();
            let is_short = part.tasks.len() < asked;
            if page.tasks.is_empty() {
                page.index = part.index;
            }
            page.tasks.extend(part.tasks);
            page.next_page_token.clone_from(&part.next_page_token);
            if is_short || part.next_page_token.is_empty() || page.tasks.len() >= wanted {
                return Ok(Response::new(page));
            }
            request.page_token = part.next_page_token;
        }
    }

    async fn read_log(&self, request: Request<v1::ReadLogRequest>) -> Answer<Self::ReadLogStream> {
        let holder = Caller::of(request.extensions());
        self.log(holder, request.into_inner()).await
    }

    async fn get_last_words(&self, request: Request<v1::GetLastWordsRequest>) -> Answer<v1::GetLastWordsResponse> {
        let holder = Caller::of(request.extensions());
        self.last_words(holder, &request.into_inner().task_ids).await.map(Response::new)
    }
}
