//! A restore from a backup that is older than fewer instances of a service: what runs keeps its number.

use std::sync::Arc;

use dawn_proto::TaskState::{Failed, Killed, Running};
use dawn_proto::v1::{JobKind, Reason};

use super::restore::described;
use super::specs::{encoded, spec};
use super::world::{World, report};
use crate::model::*;

/// Instances of "web" that live, and that nobody stops.
fn lives(world: &World) -> Vec<u32> {
    let living = world.state.living(world.job("web")).filter(|task| !task.state().is_stopping());
    let mut lives: Vec<u32> = living.map(|task| task.instance).collect();
    lives.sort_unstable();
    lives
}

#[test]
fn what_runs_of_a_version_that_was_found_keeps_its_number_and_nothing_is_made_in_a_gap() {
    let mut before = World::new();
    let (link, agent, first) = before.running(&spec("web", JobKind::Service, 4));
    before.pass_heard_ms(15_000, &[link]);
    let backup = before.state.clone();
    // Instance 1 fails, so that it is the first to go.
    before.report(link, first[1], Failed, Reason::None);
    before.submit(&encoded(JobSpec { priority: 7, ..spec("web", JobKind::Service, 2) })).unwrap();
    for _ in 0..60 {
        before.pass_heard_ms(1_000, &[link]);
        let stopping: Vec<_> =
            before.state.tasks.values().filter(|task| task.state().is_stopping()).map(|task| task.id).collect();
        stopping.into_iter().for_each(|task| before.report(link, task, Killed, Reason::None));
        before.run_pending(link, agent);
    }
    assert_eq!(lives(&before), [0, 2]);
    let held: Vec<_> = before.state.living(before.job("web")).map(|task| task.id).collect();

    let mut world = before.restored(&backup, 60_000);
    let link = world.register(1, held.iter().map(|id| report(*id, Running, Reason::None)).collect());
    for id in &held {
        // Agents are not told of gaps.
        let found = described(&before, *id, Running);
        let without = Spec { gaps: Instances::default(), ..Spec::clone(&found.spec) };
        world.describe(link, Description { spec: Arc::new(without), ..found });
    }
    for task in &first {
        world.report(link, *task, dawn_proto::TaskState::Lost, Reason::NotOnAgent);
    }
    world.pass_heard_ms(120_000, &[link]);
    assert_eq!(lives(&world), [0, 2], "{:?}", world.tasks("web"));
    assert!(held.iter().all(|id| world.state_of(*id) == Running), "they are left alone");
    // Numbers are as before: more instances fill the gap first.
    let more = encoded(JobSpec { priority: 7, ..spec("web", JobKind::Service, 3) });
    world.submit(&more).unwrap();
    world.pass_heard_ms(2_000, &[link]);
    assert_eq!(lives(&world), [0, 1, 2]);
}
