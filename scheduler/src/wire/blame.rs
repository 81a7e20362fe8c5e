//! Whose fault failures were, as records.

use dawn_proto::v1;
use dawn_proto::v1::blame_record::Record as Wire;

use super::WireError;
use crate::model::{AgentNo, BlameMutation};

pub(super) fn blame_record(mutation: &BlameMutation) -> v1::BlameRecord {
    let record = match mutation {
        BlameMutation::Forgiven { agent, author, message } => {
            Wire::Forgiven(v1::NodeForgiven { agent_no: agent.0, author: author.clone(), message: message.clone() })
        }
    };
    v1::BlameRecord { record: Some(record) }
}

pub(super) fn blame_mutation(wire: v1::BlameRecord) -> Result<BlameMutation, WireError> {
    let newer = || WireError::new("blame", "is of a kind this version does not know; a newer one wrote it");
    Ok(match wire.record.ok_or_else(newer)? {
        Wire::Forgiven(forgiven) => BlameMutation::Forgiven {
            agent: AgentNo(forgiven.agent_no),
            author: forgiven.author,
            message: forgiven.message,
        },
    })
}
