//! An agent that says what the test says.

use std::net::SocketAddr;

use dawn_proto::v1::agent_link_client::AgentLinkClient;
use dawn_proto::v1::agent_message::Message as Up;
use dawn_proto::v1::scheduler_message::Message as Down;
use dawn_proto::v1::{self, Reason, TaskState};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tonic::transport::Channel;

use super::DEADLINE;

pub struct FakeAgent {
    pub client: AgentLinkClient<Channel>,
    up: mpsc::Sender<v1::AgentMessage>,
    down: Streaming<v1::SchedulerMessage>,
    sequence: u64,
}

pub fn register(id: &str) -> v1::Register {
    let total = v1::Resources { cpu_milli: 4000, memory_bytes: 4 << 30, disk_bytes: 4 << 30, ..Default::default() };
    let ports = vec![v1::PortRange { first: 31000, last: 31010 }];
    v1::Register {
        agent_id: id.into(),
        hostname: format!("{id}.example"),
        version: "0".into(),
        offer: Some(v1::Offer { epoch: 1, total: Some(total), attributes: Vec::new(), ports, ..Default::default() }),
        isolation: "none".into(),
        boot_id: "boot".into(),
        ..Default::default()
    }
}

pub fn report(task: u64, sequence: u64, state: TaskState) -> v1::TaskReport {
    v1::TaskReport { task_id: task, sequence, state: state.into(), reason: Reason::None.into(), ..Default::default() }
}

impl FakeAgent {
    /// Dials and says `first`; nothing is read yet.
    pub async fn dial(address: SocketAddr, first: v1::Register) -> FakeAgent {
        let mut client = AgentLinkClient::connect(format!("http://{address}")).await.unwrap();
        let (up, messages) = mpsc::channel(100);
        up.send(v1::AgentMessage { message: Some(Up::Register(first)) }).await.unwrap();
        let down = client.link(ReceiverStream::new(messages)).await.unwrap().into_inner();
        FakeAgent { client, up, down, sequence: 0 }
    }

    /// Dials and is welcomed.
    pub async fn join(address: SocketAddr, first: v1::Register) -> (FakeAgent, v1::Registered) {
        let mut agent = Self::dial(address, first).await;
        match agent.next().await {
            Down::Registered(registered) => (agent, registered),
            other => panic!("expected a welcome, got {other:?}"),
        }
    }

    /// The next message; None when the link is closed.
    pub async fn maybe_next(&mut self) -> Option<Down> {
        let next = tokio::time::timeout(DEADLINE, self.down.message()).await;
        next.expect("no message came").unwrap_or(None).map(|message| message.message.unwrap())
    }

    pub async fn next(&mut self) -> Down {
        self.maybe_next().await.expect("the link is closed")
    }

    pub async fn say(&mut self, message: Up) {
        self.up.send(v1::AgentMessage { message: Some(message) }).await.unwrap();
    }

    /// Reports and waits for the acknowledgement; what else came is returned.
    pub async fn report(&mut self, task: u64, state: TaskState) -> Vec<Down> {
        self.sequence += 1;
        self.say(Up::Report(report(task, self.sequence, state))).await;
        let mut others = Vec::new();
        loop {
            match self.next().await {
                Down::Ack(ack) if ack.task_id == task && ack.sequence == self.sequence => return others,
                other => others.push(other),
            }
        }
    }

    /// Everything that was sent before the answer to a heartbeat of ours: proof that nothing else is on its way.
    pub async fn drain(&mut self) -> Vec<Down> {
        self.sequence += 1;
        self.say(Up::Heartbeat(v1::Heartbeat { sequence: self.sequence, ..Default::default() })).await;
        let mut others = Vec::new();
        loop {
            match self.next().await {
                Down::HeartbeatAck(ack) if ack.sequence == self.sequence => return others,
                other => others.push(other),
            }
        }
    }

    /// The answer to a heartbeat; what came before it is not looked at.
    pub async fn beat(&mut self) -> v1::HeartbeatAck {
        self.sequence += 1;
        self.say(Up::Heartbeat(v1::Heartbeat { sequence: self.sequence, ..Default::default() })).await;
        loop {
            match self.next().await {
                Down::HeartbeatAck(ack) if ack.sequence == self.sequence => return ack,
                _ => {}
            }
        }
    }

    /// The launch that comes next, after its spec when that was not sent yet.
    pub async fn launched(&mut self) -> (Option<v1::Spec>, v1::Launch) {
        let mut spec = None;
        loop {
            match self.next().await {
                Down::Spec(sent) => spec = Some(sent),
                Down::Launch(launch) => return (spec, launch),
                other => panic!("expected a launch, got {other:?}"),
            }
        }
    }
}
