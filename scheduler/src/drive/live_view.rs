//! What reads are told of agents' links and of alarms. Not here: how they come about (`model::Live`).

use std::collections::BTreeMap;

use dawn_proto::Timestamp;

use crate::model::{AgentLive, AgentNo, Alarm, Now};

/// Who is connected, at one moment.
#[derive(Clone, Debug, Default)]
pub struct LiveView {
    pub now: Now,
    pub agents: BTreeMap<AgentNo, AgentLive>,
    /// Alarms that stand, with their words.
    pub alarms: BTreeMap<Alarm, String>,
    /// True for a follower: agents are connected to the leader, and a follower is not told of their links.
    pub are_links_unknown: bool,
}

impl LiveView {
    pub fn of_follower() -> LiveView {
        LiveView { are_links_unknown: true, ..LiveView::default() }
    }

    /// Whether an agent is connected, as far as it is known; that its node is up is another question.
    pub fn is_connected(&self, agent: AgentNo) -> bool {
        self.are_links_unknown || self.agents.get(&agent).is_some_and(|live| live.link.is_some())
    }

    /// When the agent was last heard under this leader.
    pub fn heard(&self, agent: AgentNo) -> Option<Timestamp> {
        let ago_ms = self.now.mono_ms.saturating_sub(self.agents.get(&agent)?.heard_ms);
        Some(Timestamp(self.now.wall.0.saturating_sub(i64::try_from(ago_ms).unwrap_or(i64::MAX))))
    }
}
