//! Records travel there and back, and plans are refused by what is wrong with them.

use dawn_proto::v1::{self, Reason, TaskState};
use prost::Message;

use super::{EventError, Request, decode, decode_request, encode, parse_plan};
use crate::model::{Ended, Exit, ExitKind, OutOfMemory, Plan, Process, Record, Stage, Stamped};

fn plan() -> Plan {
    Plan { processes: vec![Process { name: "web".into(), ..Process::default() }], ..Plan::default() }
}

#[test]
fn every_record_reads_back_as_written() {
    let exited = |kind, oom| Record::ProcessExited { process: 0, run: 2, exit: Exit { oom, ..Exit::new(kind) } };
    let records = [
        Record::ExecutorStarted { pid: 5, start_ticks: 6, generation: 1 },
        Record::ProcessStarted { process: 0, pid: 7, start_ticks: 8, run: 1 },
        exited(ExitKind::Code(0), None),
        exited(ExitKind::Signal(9), Some(OutOfMemory { whole_task: true, peak_bytes: 5 })),
        exited(ExitKind::NotStarted("exec x: no".into()), None),
        Record::ProcessExited {
            process: 0,
            run: 2,
            exit: Exit { max_pids: Some(40), last_line: "no".into(), ..Exit::new(ExitKind::Code(2)) },
        },
        Record::TaskChanged {
            state: TaskState::Failed,
            reason: Reason::Exited,
            message: "m".into(),
            exit: Ended { exit_code: Some(0), ..Ended::default() },
        },
        Record::TaskChanged {
            state: TaskState::Failed,
            reason: Reason::Signaled,
            message: "m".into(),
            exit: Ended { signal: Some(11), ..Ended::default() },
        },
        Record::KillBegun { reason: Reason::Preempted, grace_period_ms: 3, message: "m".into() },
        Record::StageEntered { stage: Stage::Finalizing },
    ];
    for (sequence, record) in (1..).zip(records) {
        let stamped = Stamped { sequence, at_ms: 1_000, record };
        assert_eq!(decode(&plan(), &encode(&plan(), &stamped, Vec::new())).unwrap(), stamped);
    }
}

#[test]
fn an_event_of_another_plan_is_refused() {
    let stamped = Stamped {
        sequence: 4,
        at_ms: 0,
        record: Record::ProcessStarted { process: 0, pid: 7, start_ticks: 8, run: 1 },
    };
    let refusal = decode(&Plan::default(), &encode(&plan(), &stamped, Vec::new())).unwrap_err();
    assert_eq!(refusal.to_string(), "event 4 names process \"web\", which the plan does not have");
    assert!(matches!(decode(&plan(), &v1::ExecutorEvent::default().encode_to_vec()), Err(EventError::Unknown(0))));
    assert!(matches!(decode(&plan(), &[0xff]), Err(EventError::Decode(_))));
}

#[test]
fn requests_are_read_and_nonsense_is_none() {
    let request = |request| decode_request(&v1::ExecutorRequest { request }.encode_to_vec());
    let kill = v1::ExecutorKill { reason: Reason::NodeDrain as i32, grace_period_ms: Some(0) };
    let expected = Request::Kill { reason: Reason::NodeDrain, grace_period_ms: Some(0) };
    assert_eq!(request(Some(v1::executor_request::Request::Kill(kill))), Some(expected));
    let subscribe = v1::executor_request::Request::SubscribeFrom(9);
    assert_eq!(request(Some(subscribe)), Some(Request::SubscribeFrom(9)));
    assert_eq!((request(None), decode_request(&[0xff])), (None, None));
}

fn executor_plan(change: impl FnOnce(&mut v1::ExecutorPlan, &mut Vec<v1::ProcessSpec>)) -> v1::ExecutorPlan {
    let process = |name: &str| v1::ProcessSpec { name: name.into(), shell: "true".into(), ..Default::default() };
    let mut processes = vec![process("a"), process("b"), process("c")];
    let mut plan = v1::ExecutorPlan { sandbox: "/s".into(), meta: "/m".into(), ..Default::default() };
    plan.task = Some(v1::TaskSpec::default());
    plan.ports = vec![v1::AssignedPort { name: "http-1".into(), port: 31_000 }];
    change(&mut plan, &mut processes);
    if let Some(task) = &mut plan.task {
        task.processes = processes;
    }
    plan
}

#[test]
fn a_plan_is_refused_by_the_first_thing_that_is_wrong() {
    type Change = fn(&mut v1::ExecutorPlan, &mut Vec<v1::ProcessSpec>);
    let cases: [(Change, &str); 12] = [
        (|plan, _| plan.task = None, "the plan has no task"),
        (|plan, _| plan.meta.clear(), "the plan has no meta"),
        (|_, processes| processes.clear(), "the plan has no process"),
        (|_, processes| processes[1].name = "a".into(), "process \"a\" is there twice"),
        (
            |_, processes| processes[1].name = "../a".into(),
            "process name \"../a\" can't name a file; use 1-63 characters of a-z A-Z 0-9 _ . -",
        ),
        (|_, processes| processes[0].shell.clear(), "process a: give exactly one of shell and argv"),
        (|_, processes| processes[0].argv = vec!["x".into()], "process a: give exactly one of shell and argv"),
        (|_, processes| processes[0].after = vec!["z".into()], "process a: after \"z\", which the task does not have"),
        (
            |_, processes| (processes[0].after, processes[0].daemon) = (vec!["a".into()], false),
            "process a: after \"a\", which waits for it in turn",
        ),
        (
            |_, processes| (processes[0].after, processes[1].daemon) = (vec!["b".into()], true),
            "process a: after \"b\", which is a daemon and never done",
        ),
        (
            |_, processes| (processes[0].after, processes[0].r#final) = (vec!["b".into()], true),
            "process a: after \"b\", which runs in another stage: final processes come after all others",
        ),
        (
            |plan, _| {
                let probe = v1::health_check::Probe::Tcp(v1::TcpProbe { port: "nope".into() });
                let health = v1::HealthCheck { probe: Some(probe), ..Default::default() };
                plan.task.as_mut().unwrap().health = Some(health);
            },
            "the health check: the task has no port \"nope\"",
        ),
    ];
    for (change, expected) in cases {
        let refusal = parse_plan(&executor_plan(change).encode_to_vec()).unwrap_err();
        assert_eq!(refusal.to_string(), expected);
    }
    assert!(parse_plan(&executor_plan(|_, _| {}).encode_to_vec()).is_ok());
}

#[test]
fn references_are_replaced_once_and_unknown_ones_stay() {
    let plan = executor_plan(|plan, processes| {
        plan.hostname = "{{instance}}".into();
        processes[0].shell = "{{port:http-1}} {{hostname}} {{ instance }} {{{instance}}} {{port:x}} {{instance".into();
    });
    let (plan, setting) = parse_plan(&plan.encode_to_vec()).unwrap();
    let expected = "31000 {{instance}} {{ instance }} {0} {{port:x}} {{instance";
    assert_eq!(plan.processes[0].command, crate::model::Command::Shell(expected.into()));
    assert_eq!(setting.env.get("DAWN_PORT_HTTP_1").map(String::as_str), Some("31000"));
    assert_eq!(setting.env.get("DAWN_RUN_AT_MS"), None);
}

#[test]
fn each_life_has_a_greater_fence_than_the_lives_before_it() {
    let fence = |task_id| {
        let plan = executor_plan(|plan, _| plan.task_id = task_id);
        let (_, setting) = parse_plan(&plan.encode_to_vec()).unwrap();
        setting.env["DAWN_FENCE"].parse::<u64>().unwrap()
    };
    assert!(0 < fence(0) && fence(0) < fence(1) && fence(1) < fence(1 << 53));
}

#[test]
fn a_task_knows_the_gpus_it_was_given() {
    let gpus = executor_plan(|plan, _| {
        plan.devices = vec![1, 3];
        plan.device_files = vec!["/dev/gpu1".into(), "/dev/gpu3".into()];
        plan.env = [("CUDA_VISIBLE_DEVICES".to_string(), "1,3".to_string())].into();
        let task = plan.task.as_mut().unwrap();
        task.resources = Some(v1::Resources { gpu_milli: 2_000, ..Default::default() });
        task.isolation = Some(v1::Isolation { devices: vec!["/dev/fuse".into()], ..Default::default() });
    });
    let (_, setting) = parse_plan(&gpus.encode_to_vec()).unwrap();
    let variable = |name: &str| setting.env.get(name).map(String::as_str);
    let told = ["DAWN_GPUS", "DAWN_GPU_MILLI", "CUDA_VISIBLE_DEVICES"].map(variable);
    assert_eq!(told, [Some("1,3"), Some("2000"), Some("1,3")]);
    assert_eq!(setting.isolation.devices, ["/dev/fuse", "/dev/gpu1", "/dev/gpu3"].map(std::path::PathBuf::from));

    let own = executor_plan(|plan, _| {
        plan.env = [("CUDA_VISIBLE_DEVICES".to_string(), String::new())].into();
        plan.task.as_mut().unwrap().env = [("CUDA_VISIBLE_DEVICES".to_string(), "7".to_string())].into();
    });
    let (_, setting) = parse_plan(&own.encode_to_vec()).unwrap();
    assert_eq!(setting.env.get("DAWN_GPUS"), None, "it was given none");
    assert_eq!(setting.env["CUDA_VISIBLE_DEVICES"], "7", "the job's own word counts");
}
