//! Whose fault failures were, as records and in snapshots.

use dawn_proto::v1::blame_record::Record as Wire;
use dawn_proto::v1::{self, Reason};
use dawn_proto::{SpecId, Timestamp};

use super::parse::{WireError, name};
use crate::model::{AgentNo, Blame, BlameMutation, FaultOf, JobId, KeptOff};

pub(super) fn blame_record(mutation: &BlameMutation) -> v1::BlameRecord {
    let record = match mutation {
        BlameMutation::KeptOff { job, kept } => Wire::KeptOff(kept_off_to_wire(*job, kept)),
        BlameMutation::LetIn { job, agent, spec } => {
            Wire::LetIn(v1::LetIn { job_id: job.0, agent_no: agent.0, spec_id: spec.0 })
        }
        BlameMutation::Blamed { agent, blame } => Wire::Blamed(blame_to_wire(*agent, blame)),
        BlameMutation::Proved { agent, reason } => {
            Wire::Proved(v1::NodeProved { agent_no: agent.0, reason: (*reason).into() })
        }
        BlameMutation::Forgiven { agent, author, message } => {
            Wire::Forgiven(v1::NodeForgiven { agent_no: agent.0, author: author.clone(), message: message.clone() })
        }
    };
    v1::BlameRecord { record: Some(record) }
}

pub(super) fn blame_mutation(wire: v1::BlameRecord) -> Result<BlameMutation, WireError> {
    let newer = || WireError::new("blame", "is of a kind this version does not know; a newer one wrote it");
    Ok(match wire.record.ok_or_else(newer)? {
        Wire::KeptOff(kept) => BlameMutation::KeptOff { job: JobId(kept.job_id), kept: kept_off_from_wire(&kept)? },
        Wire::LetIn(let_in) => BlameMutation::LetIn {
            job: JobId(let_in.job_id),
            agent: AgentNo(let_in.agent_no),
            spec: SpecId(let_in.spec_id),
        },
        Wire::Blamed(blamed) => {
            BlameMutation::Blamed { agent: AgentNo(blamed.agent_no), blame: blame_from_wire(&blamed)? }
        }
        Wire::Proved(proved) => {
            BlameMutation::Proved { agent: AgentNo(proved.agent_no), reason: name::<Reason>("reason", proved.reason)? }
        }
        Wire::Forgiven(forgiven) => BlameMutation::Forgiven {
            agent: AgentNo(forgiven.agent_no),
            author: forgiven.author,
            message: forgiven.message,
        },
    })
}

pub(super) fn kept_off_to_wire(job: JobId, kept: &KeptOff) -> v1::KeptOff {
    let fault_of = match kept.fault_of {
        FaultOf::Unknown => v1::FaultOf::Unknown,
        FaultOf::Agent => v1::FaultOf::Node,
        FaultOf::Job => v1::FaultOf::Job,
    };
    v1::KeptOff {
        job_id: job.0,
        agent_no: kept.agent.0,
        spec_id: kept.spec.0,
        reason: kept.reason.into(),
        fault_of: fault_of.into(),
        failures: kept.failures,
        until_ms: kept.until.0,
    }
}

pub(super) fn kept_off_from_wire(wire: &v1::KeptOff) -> Result<KeptOff, WireError> {
    Ok(KeptOff {
        agent: AgentNo(wire.agent_no),
        spec: SpecId(wire.spec_id),
        reason: name::<Reason>("reason", wire.reason)?,
        fault_of: match name::<v1::FaultOf>("fault_of", wire.fault_of)? {
            v1::FaultOf::Unknown => FaultOf::Unknown,
            v1::FaultOf::Node => FaultOf::Agent,
            v1::FaultOf::Job => FaultOf::Job,
        },
        failures: wire.failures,
        until: Timestamp(wire.until_ms),
    })
}

pub(super) fn blame_to_wire(agent: AgentNo, blame: &Blame) -> v1::NodeBlamed {
    v1::NodeBlamed { agent_no: agent.0, job_id: blame.job.0, reason: blame.reason.into(), failures: blame.failures }
}

pub(super) fn blame_from_wire(wire: &v1::NodeBlamed) -> Result<Blame, WireError> {
    let reason = name::<Reason>("reason", wire.reason)?;
    Ok(Blame { job: JobId(wire.job_id), reason, failures: wire.failures })
}
