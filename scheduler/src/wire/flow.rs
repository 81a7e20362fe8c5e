//! Jobs that follow others, are templates or pause: spec, records and snapshots both ways, and the spec of a dispatch.

use std::collections::BTreeMap;

use dawn_proto::v1::flow_record::Change;
use dawn_proto::v1::{self, PayloadRule};
use dawn_proto::validate::{FieldError, MAX_PAYLOAD_BYTES, PAYLOAD};
use dawn_proto::{JobKey, Timestamp};
use prost::Message;

use super::parse::WireError;
use super::spec::parse_job_spec;
use crate::model::{Dispatch, Flow, FlowMutation, JobId, JobSpec, Paused};

pub(super) fn flow_record(mutation: &FlowMutation) -> v1::FlowRecord {
    let change = match mutation {
        FlowMutation::Released { job } => Change::Released(v1::Released { job_id: job.0 }),
        FlowMutation::CronPaused { job, author } => {
            Change::CronPaused(v1::CronPaused { job_id: job.0, author: author.clone() })
        }
        FlowMutation::CronResumed { job } => Change::CronResumed(v1::CronResumed { job_id: job.0 }),
        FlowMutation::Dispatched { job, name, content_hash } => {
            Change::Dispatched(v1::Dispatched { job_id: job.0, name: name.clone(), content_hash: *content_hash })
        }
    };
    v1::FlowRecord { change: Some(change) }
}

pub(super) fn flow_mutation(record: v1::FlowRecord) -> Result<FlowMutation, WireError> {
    let newer = || WireError::new("flow", "is of a kind this version does not know; a newer one wrote it");
    Ok(match record.change.ok_or_else(newer)? {
        Change::Released(released) => FlowMutation::Released { job: JobId(released.job_id) },
        Change::CronPaused(paused) => FlowMutation::CronPaused { job: JobId(paused.job_id), author: paused.author },
        Change::CronResumed(resumed) => FlowMutation::CronResumed { job: JobId(resumed.job_id) },
        Change::Dispatched(made) => {
            FlowMutation::Dispatched { job: JobId(made.job_id), name: made.name, content_hash: made.content_hash }
        }
    })
}

/// None when there is nothing to keep.
pub(super) fn flow_to_wire(flow: &Flow) -> Option<v1::FlowSnapshot> {
    let paused = flow.paused.as_ref();
    let dispatch =
        |dispatch: &Dispatch| v1::DispatchSnapshot { name: dispatch.name.clone(), content_hash: dispatch.content_hash };
    (*flow != Flow::default()).then(|| v1::FlowSnapshot {
        released: flow.released,
        paused_ms: paused.map_or(0, |paused| paused.at.0),
        paused_by: paused.map(|paused| paused.by.clone()).unwrap_or_default(),
        resumed_ms: flow.resumed_at.0,
        dispatches: flow.dispatches.iter().map(dispatch).collect(),
    })
}

pub(super) fn flow_from_wire(wire: Option<v1::FlowSnapshot>) -> Flow {
    let wire = wire.unwrap_or_default();
    let paused = Paused { at: Timestamp(wire.paused_ms), by: wire.paused_by };
    let dispatch =
        |dispatch: v1::DispatchSnapshot| Dispatch { name: dispatch.name, content_hash: dispatch.content_hash };
    Flow {
        released: wire.released,
        paused: (wire.paused_ms != 0).then_some(paused),
        resumed_at: Timestamp(wire.resumed_ms),
        dispatches: wire.dispatches.into_iter().map(dispatch).collect(),
    }
}

/// What a dispatch gives a template.
pub struct Arguments {
    pub given: BTreeMap<String, String>,
    pub payload: Option<String>,
}

impl Arguments {
    /// Of what was given, for telling repetitions (FNV-1a, 64 bit).
    pub fn hash(&self) -> u64 {
        let pairs = self.given.iter().flat_map(|(name, value)| [name.as_str(), "\0", value, "\0"]);
        let payload = self.payload.as_deref().map_or([""; 2], |payload| ["\u{1}", payload]);
        fnv(pairs.chain(payload))
    }
}

fn fnv<'a>(texts: impl IntoIterator<Item = &'a str>) -> u64 {
    let bytes = texts.into_iter().flat_map(str::bytes);
    bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// The key of the job that a dispatch with this id makes: the same for the same id.
pub fn dispatched_key(template: &JobKey, id: &str) -> JobKey {
    const NAME_MOST: usize = 63;
    let mark = format!("-{:016x}", fnv([id]));
    let mut name = template.name().to_string();
    name.truncate(NAME_MOST - mark.len());
    // invariant: a prefix of a name with letters, digits and a dash behind it is a name.
    JobKey::new(template.role(), template.env(), &format!("{name}{mark}")).unwrap_or_else(|_| template.clone())
}

/// The spec of the job that a dispatch makes of a template.
///
/// # Errors
/// What the arguments lack or have too much, by field.
pub fn dispatched_spec(template: &JobSpec, key: &JobKey, arguments: &Arguments) -> Result<JobSpec, Vec<FieldError>> {
    let wrong = |path: &str, message: String| vec![FieldError { path: path.to_string(), message }];
    let mut spec = v1::JobSpec::decode(&*template.wire).map_err(|error| wrong("key", error.to_string()))?;
    let rules = spec.parameters.take().unwrap_or_default();
    let mut errors = Vec::new();
    let mut error = |path: String, message: String| errors.push(FieldError { path, message });
    for name in rules.required.iter().filter(|name| !arguments.given.contains_key(*name)) {
        error(format!("arguments.{name}"), "is missing; the template requires it".to_string());
    }
    for name in arguments.given.keys() {
        if !rules.required.contains(name) && !rules.optional.contains_key(name) {
            let names: Vec<&str> = rules.required.iter().chain(rules.optional.keys()).map(String::as_str).collect();
            let known = if names.is_empty() { "none".to_string() } else { names.join(", ") };
            error(format!("arguments.{}", shown(name)), format!("is no parameter of the template; it has {known}"));
        }
    }
    match (rules.payload(), &arguments.payload) {
        (PayloadRule::Required, None) => error("payload".into(), "is missing; the template requires one".into()),
        (PayloadRule::Forbidden | PayloadRule::Unspecified, Some(_)) => {
            error("payload".into(), "the template takes none".into());
        }
        (_, Some(payload)) if payload.len() > MAX_PAYLOAD_BYTES => {
            error("payload".into(), format!("{} bytes; at most {MAX_PAYLOAD_BYTES}", payload.len()));
        }
        _ => {}
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    spec.key = Some(key.into());
    let env = &mut spec.task.get_or_insert_default().env;
    env.extend(rules.optional);
    env.extend(arguments.given.clone());
    env.extend(arguments.payload.clone().map(|payload| (PAYLOAD.to_string(), payload)));
    parse_job_spec(spec)
}

fn shown(name: &str) -> String {
    name.chars().take(80).flat_map(char::escape_default).collect()
}
