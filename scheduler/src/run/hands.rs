//! What is done once it is durable: the follower first, so that whoever is told something can read it, then the rest.

use std::sync::Arc;

use dawn_proto::TaskId;
use tokio::sync::oneshot;

use crate::api::Replies;
use crate::coordinator::{About, Coordinators};
use crate::drive::Follower;
use crate::drive::Hands;
use crate::link::Dispatcher;
use crate::model::{Batch, Effect, State};

pub struct Doer {
    pub follower: Arc<Follower>,
    pub dispatcher: Dispatcher,
    pub replies: Arc<Replies>,
    pub coordinators: Coordinators,
    /// Takes the reason to lead no more.
    pub step_down: Option<oneshot::Sender<String>>,
}

impl Hands for Doer {
    fn act(&mut self, batches: &[Arc<Batch>], effects: Vec<Effect>) {
        self.follower.apply(batches);
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
