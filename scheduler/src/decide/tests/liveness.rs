//! Silence: agents out of reach, given up and back. Not here: when the brake is on (`brake`).

use dawn_proto::v1::{NodeState, Reason};
use dawn_proto::{TaskId, TaskState::*};

use super::specs::{batch, service};
use super::world::{World, ack, kill_effect, registration, report};
use crate::model::{AgentNo, Effect, Event, JobSpec, LinkId};

/// Three agents, so that one that falls silent is no mass loss; the job's tasks run on the first.
fn three_agents(spec: &JobSpec) -> (World, Vec<TaskId>, [LinkId; 2]) {
    let mut world = World::new();
    let (_, _, tasks) = world.running(spec);
    let links = [2, 3].map(|agent| world.agent(agent).0);
    (world, tasks, links)
}

fn node(world: &World, agent: u32) -> NodeState {
    world.state.agents[&AgentNo(agent)].state
}

#[test]
fn a_silent_agents_tasks_are_partitioned_then_replaced_and_it_is_given_up() {
    let (mut world, tasks, heard) = three_agents(&service("web", 1));
    world.pass_heard_ms(15_000, &heard);
    assert_eq!((node(&world, 0), world.state_of(tasks[0])), (NodeState::Up, Running));
    world.pass_heard_ms(250, &heard);
    assert_eq!((node(&world, 0), world.state_of(tasks[0])), (NodeState::Unreachable, Partitioned));
    world.pass_heard_ms(29_750, &heard);
    assert_eq!(world.tasks("web"), [(0, 1, Partitioned)]);
    assert_eq!(world.take(), []);
    world.pass_heard_ms(500, &heard);
    assert_eq!(world.tasks("web"), [(0, 1, Lost), (0, 2, Pending)]);
    assert_eq!(world.take(), [kill_effect(AgentNo(0), tasks[0], Reason::AgentLost)]);
    assert_eq!(world.state.tasks[&TaskId(1)].failures, 0);
    assert_eq!(node(&world, 0), NodeState::Unreachable);
    world.pass_heard_ms(15_000, &heard);
    assert_eq!(node(&world, 0), NodeState::Down);
    assert_eq!([1, 2].map(|agent| node(&world, agent)), [NodeState::Up; 2]);
    assert_eq!(world.take(), []);
}

#[test]
fn an_agent_that_is_back_in_time_has_its_tasks_as_they_are() {
    let (mut world, tasks, heard) = three_agents(&service("web", 2));
    world.pass_heard_ms(20_000, &heard);
    assert_eq!(world.tasks("web"), [(0, 1, Partitioned), (1, 1, Partitioned)]);
    let named = vec![report(tasks[0], Running, Reason::None), report(tasks[1], Assigned, Reason::None)];
    world.event(Event::Registered { link: LinkId(9), registration: Box::new(registration(1, named)) });
    assert_eq!(node(&world, 0), NodeState::Up);
    assert_eq!(world.tasks("web"), [(0, 1, Running), (1, 1, Starting)]);
    world.take();
    world.pass_heard_ms(60_000, &[heard[0], heard[1], LinkId(9)]);
    assert_eq!((world.tasks("web").len(), world.take()), (2, vec![]));
}

#[test]
fn a_link_that_wakes_up_is_asked_where_its_tasks_stand() {
    let (mut world, tasks, heard) = three_agents(&service("web", 1));
    world.pass_heard_ms(20_000, &heard);
    world.event(Event::Heartbeat { link: LinkId(1), sequence: 1, welcome: 0, wall: Default::default() });
    let (link, agent) = (LinkId(1), AgentNo(0));
    let wanted = [Effect::Reconcile { agent, tasks: tasks.clone() }, Effect::HeartbeatAck { link, sequence: 1 }];
    assert_eq!((node(&world, 0), world.take()), (NodeState::Up, wanted.to_vec()));
    world.report(link, tasks[0], Running, Reason::None);
    assert_eq!(world.state_of(tasks[0]), Running);
}

#[test]
fn any_word_of_a_silent_agent_brings_it_back_and_it_may_fall_silent_again() {
    let (mut world, tasks, heard) = three_agents(&service("web", 2));
    world.pass_heard_ms(20_000, &heard);
    world.report(LinkId(1), tasks[0], Running, Reason::None);
    assert_eq!((node(&world, 0), world.tasks("web")), (NodeState::Up, vec![(0, 1, Running), (1, 1, Partitioned)]));
    let asked = Effect::Reconcile { agent: AgentNo(0), tasks: tasks.clone() };
    assert_eq!(world.take(), [asked, ack(LinkId(1), tasks[0], Running)]);
    world.pass_heard_ms(15_500, &heard);
    assert_eq!(world.tasks("web"), [(0, 1, Partitioned), (1, 1, Partitioned)]);
    world.pass_heard_ms(31_000, &heard);
    assert_eq!([0, 1].map(|task: usize| world.state_of(tasks[task])), [Lost, Lost]);
}

#[test]
fn a_replaced_task_that_is_back_is_killed_as_a_duplicate() {
    let (mut world, tasks, heard) = three_agents(&service("web", 1));
    world.pass_heard_ms(50_000, &heard);
    world.place_all(AgentNo(1));
    world.report(heard[0], TaskId(1), Running, Reason::None);
    world.take();
    let link = world.register(1, vec![report(tasks[0], Running, Reason::None)]);
    let told = world.take();
    assert_eq!(told[1..], [kill_effect(AgentNo(0), tasks[0], Reason::Orphan), ack(link, tasks[0], Running)]);
    assert_eq!(world.tasks("web"), [(0, 1, Lost), (0, 2, Running)]);
}

#[test]
fn a_job_that_waits_is_never_replaced() {
    let (mut world, tasks, heard) = three_agents(&JobSpec { partition_wait: true, ..service("web", 1) });
    world.pass_heard_ms(600_000, &heard);
    assert_eq!((node(&world, 0), world.tasks("web")), (NodeState::Down, vec![(0, 1, Partitioned)]));
    world.register(1, vec![report(tasks[0], Running, Reason::None)]);
    assert_eq!((node(&world, 0), world.tasks("web")), (NodeState::Up, vec![(0, 1, Running)]));
}

#[test]
fn a_killed_task_out_of_reach_is_gone_only_with_its_agent() {
    let (mut world, tasks, heard) = three_agents(&batch("sum", 1));
    world.pass_heard_ms(20_000, &heard);
    world.kill("sum", &[]).unwrap();
    assert_eq!(world.take(), [kill_effect(AgentNo(0), tasks[0], Reason::UserRequest)]);
    world.pass_heard_ms(40_000, &heard);
    assert_eq!(world.tasks("sum"), [(0, 1, Killing)]);
    assert_eq!(world.take(), []);
    world.pass_heard_ms(500, &heard);
    assert_eq!(world.tasks("sum"), [(0, 1, Lost)]);
    assert_eq!(world.take(), [kill_effect(AgentNo(0), tasks[0], Reason::AgentLost)]);
}

/// Its end and the rest of the new version's instances are decided in one tick: it is replaced once.
#[test]
fn a_stopping_task_that_is_given_up_while_its_job_is_being_made_is_replaced_once() {
    let (mut world, tasks, heard) = three_agents(&service("web", 1));
    world.kill("web", &[]).unwrap();
    world.pass_heard_ms(60_000, &heard);
    world.settings.slice = 4;
    world.submit(&service("web", 6)).unwrap();
    assert_eq!(world.job("web").settled, 4);
    world.settings.slice = 100;
    // As if its instance were still to be looked at.
    let job = world.job("web").id;
    world.mutate(vec![crate::model::Mutation::JobSettled(crate::model::JobSettled { job, to: 0 })]);
    world.pass_heard_ms(250, &heard);
    assert_eq!(world.state_of(tasks[0]), Lost);
    let lives: Vec<u32> = world.state.living(world.job("web")).map(|task| task.instance).collect();
    assert_eq!((lives.len(), lives.iter().filter(|instance| **instance == 0).count()), (6, 1), "{lives:?}");
}

#[test]
fn agents_that_fall_silent_in_the_tick_of_a_deadline_count_for_the_brake() {
    let (mut world, tasks, heard) = three_agents(&service("web", 1));
    world.pass_heard_ms(30_000, &heard);
    world.pass_heard_ms(250, &heard);
    world.pass_heard_ms(14_750, &[]);
    assert_eq!(([1, 2].map(|agent| node(&world, agent)), world.state_of(tasks[0])), ([NodeState::Up; 2], Partitioned));
    // In one tick its wait is over and the others' silence too long.
    world.pass_heard_ms(250, &[]);
    assert_eq!([1, 2].map(|agent| node(&world, agent)), [NodeState::Unreachable; 2]);
    assert_eq!(world.tasks("web"), [(0, 1, Partitioned)]);
}

#[test]
fn tasks_are_given_up_no_faster_than_the_rate() {
    let (mut world, _, heard) = three_agents(&service("web", 100));
    world.settings.lost_tasks_per_s = 10;
    world.pass_heard_ms(45_500, &heard);
    let lost = |world: &World| world.tasks("web").iter().filter(|(_, _, state)| *state == Lost).count();
    let first = lost(&world);
    assert!(first <= 5, "{first}");
    world.pass_heard_ms(5_000, &heard);
    assert_eq!(lost(&world), first + 50);
    world.pass_heard_ms(6_000, &heard);
    assert_eq!((lost(&world), world.state.indexes().pending.len()), (100, 100));
}

#[test]
fn a_new_leader_gives_every_agent_a_lease_to_find_it() {
    let (mut world, tasks, heard) = three_agents(&service("web", 1));
    world.pass_heard_ms(44_000, &heard);
    assert_eq!(world.state_of(tasks[0]), Partitioned);
    world.skip_ms(5_000);
    world.elect(2);
    world.pass_ms(15_000);
    assert_eq!(world.tasks("web"), [(0, 1, Partitioned)]);
    assert_eq!([1, 2].map(|agent| node(&world, agent)), [NodeState::Up; 2]);
    let named = vec![report(tasks[0], Running, Reason::None)];
    world.event(Event::Registered { link: LinkId(5), registration: Box::new(registration(1, named)) });
    assert_eq!(world.tasks("web"), [(0, 1, Running)]);
}
