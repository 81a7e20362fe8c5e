//! Gangs are placed whole or not at all; a daemon's tasks go to their own agents.

use dawn_proto::v1::{JobKind, Reason, Tier};
use dawn_proto::{TaskId, TaskState};

use crate::decide::place::{Placer, matches};
use crate::model::{AgentNo, JobSpec, Mutation, Nominated};

use super::world::{World, job, one_of, resources};

fn gang(key: &str, instances: u32) -> JobSpec {
    let mut spec = job(key, instances, resources(1000, 1));
    spec.flow.gang = true;
    spec
}

/// The placer is what one that is built anew would be.
fn is_as_rebuilt(world: &mut World) {
    let shown = world.placer.queue.shown();
    let mut rebuilt = Placer::rebuild(&world.state, &world.settings);
    world.connected.iter().for_each(|agent| rebuilt.connected(&world.state, *agent, true));
    assert_eq!(rebuilt.queue.shown(), shown);
    let free = |placer: &Placer| {
        placer
            .fleet
            .numbers()
            .map(|slot| placer.fleet.slot(slot))
            .map(|slot| (slot.free, slot.ports_free))
            .collect::<Vec<_>>()
    };
    assert_eq!(free(&rebuilt), free(&world.placer));
}

#[test]
fn a_gang_waits_as_a_whole_and_is_placed_as_a_whole() {
    let mut world = World::new(1);
    world.agent(resources(3000, 16), "", Vec::new());
    let (id, tasks) = world.submit(gang("www/prod/gang", 4));
    assert_eq!(world.place().len(), 0, "three would fit");
    is_as_rebuilt(&mut world);
    // What it leaves is not kept from others.
    let (_, other) = world.submit(job("www/prod/other", 1, resources(1000, 1)));
    assert_eq!(world.place().len(), 1);
    let why = world.placer.explain(&world.state, id);
    assert_eq!((why[0].instances.len(), why[0].agents_fit), (4, 1));
    let said = "the 4 instances start together or not at all; there is room for at most 2 of them on the only node, so they \
                wait for more";
    assert_eq!(why[0].to_string(), said);
    world.agent(resources(2000, 16), "", Vec::new());
    let why = world.placer.explain(&world.state, id);
    let said = "the 4 instances start together or not at all; each of them would find a place on 2 of 2 nodes, but not all of \
                them together, so they wait";
    assert_eq!(why[0].to_string(), said, "they were not tried yet");
    assert_eq!(world.place().len(), 4);
    assert!(tasks.iter().all(|task| world.agent_of(*task).is_some()));
    world.move_to(other[0], TaskState::Finished);
    is_as_rebuilt(&mut world);
}

#[test]
fn two_gangs_that_would_each_fit_alone_do_not_block_each_other() {
    let mut world = World::new(1);
    world.agent(resources(2000, 16), "", Vec::new());
    world.agent(resources(2000, 16), "", Vec::new());
    let (_, one) = world.submit(gang("www/prod/one", 3));
    let (_, two) = world.submit(gang("www/prod/two", 3));
    assert_eq!(world.place().len(), 3);
    let (first, second) = if world.agent_of(one[0]).is_some() { (one, two) } else { (two, one) };
    assert!(first.iter().all(|task| world.agent_of(*task).is_some()));
    assert!(world.place().is_empty());
    first.iter().for_each(|task| world.move_to(*task, TaskState::Finished));
    assert_eq!(world.place().len(), 3);
    assert!(second.iter().all(|task| world.agent_of(*task).is_some()));
}

#[test]
fn a_gang_larger_than_a_step_is_placed_in_one() {
    let mut world = World::new(1);
    for _ in 0..10 {
        world.agent(resources(10_000, 16), "", Vec::new());
    }
    world.submit(gang("www/prod/gang", 100));
    let placed = world.placer.place(&world.state, world.now, 7);
    assert_eq!(placed.len(), 100);
}

/// A daemon job's task for each of these agents.
fn daemon(world: &mut World, spec: JobSpec, agents: &[AgentNo]) -> Vec<TaskId> {
    let (id, made) = world.submit(JobSpec { instances: 0, kind: JobKind::Daemon, ..spec });
    assert!(made.is_empty());
    let spec = world.state.jobs.get(&id).and_then(|job| job.current()).map(|version| version.spec).unwrap();
    agents.iter().map(|agent| world.make_task(id, spec, agent.0, Reason::None)).collect()
}

#[test]
fn a_daemons_tasks_go_to_their_own_agents_and_wait_for_those_alone() {
    let mut world = World::new(1);
    let full = world.agent(resources(500, 16), "", Vec::new());
    let roomy = world.agent(resources(64_000, 64), "", Vec::new());
    let tasks = daemon(&mut world, job("www/prod/d", 0, resources(1000, 1)), &[full, roomy]);
    assert_eq!(world.place().len(), 1);
    assert_eq!((world.agent_of(tasks[0]), world.agent_of(tasks[1])), (None, Some(roomy)));
    let job = world.state.jobs.values().next().unwrap().id;
    let why = world.placer.explain(&world.state, job);
    assert_eq!((why[0].agents_total, why[0].agents_fit), (1, 0), "{why:?}");
    assert!(world.place().is_empty());
    world.see(full, resources(4000, 16), "", Vec::new());
    assert_eq!(world.place().len(), 1);
    assert_eq!(world.agent_of(tasks[0]), Some(full));
}

#[test]
fn a_daemon_takes_room_on_its_own_agent_from_a_lower_tier() {
    let mut world = World::new(1);
    let agents = [world.agent(resources(1000, 16), "", Vec::new()), world.agent(resources(1000, 16), "", Vec::new())];
    let mut low = job("bob/prod/low", 1, resources(1000, 1));
    low.tier = Tier::Revocable;
    let (_, low) = world.submit(low);
    world.place();
    let taken = world.agent_of(low[0]).unwrap();
    let tasks = daemon(&mut world, job("www/prod/d", 0, resources(1000, 1)), &agents);
    let placed = world.place();
    let own = tasks[usize::from(taken == agents[1])];
    let nominated = placed.iter().find_map(|mutation| match mutation {
        Mutation::Nominated(Nominated { task, agent, .. }) => Some((*task, *agent)),
        _ => None,
    });
    assert_eq!(nominated, Some((own, taken)), "{placed:?}");
    world.move_to(low[0], TaskState::Killed);
    world.place();
    assert_eq!(world.agent_of(own), Some(taken));
}

#[test]
fn what_matches_an_agent_is_what_placement_says() {
    let mut world = World::new(1);
    let web = world.agent(resources(1000, 1), "role=web", Vec::new());
    let own = world.agent(resources(1000, 1), "dedicated=db", Vec::new());
    let mut spec = job("www/prod/d", 1, resources(100, 1));
    let on = |spec: &JobSpec, agent: AgentNo| matches(spec, world.state.agents.get(&agent).unwrap());
    assert!(on(&spec, web) && !on(&spec, own));
    spec.dedicated = Some("db".into());
    assert!(!on(&spec, web) && on(&spec, own));
    spec.dedicated = None;
    spec.constraints = vec![one_of("role", &["web"]), one_of("host", &["node-0"])];
    assert!(on(&spec, web));
    spec.constraints = vec![one_of("host", &["node-1"])];
    assert!(!on(&spec, web));
}
