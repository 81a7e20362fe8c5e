//! Fewer instances of a service, and more: which go, what numbers the others have, and where new ones come.

use dawn_proto::TaskState::{self, *};
use dawn_proto::v1::{Reason, SubmitOutcome::*, UpdateAction, UpdateState};

use super::specs::{batch, encoded, key, service};
use super::world::World;
use crate::model::*;

/// The living instances of the service "web", ascending, with their states.
fn lives(world: &World) -> Vec<(u32, TaskState)> {
    let job = world.job("web");
    let mut lives: Vec<_> = world.state.living(job).map(|task| (task.instance, task.state())).collect();
    lives.sort_unstable();
    lives
}

fn numbers(world: &World) -> Vec<u32> {
    lives(world).into_iter().filter(|(_, state)| *state != Killing).map(|(instance, _)| instance).collect()
}

fn scale(world: &mut World, to: Scale) -> u32 {
    let (author, message) = ("ann".to_string(), String::new());
    let command = UpdateCommand::Scale { key: key("web"), to, author, message };
    match world.command(Command::Update(command)) {
        Ok(Answer::Scaled(answers::Scaled { instances, .. })) => instances,
        other => panic!("{other:?}"),
    }
}

/// A service whose instances all run but the one numbered `failing`, which has failed and waits to be tried again.
fn one_fails(instances: u32, failing: usize) -> (World, LinkId, AgentNo, Vec<dawn_proto::TaskId>) {
    let mut world = World::new();
    let (link, agent, tasks) = world.running(&service("web", instances));
    world.report(link, tasks[failing], Failed, Reason::Exited);
    world.take();
    (world, link, agent, tasks)
}

#[test]
fn what_waits_after_a_failure_goes_before_what_runs_and_leaves_a_gap() {
    let (mut world, _, _, tasks) = one_fails(4, 1);
    assert_eq!(scale(&mut world, Scale::To(3)), 3);
    assert_eq!(lives(&world), [(0, Running), (2, Running), (3, Running)]);
    let same: Vec<TaskState> = [0, 2, 3].map(|at: usize| world.state_of(tasks[at])).to_vec();
    assert_eq!(same, [Running; 3], "the same tasks");
    assert_eq!(world.take(), [], "nothing that runs is stopped");
    world.pass_ms(60_000);
    assert_eq!(numbers(&world), [0, 2, 3], "nothing comes back, and nothing is made anew");
    // The file says three instances as well: nothing differs.
    assert_eq!(world.submit(&service("web", 3)), Ok(Unchanged));
}

#[test]
fn what_waits_for_a_place_and_what_starts_goes_before_what_runs() {
    let mut world = World::new();
    let (link, agent) = world.agent(1);
    world.submit(&service("web", 4)).unwrap();
    let tasks: Vec<_> = world.state.indexes().pending.iter().copied().collect();
    let assign = |at: usize| {
        Mutation::TaskAssigned(TaskAssigned { task: tasks[at], agent, ports: [].into(), devices: [].into() })
    };
    world.mutate([0, 2, 3].map(assign).to_vec());
    [2, 3].into_iter().for_each(|at: usize| world.report(link, tasks[at], Running, Reason::None));
    assert_eq!(lives(&world), [(0, Assigned), (1, Pending), (2, Running), (3, Running)]);
    scale(&mut world, Scale::To(3));
    assert_eq!(numbers(&world), [0, 2, 3]);
    scale(&mut world, Scale::To(2));
    assert_eq!(numbers(&world), [2, 3]);
    // All that is left runs: the highest number goes.
    scale(&mut world, Scale::To(1));
    assert_eq!(numbers(&world), [2]);
}

#[test]
fn what_runs_again_after_a_failure_goes_until_it_has_run_for_long() {
    let stable_ms = service("web", 1).restart.stable_after_ms;
    for (run_for_ms, left) in [(0, [1, 2]), (stable_ms + 1_000, [0, 1])] {
        let (mut world, link, agent, _) = one_fails(3, 0);
        world.pass_heard_ms(15_000, &[link]);
        world.place_all(agent);
        let again = world.tasks_of("web").newest(Default::default(), 0).unwrap();
        world.report(link, again, Running, Reason::None);
        world.pass_heard_ms(run_for_ms, &[link]);
        scale(&mut world, Scale::To(2));
        assert_eq!(numbers(&world), left, "after it ran for {run_for_ms} ms");
    }
}

#[test]
fn an_instance_that_a_user_stopped_goes_first() {
    let mut world = World::new();
    let (link, _, tasks) = world.running(&service("web", 3));
    world.kill("web", &[(1, 1)]).unwrap();
    world.report(link, tasks[1], Killed, Reason::None);
    scale(&mut world, Scale::To(2));
    assert_eq!(lives(&world), [(0, Running), (2, Running)]);
}

#[test]
fn more_instances_fill_the_gaps_first() {
    let (mut world, ..) = one_fails(4, 1);
    scale(&mut world, Scale::To(3));
    scale(&mut world, Scale::By(3));
    assert_eq!(numbers(&world), [0, 1, 2, 3, 4, 5]);
    let (mut world, link, ..) = one_fails(4, 0);
    world.report(link, world.tasks_of("web").newest(Default::default(), 1).unwrap(), Failed, Reason::Exited);
    scale(&mut world, Scale::To(2));
    assert_eq!(numbers(&world), [2, 3]);
    scale(&mut world, Scale::By(1));
    assert_eq!(numbers(&world), [0, 2, 3], "the lowest gap");
}

/// An update from four instances, of which 1 fails, to three of another version.
fn updating() -> (World, Update) {
    let (mut world, link, ..) = one_fails(4, 1);
    world.pass_heard_ms(10_000, &[link]);
    assert_eq!(world.submit(&encoded(JobSpec { priority: 7, ..service("web", 3) })), Ok(Updating));
    let update = world.job("web").changes.active().unwrap().clone();
    assert_eq!(update.instances.iter().collect::<Vec<_>>(), [0, 1, 2, 3], "three are changed and one goes");
    (world, update)
}

fn wanted_versions(world: &World) -> [Option<u32>; 5] {
    [0, 1, 2, 3, 4].map(|at| world.state.wanted_spec(world.job("web"), at).map(|spec| spec.version))
}

#[test]
fn a_new_version_with_fewer_instances_keeps_the_numbers_of_what_runs() {
    let (mut world, update) = updating();
    let moved = UpdateChange::Moved { to: UpdateState::RolledForward, author: "".into(), message: "".into() };
    for what in [UpdateChange::Advanced(update.instances), moved] {
        let job = world.job("web").id;
        world.mutate(vec![Mutation::Update(UpdateMutation { job, what })]);
    }
    assert_eq!(wanted_versions(&world), [Some(2), None, Some(2), Some(2), None]);
}

#[test]
fn an_update_to_fewer_instances_that_goes_back_has_all_of_them_again() {
    let (mut world, _) = updating();
    let (action, message) = (UpdateAction::Rollback, String::new());
    let rollback = UpdateCommand::Control { key: key("web"), action, author: "ann".into(), message };
    world.command(Command::Update(rollback)).unwrap();
    world.pass_ms(60_000);
    assert_eq!(wanted_versions(&world), [Some(1), Some(1), Some(1), Some(1), None]);
}

#[test]
fn gaps_can_be_neither_killed_nor_restarted() {
    let (mut world, ..) = one_fails(4, 1);
    scale(&mut world, Scale::To(3));
    let refused = world.kill("web", &[(1, 1)]).unwrap_err();
    assert_eq!(refused.to_string(), "www/prod/web has no instance 1; it has 3: 0, 2-3");
    let (key, policy, author, message) = (key("web"), None, String::new(), String::new());
    let restart = UpdateCommand::Restart { key, instances: vec![(1, 1)], policy, author, message };
    assert_eq!(world.command(Command::Update(restart)), Err(refused));
    // A range that has instances is about those.
    assert_eq!(world.kill("web", &[(0, 2)]), Ok(2));
    assert_eq!(world.job("web").stopped.iter().copied().collect::<Vec<_>>(), [0, 2]);
}

#[test]
fn an_update_of_chosen_instances_takes_the_highest_numbers_as_a_person_would() {
    let (mut world, ..) = one_fails(4, 1);
    let spec = Box::new(encoded(JobSpec { priority: 7, ..service("web", 3) }));
    let (author, message) = ("ann".to_string(), String::new());
    let start = UpdateCommand::Start { spec, instances: vec![(3, 3)], author, message };
    world.command(Command::Update(start)).unwrap();
    let update = world.job("web").changes.active().unwrap();
    assert_eq!(update.instances.iter().collect::<Vec<_>>(), [3]);
}

#[test]
fn a_job_that_ended_begins_again_without_gaps_and_an_array_never_has_any() {
    let (mut world, link, _, tasks) = one_fails(4, 1);
    scale(&mut world, Scale::To(3));
    world.kill("web", &[]).unwrap();
    tasks.iter().for_each(|task| world.report(link, *task, Killed, Reason::None));
    assert_eq!(world.submit(&service("web", 3)), Ok(Replaced));
    assert_eq!(numbers(&world), [0, 1, 2]);
    world.submit(&batch("sum", 3)).unwrap();
    let sum = world.state.current_spec(world.job("sum")).unwrap();
    assert!(sum.gaps.is_empty() && sum.bound() == 3);
}
