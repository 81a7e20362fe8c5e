//! Welcomes of agents, as records and in snapshots.

use dawn_proto::Timestamp;
use dawn_proto::v1;
use dawn_proto::v1::welcome_record::Record as Wire;

use super::parse::WireError;
use crate::model::{AgentNo, Welcome, WelcomeMutation};

pub(super) fn welcome_record(mutation: &WelcomeMutation) -> v1::WelcomeRecord {
    let record = match mutation {
        WelcomeMutation::Issued { agent, named, number } => {
            Wire::Issued(v1::WelcomeIssued { agent_no: agent.0, named: *named, number: *number })
        }
        WelcomeMutation::Confirmed { agent } => Wire::Confirmed(v1::WelcomeConfirmed { agent_no: agent.0 }),
        WelcomeMutation::Copied { agent } => Wire::Copied(v1::AgentCopied { agent_no: agent.0 }),
        WelcomeMutation::Replaced { agent } => Wire::Replaced(v1::AgentReplaced { agent_no: agent.0 }),
        WelcomeMutation::Forgotten { agent } => Wire::Forgotten(v1::WelcomeForgotten { agent_no: agent.0 }),
    };
    v1::WelcomeRecord { record: Some(record) }
}

pub(super) fn welcome_mutation(wire: v1::WelcomeRecord) -> Result<WelcomeMutation, WireError> {
    let newer = || WireError::new("welcome", "is of a kind this version does not know; a newer one wrote it");
    Ok(match wire.record.ok_or_else(newer)? {
        Wire::Issued(issued) => {
            WelcomeMutation::Issued { agent: AgentNo(issued.agent_no), named: issued.named, number: issued.number }
        }
        Wire::Confirmed(confirmed) => WelcomeMutation::Confirmed { agent: AgentNo(confirmed.agent_no) },
        Wire::Copied(copied) => WelcomeMutation::Copied { agent: AgentNo(copied.agent_no) },
        Wire::Replaced(replaced) => WelcomeMutation::Replaced { agent: AgentNo(replaced.agent_no) },
        Wire::Forgotten(forgotten) => WelcomeMutation::Forgotten { agent: AgentNo(forgotten.agent_no) },
    })
}

/// None where there is nothing to say.
pub(super) fn welcome_snapshot(welcome: &Welcome) -> Option<v1::WelcomeSnapshot> {
    (*welcome != Welcome::default()).then(|| v1::WelcomeSnapshot {
        confirmed: welcome.confirmed,
        issued: welcome.issued,
        copied_at_ms: welcome.copied.map_or(0, |at| at.0),
    })
}

pub(super) fn welcome_from_snapshot(wire: v1::WelcomeSnapshot) -> Welcome {
    Welcome {
        confirmed: wire.confirmed,
        issued: wire.issued,
        copied: (wire.copied_at_ms != 0).then_some(Timestamp(wire.copied_at_ms)),
    }
}
