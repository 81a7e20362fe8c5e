//! One connection to whichever of the schedulers leads: tries each address, follows "not the leader, try X".
//! Not here: what is asked (`commands`), what is shown (`render`).

mod status;

#[cfg(test)]
pub mod fake;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::time::Duration;

use dawn_proto::v1::scheduler_client::SchedulerClient;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Response, Status};

use crate::exit::{Exit, Failure};

pub type Client = SchedulerClient<Channel>;

/// Metadata of UNAVAILABLE that names who leads.
const LEADER: &str = "dawn-leader";
/// Of one address; a host that is there answers in a fraction.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(1_500);
/// A job with a full spec and its tasks.
const MAX_MESSAGE_BYTES: usize = 256 << 20;

/// Whether a request may be sent again when it is unclear if the first one arrived.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Repeat {
    Harmless,
    Never,
}

pub struct Scheduler {
    addresses: Vec<String>,
    timeout: Duration,
    connected: Option<(String, Client)>,
}

impl Scheduler {
    /// `timeout` is for the answer to one request, or for a stream's first message.
    pub fn new(addresses: Vec<String>, timeout: Duration) -> Scheduler {
        Scheduler { addresses, timeout, connected: None }
    }

    /// Another connection to the same schedulers.
    pub fn again(&self) -> Scheduler {
        Scheduler::new(self.addresses.clone(), self.timeout)
    }

    /// Asks the leader.
    ///
    /// # Errors
    /// What the leader refused, or why nobody answered.
    pub async fn call<Req: Clone, Resp>(
        &mut self,
        request: Req,
        repeat: Repeat,
        rpc: impl AsyncFn(&mut Client, Request<Req>) -> Result<Response<Resp>, Status>,
    ) -> Result<Resp, Failure> {
        let known = self.connected.as_ref().map(|(address, _)| address.clone());
        let others = self.addresses.iter().filter(|address| Some(*address) != known.as_ref()).cloned();
        let mut candidates: VecDeque<String> = known.iter().cloned().chain(others).collect();
        let mut tried = Vec::new();
        let mut hops = candidates.len() + 3;
        let timeout = self.timeout;
        while let Some(address) = candidates.pop_front()
            && hops > 0
        {
            hops -= 1;
            let client = match self.connect(&address).await {
                Ok(client) => client,
                Err(why) => {
                    tried.push((address, why));
                    continue;
                }
            };
            let answer = tokio::time::timeout(timeout, rpc(client, Request::new(request.clone()))).await;
            let (status, lost) = match answer {
                Ok(Ok(response)) => return Ok(response.into_inner()),
                Ok(Err(status)) if is_lost(&status) => (Status::unavailable(status::innermost(&status)), true),
                Ok(Err(status)) => (status, false),
                Err(_) => (Status::unavailable(format!("no answer within {} s", timeout.as_secs_f32())), true),
            };
            if status.code() != Code::Unavailable {
                return Err(status::failure(&status));
            }
            self.connected = None;
            if let Some(leader) = leader(&status) {
                candidates.retain(|candidate| *candidate != leader);
                candidates.push_front(leader);
            } else if lost && repeat == Repeat::Never {
                let message = format!("the connection to {address} broke; it is unclear whether it was done");
                return Err(Failure::new(Exit::Unreachable, message).hint("look before you ask again"));
            }
            tried.push((address, status.message().to_string()));
        }
        Err(status::unreachable(&tried))
    }

    async fn connect(&mut self, address: &str) -> Result<&mut Client, String> {
        let current = self.connected.take().filter(|(known, _)| known == address);
        let client = match current {
            Some((_, client)) => client,
            None => {
                let endpoint =
                    Endpoint::from_shared(format!("http://{address}")).map_err(|_| "is no HOST:PORT".to_string())?;
                let endpoint = endpoint.connect_timeout(CONNECT_TIMEOUT).tcp_nodelay(true);
                let connecting = tokio::time::timeout(CONNECT_TIMEOUT, endpoint.connect()).await;
                let channel =
                    connecting.map_err(|_| "no answer".to_string())?.map_err(|error| status::innermost(&error))?;
                SchedulerClient::new(channel).max_decoding_message_size(MAX_MESSAGE_BYTES)
            }
        };
        Ok(&mut self.connected.insert((address.to_string(), client)).1)
    }
}

/// The connection broke, so that nobody knows what became of the request; or it is no gRPC that answers there.
fn is_lost(status: &Status) -> bool {
    std::error::Error::source(status).is_some() || status.message().starts_with("grpc-status header missing")
}

fn leader(status: &Status) -> Option<String> {
    let leader = status.metadata().get(LEADER)?.to_str().ok()?;
    (!leader.is_empty()).then(|| leader.to_string())
}
