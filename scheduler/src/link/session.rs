//! One agent's link, incoming: messages become events. Bad ones close the link with the reason.

use std::sync::Arc;
use std::time::Duration;

use dawn_proto::v1::agent_message::Message as Up;
use dawn_proto::v1::scheduler_message::Message as Down;
use dawn_proto::v1::{self, TaskState};
use dawn_proto::validate::{self, FieldError};
use dawn_proto::{AgentId, SpecId, TaskId, Timestamp};
use futures_util::{Stream, StreamExt};
use prost::Message as _;
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tonic::Status;

use super::room::{MOST_REGISTERED, NoRoom};
use super::upward::Upward;
use super::{FreshNumber, Inspections, LastWords, Links, dispatch, no_place};
use crate::drive::Follower;
use crate::drive::Inbox;
use crate::model::{AgentNo, Event, LinkId, Registration};
use crate::shares::Admission;
use crate::wire::{self, WireError};

/// An agent says who it is within this time.
const REGISTER_WITHIN: Duration = Duration::from_secs(10);

/// Why a link ends from this side.
#[derive(Debug, thiserror::Error)]
enum SessionError {
    #[error("no registration came within {}", dawn_proto::amounts::whole_seconds(REGISTER_WITHIN))]
    Silent,
    #[error("the first message is no registration")]
    NotRegistered,
    #[error("{}", no_place(*.0))]
    NoPlace(usize),
    #[error("{MOST_REGISTERED} links are registered, or about to be forgotten, already; try again later")]
    ManyLinks,
    #[error("too much of what agents said waits to be decided; try again later")]
    NoRoom(#[from] NoRoom),
    #[error("it registered twice on one link")]
    RegisteredTwice,
    #[error("a message this version does not know")]
    Unknown,
    #[error("a message is not valid: {0}")]
    Invalid(#[from] WireError),
    #[error("what the agent says of itself is too large: {0}")]
    TooLarge(#[from] FieldError),
    #[error("the link broke")]
    Broken(#[from] Status),
    #[error("the scheduler is stopping")]
    Stopping,
}

impl SessionError {
    /// Saying the same again is of no use.
    fn stays(&self) -> bool {
        matches!(self, SessionError::TooLarge(_))
    }
}

pub(super) struct Session {
    pub link: LinkId,
    pub links: Arc<Links>,
    pub inspections: Arc<Inspections>,
    pub words: Arc<LastWords>,
    pub inbox: Inbox,
    pub follower: Arc<Follower>,
    pub fresh_number: FreshNumber,
}

impl Session {
    /// Reads until either side ends the link; then says so to the pulse.
    pub async fn serve(
        self,
        mut incoming: impl Stream<Item = Result<v1::AgentMessage, Status>> + Unpin,
        admission: Option<Admission>,
        closed: oneshot::Receiver<()>,
    ) {
        // Held until the pulse has heard that it is closed.
        let mut registered = None;
        let ended = tokio::select! {
            biased;
            ended = self.read(&mut incoming, admission, &mut registered) => ended,
            // Closed from this side; whoever did it has said why.
            _ = closed => Ok(()),
        };
        match ended {
            Ok(()) => tracing::debug!(link = %self.link, "an agent's link ended"),
            // Nothing is wrong.
            Err(error @ SessionError::Stopping) => {
                tracing::info!(link = %self.link, "closing an agent's link: {error}");
                let reason = error.to_string();
                self.links.send(self.link, Down::Refused(v1::Refused { reason, ..Default::default() }));
            }
            Err(SessionError::Broken(status)) => tracing::debug!(link = %self.link, %status, "an agent's link broke"),
            Err(error) => {
                tracing::warn!(link = %self.link, %error, "closing an agent's link");
                let (reason, dial_slowly) = (error.to_string(), error.stays());
                self.links.send(self.link, Down::Refused(v1::Refused { reason, dial_slowly, ..Default::default() }));
            }
        }
        self.links.close(self.link);
        // What it said goes before its place does.
        drop(incoming);
        if registered.is_some() {
            // Refused only when the scheduler stops: then nobody asks.
            _ = self.inbox.link_event(Event::LinkClosed { link: self.link }).await;
        }
    }

    async fn read(
        &self,
        incoming: &mut (impl Stream<Item = Result<v1::AgentMessage, Status>> + Unpin),
        admission: Option<Admission>,
        registered: &mut Option<OwnedSemaphorePermit>,
    ) -> Result<(), SessionError> {
        let first = tokio::time::timeout(REGISTER_WITHIN, incoming.next()).await;
        let first = match first.map_err(|_| SessionError::Silent)?.transpose()? {
            Some(v1::AgentMessage { message: Some(Up::Register(register)) }) => register,
            Some(_) => return Err(SessionError::NotRegistered),
            None => return Ok(()),
        };
        validate::registration(&first)?;
        admission.map_or(Ok(()), Admission::admit).map_err(SessionError::NoPlace)?;
        let known = AgentId::new(&first.agent_id);
        let known = known.and_then(|id| self.follower.read(|state| state.indexes().agent_by_id.get(&id).copied()));
        // Welcome or not, it may never be heard again; but a copy of a machine takes nothing back that the machine said.
        let is_unheard =
            |task: &v1::TaskReport| known.is_some_and(|no| self.words.of(no, TaskId(task.task_id)).is_none());
        first.tasks.iter().filter(|task| is_unheard(task)).for_each(|report| self.keep_words(known, report));
        let registration = Registration { fresh_number: (self.fresh_number)(), ..wire::registration(first)? };
        tracing::info!(link = %self.link, agent = %registration.id, hostname = registration.hostname, "an agent registers");
        *registered = Some(self.links.room().place().ok_or(SessionError::ManyLinks)?);
        let mut upward = Upward::new(self.inbox.clone(), self.links.room().clone());
        upward.push(Event::Registered { link: self.link, registration: Box::new(registration) }, 0)?;
        loop {
            let message = tokio::select! {
                biased;
                sent = upward.sent() => {
                    sent.map_err(|_| SessionError::Stopping)?;
                    continue;
                }
                message = incoming.next(), if upward.reads_on() => message.transpose()?,
            };
            let Some(message) = message else { break };
            let bytes = message.encoded_len();
            if let Some(event) = self.take(message).await? {
                upward.push(event, bytes)?;
            }
        }
        upward.drain().await.map_err(|_| SessionError::Stopping)
    }

    /// What the pulse is to hear of a message, but for heartbeats, which pass all that waits.
    async fn take(&self, message: v1::AgentMessage) -> Result<Option<Event>, SessionError> {
        let link = self.link;
        let event = match message.message.ok_or(SessionError::Unknown)? {
            Up::Register(_) => return Err(SessionError::RegisteredTwice),
            Up::Heartbeat(v1::Heartbeat { sequence, wall_ms, welcome }) => {
                let heartbeat = Event::Heartbeat { link, sequence, wall: Timestamp(wall_ms), welcome };
                self.inbox.heartbeat(heartbeat).await.map_err(|_| SessionError::Stopping)?;
                return Ok(None);
            }
            Up::Report(report) => {
                self.keep_words(self.links.agent_of(link), &report);
                Event::Reported { link, report: wire::report(report)? }
            }
            Up::Offer(offer) => {
                validate::offer(&offer)?;
                Event::Offered { link, offer: wire::offer(&offer)? }
            }
            Up::HeldTasks(held) => {
                validate::held_tasks(&held)?;
                let agent = self.links.agent_of(link);
                held.tasks.iter().for_each(|report| self.keep_words(agent, report));
                Event::TasksTold { link, tasks: wire::held_tasks(held)? }
            }
            Up::Description(description) => match wire::description(description) {
                Ok(description) => Event::Described { link, description: Box::new(description) },
                Err(error) => {
                    // It runs on where it is, and nobody knows of it.
                    tracing::error!(%link, %error, "a task that the journal has lost can't be adopted");
                    return Ok(None);
                }
            },
            Up::Inspection(inspection) => {
                self.inspections.answered(&inspection);
                return Ok(None);
            }
            Up::NeedSpec(need) => {
                self.need_spec(&need);
                return Ok(None);
            }
        };
        Ok(Some(event))
    }

    /// Keeps the last words that come with a failed end, where the task is the agent's: no agent takes the room of others.
    fn keep_words(&self, agent: Option<AgentNo>, report: &v1::TaskReport) {
        if report.last_words.is_empty() || report.state() != TaskState::Failed {
            return;
        }
        let (Some(agent), task) = (agent, TaskId(report.task_id)) else { return };
        let is_its = |state: &crate::model::State| {
            let place = state.tasks.get(&task)?.status.place()?;
            (place.agent == agent).then_some(())
        };
        if self.follower.read(is_its).is_some() {
            self.words.keep(agent, task, &report.last_words);
        }
    }

    /// Sends the spec again, and the launch that named it while its task waits for it.
    fn need_spec(&self, need: &v1::NeedSpec) {
        let (id, task) = (SpecId(need.spec_id), TaskId(need.task_id));
        self.links.forget_spec(self.link, id);
        let waiting = |state: &crate::model::State| {
            let found = state.tasks.get(&task).filter(|found| found.state() == TaskState::Assigned)?;
            dispatch::launch(state, found.held_on()?, task)
        };
        if let Some((launch, spec)) = self.follower.read(waiting) {
            self.links.send_with_spec(self.link, &spec, Down::Launch(launch));
        } else if let Some(spec) = self.follower.read(|state| dispatch::spec(state, id)) {
            self.links.send_spec(self.link, spec);
        } else {
            tracing::warn!(link = %self.link, spec = %id, %task, "an agent asks for a spec that is not kept any more");
        }
    }
}
