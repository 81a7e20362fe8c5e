//! The agents' side: their links, the orders that go out on them, and the tunnels they open when told to.
//! Not here: what is ordered, and why.

mod dispatch;
mod inspect;
mod links;
mod reach;
mod room;
mod session;
mod tunnel;
mod upward;
mod words;

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use dawn_proto::v1;
use dawn_proto::v1::agent_link_server::AgentLink;
use futures_util::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use crate::drive::{Follower, Inbox, Role};
use crate::model::LinkId;
use crate::shares::Admission;

pub use dispatch::{Dispatcher, LinkSettings};
pub use inspect::{InspectError, Inspections};
pub use links::{Links, Outgoing};
pub use reach::Pipe;
pub use tunnel::{LogError, Tunnels};
pub use words::{LastWords, MOST_OF_TASK_BYTES};

pub use dawn_proto::validate::MAX_LINK_MESSAGE_BYTES as MAX_MESSAGE_BYTES;

/// A number by chance, which nobody can guess.
pub type FreshNumber = Arc<dyn Fn() -> u64 + Send + Sync>;

/// Numbers that the operating system's chance has made.
pub fn by_chance() -> FreshNumber {
    let (keys, count) = (RandomState::new(), AtomicU64::new(0));
    Arc::new(move || keys.hash_one(count.fetch_add(1, Ordering::Relaxed)))
}

/// The gRPC service agents dial.
#[derive(Clone)]
pub struct LinkService {
    pub links: Arc<Links>,
    pub tunnels: Arc<Tunnels>,
    pub inspections: Arc<Inspections>,
    pub words: Arc<LastWords>,
    pub inbox: Inbox,
    pub follower: Arc<Follower>,
    pub role: tokio::sync::watch::Receiver<Role>,
    /// For welcomes.
    pub fresh_number: FreshNumber,
}

/// Why a connection can't become an agent's.
fn no_place(most: usize) -> String {
    format!("all {most} places for connections of agents are taken; try again later")
}

/// A stream that only says who leads.
fn refusal(leader: Option<String>) -> Outgoing {
    let reason = "this scheduler follows".to_string();
    let refused = v1::Refused { reason, leader_address: leader.unwrap_or_default(), ..Default::default() };
    Outgoing::only(v1::scheduler_message::Message::Refused(refused))
}

impl LinkService {
    /// Serves one agent: what it says comes in, what is ordered goes out. Ends with either.
    pub fn accept(
        &self,
        incoming: impl Stream<Item = Result<v1::AgentMessage, Status>> + Send + Unpin + 'static,
    ) -> Outgoing {
        self.accept_from(incoming, None)
    }

    /// The same over a connection that becomes an agent's when the agent registers.
    fn accept_from(
        &self,
        incoming: impl Stream<Item = Result<v1::AgentMessage, Status>> + Send + Unpin + 'static,
        admission: Option<Admission>,
    ) -> Outgoing {
        if let Role::Following { leader } = &*self.role.borrow() {
            return refusal(leader.clone());
        }
        let (link, outgoing, closed): (LinkId, _, _) = self.links.open();
        let session = session::Session {
            link,
            links: self.links.clone(),
            inspections: self.inspections.clone(),
            words: self.words.clone(),
            inbox: self.inbox.clone(),
            follower: self.follower.clone(),
            fresh_number: self.fresh_number.clone(),
        };
        tracing::debug!(%link, "an agent dialled");
        tokio::spawn(session.serve(incoming, admission, closed));
        outgoing
    }
}

#[tonic::async_trait]
impl AgentLink for LinkService {
    type LinkStream = Outgoing;
    type TunnelStream = ReceiverStream<Result<v1::TunnelDown, Status>>;

    async fn link(
        &self,
        mut request: Request<Streaming<v1::AgentMessage>>,
    ) -> Result<Response<Self::LinkStream>, Status> {
        tracing::debug!(peer = ?request.remote_addr(), "a link is asked for");
        let admission = request.extensions_mut().remove();
        Ok(Response::new(self.accept_from(request.into_inner(), admission)))
    }

    async fn tunnel(
        &self,
        mut request: Request<Streaming<v1::TunnelUp>>,
    ) -> Result<Response<Self::TunnelStream>, Status> {
        let admission = request.extensions_mut().remove();
        let down = self.tunnels.clone().serve(request.into_inner(), admission).await?;
        Ok(Response::new(ReceiverStream::new(down)))
    }
}

#[cfg(test)]
mod tests;
