//! An operator's word that nodes are gone: their tasks are given up whatever the brake, what must not live twice waits, and
//! a node that comes back all the same is in use again.

use dawn_proto::TaskState::*;
use dawn_proto::v1::{JobKind, NodeState, Reason};
use dawn_proto::{AgentId, TaskId};

use super::promises::replay_equals_live;
use super::specs::{service, spec};
use super::world::{World, ack, kill_effect, report};
use crate::decide::lease::gone_after_ms;
use crate::model::*;

/// Agents on links of their numbers: all but the last hold a task each, of jobs named after them.
fn agents(count: u64) -> (World, Vec<TaskId>) {
    let mut world = World::new();
    let tasks = (1..count).map(|agent| {
        let (link, no) = world.agent(agent);
        world.submit(&service(&format!("web{agent}"), 1)).unwrap();
        let task = *world.state.indexes().pending.first().unwrap();
        world.place_all(no);
        world.report(link, task, Running, Reason::None);
        world.take();
        task
    });
    let tasks = tasks.collect();
    world.agent(count);
    world.take();
    (world, tasks)
}

fn three_agents() -> (World, [TaskId; 2]) {
    let (world, tasks) = agents(3);
    (world, [tasks[0], tasks[1]])
}

fn id(agent: u64) -> AgentId {
    AgentId::new(&format!("node-{agent}")).unwrap()
}

fn down(world: &mut World, agents: &[u64], is_preview: bool) -> Result<Answer, Refusal> {
    let agents = agents.iter().map(|agent| id(*agent)).collect();
    world.command(Command::Loss(LossCommand::DeclareDown { agents, author: "ann".into(), is_preview }))
}

fn forget(world: &mut World, agents: &[u64]) -> Result<Answer, Refusal> {
    world.command(Command::Loss(LossCommand::Forget { agents: agents.iter().map(|agent| id(*agent)).collect() }))
}

fn declared(tasks: u64) -> Result<Answer, Refusal> {
    Ok(Answer::Declared(answers::Declared(Replaced { tasks, waiting: 0, wait_ms: 0 })))
}

fn node(world: &World, agent: u32) -> NodeState {
    world.state.agents[&AgentNo(agent)].state
}

#[test]
fn tasks_of_a_node_that_is_declared_down_are_given_up_at_once_while_the_brake_is_on() {
    let (mut world, tasks) = agents(5);
    world.pass_heard_ms(300_000, &[LinkId(5)]);
    assert!(tasks.iter().all(|task| world.state_of(*task) == Partitioned));
    // A preview does nothing, and the same node named twice is one node.
    let index = world.state.index;
    assert_eq!(down(&mut world, &[1, 1], true), declared(1));
    assert_eq!((world.state.index, node(&world, 0)), (index, NodeState::Unreachable));
    assert_eq!(down(&mut world, &[1, 1], false), declared(1));
    assert_eq!(node(&world, 0), NodeState::Down);
    let word = DeclaredDown { at: world.now.wall, by: "ann".into() };
    assert_eq!(world.state.agents[&AgentNo(0)].declared_down, Some(word));
    world.take();
    world.pass_heard_ms(250, &[LinkId(5)]);
    assert_eq!(world.tasks("web1"), [(0, 1, Lost), (0, 2, Pending)]);
    assert_eq!(world.take(), [kill_effect(AgentNo(0), tasks[0], Reason::AgentLost)]);
    assert_eq!(down(&mut world, &[1], false), declared(0), "once more changes nothing");
    // Three of four are silent yet: nobody said anything of them.
    world.pass_heard_ms(60_000, &[LinkId(5)]);
    assert_eq!(world.tasks("web2"), [(0, 1, Partitioned)]);
    // The last one is one of two then, and half of them is no mass loss.
    assert_eq!(down(&mut world, &[3, 2], false), declared(2));
    world.pass_heard_ms(1_000, &[LinkId(5)]);
    for job in ["web2", "web3", "web4"] {
        assert_eq!(world.tasks(job), [(0, 1, Lost), (0, 2, Pending)]);
    }
    replay_equals_live(&world);
}

#[test]
fn a_node_that_is_connected_and_heard_is_not_gone_and_none_of_those_named_is_declared_down() {
    let (mut world, tasks) = three_agents();
    world.pass_heard_ms(20_000, &[LinkId(2), LinkId(3)]);
    let refused = down(&mut world, &[1, 2], false).unwrap_err();
    assert!(matches!(&refused, Refusal::Loss(LossRefusal::Heard { agent, .. }) if *agent == id(2)), "{refused}");
    let words = refused.to_string();
    assert!(words.contains("node node-2 is connected"), "{words}");
    assert_eq!([0, 1].map(|agent| node(&world, agent)), [NodeState::Unreachable, NodeState::Up]);
    let unknown = down(&mut world, &[1, 9], false).unwrap_err();
    assert_eq!(unknown, Refusal::NoSuchAgent { agent: "node-9".into() });
    assert_eq!(world.state.agents[&AgentNo(0)].declared_down, None);
    // A leader that has just begun does not know yet who comes.
    let mut later = World::new();
    (later.state, later.twin, later.now) = (world.state.clone(), world.state.clone(), world.now);
    later.elect(2);
    let refused = down(&mut later, &[2], false).unwrap_err();
    assert!(matches!(&refused, Refusal::Loss(LossRefusal::MayCome { left_ms: 15_000, .. })), "{refused}");
    assert_eq!(down(&mut later, &[1], false), declared(1), "it was silent for the one before");
    later.pass_ms(15_250);
    assert!(down(&mut later, &[2], true).is_ok());
    // Its link is closed: nobody needs to wait for its lease.
    world.event(Event::LinkClosed { link: LinkId(2) });
    assert_eq!(down(&mut world, &[2], false), declared(1));
    assert_eq!((node(&world, 1), world.state_of(tasks[1])), (NodeState::Down, Partitioned));
    world.pass_heard_ms(250, &[LinkId(3)]);
    assert_eq!(world.state_of(tasks[1]), Lost);
    replay_equals_live(&world);
}

#[test]
fn what_must_not_live_twice_waits_for_lease_drift_and_kill_time_and_the_answer_says_so() {
    let (mut world, _) = three_agents();
    let only_one = JobSpec { at_most_one: true, ..service("db", 1) };
    world.submit(&only_one).unwrap();
    world.place_all(AgentNo(0));
    let task = TaskId(world.state.next_task.0 - 1);
    world.report(LinkId(1), task, Running, Reason::None);
    world.event(Event::LinkClosed { link: LinkId(1) });
    let wait_ms = gone_after_ms(&world.settings, &only_one);
    let replaced = Replaced { tasks: 2, waiting: 1, wait_ms };
    assert_eq!(down(&mut world, &[1], false), Ok(Answer::Declared(answers::Declared(replaced))));
    // What may live twice is not counted, and the time is what was said.
    let early = forget(&mut world, &[1]);
    assert_eq!(early, Err(LossRefusal::MayLive { agent: id(1), tasks: 1, wait_ms }.into()));
    world.pass_heard_ms(wait_ms, &[LinkId(2), LinkId(3)]);
    assert_eq!((world.tasks("web1").len(), world.tasks("db")), (2, vec![(0, 1, Partitioned)]));
    let refused = forget(&mut world, &[1]).unwrap_err();
    assert_eq!(refused, LossRefusal::MayLive { agent: id(1), tasks: 1, wait_ms: 0 }.into());
    assert!(refused.to_string().contains("is declared down and 1 task of it"), "{refused}");
    world.pass_heard_ms(500, &[LinkId(2), LinkId(3)]);
    assert_eq!(world.tasks("db"), [(0, 1, Lost), (0, 2, Pending)]);
    assert_eq!(forget(&mut world, &[1]), Ok(Answer::Forgotten(answers::Forgotten)));
    assert!(world.state.agent(&id(1)).is_none());
    replay_equals_live(&world);
}

#[test]
fn jobs_that_wait_for_their_node_and_tasks_that_were_stopping_are_given_up_too() {
    let (mut world, [first, _]) = three_agents();
    world.submit(&JobSpec { partition_wait: true, ..service("db", 1) }).unwrap();
    world.place_all(AgentNo(0));
    world.kill("web1", &[]).unwrap();
    world.event(Event::LinkClosed { link: LinkId(1) });
    assert_eq!(down(&mut world, &[1], false), declared(1), "a task that was told to stop has no next life");
    world.pass_heard_ms(250, &[LinkId(2), LinkId(3)]);
    assert_eq!((world.state_of(first), world.tasks("web1").len()), (Lost, 1));
    assert_eq!(world.tasks("db"), [(0, 1, Lost), (0, 2, Pending)]);
}

#[test]
fn thousands_of_tasks_are_given_up_in_slices() {
    let (mut world, _) = three_agents();
    world.submit(&service("many", 100)).unwrap();
    world.place_all(AgentNo(0));
    world.settings.slice = 10;
    world.event(Event::LinkClosed { link: LinkId(1) });
    assert_eq!(down(&mut world, &[1], false), declared(101));
    let lost = |world: &World| world.state.tasks.values().filter(|task| task.state() == Lost).count();
    let before = world.journal.len();
    world.pass_heard_ms(250, &[LinkId(2), LinkId(3)]);
    assert!(lost(&world) > 0 && lost(&world) <= 10, "{}", lost(&world));
    world.pass_heard_ms(10_000, &[LinkId(2), LinkId(3)]);
    assert_eq!(lost(&world), 101);
    // Each task lost and its next life.
    let largest = world.journal[before..].iter().map(|batch| batch.mutations.len()).max();
    assert!(largest.is_some_and(|largest| largest <= 12), "{largest:?}");
}

#[test]
fn a_node_that_comes_back_after_all_is_up_and_what_it_ran_is_stopped() {
    let (mut world, [first, _]) = three_agents();
    world.pass_heard_ms(20_000, &[LinkId(2), LinkId(3)]);
    down(&mut world, &[1], false).unwrap();
    world.pass_heard_ms(250, &[LinkId(2), LinkId(3)]);
    world.place_all(AgentNo(2));
    world.take();
    let link = world.register(1, vec![report(first, Running, Reason::None)]);
    let told = world.take();
    assert!(told.contains(&kill_effect(AgentNo(0), first, Reason::Orphan)), "{told:?}");
    assert!(told.contains(&ack(link, first, Running)), "{told:?}");
    let agent = &world.state.agents[&AgentNo(0)];
    assert_eq!((agent.state, &agent.declared_down), (NodeState::Up, &None));
    // It is silent again, and nobody says that it is gone: it is waited for.
    world.pass_heard_ms(14_000, &[LinkId(2), LinkId(3)]);
    assert_eq!(node(&world, 0), NodeState::Up);
    replay_equals_live(&world);
}

#[test]
fn a_link_that_was_only_stuck_brings_its_node_back_with_what_is_left_there() {
    let (mut world, _) = three_agents();
    world.submit(&JobSpec { at_most_one: true, ..service("db", 1) }).unwrap();
    world.place_all(AgentNo(0));
    let task = TaskId(world.state.next_task.0 - 1);
    world.report(LinkId(1), task, Running, Reason::None);
    world.pass_heard_ms(20_000, &[LinkId(2), LinkId(3)]);
    down(&mut world, &[1], false).unwrap();
    world.pass_heard_ms(250, &[LinkId(2), LinkId(3)]);
    assert_eq!((world.tasks("web1")[0].2, world.state_of(task)), (Lost, Partitioned));
    world.report(LinkId(1), task, Running, Reason::None);
    assert_eq!((node(&world, 0), world.tasks("db")), (NodeState::Up, vec![(0, 1, Running)]));
    assert_eq!(world.state.agents[&AgentNo(0)].declared_down, None);
}

#[test]
fn only_silent_nodes_without_tasks_are_forgotten() {
    let (mut world, _) = three_agents();
    let up = forget(&mut world, &[3]).unwrap_err();
    assert_eq!(up, LossRefusal::Up { agent: id(3) }.into());
    assert!(up.to_string().contains("once its tasks are moved away"), "{up}");
    world.pass_heard_ms(20_000, &[LinkId(2)]);
    let holds = LossRefusal::HoldsTasks { agent: id(1), tasks: 1 };
    assert_eq!(forget(&mut world, &[3, 1]), Err(holds.clone().into()), "all or none");
    assert!(holds.to_string().contains("once they are given up"), "{holds}");
    assert_eq!(forget(&mut world, &[3, 3]), Ok(Answer::Forgotten(answers::Forgotten)));
    assert_eq!(world.state.agents.keys().copied().collect::<Vec<_>>(), [AgentNo(0), AgentNo(1)]);
    world.take();
    assert_eq!(world.agent(3).1, AgentNo(3), "it is a new one when it comes back");
    replay_equals_live(&world);
}

#[test]
fn a_daemon_jobs_task_ends_with_its_node_and_with_a_pending_one_too() {
    let mut world = World::new();
    for agent in 1..=2 {
        world.agent(agent);
    }
    world.submit(&spec("log", JobKind::Daemon, 1)).unwrap();
    let task = world.tasks_of("log").ids.iter().next().copied().unwrap();
    world.mutate(vec![Mutation::TaskAssigned(TaskAssigned {
        task,
        agent: AgentNo(0),
        ports: [].into(),
        devices: [].into(),
    })]);
    for link in [1, 2] {
        world.event(Event::LinkClosed { link: LinkId(link) });
    }
    assert_eq!(down(&mut world, &[1], false), declared(0), "nothing runs it elsewhere");
    world.pass_ms(250);
    assert_eq!(world.tasks("log"), [(0, 1, Lost), (1, 1, Pending)]);
    world.pass_ms(20_000);
    assert_eq!(forget(&mut world, &[1, 2]), Ok(Answer::Forgotten(answers::Forgotten)));
    assert_eq!(world.tasks("log"), [(0, 1, Lost), (1, 1, Killed)]);
    replay_equals_live(&world);
}
