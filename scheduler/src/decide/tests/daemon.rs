//! Daemon jobs follow agents as they come and go.

use dawn_proto::v1::{JobKind, Reason};
use dawn_proto::{TaskId, TaskState::*};

use super::promises::replay_equals_live;
use super::specs::spec;
use super::world::{World, registration, report};
use crate::model::*;

/// An agent with a role, and the state its job's constraint asks for.
fn register(world: &mut World, agent: u64, role: &str) {
    let mut registration = registration(agent, vec![]);
    registration.offer.attributes.insert("role".into(), vec![role.into()]);
    registration.offer.epoch = world.state.index;
    world.event(Event::Registered { link: LinkId(agent), registration: Box::new(registration) });
}

fn watcher() -> JobSpec {
    let mut spec = spec("d", JobKind::Daemon, 1);
    spec.restart.on = dawn_proto::v1::RestartOn::AnyExit;
    spec.constraints = vec![Constraint { attribute: "role".into(), rule: Rule::OneOf(vec!["web".into()]) }];
    spec
}

/// One agent, which may be given up though it is all there is, and the job that wants a task on it.
fn watched() -> World {
    let mut world = World::new();
    world.settings.mass_loss_percent = 100;
    register(&mut world, 0, "web");
    world.submit(&watcher()).unwrap();
    world
}

#[test]
fn a_daemon_job_has_one_task_on_each_matching_agent() {
    let mut world = World::new();
    for (agent, role) in [(0, "web"), (1, "db"), (2, "web")] {
        register(&mut world, agent, role);
    }
    world.submit(&watcher()).unwrap();
    assert_eq!(world.tasks("d"), [(0, 1, Pending), (2, 1, Pending)]);
    assert_eq!(world.job("d").settled, Job::SETTLED);
    // Another agent gets one with the next tick, once.
    register(&mut world, 3, "web");
    world.pass_ms(250);
    world.pass_ms(250);
    assert_eq!(world.tasks("d").len(), 3);
    assert_eq!(world.tasks("d")[2], (3, 1, Pending));
    // What no longer matches goes, what matches comes.
    register(&mut world, 2, "db");
    register(&mut world, 1, "web");
    world.pass_ms(250);
    assert_eq!(world.tasks("d")[1], (2, 1, Killed));
    assert_eq!(world.tasks("d")[3], (1, 1, Pending));
    let reason = world.state.tasks[&TaskId(1)].history.last().unwrap().reason;
    assert_eq!(reason, Reason::NotMatching);
    replay_equals_live(&world);
}

#[test]
fn a_daemon_task_whose_agent_is_gone_ends_and_comes_back_with_it() {
    let mut world = watched();
    world.place_all(AgentNo(0));
    world.report(LinkId(0), TaskId(0), Running, Reason::None);
    world.pass_ms(120_000);
    assert_eq!(world.tasks("d"), [(0, 1, Lost)], "not replaced elsewhere");
    assert!(world.job("d").ended.is_none());
    register(&mut world, 0, "web");
    world.pass_ms(250);
    assert_eq!(world.tasks("d"), [(0, 1, Lost), (0, 2, Pending)]);
    // An instance that a user stopped stays away; a task that ends by itself is run again in place.
    world.place_all(AgentNo(0));
    world.report(LinkId(0), TaskId(1), Failed, Reason::Exited);
    assert_eq!(world.tasks("d")[2].2, Throttled);
    world.kill("d", &[(0, 0)]).unwrap();
    register(&mut world, 0, "web");
    world.pass_ms(250);
    assert!(world.tasks("d").iter().all(|(_, _, state)| state.is_terminal()));
    assert_eq!(
        world.kill("d", &[(1, 1)]).unwrap_err().to_string(),
        "www/prod/d has no instance 1; it has 1, numbered from 0"
    );
    replay_equals_live(&world);
}

#[test]
fn a_daemon_task_that_ended_while_its_agent_was_away_is_made_again() {
    let mut world = watched();
    world.place_all(AgentNo(0));
    world.report(LinkId(0), TaskId(0), Running, Reason::None);
    world.pass_ms(20_000);
    assert_eq!(world.tasks("d")[0].2, Partitioned);
    // What it reports comes with its registration, before it counts as up.
    let mut registration = registration(0, vec![report(TaskId(0), Failed, Reason::Exited)]);
    registration.offer.attributes.insert("role".into(), vec!["web".into()]);
    registration.offer.epoch = world.state.index;
    world.event(Event::Registered { link: LinkId(0), registration: Box::new(registration) });
    assert_eq!(world.tasks("d"), [(0, 1, Failed), (0, 2, Throttled)]);
    replay_equals_live(&world);
}

#[test]
fn a_daemon_task_that_waits_for_room_on_an_agent_ends_with_it() {
    let mut world = watched();
    world.pass_ms(120_000);
    assert_eq!(world.tasks("d"), [(0, 1, Killed)]);
    assert!(world.job("d").ended.is_none());
    register(&mut world, 0, "web");
    world.pass_ms(250);
    assert_eq!(world.tasks("d"), [(0, 1, Killed), (0, 2, Pending)]);
}

#[test]
fn a_new_leader_gives_agents_that_come_back_their_daemon() {
    let mut world = World::new();
    register(&mut world, 0, "web");
    world.submit(&watcher()).unwrap();
    // The leader ends before the tick that would have seen the second agent.
    register(&mut world, 1, "web");
    world.elect(2);
    world.pass_ms(500);
    assert_eq!(world.tasks("d").len(), 1);
    register(&mut world, 1, "web");
    world.pass_ms(250);
    assert_eq!(world.tasks("d"), [(0, 1, Pending), (1, 1, Pending)]);
}
