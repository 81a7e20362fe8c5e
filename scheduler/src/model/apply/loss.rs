//! Applies what operators said of lost nodes and of the brake.

use dawn_proto::Timestamp;
use dawn_proto::v1::NodeState;

use crate::model::{BrakeRelease, DeclaredDown, LossMutation, State};

impl State {
    pub(super) fn apply_loss(&mut self, mutation: &LossMutation, at: Timestamp) {
        match mutation {
            LossMutation::DeclaredDown { agent, author } => {
                let agent = self.agent_mut(*agent);
                assert_eq!(agent.state, NodeState::Down, "{} {} is declared down", agent.no, agent.id);
                agent.declared_down = Some(DeclaredDown { at, by: author.clone() });
            }
            LossMutation::BrakeReleased { for_ms, author } => {
                let (until, for_ms) = (at.plus_ms(*for_ms), *for_ms);
                self.truth.brake_release = Some(BrakeRelease { until, for_ms, by: author.clone() });
            }
            LossMutation::BrakeBack => self.truth.brake_release = None,
        }
    }
}
