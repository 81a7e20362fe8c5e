//! A launch with artifacts: fetched between sandbox and executor, told about, given up on a kill; and an agent that drains.

use std::sync::Arc;

use dawn_proto::v1::Reason;
use dawn_proto::{TaskId, TaskState};

use super::stories::{connected, effects, launch};
use super::world::{World, spec};
use crate::model::{
    Artifact, Effect, Event, ExecutorEvent, Identity, Kill, LinkEvent, MachineEvent, Message, Refusal, Report, Spec,
    last_sequence, step_sequence,
};

fn machine(event: MachineEvent) -> Event {
    Event::Machine(event)
}

/// A task whose single artifact is being fetched.
fn fetching() -> World {
    let mut world = connected();
    let artifact = Artifact {
        uri: "http://h/f".into(),
        sha256: "0".repeat(64),
        destination: "f".into(),
        extract: false,
        mode: 0o644,
    };
    let with = Spec { artifacts: vec![artifact], ..Spec::clone(&spec(9)) };
    world.link(LinkEvent::Spec(Arc::new(with)));
    let task = TaskId(1);
    effects(&mut world, launch(1, 1, 9, &[]));
    effects(&mut world, machine(MachineEvent::Vetted { task, result: Ok(Identity::default()) }));
    effects(&mut world, machine(MachineEvent::Checkpointed { task, result: Ok(()) }));
    let fetch = effects(&mut world, machine(MachineEvent::Prepared { task, result: Ok(()) }));
    assert!(
        matches!(&fetch[..], [Effect::Fetch { task: TaskId(1), artifacts, .. }] if artifacts.len() == 1),
        "{fetch:?}"
    );
    world
}

fn reported(effects: &[Effect]) -> Option<&Report> {
    match effects {
        [Effect::Send { message: Message::Report(report), .. }, ..] => Some(report),
        _ => None,
    }
}

fn progress(world: &mut World, tenth: u64) -> Vec<Effect> {
    let message = format!("{tenth} tenths");
    effects(world, machine(MachineEvent::Progress { task: TaskId(1), sequence: step_sequence(0, tenth), message }))
}

#[test]
fn progress_is_told_once_in_order_and_below_whatever_the_executor_says() {
    let mut world = fetching();
    let told = progress(&mut world, 0);
    let report = reported(&told).expect("it is told");
    assert_eq!((report.state, report.sequence), (TaskState::Starting, 1));
    assert_eq!(progress(&mut world, 0), [], "told already");
    let told = progress(&mut world, 5);
    assert_eq!(reported(&told).map(|report| report.message.as_str()), Some("5 tenths"));
    assert_eq!(world.agent.state.tasks[&TaskId(1)].unacked.len(), 1, "only the newest waits for its acknowledgement");
    let spawn = effects(&mut world, machine(MachineEvent::Fetched { task: TaskId(1), result: Ok(()) }));
    assert_eq!(spawn, [Effect::Spawn { task: TaskId(1) }]);
    assert_eq!(progress(&mut world, 9), [], "too late");
    effects(&mut world, machine(MachineEvent::Spawned { task: TaskId(1), result: Ok(()) }));
    let running = ExecutorEvent::Changed {
        sequence: 1,
        at: world.now.wall,
        state: TaskState::Running,
        reason: Reason::None,
        message: String::new(),
        ended: None,
    };
    let told = effects(&mut world, machine(MachineEvent::Heard { task: TaskId(1), event: running }));
    assert_eq!(reported(&told).map(|report| report.sequence), Some(last_sequence(1) + 1));
}

#[test]
fn what_can_not_be_had_is_the_jobs_failure() {
    let mut world = fetching();
    let refusal = Refusal::Artifact { reason: Reason::ChecksumMismatch, message: "another".into() };
    let ended = effects(&mut world, machine(MachineEvent::Fetched { task: TaskId(1), result: Err(refusal) }));
    let [Effect::Record(report)] = &ended[..] else { panic!("{ended:?}") };
    assert_eq!((report.state, report.reason), (TaskState::Failed, Reason::ChecksumMismatch));
}

#[test]
fn a_kill_gives_the_fetch_up() {
    let mut world = fetching();
    let epoch = world.agent.state.memory.epoch_seen;
    let kill = Kill { epoch, task: TaskId(1), reason: Reason::UserRequest, grace_period_ms: None };
    let given_up = effects(&mut world, Event::Link(LinkEvent::Kill(kill)));
    assert_eq!(given_up, [Effect::StopFetch { task: TaskId(1) }]);
    assert_eq!(progress(&mut world, 3), [], "nobody wants to know");
    let stopped = MachineEvent::Fetched { task: TaskId(1), result: Err(Refusal::Stopped) };
    let ended = effects(&mut world, machine(stopped));
    let [Effect::Record(report)] = &ended[..] else { panic!("{ended:?}") };
    assert_eq!((report.state, report.reason), (TaskState::Killed, Reason::UserRequest));
}

#[test]
fn a_draining_agent_offers_nothing_ends_its_tasks_and_is_done_when_all_know() {
    let mut world = connected();
    world.launch(1);
    world.settle();
    let told = effects(&mut world, Event::Drain);
    let [Effect::Send { message: Message::Offer(offer), .. }, Effect::TellKill { task: TaskId(1), reason, .. }] =
        &told[..]
    else {
        panic!("{told:?}")
    };
    assert_eq!((offer.total.cpu_milli, offer.ports.len(), *reason), (0, 0, Reason::NodeDrain));
    assert!(!world.agent.state.is_drained());
    assert_eq!(effects(&mut world, Event::Drain), [], "once is enough");
    let refused = effects(&mut world, launch(1, 2, 1, &[]));
    assert_eq!(reported(&refused).map(|report| report.reason), Some(Reason::NoRoom), "{refused:?}");
}
