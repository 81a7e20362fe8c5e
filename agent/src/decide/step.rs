//! One step's decision while it is made. What it reads is the state as it was before.

use dawn_proto::TaskId;

use super::phase::{self, Trigger};
use super::{Decision, Next};
use crate::model::{
    Effect, Ending, MOST_WITH_WORDS, Message, Mutation, Note, Now, OfferState, Remains, Report, Stage, State,
};

/// A report that is not acknowledged is sent again after this long.
pub(super) const RESEND_MS: u64 = 5_000;

pub(super) struct Step<'a> {
    pub state: &'a State,
    pub now: Now,
    pub decision: Decision,
}

impl<'a> Step<'a> {
    pub fn new(state: &'a State, now: Now) -> Self {
        Step { state, now, decision: Decision::default() }
    }

    pub fn change(&mut self, mutation: Mutation) {
        self.decision.mutations.push(mutation);
    }

    pub fn act(&mut self, effect: Effect) {
        self.decision.effects.push(effect);
    }

    pub fn note(&mut self, note: Note) {
        self.act(Effect::Note(note));
    }

    pub fn then(&mut self, next: Next) {
        self.decision.next.push(next);
    }

    /// Sends when registered; otherwise it is said again at the next registration.
    pub fn send(&mut self, message: Message) {
        if let Some(session) = self.state.link.registered_session() {
            self.act(Effect::Send { session, message });
        }
    }

    pub fn report(&mut self, report: Report) {
        self.send(Message::Report(report));
    }

    /// Another offer is told from now on.
    pub fn offer(&mut self, offer: OfferState) {
        self.send(Message::Offer(offer.offer()));
        self.change(Mutation::OfferChanged(Box::new(offer)));
    }

    /// Keeps a report until acknowledged, and sends it.
    pub fn publish(&mut self, mut report: Report) {
        if self.state.index.unacked.len() >= MOST_WITH_WORDS {
            report.forget_words();
        }
        let resend_at_ms = self.now.mono_ms.saturating_add(RESEND_MS);
        self.change(Mutation::TaskReported { report: Box::new(report.clone()), resend_at_ms });
        self.report(report);
    }

    /// Moves a task to the stage that the table of phases allows. Answers false, and changes nothing, where the table has no
    /// such move.
    pub fn advance(&mut self, id: TaskId, trigger: Trigger, stage: Stage) -> bool {
        let Some(task) = self.state.tasks.get(&id) else { return false };
        let (from, to) = (task.phase(), stage.phase());
        if phase::next(from, trigger) != Some(to) {
            self.note(Note::IllegalMove { task: id, from, to });
            return false;
        }
        self.note(Note::Moved { task: id, from, to });
        self.change(Mutation::TaskMoved { task: id, stage });
        true
    }

    /// Moves a task to its end. Whatever is left of it is cleaned up.
    pub fn end_with(&mut self, id: TaskId, trigger: Trigger, withheld: Option<Box<Report>>) {
        let Some(task) = self.state.tasks.get(&id).filter(|task| task.is_living()) else { return };
        let remains = if task.is_on_disk() { Remains::Unmeasured } else { Remains::Nothing };
        let ending = Ending { ended_ms: self.now.mono_ms.cast_signed(), remains, withheld };
        if self.advance(id, trigger, Stage::Over(ending)) && task.is_on_disk() {
            self.act(Effect::CleanUp { task: id, processes: task.processes.identities() });
        }
    }
}
