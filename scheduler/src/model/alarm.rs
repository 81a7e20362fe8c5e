//! Alarms: what an operator must know about now. Raised and cleared by decisions, shown in `trouble` and in the log.
//! Not here: what follows from the state alone, such as the brake, which is shown from there.

use super::AgentNo;

/// What an alarm is about. Raising one that stands already replaces its words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Alarm {
    /// The agent has obeyed an epoch above this leader's, although this leader's key is still there.
    EpochAhead(AgentNo),
    /// The same of an agent that the journal does not know, and that holds no task.
    StrangerAhead,
    /// Agents that hold tasks show that the journal went back in time: nothing is placed and nothing is given up.
    JournalBehind,
    /// Two machines claim to be this agent.
    AgentCopied(AgentNo),
    /// The wall clock was stepped, and cron waits until it can be believed.
    ClockStepped,
    /// What an agent said, or time brought, would have made a record too large for the journal: it was left out.
    DecisionTooLarge,
}

impl Alarm {
    /// What each is called in figures, and in the runbook.
    pub const KINDS: [&str; 6] =
        ["epoch_ahead", "stranger_ahead", "journal_behind", "agent_copied", "clock_stepped", "decision_too_large"];

    pub fn kind(self) -> &'static str {
        match self {
            Alarm::EpochAhead(_) => "epoch_ahead",
            Alarm::StrangerAhead => "stranger_ahead",
            Alarm::JournalBehind => "journal_behind",
            Alarm::AgentCopied(_) => "agent_copied",
            Alarm::ClockStepped => "clock_stepped",
            Alarm::DecisionTooLarge => "decision_too_large",
        }
    }
}
