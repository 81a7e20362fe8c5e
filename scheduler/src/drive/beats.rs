//! Heartbeats on their way to an answer. They need no batch to be durable: what an answer promises is that nobody else led
//! when the heartbeat arrived (`decide::lease`), and the journal's home proves that while it takes no appends, too.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;

use super::Journal;
use crate::model::{Effect, Event, LinkId};

type Proof = Pin<Box<dyn Future<Output = bool> + Send>>;

/// The newest heartbeat of each link is kept: its answer renews all that an older one's would. Bounded by the links.
#[derive(Default)]
pub(super) struct Beats {
    /// Answers that wait for a proof to be asked for.
    waiting: BTreeMap<LinkId, Effect>,
    /// Answers that go out with the proof on its way.
    asked: BTreeMap<LinkId, Effect>,
    proof: Option<Proof>,
    /// Heartbeats that a step must decide about, such as those of agents that were out of reach.
    undecided: BTreeMap<LinkId, Event>,
}

/// Nobody will prove any more that this scheduler leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unproved;

impl Beats {
    /// A heartbeat arrived that is answered so.
    pub fn answer(&mut self, link: LinkId, answer: Effect) {
        self.waiting.insert(link, answer);
    }

    /// A heartbeat arrived about which the next step is to decide.
    pub fn decide(&mut self, link: LinkId, event: Event) {
        self.undecided.insert(link, event);
    }

    /// Those that the next step is to decide about.
    pub fn take_undecided(&mut self) -> impl Iterator<Item = Event> + use<> {
        std::mem::take(&mut self.undecided).into_values()
    }

    pub fn has_undecided(&self) -> bool {
        !self.undecided.is_empty()
    }

    /// Asks for a proof for all that wait, unless one is on its way: that one may be older than they are.
    pub fn ask(&mut self, journal: &mut impl Journal) {
        if self.proof.is_none() && !self.waiting.is_empty() {
            self.asked = std::mem::take(&mut self.waiting);
            self.proof = Some(Box::pin(journal.confirm()));
        }
    }

    /// The answers that are proved now; waits for them, for ever when none is asked for. Cancel safe.
    pub async fn proved(&mut self) -> Result<Vec<Effect>, Unproved> {
        let Some(proof) = &mut self.proof else { return std::future::pending().await };
        let proved = proof.await;
        self.proof = None;
        let answers = std::mem::take(&mut self.asked).into_values().collect();
        if proved { Ok(answers) } else { Err(Unproved) }
    }
}
