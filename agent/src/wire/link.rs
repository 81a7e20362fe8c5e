//! What goes over the link to the leader, and the tunnels.

use std::sync::Arc;

use dawn_proto::v1::{self, PortHolder, agent_message, scheduler_message};
use dawn_proto::{Epoch, JobKey, Resources, SpecId, TaskId};
use prost::Message as _;
use tonic::Code;

use super::inspect::encode_inspection;
use super::plan::encode_description;
use crate::model::{
    Ended, Kill, Launch, LinkEvent, LogChunk, LogRequest, LogStart, LogStreams, Message, Offer, Port, RefusalKind,
    RegisterMessage, Report, Spec, TunnelRefusal, Welcomed,
};

/// What the scheduler said; None for a message this agent does not know.
pub fn decode_scheduler(message: v1::SchedulerMessage) -> Option<LinkEvent> {
    use scheduler_message::Message as M;
    Some(match message.message? {
        M::Registered(m) => LinkEvent::Registered(Welcomed {
            epoch: Epoch(m.epoch),
            cluster_id: m.cluster_id,
            heartbeat_interval_ms: m.heartbeat_interval_ms,
            lease_ms: m.lease_ms,
            number: m.welcome,
            without_lease: m.without_lease,
        }),
        M::Refused(m) => LinkEvent::Refused {
            reason: m.reason,
            leader_address: m.leader_address,
            slowly: m.dial_slowly || m.r#final,
        },
        M::Spec(m) => decode_spec(m),
        M::Launch(m) => LinkEvent::Launch(decode_launch(m)?),
        M::Kill(m) => LinkEvent::Kill(Kill {
            epoch: Epoch(m.epoch),
            task: TaskId(m.task_id),
            reason: m.reason(),
            grace_period_ms: m.grace_period_ms,
        }),
        M::Ack(m) => LinkEvent::Ack { task: TaskId(m.task_id), sequence: m.sequence },
        M::Reconcile(m) => {
            LinkEvent::Reconcile { epoch: Epoch(m.epoch), tasks: m.task_ids.into_iter().map(TaskId).collect() }
        }
        M::TellTasks(m) => LinkEvent::TellTasks { epoch: Epoch(m.epoch) },
        M::OpenTunnel(v1::OpenTunnel { tunnel_id, reach: Some(target), .. }) => {
            LinkEvent::Reach { tunnel: tunnel_id, task: target.task_id.map(TaskId) }
        }
        M::Inspect(m) => LinkEvent::Inspect { request: m.request_id },
        M::Describe(m) => LinkEvent::Describe {
            epoch: Epoch(m.epoch),
            tasks: m.task_ids.into_iter().map(TaskId).collect(),
            finished: m.finished.iter().map(|range| (TaskId(range.first), TaskId(range.end))).collect(),
        },
        M::OpenTunnel(m) => LinkEvent::OpenTunnel { tunnel: m.tunnel_id, log: decode_log(m.read_log?) },
        M::HeartbeatAck(m) => {
            LinkEvent::HeartbeatAck { sequence: m.sequence, epoch: Epoch(m.epoch), without_lease: m.without_lease }
        }
    })
}

fn decode_log(request: v1::ReadLogRequest) -> LogRequest {
    let streams = match (request.both, request.stderr) {
        (true, _) => LogStreams::Both,
        (false, true) => LogStreams::Stderr,
        (false, false) => LogStreams::Stdout,
    };
    let stderr = request.stderr_offset.filter(|_| request.both);
    let is_recent = request.tail_lines.is_some() || request.since_ms > 0;
    let from = if request.offset.is_some() || stderr.is_some() {
        LogStart::Offset { first: request.offset.unwrap_or(0), stderr: stderr.unwrap_or(0) }
    } else if is_recent {
        LogStart::Recent { lines: request.tail_lines.unwrap_or(u64::MAX), since_ms: request.since_ms }
    } else if request.tail {
        LogStart::Tail(request.tail_bytes)
    } else {
        LogStart::Oldest
    };
    LogRequest { task: TaskId(request.task_id), process: request.process, streams, follow: request.follow, from }
}

fn decode_launch(launch: v1::Launch) -> Option<Launch> {
    let ports = launch.ports.into_iter().map(|port| {
        let number = u16::try_from(port.port).ok()?;
        Some(Port { name: port.name, number })
    });
    let gpus = launch.devices.into_iter().map(|device| u16::try_from(device).ok());
    Some(Launch {
        epoch: Epoch(launch.epoch),
        task: TaskId(launch.task_id),
        spec: SpecId(launch.spec_id),
        instance: launch.instance,
        attempt: launch.attempt,
        ports: ports.collect::<Option<_>>()?,
        gpus: gpus.collect::<Option<_>>()?,
        run_at_ms: launch.run_at_ms,
    })
}

fn decode_spec(message: v1::Spec) -> LinkEvent {
    let id = SpecId(message.spec_id);
    let bad = |why: String| LinkEvent::BadSpec { spec: id, why };
    let Some(spec) = message.spec else { return bad("the spec is empty".into()) };
    let payload = spec.encode_to_vec();
    let Some(task) = spec.task else { return bad("the spec has no task".into()) };
    let Some(key) = &spec.key else { return bad("the spec has no job key".into()) };
    let job = match JobKey::try_from(key) {
        Ok(job) => job,
        Err(error) => return bad(error.to_string()),
    };
    let lifecycle = task.http_lifecycle.as_ref();
    let endpoints_ms = lifecycle.map_or(0, |one| one.graceful_wait_ms.saturating_add(one.shutdown_wait_ms));
    LinkEvent::Spec(Arc::new(Spec {
        id,
        version: message.version,
        demand: task.resources.as_ref().map(Resources::from).unwrap_or_default(),
        user: if task.user.is_empty() { job.role().to_string() } else { task.user.clone() },
        job,
        max_pids: task.max_pids,
        grace_period_ms: task.grace_period_ms,
        ladder_ms: endpoints_ms.saturating_add(task.finalization_wait_ms),
        at_most_one: spec.at_most_one,
        further: super::plan::further(&task),
        root: super::plan::root(&task),
        artifacts: task.artifacts.iter().map(super::plan::decode_artifact).collect(),
        payload,
    }))
}

/// What the agent says. `version` is the agent's own.
pub fn encode_message(message: Message, version: &str) -> v1::AgentMessage {
    use agent_message::Message as M;
    let message = match message {
        Message::Register(register) => M::Register(encode_register(*register, version)),
        Message::Heartbeat { sequence, wall, welcome } => {
            M::Heartbeat(v1::Heartbeat { sequence, wall_ms: wall.0, welcome })
        }
        Message::Report(report) => M::Report(encode_task_report(report)),
        Message::Offer(offer) => M::Offer(encode_offer(offer)),
        Message::HeldTasks(tasks) => {
            M::HeldTasks(v1::HeldTasks { tasks: tasks.into_iter().map(encode_task_report).collect() })
        }
        Message::Inspection(inspection) => M::Inspection(encode_inspection(&inspection)),
        Message::Description { report, plan } => M::Description(encode_description(report, &plan)),
        Message::NeedSpec { spec, task } => M::NeedSpec(v1::NeedSpec { spec_id: spec.0, task_id: task.0 }),
    };
    v1::AgentMessage { message: Some(message) }
}

fn encode_register(register: RegisterMessage, version: &str) -> v1::Register {
    v1::Register {
        agent_id: register.agent_id,
        hostname: register.hostname,
        version: version.to_string(),
        cluster_id: register.cluster_id,
        offer: Some(encode_offer(register.offer)),
        tasks: register.tasks.into_iter().map(encode_task_report).collect(),
        isolation: register.isolation,
        boot_id: register.boot_id,
        epoch_seen: register.epoch_seen.0,
        held: register.held.map(v1::HeldDigest::from),
        welcome: register.welcome,
    }
}

fn encode_offer(offer: Offer) -> v1::Offer {
    let range = |range: crate::model::PortRange| v1::PortRange { first: range.first.into(), last: range.last.into() };
    let taken = |(port, holder): (u16, PortHolder)| v1::TakenPort { port: port.into(), holder: holder.into() };
    v1::Offer {
        epoch: offer.epoch,
        total: Some(v1::Resources::from(&offer.total)),
        attributes: offer.attributes.into_iter().map(|(name, values)| v1::Attribute { name, values }).collect(),
        ports: offer.ports.into_iter().map(range).collect(),
        max_tasks: Some(offer.max_tasks),
        taken_ports: offer.taken_ports.into_iter().map(taken).collect(),
    }
}

pub(super) fn encode_task_report(report: Report) -> v1::TaskReport {
    let Ended { exit_code, signal, last_words } = report.ended.map_or_else(Ended::default, |ended| *ended);
    v1::TaskReport {
        task_id: report.task.0,
        sequence: report.sequence,
        state: report.state.into(),
        at_ms: report.at.0,
        reason: report.reason.into(),
        message: report.message,
        exit_code,
        signal,
        last_words,
    }
}

/// The first message of a tunnel names it.
pub fn encode_tunnel_first(tunnel: u64) -> v1::TunnelUp {
    v1::TunnelUp { tunnel_id: tunnel, ..Default::default() }
}

/// A piece of a log.
pub fn encode_chunk(chunk: LogChunk) -> v1::TunnelUp {
    let LogChunk { offset, data, end, is_stderr, at_ms } = chunk;
    v1::TunnelUp { log: Some(v1::LogChunk { data, offset, end, stderr: is_stderr, at_ms }), ..Default::default() }
}

/// What is said in a client's session.
pub fn encode_reach(message: v1::reach_down::Message) -> v1::TunnelUp {
    v1::TunnelUp { reach: Some(v1::ReachDown { message: Some(message) }), ..Default::default() }
}

/// Why a tunnel can't go on.
pub fn encode_tunnel_error(refusal: TunnelRefusal) -> v1::TunnelUp {
    let code = match refusal.kind {
        RefusalKind::NotFound => Code::NotFound,
        RefusalKind::OutOfRange => Code::OutOfRange,
        RefusalKind::TooMany => Code::ResourceExhausted,
        // Each kind of tunnel has its own code for it.
        RefusalKind::Failed => Code::Ok,
    };
    // Codes are small numbers.
    v1::TunnelUp { error: refusal.words, error_code: code as u32, ..Default::default() }
}
