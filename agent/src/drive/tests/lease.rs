//! What must not live twice: it is stopped without a word of any scheduler once the lease is over, and not before.

use std::sync::Arc;

use dawn_proto::v1::Reason;
use dawn_proto::{Epoch, TaskId, TaskState};

use super::stories::{connected, effects, launch};
use super::world::{World, spec};
use crate::model::{Effect, Event, LinkEvent, MachineEvent, Message, Spec};

/// As the world's scheduler tells.
const LEASE_MS: u64 = 60_000;

/// Task 1 must not live twice, task 2 may.
fn both_running() -> World {
    let mut world = connected();
    world.link(LinkEvent::Spec(Arc::new(Spec { at_most_one: true, ..Spec::clone(&spec(2)) })));
    world.link(LinkEvent::Spec(spec(1)));
    for (task, spec) in [(1, 2), (2, 1)] {
        world.step(launch(1, task, spec, &[]));
        world.settle();
        assert_eq!(world.state(task), Some(TaskState::Running));
    }
    world
}

fn cut_off(world: &mut World) {
    world.link(LinkEvent::Down { session: 1, why: "cut".into() });
    world.settle();
}

fn kills(effects: &[Effect]) -> Vec<(TaskId, Reason)> {
    let kill = |effect: &Effect| match effect {
        Effect::TellKill { task, reason, .. } => Some((*task, *reason)),
        _ => None,
    };
    effects.iter().filter_map(kill).collect()
}

fn tick_at(world: &mut World, mono_ms: u64) -> Vec<Effect> {
    world.now.mono_ms = mono_ms;
    effects(world, Event::Tick)
}

#[test]
fn out_of_reach_for_the_lease_it_is_stopped_and_nothing_else_is() {
    let mut world = both_running();
    cut_off(&mut world);
    assert_eq!(kills(&tick_at(&mut world, LEASE_MS - 1)), []);
    assert_eq!(kills(&tick_at(&mut world, LEASE_MS)), [(TaskId(1), Reason::AgentLost)]);
}

#[test]
fn an_answer_counts_from_when_its_heartbeat_was_sent_and_only_once() {
    let mut world = both_running();
    let sent = tick_at(&mut world, 10_000);
    let beat = sent.iter().find_map(|effect| match effect {
        Effect::Send { message: Message::Heartbeat { sequence, .. }, .. } => Some(*sequence),
        _ => None,
    });
    let sequence = beat.expect("a heartbeat is due");
    world.now.mono_ms = 30_000;
    let answer = Event::Link(LinkEvent::HeartbeatAck { sequence, epoch: Epoch(1), without_lease: false });
    let renewal = Effect::Renew { task: TaskId(1), until_ms: 10_000 + LEASE_MS };
    assert_eq!(effects(&mut world, answer.clone()), [renewal]);
    assert_eq!(effects(&mut world, answer), []);
    let never_sent =
        Event::Link(LinkEvent::HeartbeatAck { sequence: sequence + 1, epoch: Epoch(1), without_lease: false });
    assert_eq!(effects(&mut world, never_sent), []);
    cut_off(&mut world);
    assert_eq!(kills(&tick_at(&mut world, 10_000 + LEASE_MS - 1)), []);
    assert_eq!(kills(&tick_at(&mut world, 10_000 + LEASE_MS)), [(TaskId(1), Reason::AgentLost)]);
}

#[test]
fn a_launch_that_comes_after_the_lease_is_refused() {
    let mut world = both_running();
    // There would be room.
    world.agent.state.offer.total.cpu_milli = 64_000;
    world.now.mono_ms = LEASE_MS;
    let told = effects(&mut world, launch(1, 3, 2, &[]));
    let refused = told.iter().any(|effect| match effect {
        Effect::Send { message: Message::Report(report), .. } => {
            report.task == TaskId(3) && (report.state, report.reason) == (TaskState::Lost, Reason::LaunchRefused)
        }
        _ => false,
    });
    assert!(refused && !told.iter().any(|effect| matches!(effect, Effect::Vet { .. })), "{told:?}");
}

#[test]
fn a_stopped_agent_that_goes_on_stops_it_before_it_hears_anything() {
    let mut world = both_running();
    world.now.mono_ms = LEASE_MS + 1;
    let told = effects(
        &mut world,
        Event::Link(LinkEvent::HeartbeatAck { sequence: 1, epoch: Epoch(1), without_lease: false }),
    );
    assert_eq!(kills(&told), [(TaskId(1), Reason::AgentLost)]);
}

#[test]
fn its_end_by_the_agents_verdict_is_told_only_when_nothing_of_it_is_left() {
    for task in [1, 2] {
        let mut world = both_running();
        let id = TaskId(task);
        world.dir(id).executor = false;
        let decided = effects(&mut world, Event::Machine(MachineEvent::Gone { task: id }));
        assert!(matches!(&decided[..], [Effect::Record(_)]), "{decided:?}");
        let recorded = effects(&mut world, Event::Machine(MachineEvent::Recorded { task: id }));
        let reports = |effects: &[Effect]| {
            let report = |effect: &&Effect| matches!(effect, Effect::Send { message: Message::Report(_), .. });
            effects.iter().filter(report).count()
        };
        assert_eq!(reports(&recorded), usize::from(task == 2));
        let cleaned = effects(&mut world, Event::Machine(MachineEvent::Cleaned { task: id, bytes: 1 }));
        assert_eq!(reports(&cleaned), usize::from(task == 1));
    }
}
