//! Nodes that are lost for good and the brake's release: as records and in snapshots.

use dawn_proto::Timestamp;
use dawn_proto::v1;
use dawn_proto::v1::loss_record::Record as Wire;

use super::parse::WireError;
use crate::model::{AgentNo, BrakeRelease, DeclaredDown, LossMutation, Truth};

pub(super) fn loss_record(mutation: &LossMutation) -> v1::LossRecord {
    let record = match mutation {
        LossMutation::DeclaredDown { agent, author } => {
            Wire::DeclaredDown(v1::NodeDeclaredDown { agent_no: agent.0, author: author.clone() })
        }
        LossMutation::BrakeReleased { for_ms, author } => {
            Wire::BrakeReleased(v1::BrakeReleased { for_ms: *for_ms, author: author.clone() })
        }
        LossMutation::BrakeBack => Wire::BrakeBack(v1::BrakeBack {}),
    };
    v1::LossRecord { record: Some(record) }
}

pub(super) fn loss_mutation(wire: v1::LossRecord) -> Result<LossMutation, WireError> {
    let newer = || WireError::new("loss", "is of a kind this version does not know; a newer one wrote it");
    Ok(match wire.record.ok_or_else(newer)? {
        Wire::DeclaredDown(declared) => {
            LossMutation::DeclaredDown { agent: AgentNo(declared.agent_no), author: declared.author }
        }
        Wire::BrakeReleased(released) => {
            LossMutation::BrakeReleased { for_ms: released.for_ms, author: released.author }
        }
        Wire::BrakeBack(_) => LossMutation::BrakeBack,
    })
}

/// None: nothing of it.
pub(super) fn loss_snapshot(state: &Truth) -> Option<v1::LossSnapshot> {
    let declared = state.agents.values().filter_map(|agent| {
        let DeclaredDown { at, by } = agent.declared_down.as_ref()?;
        Some(v1::DeclaredDown { agent_no: agent.no.0, at_ms: at.0, author: by.clone() })
    });
    let brake_release = state.brake_release.as_ref().map(|release| v1::BrakeRelease {
        until_ms: release.until.0,
        for_ms: release.for_ms,
        author: release.by.clone(),
    });
    let snapshot = v1::LossSnapshot { declared_down: declared.collect(), brake_release };
    (snapshot != v1::LossSnapshot::default()).then_some(snapshot)
}

/// Puts it into a state whose agents are there already.
pub(super) fn loss_from_snapshot(state: &mut Truth, wire: v1::LossSnapshot) {
    for declared in wire.declared_down {
        if let Some(agent) = state.agents.get_mut(&AgentNo(declared.agent_no)) {
            agent.declared_down = Some(DeclaredDown { at: Timestamp(declared.at_ms), by: declared.author });
        }
    }
    state.brake_release = wire.brake_release.map(|release| BrakeRelease {
        until: Timestamp(release.until_ms),
        for_ms: release.for_ms,
        by: release.author,
    });
}
