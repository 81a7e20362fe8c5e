//! A scheduler on loopback that answers as told and notes what agents say.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use dawn_proto::v1::agent_link_server::{AgentLink, AgentLinkServer};
use dawn_proto::v1::{
    self, AgentMessage, SchedulerMessage, TaskReport, TaskState, TunnelDown, TunnelUp, agent_message, scheduler_message,
};
use dawn_proto::{HeldDigest, TaskId};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tokio_stream::{Stream, StreamExt};
use tonic::{Request, Response, Status, Streaming};

/// How it behaves.
#[derive(Clone, Debug)]
pub struct Manner {
    pub epoch: u64,
    pub cluster_id: String,
    pub acks: bool,
    /// Answers a registration with this instead.
    pub refuses: Option<v1::Refused>,
    pub heartbeat_interval_ms: u64,
    pub lease_ms: u64,
    pub answers_heartbeats: bool,
}

impl Default for Manner {
    fn default() -> Self {
        let cluster_id = "cluster-a".to_string();
        Manner {
            epoch: 1,
            cluster_id,
            acks: true,
            refuses: None,
            heartbeat_interval_ms: 100,
            lease_ms: 2_000,
            answers_heartbeats: true,
        }
    }
}

#[derive(Default)]
struct Seen {
    registers: Vec<v1::Register>,
    /// Registered with a digest, its tasks not told yet.
    short: Option<v1::Register>,
    reports: Vec<TaskReport>,
    offers: Vec<v1::Offer>,
    need_specs: Vec<v1::NeedSpec>,
    heartbeats: u64,
    tunnel: Vec<TunnelUp>,
    tunnels_closed: u64,
    to_agent: Option<mpsc::Sender<Result<SchedulerMessage, Status>>>,
    links_ended: u64,
}

/// A running scheduler.
#[derive(Clone)]
pub struct Scheduler {
    seen: Arc<Mutex<Seen>>,
    manner: Arc<Mutex<Manner>>,
    pub address: SocketAddr,
    server: Arc<JoinHandle<()>>,
}

impl Scheduler {
    pub async fn start(manner: Manner) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (seen, manner) = (Arc::new(Mutex::new(Seen::default())), Arc::new(Mutex::new(manner)));
        let service = AgentLinkServer::new(Service { seen: seen.clone(), manner: manner.clone() });
        let serving = tonic::transport::Server::builder().add_service(service);
        let server = tokio::spawn(async move {
            serving.serve_with_incoming(TcpListenerStream::new(listener)).await.unwrap();
        });
        Scheduler { seen, manner, address, server: Arc::new(server) }
    }

    pub fn addresses(&self) -> Vec<String> {
        vec![self.address.to_string()]
    }

    pub fn behave(&self, change: impl FnOnce(&mut Manner)) {
        change(&mut self.manner.lock().unwrap());
    }

    /// Says something to the agent connected last.
    pub async fn say(&self, message: scheduler_message::Message) {
        let sender = self.seen.lock().unwrap().to_agent.clone().expect("an agent is connected");
        sender.send(Ok(SchedulerMessage { message: Some(message) })).await.unwrap();
    }

    pub async fn launch(&self, task_id: u64, spec_id: u64) {
        let epoch = self.manner.lock().unwrap().epoch;
        let launch = v1::Launch { epoch, task_id, spec_id, attempt: 1, ..Default::default() };
        self.say(scheduler_message::Message::Launch(launch)).await;
    }

    pub async fn kill(&self, task_id: u64) {
        let (epoch, reason) = (self.manner.lock().unwrap().epoch, v1::Reason::UserRequest.into());
        self.say(scheduler_message::Message::Kill(v1::Kill { epoch, task_id, reason, grace_period_ms: None })).await;
    }

    /// Drops the agent's stream.
    pub fn hang_up(&self) {
        self.seen.lock().unwrap().to_agent = None;
    }

    pub fn registers(&self) -> Vec<v1::Register> {
        self.seen.lock().unwrap().registers.clone()
    }

    /// Every report of a task, in order of arrival.
    pub fn reports(&self, task: u64) -> Vec<TaskReport> {
        self.seen.lock().unwrap().reports.iter().filter(|report| report.task_id == task).cloned().collect()
    }

    /// The states a task was reported in, repeats left out.
    pub fn states(&self, task: u64) -> Vec<TaskState> {
        let mut states: Vec<TaskState> = self.reports(task).iter().map(TaskReport::state).collect();
        states.dedup();
        states
    }

    pub fn has_ended(&self, task: u64) -> bool {
        self.states(task).last().is_some_and(|state| state.is_terminal())
    }

    pub fn is(&self, task: u64, state: TaskState) -> bool {
        self.states(task).last() == Some(&state)
    }

    pub fn offers(&self) -> Vec<v1::Offer> {
        self.seen.lock().unwrap().offers.clone()
    }

    pub fn need_specs(&self) -> Vec<v1::NeedSpec> {
        self.seen.lock().unwrap().need_specs.clone()
    }

    pub fn heartbeats(&self) -> u64 {
        self.seen.lock().unwrap().heartbeats
    }

    pub fn tunnel(&self) -> Vec<TunnelUp> {
        self.seen.lock().unwrap().tunnel.clone()
    }

    pub fn links_ended(&self) -> u64 {
        self.seen.lock().unwrap().links_ended
    }
}

impl Drop for Scheduler {
    fn drop(&mut self) {
        if Arc::strong_count(&self.server) == 1 {
            self.server.abort();
        }
    }
}

struct Service {
    seen: Arc<Mutex<Seen>>,
    manner: Arc<Mutex<Manner>>,
}

fn answer(seen: &Mutex<Seen>, manner: &Manner, message: agent_message::Message) -> Vec<scheduler_message::Message> {
    use agent_message::Message as A;
    use scheduler_message::Message as S;
    let mut seen = seen.lock().unwrap();
    let answer = match message {
        A::Register(register) => {
            let welcome = S::Registered(v1::Registered {
                epoch: manner.epoch,
                cluster_id: manner.cluster_id.clone(),
                heartbeat_interval_ms: manner.heartbeat_interval_ms,
                lease_ms: manner.lease_ms,
                ..Default::default()
            });
            if let Some(refused) = &manner.refuses {
                seen.registers.push(register);
                return vec![S::Refused(refused.clone())];
            }
            if register.held.is_some_and(|held| held.tasks > 0) {
                seen.short = Some(register);
                return vec![welcome, S::TellTasks(v1::TellTasks { epoch: manner.epoch })];
            }
            seen.reports.extend(register.tasks.clone());
            seen.registers.push(register);
            Some(welcome)
        }
        A::HeldTasks(held) => {
            let mut register = seen.short.take().expect("only who gave a digest tells its tasks afterwards");
            let states = held.tasks.iter().map(|report| (TaskId(report.task_id), report.state()));
            assert_eq!(register.held.map(HeldDigest::from), Some(states.collect()), "the digest is of these tasks");
            seen.reports.extend(held.tasks.clone());
            register.tasks = held.tasks;
            seen.registers.push(register);
            None
        }
        A::Report(report) => {
            let ack = v1::Ack { task_id: report.task_id, sequence: report.sequence };
            seen.reports.push(report);
            manner.acks.then_some(S::Ack(ack))
        }
        A::Heartbeat(beat) => {
            seen.heartbeats += 1;
            let ack = v1::HeartbeatAck { sequence: beat.sequence, epoch: manner.epoch, ..Default::default() };
            manner.answers_heartbeats.then_some(S::HeartbeatAck(ack))
        }
        A::Offer(offer) => {
            seen.offers.push(offer);
            None
        }
        A::Description(_) | A::Inspection(_) => None,
        A::NeedSpec(need) => {
            seen.need_specs.push(need);
            None
        }
    };
    answer.into_iter().collect()
}

type Replies<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl AgentLink for Service {
    type LinkStream = Replies<SchedulerMessage>;
    type TunnelStream = Replies<TunnelDown>;

    async fn link(&self, request: Request<Streaming<AgentMessage>>) -> Result<Response<Self::LinkStream>, Status> {
        let mut incoming = request.into_inner();
        let (to_agent, replies) = mpsc::channel(64);
        let weak = to_agent.downgrade();
        self.seen.lock().unwrap().to_agent = Some(to_agent);
        let (seen, manner) = (self.seen.clone(), self.manner.clone());
        tokio::spawn(async move {
            while let Some(Ok(message)) = incoming.next().await {
                let manner = manner.lock().unwrap().clone();
                // Weak: `hang_up` ends the stream although this task still listens.
                for reply in message.message.into_iter().flat_map(|message| answer(&seen, &manner, message)) {
                    if let Some(sender) = weak.upgrade() {
                        let _ = sender.send(Ok(SchedulerMessage { message: Some(reply) })).await;
                    }
                }
            }
            seen.lock().unwrap().links_ended += 1;
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(replies))))
    }

    async fn tunnel(&self, request: Request<Streaming<TunnelUp>>) -> Result<Response<Self::TunnelStream>, Status> {
        let mut incoming = request.into_inner();
        let seen = self.seen.clone();
        let (close, replies) = mpsc::channel(1);
        tokio::spawn(async move {
            while let Some(Ok(message)) = incoming.next().await {
                seen.lock().unwrap().tunnel.push(message);
            }
            seen.lock().unwrap().tunnels_closed += 1;
            let _ = close.send(Ok(TunnelDown { close: true, reach: None })).await;
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(replies))))
    }
}
