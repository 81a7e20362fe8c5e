//! A client's session with a task or its agent, carried both ways over a tunnel. What it says is between those two.

use std::sync::Arc;

use dawn_proto::v1;
use tokio::sync::mpsc;
use tonic::{Status, Streaming};

use super::Links;
use super::tunnel::{LogError, Tunnels, Waiting};
use crate::model::AgentNo;

/// Messages on their way through in each direction; more wait with their sender.
const MESSAGES: usize = 4;

type Downs = mpsc::Sender<Result<v1::ReachDown, LogError>>;

/// The client's ends of a session.
#[derive(Debug)]
pub(super) struct Session {
    /// Ends when the client is gone.
    ups: mpsc::Receiver<v1::ReachUp>,
    downs: Downs,
}

/// What a session brings, and the way to say more; dropping either ends it.
pub type Pipe = (mpsc::Sender<v1::ReachUp>, mpsc::Receiver<Result<v1::ReachDown, LogError>>);

impl Tunnels {
    /// Begins a session with an agent about one of its tasks, or (None) about itself.
    ///
    /// # Errors
    /// When the agent can't be asked.
    pub fn reach(self: &Arc<Self>, links: &Links, agent: AgentNo, task_id: Option<u64>) -> Result<Pipe, LogError> {
        let (up, ups) = mpsc::channel(MESSAGES);
        let (downs, down) = mpsc::channel(MESSAGES);
        let open = v1::OpenTunnel { reach: Some(v1::ReachTarget { task_id }), ..Default::default() };
        self.ask(links, agent, open, Waiting::Session(Session { ups, downs }))?;
        Ok((up, down))
    }
}

impl Session {
    pub fn is_gone(&self) -> bool {
        self.downs.is_closed()
    }

    pub async fn fail(self, error: LogError) {
        _ = self.downs.send(Err(error)).await;
    }

    /// Until either side is done or gone; then the agent is told to close.
    pub async fn carry(mut self, up: Streaming<v1::TunnelUp>, agent: mpsc::Sender<Result<v1::TunnelDown, Status>>) {
        let to_agent = async {
            while let Some(message) = self.ups.recv().await {
                let message = v1::TunnelDown { reach: Some(message), ..Default::default() };
                if agent.send(Ok(message)).await.is_err() {
                    // The other direction says why.
                    std::future::pending::<()>().await;
                }
            }
        };
        tokio::select! {
            () = to_agent => {}
            () = to_client(up, &self.downs) => {}
            () = self.downs.closed() => {}
        }
        _ = agent.send(Ok(v1::TunnelDown { close: true, ..Default::default() })).await;
    }
}

async fn to_client(mut up: Streaming<v1::TunnelUp>, downs: &Downs) {
    loop {
        let message = match up.message().await {
            Ok(Some(message)) => message,
            // It has said all.
            Ok(None) => return,
            Err(_) => {
                _ = downs.send(Err(LogError::Broken)).await;
                return;
            }
        };
        if !message.error.is_empty() {
            _ = downs.send(Err(LogError::of_agent(message.error_code, message.error))).await;
            return;
        }
        if let Some(reach) = message.reach
            && downs.send(Ok(reach)).await.is_err()
        {
            return;
        }
    }
}
