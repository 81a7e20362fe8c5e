//! An encoded job spec that knows which of its bytes say something about a single task. Not here: what the fields mean.

use std::ops::Deref;
use std::sync::Arc;

use prost::Message;
use prost::encoding::{DecodeContext, decode_key, skip_field, uint32};

use crate::fields::{ONLY_THE_JOBS, job_spec};
use crate::v1::JobSpec;

/// An encoded `dawn.v1.JobSpec`, in the order that makes comparing cheap: what concerns a single task, what concerns only
/// the job, the number of instances. Whoever decodes it does not see the order; equal specs have equal bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncodedSpec {
    bytes: Arc<[u8]>,
    /// Where what concerns only the job begins.
    of_job: usize,
    /// Where the number of instances stands.
    instances: usize,
}

impl EncodedSpec {
    /// Whether a task of the one is as good as a task of the other.
    pub fn has_same_task(&self, other: &EncodedSpec) -> bool {
        self.bytes[..self.of_job] == other.bytes[..other.of_job]
    }

    /// Whether nothing but the number of instances differs.
    pub fn is_same_but_for_instances(&self, other: &EncodedSpec) -> bool {
        self.bytes[..self.instances] == other.bytes[..other.instances]
    }

    /// The same with another number of instances.
    #[must_use]
    pub fn with_instances(&self, instances: u32) -> EncodedSpec {
        let mut bytes = self.bytes[..self.instances].to_vec();
        uint32::encode(job_spec::INSTANCES.number, &instances, &mut bytes);
        EncodedSpec { bytes: bytes.into(), ..*self }
    }
}

impl From<&JobSpec> for EncodedSpec {
    fn from(spec: &JobSpec) -> EncodedSpec {
        spec.encode_to_vec().into()
    }
}

impl From<Vec<u8>> for EncodedSpec {
    /// Bytes that are no message are taken for what concerns a task.
    fn from(encoded: Vec<u8>) -> EncodedSpec {
        let (mut task, mut of_job, mut instances) = (Vec::with_capacity(encoded.len()), Vec::new(), Vec::new());
        let mut left = encoded.as_slice();
        while let Some((number, field, rest)) = next_field(left) {
            left = rest;
            let part = match number {
                number if number == job_spec::INSTANCES.number => &mut instances,
                number if ONLY_THE_JOBS.contains(&number) => &mut of_job,
                _ => &mut task,
            };
            part.extend_from_slice(field);
        }
        task.extend_from_slice(left);
        let (at_job, at_instances) = (task.len(), task.len() + of_job.len());
        task.append(&mut of_job);
        task.append(&mut instances);
        EncodedSpec { bytes: task.into(), of_job: at_job, instances: at_instances }
    }
}

/// The first field: its number, its bytes, and what comes after it.
fn next_field(bytes: &[u8]) -> Option<(u32, &[u8], &[u8])> {
    let mut rest = bytes;
    if rest.is_empty() {
        return None;
    }
    let (number, kind) = decode_key(&mut rest).ok()?;
    skip_field(kind, number, &mut rest, DecodeContext::default()).ok()?;
    let (field, rest) = bytes.split_at(bytes.len() - rest.len());
    Some((number, field, rest))
}

impl Deref for EncodedSpec {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fields::JOB_SPEC;
    use crate::v1::{Announce, JobKey, SlaPolicy, TaskSpec, UpdatePolicy};

    fn spec() -> JobSpec {
        JobSpec {
            key: Some(JobKey { role: "a".into(), env: "b".into(), name: "c".into() }),
            instances: 3,
            task: Some(TaskSpec { max_pids: 7, ..TaskSpec::default() }),
            priority: 5,
            ..JobSpec::default()
        }
    }

    #[test]
    fn what_is_encoded_decodes_to_the_same_and_is_as_long() {
        let full = JobSpec { sla: Some(SlaPolicy { duration_ms: 1, policy: None }), gang: true, ..spec() };
        let encoded = EncodedSpec::from(&full);
        assert_eq!(JobSpec::decode(&*encoded).unwrap(), full);
        assert_eq!(encoded.len(), full.encoded_len());
        let fewer = encoded.with_instances(1);
        assert_eq!(JobSpec::decode(&*fewer).unwrap(), JobSpec { instances: 1, ..full.clone() });
        assert_eq!(fewer, EncodedSpec::from(&JobSpec { instances: 1, ..full }));
    }

    #[test]
    fn a_change_of_what_concerns_only_the_job_leaves_the_task_the_same() {
        let before = EncodedSpec::from(&spec());
        let update = Some(UpdatePolicy { surge: 1, ..UpdatePolicy::default() });
        for of_job in [
            JobSpec { instances: 9, ..spec() },
            JobSpec { update, ..spec() },
            JobSpec { sla: Some(SlaPolicy::default()), ..spec() },
            JobSpec { announce: Some(Announce::default()), ..spec() },
        ] {
            let after = EncodedSpec::from(&of_job);
            assert!(before.has_same_task(&after) && before != after, "{of_job:?}");
            assert_eq!(before.is_same_but_for_instances(&after), of_job.instances == 9, "{of_job:?}");
        }
        assert!(!before.has_same_task(&EncodedSpec::from(&JobSpec { priority: 6, ..spec() })));
    }

    /// Each field by itself, by its number: as a varint of 1, or as an empty message or text.
    #[test]
    fn every_field_is_of_the_task_unless_its_options_say_otherwise() {
        use crate::fields::{Kind, Shape};
        let nothing = EncodedSpec::from(Vec::new());
        for field in JOB_SPEC.fields {
            let is_varint =
                field.shape == Shape::One && !matches!(field.kind, Kind::Text | Kind::Message(_) | Kind::Opaque);
            let mut bytes = Vec::new();
            let kind =
                if is_varint { prost::encoding::WireType::Varint } else { prost::encoding::WireType::LengthDelimited };
            prost::encoding::encode_key(field.number, kind, &mut bytes);
            bytes.push(u8::from(is_varint));
            assert!(JobSpec::decode(&*bytes).is_ok(), "{}", field.name);
            assert_eq!(nothing.has_same_task(&bytes.into()), field.concerns_only_job, "{}", field.name);
        }
    }

    #[test]
    fn bytes_that_are_no_message_are_kept() {
        let odd = EncodedSpec::from(vec![0xff; 5]);
        assert_eq!(&*odd, &[0xff; 5]);
        assert!(!odd.has_same_task(&EncodedSpec::from(Vec::new())));
    }
}
