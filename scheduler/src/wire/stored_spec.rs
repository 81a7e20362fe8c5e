//! A version's spec as the journal keeps it. Not here: what a spec from outside is held to (`spec`).

use dawn_proto::SpecId;
use dawn_proto::v1;
use dawn_proto::validate::FieldError;
use prost::Message;

use super::parse::WireError;
use super::spec::stored_job_spec;
use super::update::instances_from_wire;
use crate::model::Spec;

/// The stored form of a spec as a message.
pub(super) fn spec_to_wire(spec: &Spec) -> v1::JobSpec {
    // invariant: `wire` was made by encoding this very message.
    v1::JobSpec::decode(&*spec.job.wire).unwrap_or_else(|error| panic!("{} does not decode: {error}", spec.id))
}

pub(super) fn spec_from_wire(id: u64, version: u32, wire: Option<v1::JobSpec>) -> Result<Spec, WireError> {
    let wire = wire.ok_or_else(|| WireError::new("spec", "is missing"))?;
    Ok(Spec::new(SpecId(id), version, stored_job_spec(&wire).map_err(of_spec)?))
}

pub(super) fn with_gaps(spec: Spec, gaps: &[v1::InstanceRange]) -> Spec {
    Spec { gaps: instances_from_wire(gaps), ..spec }
}

/// The first that is wrong with a spec.
pub(super) fn of_spec(errors: Vec<FieldError>) -> WireError {
    let first = errors.into_iter().next();
    first.map_or(WireError::new("spec", "is not valid"), |error| {
        WireError::new(format!("spec.{}", error.path), error.message)
    })
}
