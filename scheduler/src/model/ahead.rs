//! Agents that know more than this journal: they have obeyed a higher epoch, or hold tasks that it does not know yet.

use dawn_proto::{AgentId, Epoch, TaskId};

use super::Live;

/// What an agent shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ahead {
    /// Its highest epoch.
    pub epoch: Epoch,
    /// Its newest task, where the journal does not know it; 0: it knows it, or there is none.
    pub task: TaskId,
    pub holds_tasks: bool,
    /// The journal knows the agent.
    pub is_known: bool,
    /// It can be true.
    pub is_possible: bool,
    /// An operator says that it is not so.
    pub is_dismissed: bool,
    /// Monotonic, the last time.
    pub shown_ms: u64,
}

impl Ahead {
    /// Most that are told apart.
    pub const MOST: usize = 10_000;
    /// An agent that is ahead dials at least every minute; one that has not for so long is gone.
    pub const KEPT_MS: u64 = 90_000;

    /// Whether numbers are raised above what it shows. A stranger without tasks may be anybody.
    pub fn counts(&self) -> bool {
        self.is_possible && !self.is_dismissed && (self.is_known || self.holds_tasks)
    }

    /// Whether it shows that something may be lost that runs.
    pub fn halts(&self) -> bool {
        self.is_possible && !self.is_dismissed && self.holds_tasks
    }

    /// What says more stays, when there is no room for all.
    fn weight(&self) -> (bool, bool, bool, Epoch, TaskId) {
        (self.is_dismissed || self.counts(), self.is_known, self.holds_tasks, self.epoch, self.task)
    }
}

impl Live {
    /// An agent knows more than this journal. When there are too many, one that says less gives way. What an operator has
    /// dismissed stays so for as long as it is said.
    pub fn note_ahead(&mut self, agent: &AgentId, mut ahead: Ahead) {
        let before = self.ahead.get(agent);
        ahead.is_dismissed |= before.is_some_and(|before| before.is_dismissed);
        if before.is_none() && self.ahead.len() >= Ahead::MOST {
            let least = self.ahead.iter().min_by_key(|(_, other)| other.weight());
            match least.filter(|(_, least)| least.weight() < ahead.weight()).map(|(id, _)| id.clone()) {
                Some(id) => _ = self.ahead.remove(&id),
                None => return,
            }
        }
        self.ahead.insert(agent.clone(), ahead);
    }

    /// The agents that are still ahead.
    pub fn still_ahead(&self, mono_ms: u64) -> impl Iterator<Item = (&AgentId, &Ahead)> {
        self.ahead.iter().filter(move |(_, ahead)| mono_ms.saturating_sub(ahead.shown_ms) < Ahead::KEPT_MS)
    }

    /// Whether agents that hold tasks show that the journal went back in time.
    pub fn is_behind(&self, mono_ms: u64) -> bool {
        self.still_ahead(mono_ms).any(|(_, ahead)| ahead.halts())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_do_not_crowd_out_agents_that_are_known_or_hold_tasks() {
        let mut live = Live::default();
        let id = |number: usize| AgentId::new(&format!("a{number}")).unwrap();
        let stranger = Ahead {
            epoch: Epoch(1 << 60),
            task: TaskId(0),
            holds_tasks: false,
            is_known: false,
            is_possible: true,
            is_dismissed: false,
            shown_ms: 0,
        };
        (0..Ahead::MOST + 5).for_each(|number| live.note_ahead(&id(number), stranger));
        assert_eq!(live.ahead.len(), Ahead::MOST);
        let of_use = [
            Ahead { holds_tasks: true, ..stranger },
            Ahead { is_known: true, epoch: Epoch(9), ..stranger },
            Ahead { is_known: true, holds_tasks: true, epoch: Epoch(9), ..stranger },
        ];
        for (at, ahead) in of_use.iter().enumerate() {
            live.note_ahead(&id(20_000 + at), *ahead);
        }
        (30_000..30_500).for_each(|number| live.note_ahead(&id(number), stranger));
        assert_eq!(live.ahead.len(), Ahead::MOST);
        assert_eq!(of_use, [0, 1, 2].map(|at| live.ahead[&id(20_000 + at)]));
        assert!(live.is_behind(0));
    }
}
