//! Tasks as agents describe them: bounded, and written as they are.

use dawn_proto::v1::{self, JobKind};
use dawn_proto::validate::{MAX_DEFAULTS_BYTES, MAX_GPUS};
use prost::Message;

use super::super::sample::{largest_spec, wire_spec};
use super::super::*;
use crate::model::Exit;

fn running() -> v1::TaskDescription {
    v1::TaskDescription {
        report: Some(v1::TaskReport { task_id: 7, state: v1::TaskState::Running.into(), ..Default::default() }),
        spec_id: 3,
        version: 2,
        spec: Some(dawn_proto::validate::job_spec(wire_spec("train", JobKind::Batch, 1)).unwrap()),
        ports: vec![v1::AssignedPort { name: "http".into(), port: 31_000 }],
        ..Default::default()
    }
}

#[test]
fn an_adopted_task_is_written_with_all_that_it_holds() {
    let wire = v1::TaskDescription { devices: vec![0, 2], ..running() };
    let found = description(wire.clone()).unwrap();
    assert_eq!((&found.ports[..], &found.devices[..]), (&[31_000][..], &[0, 2][..]));
    let adopted = crate::model::RestoreMutation::TaskAdopted(Box::new(crate::model::TaskAdopted {
        task: found.report.task,
        job: crate::model::JobId(1),
        spec: found.spec.id,
        instance: found.instance,
        attempt: found.attempt,
        run_at: found.run_at,
        agent: crate::model::AgentNo(4),
        ports: found.ports,
        devices: found.devices,
        state: found.report.state,
    }));
    let bytes = restore::restore_to_wire(&adopted).encode_to_vec();
    let back = restore::restore_from_wire(v1::RestoreRecord::decode(&*bytes).unwrap()).unwrap();
    assert_eq!(format!("{back:?}"), format!("{adopted:?}"));
    assert_eq!(description(v1::TaskDescription { devices: vec![70_000], ..wire }).unwrap_err().path, "devices");
}

#[test]
fn a_report_says_how_the_process_that_decided_the_end_ended() {
    let told = |exit_code, signal| {
        let wire = v1::TaskReport { state: v1::TaskState::Failed.into(), exit_code, signal, ..Default::default() };
        report(wire).unwrap().exit
    };
    assert_eq!(told(Some(3), None), Some(Exit::Code(3)));
    assert_eq!(told(None, Some(9)), Some(Exit::Signal(9)));
    assert_eq!(told(None, None), None);
}

#[test]
fn what_an_agent_brings_is_bounded_as_what_a_client_brings_and_the_largest_of_those_is_taken() {
    let found = |spec: v1::JobSpec| description(v1::TaskDescription { spec: Some(spec), ..running() });
    let largest = largest_spec("largest", JobKind::Service, 100_000, |length| "x".repeat(length));
    let largest = v1::JobSpec::decode(&*largest.wire).unwrap();
    let ports = |spec: &v1::JobSpec| {
        let ports = spec.task.iter().flat_map(|task| &task.ports);
        ports.map(|port| v1::AssignedPort { name: port.name.clone(), port: 31_000 }).collect::<Vec<_>>()
    };
    let taken = v1::TaskDescription { spec: Some(largest.clone()), ports: ports(&largest), ..running() };
    assert_eq!(description(taken).unwrap().spec.job.wire, dawn_proto::EncodedSpec::from(&largest));
    let mut long = largest.clone();
    long.task.as_mut().unwrap().processes[0].shell.push_str(&"x".repeat(MAX_DEFAULTS_BYTES));
    let error = found(long).unwrap_err().to_string();
    assert!(error.contains("at most 1114112 are allowed"), "{error}");
    let many = v1::JobSpec { instances: u32::MAX, ..largest };
    assert_eq!(found(many).unwrap_err().path, "spec.instances");
    let devices = vec![0; MAX_GPUS + 1];
    let error = description(v1::TaskDescription { devices, ..running() }).unwrap_err().to_string();
    assert_eq!(error, "devices: 1001 are named; at most 1000 are allowed");
}
