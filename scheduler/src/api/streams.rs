//! Places for logs that are read and for sessions with tasks: so many in all, and so many of one agent.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};

use dawn_proto::v1;
use futures_util::Stream;
use futures_util::stream::unfold;
use tonic::Status;

use super::{LogChunks, status};
use crate::model::AgentNo;
use crate::shares::{Holder, Refused, Share, Shares, StreamPlaces};

/// Of each kind, in all.
const MOST: usize = 4_096;
/// Of each kind at one agent: fewer than an agent serves, so that it is the scheduler, who knows whose they are, that
/// refuses.
const MOST_OF_AGENT: usize = 200;

/// Places of both kinds.
#[derive(Debug)]
pub struct Streams {
    logs: Places,
    sessions: Places,
}

#[derive(Debug)]
struct Places {
    what_of_agent: &'static str,
    all: Shares,
    /// Agents of which something is open.
    agents: Mutex<HashMap<AgentNo, Shares>>,
}

/// A place in all, and at the agent.
#[derive(Debug)]
pub struct StreamPlace {
    all: Share,
    agent: Share,
}

impl Default for Streams {
    fn default() -> Streams {
        Streams {
            logs: Places::new("logs that are read", "logs that are read at one agent"),
            sessions: Places::new("sessions", "sessions at one agent"),
        }
    }
}

impl Streams {
    /// # Errors
    /// When all are taken and no other client holds more.
    pub(super) fn log(&self, agent: AgentNo, holder: Holder) -> Result<StreamPlace, Refused> {
        self.logs.take(agent, holder)
    }

    /// # Errors
    /// When all are taken and no other client holds more.
    pub(super) fn session(&self, agent: AgentNo, holder: Holder) -> Result<StreamPlace, Refused> {
        self.sessions.take(agent, holder)
    }
}

impl Places {
    fn new(what: &'static str, what_of_agent: &'static str) -> Places {
        Places { what_of_agent, all: Shares::new(what, MOST), agents: Mutex::default() }
    }

    fn take(&self, agent: AgentNo, holder: Holder) -> Result<StreamPlace, Refused> {
        // The agent's first: a place in all is taken from others only where it can be used.
        let mut agents = self.agents.lock().unwrap_or_else(PoisonError::into_inner);
        if agents.len() == agents.capacity() {
            agents.retain(|_, places| places.count() > 0);
        }
        let places = agents.entry(agent).or_insert_with(|| Shares::new(self.what_of_agent, MOST_OF_AGENT));
        let agent = places.take(holder)?;
        Ok(StreamPlace { all: self.all.take(holder)?, agent })
    }
}

impl StreamPlace {
    pub(super) fn watch(&self) -> StreamPlaces {
        StreamPlaces(vec![self.all.watch(), self.agent.watch()])
    }

    /// Resolves when the place is given to a client that holds fewer.
    pub(super) async fn taken_away(&mut self) -> Refused {
        tokio::select! {
            () = self.all.taken_away() => self.all.reason(),
            () = self.agent.taken_away() => self.agent.reason(),
        }
    }
}

/// The chunks of a log on this node, for as long as the place is not taken away.
pub(super) fn until_taken_away(
    chunks: LogChunks,
    place: StreamPlace,
    host: String,
) -> Pin<Box<dyn Stream<Item = Result<v1::LogChunk, Status>> + Send>> {
    Box::pin(unfold(Some((chunks, place, host)), |open| async move {
        let (mut chunks, mut place, host) = open?;
        let chunk = tokio::select! {
            refused = place.taken_away() => return Some((Err(status::taken(&refused)), None)),
            chunk = chunks.recv() => chunk?,
        };
        let chunk = chunk.map_err(|refused| status::broken_off("reading its log", &host, refused));
        Some((chunk, Some((chunks, place, host))))
    }))
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    fn holder(last: u8) -> Holder {
        IpAddr::from([10, 0, 0, last]).into()
    }

    #[tokio::test]
    async fn one_client_that_reads_every_log_of_an_agent_makes_room_for_another() {
        let streams = Streams::default();
        let mut all: Vec<_> = (0..MOST_OF_AGENT).map(|_| streams.log(AgentNo(1), holder(1)).unwrap()).collect();
        let refused = streams.log(AgentNo(1), holder(1)).unwrap_err();
        assert_eq!((refused.held, refused.total), (MOST_OF_AGENT, MOST_OF_AGENT));
        let other_agent = streams.log(AgentNo(2), holder(1)).unwrap();
        let session = streams.session(AgentNo(1), holder(1)).unwrap();
        let other_client = streams.log(AgentNo(1), holder(2)).unwrap();
        let refused = all.last_mut().unwrap().taken_away().await;
        assert!(refused.to_string().contains("logs that are read at one agent"), "{refused}");
        drop((other_agent, session, other_client, all));
        assert_eq!((streams.logs.all.count(), streams.sessions.all.count()), (0, 0));
    }
}
