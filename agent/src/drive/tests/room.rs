//! Room on the disk: what ended tasks have left goes first, and a loss has executors look.

use std::sync::Arc;

use dawn_proto::v1::Reason;
use dawn_proto::{Resources, TaskId, TaskState};

use super::world::{World, deeds, demand, spec};
use crate::drive::Agent;
use crate::model::{Effect, Event, Free, LinkEvent, MachineEvent, Remains, Spec, Stage};

const MIB: u64 = 1 << 20;

/// A machine with room for many tasks that want so much disk each.
fn world(disk_bytes: u64) -> World {
    let mut world = World::new();
    world.agent.state.offer.total =
        Resources { cpu_milli: 1_000_000, memory_bytes: 10_000, disk_bytes: 100, ..demand() };
    world.connect();
    world.settle();
    let demand = Resources { disk_bytes, ..demand() };
    world.link(LinkEvent::Spec(Arc::new(Spec { demand, ..Arc::unwrap_or_clone(spec(1)) })));
    world
}

/// Tasks that have ended, and what each has left.
fn ended(world: &mut World, tasks: &[(u64, u64)]) {
    for (task, bytes) in tasks {
        world.launch(*task);
        world.settle();
        world.kill(*task);
        world.settle();
        world.pass(200);
        let kept = world.agent.state.tasks.get_mut(&TaskId(*task)).expect("it is kept");
        let Stage::Over(ending) = &mut kept.stage else { panic!("{kept:?}") };
        ending.remains = Remains::Directory { bytes: *bytes };
    }
}

fn kept(world: &World) -> Vec<u64> {
    world.dirs.keys().map(|task| task.0).collect()
}

fn told_free(world: &mut World, mib: u64, files: u64) -> Vec<Effect> {
    let free = Free { bytes: mib * MIB, total_bytes: 1_000 * MIB, files, total_files: 100_000 };
    deeds(world.agent.step(Event::Machine(MachineEvent::Free(free)), world.now))
}

fn looking(effects: &[Effect]) -> usize {
    effects.iter().filter(|effect| matches!(effect, Effect::LookAtDisk { .. })).count()
}

#[test]
fn a_launch_takes_the_room_of_those_that_ended_the_oldest_first() {
    let mut world = world(60);
    ended(&mut world, &[(1, 20), (2, 20), (3, 20)]);
    assert_eq!(kept(&world), [1, 2, 3]);
    world.launch(4);
    world.settle();
    assert_eq!(kept(&world), [2, 3, 4], "60 are promised, and 40 may stay");
    assert_eq!(world.state(4), Some(TaskState::Running));
}

/// What was told of a task last.
fn standing(world: &World, task: u64) -> Option<(TaskState, Reason)> {
    world.told.get(&TaskId(task))?.last().map(|last| (last.state, last.reason))
}

#[test]
fn nobody_starts_in_the_place_of_what_is_not_measured_or_not_gone_yet() {
    let mut world = world(60);
    world.launch(1);
    world.settle();
    world.late = Some(Vec::new());
    world.kill(1);
    world.settle();
    world.pass(200);
    assert_eq!(world.state(1), Some(TaskState::Killed), "the leader knows, and places another");
    world.launch(2);
    world.pass(1_000);
    assert_eq!((standing(&world, 2), kept(&world)), (None, vec![1]), "nobody knows what it left");
    // It left all it might.
    let cleaned = MachineEvent::Cleaned { task: TaskId(1), bytes: 60 };
    world.late = Some(Vec::new());
    world.step(Event::Machine(cleaned));
    world.settle();
    world.pass(1_000);
    assert_eq!((standing(&world, 2), kept(&world)), (None, vec![]), "it is being removed");
    world.tell_late();
    world.settle();
    assert_eq!(world.state(2), Some(TaskState::Running));
}

#[test]
fn a_launch_whose_room_does_not_come_is_refused_for_want_of_it_and_one_that_is_killed_ends() {
    let mut world = world(60);
    world.launch(1);
    world.settle();
    world.late = Some(Vec::new());
    world.kill(1);
    world.settle();
    world.pass(200);
    world.launch(2);
    world.pass(10_000);
    world.kill(2);
    world.pass(200);
    assert_eq!(world.state(2), Some(TaskState::Killed));
    world.launch(3);
    world.pass(29_000);
    assert_eq!(standing(&world, 3), None);
    world.pass(2_000);
    assert_eq!(standing(&world, 3), Some((TaskState::Lost, Reason::NoRoom)));
    world.tell_late();
    world.launch(4);
    world.settle();
    assert_eq!(world.state(4), Some(TaskState::Running));
}

#[test]
fn where_there_is_room_beside_what_was_left_nobody_waits() {
    let mut world = world(20);
    world.launch(1);
    world.settle();
    world.late = Some(Vec::new());
    world.kill(1);
    world.settle();
    world.pass(200);
    world.launch(2);
    world.settle();
    assert_eq!(world.state(2), Some(TaskState::Running), "20 are promised, 20 may be left, of 100");
    assert_eq!(kept(&world), [1, 2]);
}

#[test]
fn what_took_more_than_it_was_allowed_goes_before_the_older() {
    let mut world = world(60);
    ended(&mut world, &[(1, 20), (2, 30)]);
    world.agent.state.tasks.get_mut(&TaskId(2)).unwrap().last.reason = Reason::DiskLimit;
    world.launch(4);
    world.settle();
    assert_eq!(kept(&world), [1, 4]);
}

#[test]
fn a_disk_nearly_full_takes_what_has_ended_and_nothing_that_lives() {
    let mut world = world(10);
    world.agent.state.offer.total.disk_bytes = 1_000 * MIB;
    ended(&mut world, &[(1, 40 * MIB), (2, 40 * MIB), (3, 40 * MIB)]);
    world.launch(4);
    world.settle();
    assert!(told_free(&mut world, 60, 50_000).is_empty());
    let effects = told_free(&mut world, 40, 50_000);
    let deleted = |task| Effect::Delete { task: TaskId(task) };
    assert_eq!(effects, [deleted(1), deleted(2)], "up to twice of what is scarce");
    assert!(told_free(&mut world, 40, 50_000).is_empty(), "that takes its time");
    world.pass(1_000);
    let look = Effect::LookAtDisk { task: TaskId(4), tasks: 1 };
    assert_eq!(told_free(&mut world, 90, 4_000), [look, deleted(3)], "files are scarce too, and many went at once");
    world.pass(1_000);
    assert_eq!(told_free(&mut world, 0, 0).len(), 1, "only a look: what lives stays");
    assert_eq!(world.state(4), Some(TaskState::Running));
}

#[test]
fn a_loss_has_every_living_task_looked_at_a_few_at_a_time() {
    let mut world = world(1);
    ended(&mut world, &[(100, 1)]);
    (1..=25).for_each(|task| world.launch(task));
    world.settle();
    assert_eq!(looking(&told_free(&mut world, 900, 50_000)), 0);
    assert_eq!(looking(&told_free(&mut world, 840, 50_000)), 0, "60 MiB are no loss yet");
    assert_eq!(looking(&told_free(&mut world, 830, 50_000)), 20);
    assert_eq!(looking(&told_free(&mut world, 830, 50_000)), 5);
    assert_eq!(looking(&told_free(&mut world, 830, 50_000)), 0, "once each");
    assert_eq!(looking(&told_free(&mut world, 900, 39_000)), 20, "files are a loss too");
}

#[test]
fn what_was_left_before_the_start_is_offered_once_it_is_measured() {
    let mut world = world(60);
    ended(&mut world, &[(1, 60)]);
    let mut setup = super::world::setup(world.boot);
    setup.adds_what_is_left = true;
    setup.offer.total.disk_bytes = 40;
    let found = world.found();
    let (agent, _) = Agent::new(setup, world.memory.clone(), found, world.now);
    world.agent = agent;
    let before = world.agent.state.offer.clone();
    assert_eq!(before.total.disk_bytes, 40);
    let cleaned = |bytes| Event::Machine(MachineEvent::Cleaned { task: TaskId(1), bytes });
    world.agent.step(cleaned(60), world.now);
    assert_eq!((world.agent.state.offer.total.disk_bytes, world.agent.state.offer.epoch), (94, before.epoch + 1));
    world.agent.step(cleaned(60), world.now);
    assert_eq!(world.agent.state.offer.total.disk_bytes, 94, "once");
}

#[test]
fn a_log_that_was_removed_is_answered_with_why() {
    let mut world = world(10);
    world.agent.state.offer.total.disk_bytes = 1_000 * MIB;
    ended(&mut world, &[(1, 40 * MIB), (2, 40 * MIB)]);
    told_free(&mut world, 60, 50_000);
    told_free(&mut world, 40, 50_000);
    let why = "the directory of t1 was removed with its log, because the node's disk was nearly full";
    assert_eq!(world.agent.state.space.why_gone(TaskId(1)), why);
    assert_eq!(world.agent.state.space.why_gone(TaskId(9)), "the agent has no task t9");
}
