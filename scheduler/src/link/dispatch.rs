//! Effects as messages to agents. An agent that is not connected gets nothing: its registration reconciles.

use std::sync::Arc;

use dawn_proto::v1::{self, scheduler_message::Message};
use dawn_proto::{Epoch, SpecId, TaskId};
use prost::Message as _;

use super::Links;
use crate::drive::Follower;
use crate::model::{AgentNo, Effect, LinkId, Spec, State};
use crate::wire;

/// What agents are told at registration.
#[derive(Clone, Copy, Debug)]
pub struct LinkSettings {
    pub heartbeat_interval_ms: u64,
    /// An agent silent for this long is given up.
    pub lease_ms: u64,
}

/// Sends what was decided. The follower must have applied the batch an effect comes from.
pub struct Dispatcher {
    links: Arc<Links>,
    follower: Arc<Follower>,
    epoch: Epoch,
    settings: LinkSettings,
}

impl Dispatcher {
    pub fn new(links: Arc<Links>, follower: Arc<Follower>, epoch: Epoch, settings: LinkSettings) -> Self {
        Dispatcher { links, follower, epoch, settings }
    }

    /// Sends an effect that is for an agent; replies are not.
    pub fn send(&self, effect: Effect) {
        match effect {
            Effect::Launch { agent, task } => self.launch(agent, task),
            Effect::Kill { agent, task, reason, grace_period_ms } => self.to_agent(
                agent,
                Message::Kill(v1::Kill {
                    epoch: self.epoch.0,
                    task_id: task.0,
                    reason: reason.into(),
                    grace_period_ms,
                }),
            ),
            Effect::Ack { link, task, sequence } => {
                self.links.send(link, Message::Ack(v1::Ack { task_id: task.0, sequence }));
            }
            Effect::Reconcile { agent, tasks } => {
                let task_ids = tasks.into_iter().map(|task| task.0).collect();
                self.to_agent(agent, Message::Reconcile(v1::Reconcile { epoch: self.epoch.0, task_ids }));
            }
            Effect::TellTasks { link } => {
                self.links.send(link, Message::TellTasks(v1::TellTasks { epoch: self.epoch.0 }));
            }
            Effect::Describe { agent, tasks, finished } => {
                let range = |(first, end): (TaskId, TaskId)| v1::TaskRange { first: first.0, end: end.0 };
                let task_ids = tasks.into_iter().map(|task| task.0).collect();
                let finished = finished.into_iter().map(range).collect();
                self.to_agent(agent, Message::Describe(v1::Describe { epoch: self.epoch.0, task_ids, finished }));
            }
            Effect::Welcome { link, agent, epoch, number, leased, .. } => {
                self.welcome(link, agent, (epoch, number, leased));
            }
            Effect::HeartbeatAck { link, sequence } => {
                self.links.send(
                    link,
                    Message::HeartbeatAck(v1::HeartbeatAck { sequence, epoch: self.epoch.0, ..Default::default() }),
                );
            }
            Effect::HeartbeatHeard { link, sequence } => {
                let ack = v1::HeartbeatAck { sequence, epoch: self.epoch.0, without_lease: true };
                self.links.send(link, Message::HeartbeatAck(ack));
            }
            Effect::Refuse { link, reason, slowly } => {
                tracing::warn!(%link, reason, slowly, "refused an agent");
                let refused = v1::Refused { reason, dial_slowly: slowly, ..Default::default() };
                self.links.send(link, Message::Refused(refused));
                self.links.close(link);
            }
            Effect::Reply { .. } | Effect::StepDown { .. } | Effect::AskCoordinator { .. } | Effect::Alarm { .. } => {}
            Effect::NoteAhead { .. } | Effect::NoteContested { .. } | Effect::LookAtOwnKey => {}
        }
    }

    fn to_agent(&self, agent: AgentNo, message: Message) {
        if let Some(link) = self.links.of(agent) {
            self.links.send(link, message);
        }
    }

    /// The leader goes on under another epoch: an operator raised it.
    pub fn lead_under(&mut self, epoch: Epoch) {
        self.epoch = epoch;
    }

    fn welcome(&self, link: LinkId, agent: AgentNo, (epoch, number, leased): (Epoch, u64, bool)) {
        let cluster_id = self.follower.read(|state| state.cluster_id.clone());
        self.links.bind(link, agent);
        let registered = v1::Registered {
            epoch: epoch.0,
            cluster_id,
            heartbeat_interval_ms: self.settings.heartbeat_interval_ms,
            lease_ms: self.settings.lease_ms,
            welcome: number,
            without_lease: !leased,
        };
        self.links.send(link, Message::Registered(registered));
    }

    fn launch(&self, agent: AgentNo, task: TaskId) {
        let Some(link) = self.links.of(agent) else { return };
        send_launch(&self.links, link, &self.follower, task, |state| launch(state, agent, task));
    }
}

/// A launch with the spec it names.
pub(super) type Launch = (v1::Launch, Arc<Spec>);

pub(super) fn send_launch(
    links: &Links,
    link: LinkId,
    follower: &Follower,
    task: TaskId,
    find: impl FnOnce(&State) -> Option<Launch>,
) {
    let Some((launch, spec)) = follower.read(find) else {
        // Its batch ended it again.
        tracing::debug!(%task, "not launched: it is not placed there any more");
        return;
    };
    links.send_with_spec(link, &spec, Message::Launch(launch));
}

/// The launch of a task that is placed on the agent and was not seen there yet.
pub(super) fn launch(state: &State, agent: AgentNo, task: TaskId) -> Option<Launch> {
    let task = state.tasks.get(&task).filter(|task| task.held_on() == Some(agent))?;
    let spec = state.spec_of(task);
    let launch = v1::Launch {
        epoch: state.epoch.0,
        task_id: task.id.0,
        spec_id: spec.id.0,
        instance: task.instance,
        attempt: task.attempt,
        ports: task.status.place().map(|place| wire::assigned_ports(&spec.job, place)).unwrap_or_default(),
        run_at_ms: task.run_at.0,
        devices: task.status.place().map(|place| wire::assigned_devices(&spec.job, place)).unwrap_or_default(),
    };
    Some((launch, spec.clone()))
}

pub(super) fn spec_message(spec: &Spec) -> v1::Spec {
    // invariant: `wire` was made by encoding this very message.
    v1::Spec { spec_id: spec.id.0, spec: v1::JobSpec::decode(&*spec.job.wire).ok(), version: spec.version }
}

/// A spec by its number, while the state keeps it.
pub(super) fn spec(state: &State, id: SpecId) -> Option<Arc<Spec>> {
    state.specs.get(&id).cloned()
}
