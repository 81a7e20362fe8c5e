//! Between the wire contract and the model. Not here: reading and writing bytes.

mod plan;

use dawn_proto::v1::executor_event::Event;
use dawn_proto::v1::{self, Reason, TaskState};
use prost::Message;

use crate::model::{Ended, Exit, ExitKind, OutOfMemory, Plan, Record, Stage, Stamped};

pub use plan::parse_plan;

/// The body of the frame that holds this record; `last_words` are those of its speaker.
pub fn encode(plan: &Plan, stamped: &Stamped, last_words: Vec<u8>) -> Vec<u8> {
    let name = |process: &usize| plan.processes.get(*process).map(|process| process.name.clone()).unwrap_or_default();
    let event = match &stamped.record {
        Record::ExecutorStarted { pid, start_ticks, generation } => {
            Event::Started(v1::ExecutorStarted { pid: *pid, start_ticks: *start_ticks, generation: *generation })
        }
        Record::ProcessStarted { process, pid, start_ticks, run } => Event::ProcessStarted(v1::ProcessStarted {
            name: name(process),
            pid: *pid,
            start_ticks: *start_ticks,
            run: *run,
        }),
        Record::ProcessExited { process, run, exit } => Event::ProcessExited(exited(name(process), *run, exit)),
        Record::TaskChanged { state, reason, message, exit } => Event::TaskChanged(v1::TaskChanged {
            state: *state as i32,
            reason: *reason as i32,
            message: message.clone(),
            exit_code: exit.exit_code,
            signal: exit.signal,
            last_words,
        }),
        Record::KillBegun { reason, grace_period_ms, message } => Event::KillBegun(v1::KillBegun {
            reason: *reason as i32,
            grace_period_ms: *grace_period_ms,
            message: message.clone(),
        }),
        Record::StageEntered { stage } => Event::StageEntered(v1::StageEntered { stage: *stage as u32 }),
    };
    v1::ExecutorEvent { sequence: stamped.sequence, at_ms: stamped.at_ms, event: Some(event) }.encode_to_vec()
}

fn exited(name: String, run: u32, exit: &Exit) -> v1::ProcessExited {
    let mut exited = v1::ProcessExited { name, run, ..v1::ProcessExited::default() };
    if let Some(oom) = exit.oom {
        exited.out_of_memory = true;
        (exited.whole_task, exited.memory_peak_bytes) = (oom.whole_task, oom.peak_bytes);
    }
    exited.max_pids = exit.max_pids;
    exited.last_line.clone_from(&exit.last_line);
    match &exit.kind {
        ExitKind::Code(code) => exited.exit_code = Some(*code),
        ExitKind::Signal(signal) => exited.signal = Some(*signal),
        ExitKind::NotStarted(error) => exited.start_error.clone_from(error),
    }
    exited
}

/// Why the body of a whole frame of the event log is no event.
#[derive(Debug, thiserror::Error)]
pub enum EventError {
    #[error("an event does not decode")]
    Decode(#[source] prost::DecodeError),
    #[error("event {0} is of no known kind")]
    Unknown(u64),
    #[error("event {sequence} names process {name:?}, which the plan does not have")]
    Process { sequence: u64, name: String },
    #[error("event {found} follows event {last}")]
    Sequence { last: u64, found: u64 },
}

/// Reads an event of the log back.
///
/// # Errors
/// When it is no event of this plan.
pub fn decode(plan: &Plan, body: &[u8]) -> Result<Stamped, EventError> {
    let v1::ExecutorEvent { sequence, at_ms, event } = v1::ExecutorEvent::decode(body).map_err(EventError::Decode)?;
    let process = |name: String| match plan.processes.iter().position(|process| process.name == name) {
        Some(process) => Ok(process),
        None => Err(EventError::Process { sequence, name }),
    };
    let record = match event.ok_or(EventError::Unknown(sequence))? {
        Event::Started(v1::ExecutorStarted { pid, start_ticks, generation }) => {
            Record::ExecutorStarted { pid, start_ticks, generation }
        }
        Event::ProcessStarted(v1::ProcessStarted { name, pid, start_ticks, run }) => {
            Record::ProcessStarted { process: process(name)?, pid, start_ticks, run }
        }
        Event::ProcessExited(exited) => {
            let kind = match (exited.exit_code, exited.signal) {
                (Some(code), _) => ExitKind::Code(code),
                (None, Some(signal)) => ExitKind::Signal(signal),
                (None, None) => ExitKind::NotStarted(exited.start_error),
            };
            let (whole_task, peak_bytes) = (exited.whole_task, exited.memory_peak_bytes);
            let oom = exited.out_of_memory.then_some(OutOfMemory { whole_task, peak_bytes });
            let exit = Exit { kind, oom, max_pids: exited.max_pids, last_line: exited.last_line };
            Record::ProcessExited { process: process(exited.name)?, run: exited.run, exit }
        }
        Event::TaskChanged(changed) => Record::TaskChanged {
            state: TaskState::try_from(changed.state).unwrap_or_default(),
            reason: Reason::try_from(changed.reason).unwrap_or_default(),
            message: changed.message,
            exit: Ended { exit_code: changed.exit_code, signal: changed.signal, speaker: None },
        },
        Event::KillBegun(kill) => Record::KillBegun {
            reason: Reason::try_from(kill.reason).unwrap_or_default(),
            grace_period_ms: kill.grace_period_ms,
            message: kill.message,
        },
        Event::StageEntered(entered) => {
            let stage = Stage::ALL.into_iter().find(|stage| *stage as u32 == entered.stage);
            Record::StageEntered { stage: stage.ok_or(EventError::Unknown(sequence))? }
        }
    };
    Ok(Stamped { sequence, at_ms, record })
}

/// What a connection may ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    SubscribeFrom(u64),
    Kill {
        reason: Reason,
        grace_period_ms: Option<u64>,
    },
    /// On the boot clock.
    Renew {
        until_ms: i64,
    },
    LookAtDisk {
        /// Tasks on the node.
        tasks: u32,
    },
}

/// Reads the body of a request's frame; None when it is none this executor knows.
pub fn decode_request(body: &[u8]) -> Option<Request> {
    match v1::ExecutorRequest::decode(body).ok()?.request? {
        v1::executor_request::Request::SubscribeFrom(sequence) => Some(Request::SubscribeFrom(sequence)),
        v1::executor_request::Request::Kill(kill) => {
            let reason = Reason::try_from(kill.reason).unwrap_or_default();
            Some(Request::Kill { reason, grace_period_ms: kill.grace_period_ms })
        }
        v1::executor_request::Request::Renew(renewal) => Some(Request::Renew { until_ms: renewal.until_boot_ms }),
        v1::executor_request::Request::LookAtDisk(look) => Some(Request::LookAtDisk { tasks: look.tasks }),
    }
}

#[cfg(test)]
mod tests;
