//! Room on the disk: what ended tasks have left goes first, and a loss has executors look.

use std::sync::Arc;

use dawn_proto::v1::Reason;
use dawn_proto::{Resources, TaskId, TaskState};

use super::world::{World, demand, spec};
use crate::model::{Effect, Event, Free, LinkEvent, MachineEvent, Spec};

const MIB: u64 = 1 << 20;

/// A machine with room for many tasks that want so much disk each.
fn world(disk_bytes: u64) -> World {
    let mut world = World::new();
    world.agent.offer.total = Resources { cpu_milli: 1_000_000, memory_bytes: 10_000, disk_bytes: 100, ..demand() };
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
        world.agent.tasks.get_mut(&TaskId(*task)).expect("it is kept").bytes = *bytes;
    }
}

fn kept(world: &World) -> Vec<u64> {
    world.dirs.keys().map(|task| task.0).collect()
}

fn told_free(world: &mut World, mib: u64, files: u64) -> Vec<Effect> {
    let free = Free { bytes: mib * MIB, total_bytes: 1_000 * MIB, files, total_files: 100_000 };
    world.agent.step(Event::Machine(MachineEvent::Free(free)), world.now)
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

#[test]
fn what_took_more_than_it_was_allowed_goes_before_the_older() {
    let mut world = world(60);
    ended(&mut world, &[(1, 20), (2, 30)]);
    world.agent.tasks.get_mut(&TaskId(2)).unwrap().last.reason = Reason::DiskLimit;
    world.launch(4);
    world.settle();
    assert_eq!(kept(&world), [1, 4]);
}

#[test]
fn a_disk_nearly_full_takes_what_has_ended_and_nothing_that_lives() {
    let mut world = world(10);
    world.agent.offer.total.disk_bytes = 1_000 * MIB;
    ended(&mut world, &[(1, 40 * MIB), (2, 40 * MIB), (3, 40 * MIB)]);
    world.launch(4);
    world.settle();
    assert!(told_free(&mut world, 60, 50_000).is_empty());
    let effects = told_free(&mut world, 40, 50_000);
    let deleted = |task| Effect::Delete { task: TaskId(task) };
    assert_eq!(effects, [deleted(1), deleted(2)], "up to twice of what is scarce");
    assert!(told_free(&mut world, 40, 50_000).is_empty(), "that takes its time");
    world.pass(1_000);
    let look = Effect::LookAtDisk { task: TaskId(4) };
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
