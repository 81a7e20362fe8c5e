//! How many tasks an agent takes is a dimension of its room.

use dawn_proto::v1::Tier;
use dawn_proto::{TaskId, TaskState};

use crate::decide::place::could_ever_fit;
use crate::model::{Mutation, TaskMoved};

use super::world::{World, job, resources};

fn agent_of(max_tasks: u32) -> World {
    let mut world = World::new(1);
    world.max_tasks = max_tasks;
    world.agent(resources(64_000, 64), "", Vec::new());
    world
}

/// An array of tasks that take next to nothing, on one agent: whenever some end, as many of the next are placed at once,
/// and there are never more than the agent takes.
fn flows(instances: u32) {
    let mut world = agent_of(5_000);
    let (id, tasks) = world.submit(job("www/prod/array", instances, resources(1, 0)));
    assert_eq!(world.place().len(), 5_000);
    let why = world.placer.explain(&world.state, id);
    assert_eq!(why[0].to_string(), "the only node does not fit: 1 node runs 5000 tasks, the most it takes");
    let mut left = instances as usize - 5_000;
    for ended in tasks.chunks(500) {
        ended.iter().for_each(|task| world.move_to(*task, TaskState::Finished));
        assert_eq!(world.place().len(), left.min(500));
        left -= left.min(500);
    }
    assert!(tasks.iter().all(|task| world.state.tasks[task].state() == TaskState::Finished));
}

#[test]
fn an_array_of_more_tasks_than_one_agent_takes_flows() {
    flows(6_000);
    flows(16_000);
}

#[test]
fn preemption_frees_a_place_of_an_agent_that_runs_as_many_tasks_as_it_takes() {
    let mut world = agent_of(3);
    let mut humble = job("www/prod/humble", 3, resources(1000, 1));
    humble.tier = Tier::Batch;
    let (_, tasks) = world.submit(humble);
    assert_eq!(world.place().len(), 3);
    let (_, urgent) = world.submit(job("www/prod/urgent", 1, resources(1000, 1)));
    let taken: Vec<TaskId> = world
        .place()
        .iter()
        .filter_map(|mutation| match mutation {
            Mutation::TaskMoved(TaskMoved { task, to: TaskState::Preempting, .. }) => Some(*task),
            _ => None,
        })
        .collect();
    assert_eq!(taken.len(), 1, "one place is enough");
    assert!(tasks.contains(&taken[0]));
    world.move_to(taken[0], TaskState::Killed);
    assert_eq!(world.place().len(), 1);
    assert!(world.agent_of(urgent[0]).is_some());
}

#[test]
fn an_agent_that_takes_fewer_than_it_runs_gets_none_until_it_has_a_place_again() {
    let mut world = agent_of(5);
    let (_, tasks) = world.submit(job("www/prod/web", 6, resources(1000, 1)));
    assert_eq!(world.place().len(), 5);
    world.max_tasks = 4;
    let agent = world.agent_of(tasks[0]).unwrap();
    world.see(agent, resources(64_000, 64), "", Vec::new());
    world.move_to(tasks[0], TaskState::Finished);
    assert_eq!(world.place().len(), 0, "four run, and it takes four");
    world.move_to(tasks[1], TaskState::Finished);
    assert_eq!(world.place().len(), 1);
}

#[test]
fn an_agent_that_takes_no_task_at_all_could_never_take_one() {
    let world = agent_of(0);
    let vetoes = could_ever_fit(&world.state, &job("www/prod/web", 1, resources(1, 0))).unwrap_err();
    assert_eq!(vetoes[0].to_string(), "1 node runs 0 tasks, the most it takes");
}
