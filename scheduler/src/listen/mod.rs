//! The listening socket: which connections are taken, and how many. A connection is a newcomer until a client's first request
//! or an agent's registration says whose it is; each kind has places of its own. Requests that come and answers that go are
//! bounded in number, bytes and time. Not here: what is served.

mod answer;
mod connection;
mod door;
mod refusals;
mod upload;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::Stream;
use futures_util::stream::unfold;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use crate::shares::Shares;

pub use connection::Connection;
pub use door::Door;

/// Descriptors for what is not a connection: the journal, etcd, standard streams, metrics.
const OTHER_DESCRIPTORS: usize = 64;
/// Clients' connections at most, however many descriptors there are.
const MOST_CLIENTS: usize = 10_000;
/// Connections without a request at most.
const MOST_NEWCOMERS: usize = 1_024;
/// Requests at most whose answers are made or on their way; streams with places of their own are not counted once they have
/// begun.
const MOST_REQUESTS: usize = 8_192;
/// Requests of more than 32 KiB at most that have not come whole.
const MOST_LARGE_REQUESTS: usize = 128;
/// The same of agents that have not registered, which may be four times as large.
const MOST_LARGE_REGISTRATIONS: usize = 32;
/// Links and tunnels at most that have not shown to be an agent's.
const MOST_STRANGERS: usize = 32_768;
/// Bytes at most of answers that clients have not taken yet.
const MOST_ANSWER_BYTES: usize = 256 << 20;
/// For a request to come whole, and for a client to read on.
const MOVE_WITHIN: Duration = Duration::from_secs(60);
/// Until a connection that says nothing is closed.
const GREET_WITHIN: Duration = Duration::from_secs(10);
/// Before another try where the system has no descriptor for a connection.
const RETRY_AFTER: Duration = Duration::from_millis(50);

/// How many connections and requests are taken at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Connections that have not sent a request yet.
    pub newcomers: usize,
    /// Connections of clients.
    pub clients: usize,
    /// Links and tunnels of agents, whose connections are counted together and never by address.
    pub agents: usize,
    /// Requests of clients being answered.
    pub requests: usize,
    /// Large requests of clients that have not come whole.
    pub large_requests: usize,
    /// Bytes of answers that clients have not taken yet.
    pub answer_bytes: usize,
    /// A request comes whole, and an answer is read on, within this time.
    pub move_within: Duration,
    /// A connection greets by HTTP/2 within this time, and asks for something within as long again or counts as a
    /// client's.
    pub greet_within: Duration,
}

impl Bounds {
    /// What a process with this limit of open files can hold: agents get what clients and newcomers can't take.
    pub fn of(open_files: usize) -> Bounds {
        let descriptors = open_files.saturating_sub(OTHER_DESCRIPTORS).max(8);
        let clients = (descriptors / 4).clamp(2, MOST_CLIENTS);
        let newcomers = (descriptors / 8).clamp(2, MOST_NEWCOMERS);
        // Two of each remain: one that is accepted while another is being closed.
        let agents = descriptors.saturating_sub(clients + newcomers + 2).max(2);
        Bounds {
            newcomers,
            clients,
            agents,
            requests: MOST_REQUESTS,
            large_requests: MOST_LARGE_REQUESTS,
            answer_bytes: MOST_ANSWER_BYTES,
            move_within: MOVE_WITHIN,
            greet_within: GREET_WITHIN,
        }
    }

    /// What this process can hold; its limit of open files is raised as far as it may be.
    pub fn of_this_process() -> Bounds {
        let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return Bounds::of(1024) };
        let raised = soft < hard && setrlimit(Resource::RLIMIT_NOFILE, hard, hard).is_ok();
        Bounds::of(usize::try_from(if raised { hard } else { soft }).unwrap_or(usize::MAX))
    }
}

/// The places there are.
#[derive(Clone, Debug)]
pub struct Places {
    newcomers: Shares,
    clients: Shares,
    requests: Shares,
    large_requests: Shares,
    answer_bytes: Shares,
    move_within: Duration,
    strangers: Shares,
    large_registrations: Shares,
    agents: Arc<Semaphore>,
    most_agents: usize,
    greet_within: Duration,
}

impl Places {
    pub fn new(bounds: Bounds) -> Places {
        // More than a semaphore can count is no bound.
        let agents = bounds.agents.min(Semaphore::MAX_PERMITS);
        Places {
            newcomers: Shares::new("connections without a request", bounds.newcomers),
            clients: Shares::new("connections of clients", bounds.clients),
            requests: Shares::new("requests being answered", bounds.requests),
            large_requests: Shares::new("large requests being received", bounds.large_requests),
            answer_bytes: Shares::new("bytes of answers that were not read yet", bounds.answer_bytes),
            move_within: bounds.move_within,
            strangers: Shares::new("links that have not registered", MOST_STRANGERS),
            large_registrations: Shares::new("large registrations being received", MOST_LARGE_REGISTRATIONS),
            agents: Arc::new(Semaphore::new(agents)),
            most_agents: agents,
            greet_within: bounds.greet_within,
        }
    }
}

/// Connections as they come. Those for which there is no place are closed at once.
pub fn incoming(listener: TcpListener, places: Places) -> impl Stream<Item = io::Result<Connection>> {
    unfold((listener, places), |(listener, places)| async move {
        loop {
            match listener.accept().await {
                Ok((stream, address)) => {
                    if let Some(connection) = taken(stream, address, &places) {
                        return Some((Ok(connection), (listener, places)));
                    }
                }
                Err(error) => {
                    // Out of descriptors, or the peer has gone: neither ends a server.
                    tracing::warn!(%error, "a connection can't be taken");
                    tokio::time::sleep(RETRY_AFTER).await;
                }
            }
        }
    })
}

fn taken(stream: tokio::net::TcpStream, address: SocketAddr, places: &Places) -> Option<Connection> {
    match Connection::new(stream, address, places.clone()) {
        Ok(connection) => Some(connection),
        Err(refused) => {
            tracing::debug!(%address, %refused, "a connection is closed at once");
            None
        }
    }
}

#[cfg(test)]
mod tests;
