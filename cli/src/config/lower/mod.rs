//! Dawn's job spec from a job in Aurora's vocabulary.

use dawn_proto::v1;

use super::evaluate::EvaluatedJob;

/// A part of a job that Dawn has nothing for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsupported {
    pub path: String,
    pub message: String,
}

#[derive(Clone, Debug)]
pub struct Lowered {
    pub spec: v1::JobSpec,
    pub warnings: Vec<Unsupported>,
}

pub fn lower(_job: &EvaluatedJob) -> Result<Lowered, Vec<Unsupported>> {
    Err(vec![])
}
