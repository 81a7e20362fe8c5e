//! Agents on which tasks fail are avoided, longer each time, and forgiven.

use dawn_proto::TaskState;
use dawn_proto::v1::{JobKind, Reason};

use super::specs::*;
use super::world::World;
use crate::model::*;

/// Each task fails on the agent, at once.
fn fail(world: &mut World, link: LinkId, agent: AgentNo, tasks: usize, reason: Reason) {
    world.place_all(agent);
    let there: Vec<_> = world.state.tasks_on[&agent].iter().copied().take(tasks).collect();
    assert_eq!(there.len(), tasks);
    for task in there {
        world.report(link, task, TaskState::Failed, reason);
    }
    world.take();
}

fn avoided_ms(world: &World, agent: AgentNo) -> Option<(u64, u32)> {
    let avoided = world.state.agents[&agent].avoided.as_ref().filter(|avoided| avoided.until > world.now.wall)?;
    Some((avoided.until.since_ms(world.now.wall), avoided.times))
}

#[test]
fn failures_that_may_be_the_jobs_fault_are_counted_first() {
    for reason in [Reason::SandboxFailed, Reason::PortClash, Reason::ExecutorLost] {
        let mut world = World::new();
        let (link, agent) = world.agent(1);
        world.submit(&spec("web", JobKind::Service, 20)).unwrap();
        fail(&mut world, link, agent, 2, reason);
        assert_eq!(avoided_ms(&world, agent), None, "{reason:?}");
        fail(&mut world, link, agent, 1, reason);
        assert_eq!(avoided_ms(&world, agent), Some((30_000, 1)), "{reason:?}");
        let why = &world.state.agents[&agent].avoided.as_ref().unwrap().why;
        assert_eq!(*why, format!("3 tasks failed there within a short time ({} the last)", reason.as_str_name()));
        assert_eq!(world.twin.agents[&agent], world.state.agents[&agent]);
    }
}

#[test]
fn failures_far_apart_or_of_the_jobs_own_making_avoid_nothing() {
    let mut world = World::new();
    let (link, agent) = world.agent(1);
    world.submit(&spec("web", JobKind::Service, 20)).unwrap();
    fail(&mut world, link, agent, 10, Reason::Exited);
    fail(&mut world, link, agent, 2, Reason::SandboxFailed);
    world.pass_heard_ms(world.settings.failure_window_ms + 1_000, &[link]);
    fail(&mut world, link, agent, 2, Reason::SandboxFailed);
    assert_eq!(world.state.agents[&agent].avoided, None);
}

#[test]
fn each_time_is_twice_as_long_up_to_the_most_and_a_good_while_is_forgiven() {
    let mut world = World::new();
    let (link, agent) = world.agent(1);
    world.settings.max_avoid_ms = 100_000;
    world.submit(&spec("web", JobKind::Service, 20)).unwrap();
    for (times, expected_ms) in [(1, 30_000), (2, 60_000), (3, 100_000), (4, 100_000)] {
        fail(&mut world, link, agent, 1, Reason::CgroupFailed);
        assert_eq!(avoided_ms(&world, agent), Some((expected_ms, times)));
        fail(&mut world, link, agent, 1, Reason::CgroupFailed);
        assert_eq!(avoided_ms(&world, agent), Some((expected_ms, times)), "one that is avoided is not avoided more");
        world.pass_heard_ms(expected_ms, &[link]);
        assert_eq!(avoided_ms(&world, agent), None, "it comes back by itself");
    }
    world.pass_heard_ms(world.settings.forgive_ms + 1_000, &[link]);
    fail(&mut world, link, agent, 1, Reason::CgroupFailed);
    assert_eq!(avoided_ms(&world, agent), Some((30_000, 1)));
}

#[test]
fn an_agent_that_comes_and_goes_is_avoided_and_one_that_comes_back_now_and_then_is_not() {
    let mut world = World::new();
    for other in 2..10 {
        world.agent(other);
    }
    world.skip_ms(world.settings.flap_window_ms + 1);
    let (_, agent) = world.agent(1);
    for _ in 0..3 {
        world.agent(1);
    }
    assert_eq!(avoided_ms(&world, agent), None);
    world.agent(1);
    assert_eq!(avoided_ms(&world, agent), Some((30_000, 1)));
    assert_eq!(world.state.agents[&agent].avoided.as_ref().unwrap().why, "it registered 5 times within 300 s");
    let mut world = World::new();
    for _ in 0..10 {
        world.agent(1);
        world.skip_ms(world.settings.flap_window_ms / 3);
    }
    assert_eq!(world.state.agents.values().next().unwrap().avoided, None);
}

#[test]
fn a_node_that_an_operator_forgives_takes_tasks_again_at_once() {
    let mut world = World::new();
    let (link, agent) = world.agent(1);
    let (_, other) = world.agent(2);
    world.submit(&spec("web", JobKind::Service, 20)).unwrap();
    fail(&mut world, link, agent, 1, Reason::CgroupFailed);
    assert!(avoided_ms(&world, agent).is_some());
    let forgive = |world: &mut World, ids: &[AgentNo]| {
        let agents = ids.iter().map(|no| world.state.agents[no].id.clone()).collect();
        let command = ForgiveCommand { agents, author: "ann".into(), message: "new disk".into() };
        world.command(Command::Forgive(command))
    };
    assert_eq!(forgive(&mut world, &[agent, other]), Ok(Answer::Forgiven), "one against which nothing speaks as well");
    assert_eq!(world.state.agents[&agent].avoided, None);
    fail(&mut world, link, agent, 1, Reason::CgroupFailed);
    assert_eq!(avoided_ms(&world, agent).map(|(_, times)| times), Some(1), "it begins anew");

    let unknown = ForgiveCommand {
        agents: vec![world.state.agents[&agent].id.clone(), dawn_proto::AgentId::new("gone").unwrap()],
        author: String::new(),
        message: String::new(),
    };
    let refused = world.command(Command::Forgive(unknown));
    assert_eq!(refused, Err(Refusal::NoSuchAgent { agent: "gone".into() }));
    assert!(avoided_ms(&world, agent).is_some(), "all or none");
}

#[test]
fn agents_that_all_come_and_go_are_not_to_blame() {
    let mut world = World::new();
    for _ in 0..7 {
        (1..10).for_each(|agent| _ = world.agent(agent));
    }
    assert!(world.state.agents.values().all(|agent| agent.avoided.is_none()));
}
