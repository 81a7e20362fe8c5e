//! One connection to whichever of the schedulers leads: tries each address, follows "not the leader, try X".
//! Not here: what is asked (`commands`), what is shown (`render`).

mod reach;
mod status;

#[cfg(test)]
pub mod fake;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use dawn_proto::errors;
use dawn_proto::v1::ErrorReason;
use tonic::transport::Endpoint;
use tonic::{Code, Request, Response, Status};

use crate::exit::{Exit, Failure};

pub use reach::Upward;
use status::Tried;
pub use status::{broke_off, hint};

/// A scheduler's services over one connection.
pub type Client = dawn_proto::Clients;

/// Of one address; a host that is there answers in a fraction.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(1_500);
/// While schedulers answer and only the leader is missing, it is asked for this many times as long as one answer may
/// take: a lease has to run out and another one to be elected.
const ELECTION_TIMEOUTS: u32 = 3;
/// Between two rounds of asking.
const ELECTION_PAUSE: Duration = Duration::from_millis(200);

/// Whether a request may be sent again when it is unclear if the first one arrived.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Repeat {
    Harmless,
    Never,
}

pub struct Scheduler {
    addresses: Vec<String>,
    timeout: Duration,
    /// Of all that is tried for one answer, an election included.
    patience: Duration,
    connected: Option<(String, Client)>,
}

impl Scheduler {
    /// `timeout` is for the answer to one request, or for a stream's first message.
    pub fn new(addresses: Vec<String>, timeout: Duration) -> Scheduler {
        Scheduler { addresses, timeout, patience: timeout * ELECTION_TIMEOUTS, connected: None }
    }

    /// Whatever is tried for one answer, an election included, ends within this.
    pub fn within(mut self, patience: Duration) -> Scheduler {
        self.patience = self.patience.min(patience);
        self
    }

    fn of(&self, addresses: Vec<String>) -> Scheduler {
        Scheduler { addresses, timeout: self.timeout, patience: self.patience, connected: None }
    }

    /// Whom it was told of.
    pub fn addresses(&self) -> &[String] {
        &self.addresses
    }

    /// Who answered last.
    pub fn answered(&self) -> Option<&str> {
        self.connected.as_ref().map(|(address, _)| address.as_str())
    }

    /// A connection to this one alone.
    pub fn only(&self, address: &str) -> Scheduler {
        self.of(vec![address.to_string()])
    }

    /// The same schedulers, this one first.
    pub fn first(&self, address: &str) -> Scheduler {
        let others = self.addresses.iter().filter(|other| *other != address).cloned();
        self.of(std::iter::once(address.to_string()).chain(others).collect())
    }

    /// With at least so much time for one answer.
    pub fn patient(mut self, timeout: Duration) -> Scheduler {
        self.timeout = self.timeout.max(timeout);
        self.patience = self.patience.max(self.timeout);
        self
    }

    /// Another connection to the same schedulers, the one that answered last first: others may be behind it.
    pub fn again(&self) -> Scheduler {
        let known = self.connected.iter().map(|(address, _)| address);
        let others = self.addresses.iter().filter(|address| known.clone().all(|known| known != *address));
        self.of(known.clone().chain(others).cloned().collect())
    }

    /// Asks the leader; while there is none, but followers are, again and again.
    ///
    /// # Errors
    /// What the leader refused, or why nobody answered.
    pub async fn call<Req: Clone, Resp>(
        &mut self,
        request: Req,
        repeat: Repeat,
        rpc: impl AsyncFn(&mut Client, Request<Req>) -> Result<Response<Resp>, Status>,
    ) -> Result<Resp, Failure> {
        let patience = self.patience;
        let began = Instant::now();
        loop {
            let unanswered = match self.ask_each(&request, repeat, &rpc, began + patience).await? {
                Ok(response) => return Ok(response),
                Err(unanswered) => unanswered,
            };
            if !unanswered.by_followers {
                return Err(status::unreachable(&unanswered.tried));
            }
            if began.elapsed() + ELECTION_PAUSE >= patience {
                return Err(status::leaderless(&unanswered.tried, patience));
            }
            tokio::time::sleep(ELECTION_PAUSE).await;
        }
    }

    /// Asks one after the other, and whom they name.
    async fn ask_each<Req: Clone, Resp>(
        &mut self,
        request: &Req,
        repeat: Repeat,
        rpc: &impl AsyncFn(&mut Client, Request<Req>) -> Result<Response<Resp>, Status>,
        until: Instant,
    ) -> Result<Result<Resp, Unanswered>, Failure> {
        let known = self.connected.as_ref().map(|(address, _)| address.clone());
        let others = self.addresses.iter().filter(|address| Some(*address) != known.as_ref()).cloned();
        let mut candidates: VecDeque<String> = known.iter().cloned().chain(others).collect();
        let mut unanswered = Unanswered { tried: Vec::new(), by_followers: false };
        let mut hops = candidates.len() + 3;
        while let Some(address) = candidates.pop_front()
            && hops > 0
        {
            hops -= 1;
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() && !unanswered.tried.is_empty() {
                unanswered.tried.push(Tried::new(address, "not asked: the time is over"));
                continue;
            }
            let timeout = self.timeout.min(left);
            let client = match self.connect(&address, left.min(CONNECT_TIMEOUT)).await {
                Ok(client) => client,
                Err(why) => {
                    unanswered.tried.push(Tried::new(address, why));
                    continue;
                }
            };
            let answer = tokio::time::timeout(timeout, rpc(client, Request::new(request.clone()))).await;
            let (status, lost) = match answer {
                Ok(Ok(response)) => return Ok(Ok(response.into_inner())),
                Ok(Err(status)) if is_lost(&status) => (Status::unavailable(status::innermost(&status)), true),
                Ok(Err(status)) => (status, false),
                Err(_) => (Status::unavailable(format!("no answer within {}", status::show_tenths(timeout))), true),
            };
            if status.code() != Code::Unavailable {
                return Err(status::failure(&status));
            }
            if let Some(failure) = status::of_node(&status) {
                return Err(failure);
            }
            self.connected = None;
            unanswered.by_followers |= errors::reason(&status) == Some(ErrorReason::NotLeader);
            if let Some(leader) =
                leader(&status).filter(|leader| unanswered.tried.iter().all(|tried| tried.address != *leader))
            {
                candidates.retain(|candidate| *candidate != leader);
                candidates.push_front(leader);
            } else if lost && repeat == Repeat::Never {
                let message = format!("the connection to {address} broke; it is unclear whether it was done");
                return Err(Failure::new(Exit::Unreachable, message).hint("look before you ask again"));
            }
            unanswered.tried.push(Tried::answered(address, &status));
        }
        Ok(Err(unanswered))
    }

    async fn connect(&mut self, address: &str, within: Duration) -> Result<&mut Client, String> {
        let current = self.connected.take().filter(|(known, _)| known == address);
        let client = match current {
            Some((_, client)) => client,
            None => {
                let endpoint =
                    Endpoint::from_shared(format!("http://{address}")).map_err(|_| "is no HOST:PORT".to_string())?;
                let endpoint = endpoint.connect_timeout(within).tcp_nodelay(true);
                let connecting = tokio::time::timeout(within, endpoint.connect()).await;
                let channel =
                    connecting.map_err(|_| "no answer".to_string())?.map_err(|error| status::innermost(&error))?;
                Client::new(channel)
            }
        };
        Ok(&mut self.connected.insert((address.to_string(), client)).1)
    }
}

/// A round that found no leader.
struct Unanswered {
    /// Who was asked, and what became of it.
    tried: Vec<Tried>,
    /// Some follower answered: the schedulers are there.
    by_followers: bool,
}

/// The connection broke, so that nobody knows what became of the request; or it is no gRPC that answers there.
fn is_lost(status: &Status) -> bool {
    let is_of_library = std::error::Error::source(status).is_some();
    is_of_library || status.code() == Code::Unknown && !errors::is_of_dawn(status)
}

fn leader(status: &Status) -> Option<String> {
    errors::named(status, "leader").filter(|leader| !leader.is_empty())
}
