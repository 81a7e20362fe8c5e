//! Clients' sessions with tasks and agents: who is meant is looked up here, the rest is carried through unread.

use std::time::Duration;

use dawn_proto::v1::reach_server::Reach;
use dawn_proto::v1::{self, reach_up::Message};
use dawn_proto::{AgentId, TaskId};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::{ClientService, reads, status};
use crate::model::{AgentNo, State};
use crate::shares::Caller;

/// The client says what it wants within this time.
const OPEN_WITHIN: Duration = Duration::from_secs(10);
/// Messages waiting for the client to take them.
const MESSAGES: usize = 2;

/// What comes of a session, or words why it can't go on; and the way to say more.
pub type ReachPipe = (mpsc::Sender<v1::ReachUp>, mpsc::Receiver<Result<v1::ReachDown, Status>>);

/// The gRPC service of sessions.
#[derive(Clone)]
pub struct ReachService(pub ClientService);

#[tonic::async_trait]
impl Reach for ReachService {
    type OpenStream = ReceiverStream<Result<v1::ReachDown, Status>>;

    async fn open(&self, request: Request<Streaming<v1::ReachUp>>) -> Result<Response<Self::OpenStream>, Status> {
        self.0.only_leader()?;
        let holder = Caller::of(request.extensions());
        let mut ups = request.into_inner();
        let first = tokio::time::timeout(OPEN_WITHIN, ups.message()).await;
        let first = first.map_err(|_| status::late("the session's first message did not come"))??;
        let Some(v1::ReachUp { message: Some(Message::Open(open)) }) = first else {
            return Err(status::wrong("open", "the first message of a session is `open`"));
        };
        let (task, agent_id) = (TaskId(open.task_id), open.agent_id.clone());
        let find = move |state: &State| find(state, task, &agent_id).map(|agent| (agent, reads::host_of(state, agent)));
        let (agent, host) = self.0.reader.find(find).await??;
        let mut place = self.0.streams.session(agent, holder).map_err(|refused| status::taken(&refused))?;
        let pipe = self.0.logs.reach(agent, open.agent_id.is_empty().then_some(open.task_id)).await;
        let (up, down) = pipe.map_err(|error| status::on_node("reaching its agent", &host, &error))?;
        let (to_client, downs) = mpsc::channel(MESSAGES);
        let places = place.watch();
        tokio::spawn(async move {
            tokio::select! {
                () = forward_up(open, ups, up) => {}
                () = forward_down(down, &to_client, &host) => {}
                () = to_client.closed() => {}
                refused = place.taken_away() => { _ = to_client.try_send(Err(status::taken(&refused))); }
            }
        });
        let mut response = Response::new(ReceiverStream::new(downs));
        response.extensions_mut().insert(places);
        Ok(response)
    }
}

/// The agent that has, or had, the task; or the one named.
fn find(state: &State, task: TaskId, agent_id: &str) -> Result<AgentNo, Status> {
    if !agent_id.is_empty() {
        let agent = AgentId::new(agent_id).and_then(|id| state.agent(&id));
        return agent.map(|agent| agent.no).ok_or_else(|| status::no_such_node(agent_id));
    }
    let found = state.tasks.get(&task);
    let found = found.ok_or_else(|| status::no_such_task(task))?;
    let never = || status::not_started(task, format!("{task} was never started"));
    found.status.place().map(|place| place.agent).ok_or_else(never)
}

/// Ends with the client's stream: the client is gone then.
async fn forward_up(open: v1::ReachOpen, mut ups: Streaming<v1::ReachUp>, up: mpsc::Sender<v1::ReachUp>) {
    let mut next = Some(v1::ReachUp { message: Some(Message::Open(open)) });
    while let Some(message) = next {
        if up.send(message).await.is_err() {
            // The session is over; what it has said last is still on its way.
            std::future::pending::<()>().await;
        }
        next = ups.message().await.ok().flatten();
    }
}

async fn forward_down(
    mut down: mpsc::Receiver<Result<v1::ReachDown, Status>>,
    to_client: &mpsc::Sender<Result<v1::ReachDown, Status>>,
    host: &str,
) {
    while let Some(message) = down.recv().await {
        if to_client.send(message.map_err(|error| status::broken_off("reaching its agent", host, error))).await.is_err()
        {
            return;
        }
    }
}
