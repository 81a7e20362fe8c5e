//! What is done once it is durable: the follower first, so that whoever is told something can read it, then the rest.

use std::sync::Arc;

use dawn_proto::TaskId;
use futures_util::future::BoxFuture;
use tokio::sync::oneshot;

use crate::api::Replies;
use crate::coordinator::{About, Coordinators};
use crate::drive::Follower;
use crate::drive::{Hands, Inbox};
use crate::link::Dispatcher;
use crate::model::{Batch, Effect, Event, State};

/// Asks the journal's home whether this scheduler's own leader key is there, with its own create revision; None: it can't
/// be told now.
pub type OwnKey = Arc<dyn Fn() -> BoxFuture<'static, Option<bool>> + Send + Sync>;

pub struct Doer {
    pub follower: Arc<Follower>,
    pub dispatcher: Dispatcher,
    pub replies: Arc<Replies>,
    pub coordinators: Coordinators,
    pub own_key: OwnKey,
    pub inbox: Inbox,
    /// Takes the reason to lead no more.
    pub step_down: Option<oneshot::Sender<String>>,
}

impl Hands for Doer {
    fn act(&mut self, batches: &[Arc<Batch>], effects: Vec<Effect>) {
        self.follower.apply(batches);
        if let Some(batch) = batches.last() {
            self.dispatcher.lead_under(batch.epoch);
        }
        for effect in effects {
            match effect {
                Effect::Reply { to, answer } => {
                    let index = *self.follower.index().borrow();
                    self.replies.answer(to, answer, index);
                }
                Effect::AskCoordinator { task, url, status_key } => {
                    let about = self.follower.read(|state| about(state, task));
                    self.coordinators.ask(task, url, status_key, about);
                }
                Effect::LookAtOwnKey => {
                    let (looked, inbox) = ((self.own_key)(), self.inbox.clone());
                    tokio::spawn(async move {
                        // Not known now: the next one who claims a higher epoch has it asked again.
                        if let Some(is_there) = looked.await {
                            _ = inbox.link_event(Event::OwnKeySeen { is_there }).await;
                        }
                    });
                }
                Effect::StepDown { reason } => {
                    // Once is enough, and nobody listens any more when the process ends anyway.
                    _ = self.step_down.take().map(|tell| tell.send(reason));
                }
                Effect::Alarm { alarm, words: Some(words) } => tracing::warn!(?alarm, "{words}"),
                Effect::Alarm { alarm, words: None } => tracing::info!(?alarm, "this alarm is over"),
                order => self.dispatcher.send(order),
            }
        }
    }
}

/// What a coordinator is told; nothing but the number of a task that is gone.
fn about(state: &State, task: TaskId) -> About {
    let Some(task) = state.tasks.get(&task) else { return About::default() };
    let agent = task.status.place().and_then(|place| state.agents.get(&place.agent));
    About {
        job: state.spec_of(task).job.key.to_string(),
        instance: task.instance,
        agent: agent.map(|agent| agent.id.to_string()).unwrap_or_default(),
        hostname: agent.map(|agent| agent.hostname.clone()).unwrap_or_default(),
    }
}
