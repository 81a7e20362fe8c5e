//! What is done once it is durable: the follower first, so that whoever is told something can read it, then the rest.

use std::sync::Arc;

use tokio::sync::oneshot;

use crate::api::Replies;
use crate::drive::Follower;
use crate::drive::Hands;
use crate::link::Dispatcher;
use crate::model::{Batch, Effect};

pub struct Doer {
    pub follower: Arc<Follower>,
    pub dispatcher: Dispatcher,
    pub replies: Arc<Replies>,
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
                Effect::StepDown { reason } => {
                    // Once is enough, and nobody listens any more when the process ends anyway.
                    _ = self.step_down.take().map(|tell| tell.send(reason));
                }
                order => self.dispatcher.send(order),
            }
        }
    }
}
