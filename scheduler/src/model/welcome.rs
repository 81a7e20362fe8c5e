//! What proves that an agent is the machine that was welcomed, and not a copy of it.
//!
//! Each welcome carries a number that the agent has on its disk before it says anything else, and names when it registers
//! again. A copy of the machine has the number that was there when the copy was made; whichever of the two registers
//! second with a number that has been replaced since is found out.

use dawn_proto::Timestamp;

use super::AgentNo;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Welcome {
    /// The number that the agent is known to have on its disk; 0: none.
    pub confirmed: u64,
    /// The one it was given last; it may have it or not. 0: none was given, or none is known after a restore.
    pub issued: u64,
    /// When another machine named neither; None: none did since an operator chose.
    pub copied: Option<Timestamp>,
}

impl Welcome {
    /// Whether an agent that names this number can be the one that was welcomed. Whatever is named counts where nothing is
    /// known: of an agent of before, and after a restore.
    pub fn knows(&self, named: u64) -> bool {
        (self.confirmed, self.issued) == (0, 0) || named == self.confirmed || named == self.issued
    }
}

#[derive(Clone, Debug, PartialEq)]
pub enum WelcomeMutation {
    /// The agent named a number that it can have, and is given another one.
    Issued { agent: AgentNo, named: u64, number: u64 },
    /// The number given last is on the agent's disk.
    Confirmed { agent: AgentNo },
    /// Another machine claims to be this agent.
    Copied { agent: AgentNo },
    /// It may be a copy of the machine that was taken for it before: what was started until now may live there.
    Replaced { agent: AgentNo },
    /// Whichever machine comes next is the right one: an operator has seen to it.
    Forgotten { agent: AgentNo },
}

/// Another boot or host of an agent dials while the one before is heard. Monotonic times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Contest {
    pub first_ms: u64,
    pub last_ms: u64,
}

impl Contest {
    /// An agent that is refused dials at least every minute.
    const KEPT_MS: u64 = 90_000;

    pub fn again(before: Option<&Contest>, mono_ms: u64) -> Contest {
        Contest { first_ms: before.map_or(mono_ms, |before| before.first_ms), last_ms: mono_ms }
    }

    /// Whether the other one dials no more: one stray dial says nothing of the next.
    pub fn is_over(&self, mono_ms: u64) -> bool {
        mono_ms.saturating_sub(self.last_ms) >= Contest::KEPT_MS
    }
}
