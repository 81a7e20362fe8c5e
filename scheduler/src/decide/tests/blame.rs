//! Whose fault it is that tasks do not start is found out by trying elsewhere. Not here: agents that are avoided (`avoid`).

use dawn_proto::v1::{JobKind, Reason};
use dawn_proto::{TaskId, TaskState, Timestamp};

use super::super::retry::refusals;
use super::specs::*;
use super::world::World;
use crate::model::*;

/// Agents that are there and do not flap.
pub fn agents(count: u64) -> (World, Vec<(LinkId, AgentNo)>) {
    let mut world = World::new();
    let agents = (1..=count).map(|agent| world.agent(agent)).collect();
    world.skip_ms(world.settings.flap_window_ms + 1);
    (world, agents)
}

pub fn one_life(name: &str, instances: u32) -> JobSpec {
    let spec = batch(name, instances);
    let restart = RestartPolicy { max_failures: 1, ..spec.restart.clone() };
    JobSpec { restart, ..spec }
}

/// A job's oldest pending task is placed on the agent, which says what became of it; where it then is.
pub fn try_on(world: &mut World, name: &str, at: (LinkId, AgentNo), state: TaskState, reason: Reason) -> TaskState {
    let job = world.job(name).id;
    let mut pending = world.state.indexes().pending.iter().filter(|id| world.state.tasks[*id].job == job);
    let task = *pending.next().unwrap_or_else(|| panic!("nothing of {name} is pending: {:?}", world.tasks(name)));
    place(world, task, at.1);
    world.report(at.0, task, state, reason);
    world.take();
    world.state_of(task)
}

pub fn place(world: &mut World, task: TaskId, agent: AgentNo) {
    world.mutate(vec![Mutation::TaskAssigned(TaskAssigned { task, agent, ports: [].into(), devices: [].into() })]);
}

pub fn fails(world: &mut World, name: &str, at: (LinkId, AgentNo), reason: Reason) -> TaskState {
    try_on(world, name, at, TaskState::Lost, reason)
}

/// A task that runs on.
pub fn runs(world: &mut World, name: &str, at: (LinkId, AgentNo)) {
    assert_eq!(try_on(world, name, at, TaskState::Running, Reason::None), TaskState::Running);
}

pub fn avoided_ms(world: &World, agent: AgentNo) -> Option<(u64, u32)> {
    let avoided = world.state.agents[&agent].avoided.as_ref().filter(|avoided| avoided.until > world.now.wall)?;
    Some((avoided.until.since_ms(world.now.wall), avoided.times))
}

pub fn nobody_is_avoided(world: &World) {
    let avoided = world.state.agents.values().find(|agent| agent.avoided.is_some());
    assert_eq!(avoided, None);
}

pub fn keeps_off(world: &World, name: &str) -> Vec<AgentNo> {
    world.job(name).kept_off.iter().filter(|kept| kept.keeps_off()).map(|kept| kept.agent).collect()
}

/// What replaying and what a snapshot gives is what there is.
pub fn is_durable(world: &World) {
    let bytes = |state: &State| crate::wire::snapshot_chunks(state);
    assert_eq!(bytes(&world.twin), bytes(&world.state));
    let mut builder = crate::wire::StateBuilder::default();
    bytes(&world.state).iter().for_each(|chunk| builder.add(chunk).unwrap());
    let read = builder.finish().unwrap();
    assert_eq!(bytes(&read), bytes(&world.state));
    assert_eq!(
        (&read.indexes().avoided, &read.indexes().kept_off_ends),
        (&world.state.indexes().avoided, &world.state.indexes().kept_off_ends)
    );
}

const EITHER: [Reason; 7] = [
    Reason::SandboxFailed,
    Reason::RootFsFailed,
    Reason::LimitNotPossible,
    Reason::UnknownUser,
    Reason::ArtifactFailed,
    Reason::ChecksumMismatch,
    Reason::ExecutorLost,
];

#[test]
fn a_job_that_starts_nowhere_fails_on_its_second_agent_and_no_agent_is_avoided() {
    for reason in EITHER {
        for said in [TaskState::Lost, TaskState::Failed] {
            let (mut world, agents) = agents(4);
            world.submit(&one_life("typo", 1)).unwrap();
            assert_eq!(try_on(&mut world, "typo", agents[0], said, reason), TaskState::Lost, "{reason:?}");
            assert_eq!(keeps_off(&world, "typo"), [agents[0].1], "it is tried elsewhere");
            is_durable(&world);
            assert_eq!(try_on(&mut world, "typo", agents[1], said, reason), TaskState::Failed, "{reason:?}");
            assert!(world.job("typo").ended.is_some(), "{reason:?}: its one failure is counted");
            nobody_is_avoided(&world);
        }
    }
}

#[test]
fn failures_of_one_job_alone_never_avoid_an_agent() {
    for reason in EITHER {
        let (mut world, agents) = agents(4);
        world.submit(&spec("web", JobKind::Service, 20)).unwrap();
        let tasks: Vec<TaskId> = world.state.indexes().pending.iter().copied().collect();
        tasks.iter().for_each(|task| place(&mut world, *task, agents[0].1));
        for task in &tasks[..19] {
            world.report(agents[0].0, *task, TaskState::Lost, reason);
            assert_eq!(world.state_of(*task), TaskState::Lost, "they were placed before it was known");
        }
        assert_eq!(world.job("web").kept_off[0].failures, 19);
        nobody_is_avoided(&world);
        // It starts elsewhere: the agent's fault, but one job's failures don't show that it is everybody's.
        runs(&mut world, "web", agents[1]);
        assert_eq!(world.job("web").kept_off[0].fault_of, FaultOf::Agent);
        nobody_is_avoided(&world);
        is_durable(&world);
    }
}

#[test]
fn where_no_other_agent_fits_the_first_failure_is_the_jobs() {
    let (mut world, agents) = agents(1);
    world.submit(&one_life("typo", 1)).unwrap();
    assert_eq!(fails(&mut world, "typo", agents[0], Reason::RootFsFailed), TaskState::Failed);
    assert!(world.job("typo").ended.is_some());
    assert_eq!(keeps_off(&world, "typo"), [], "there is nowhere else to go");

    // Four agents, three of which are no help: another rack, cordoned, too small.
    let (mut world, agents) = self::agents(4);
    let mut pinned = one_life("pinned", 2);
    let host = world.state.agents[&agents[2].1].id.to_string();
    pinned.constraints = vec![Constraint { attribute: "host".into(), rule: Rule::OneOf(vec![host]) }];
    world.submit(&pinned).unwrap();
    assert_eq!(fails(&mut world, "pinned", agents[2], Reason::SandboxFailed), TaskState::Failed);
    assert_eq!(fails(&mut world, "pinned", agents[2], Reason::SandboxFailed), TaskState::Failed);

    // Two agents, of which the other has all that a limit allows.
    let (mut world, agents) = self::agents(2);
    let mut limited = one_life("limited", 3);
    limited.constraints = vec![Constraint { attribute: "host".into(), rule: Rule::Limit(1) }];
    world.submit(&limited).unwrap();
    assert_eq!(fails(&mut world, "limited", agents[0], Reason::UnknownUser), TaskState::Lost);
    let (mut world, agents) = self::agents(2);
    world.submit(&limited).unwrap();
    runs(&mut world, "limited", agents[1]);
    assert_eq!(fails(&mut world, "limited", agents[0], Reason::UnknownUser), TaskState::Failed);
}

#[test]
fn a_refusal_for_want_of_room_speaks_against_nobody_and_the_task_comes_back_after_a_moment() {
    let (mut world, agents) = agents(4);
    world.submit(&one_life("sum", 40)).unwrap();
    let tasks: Vec<TaskId> = world.state.indexes().pending.iter().copied().collect();
    tasks.iter().for_each(|task| place(&mut world, *task, agents[0].1));
    for task in &tasks {
        world.report(agents[0].0, *task, TaskState::Lost, Reason::NoRoom);
        assert_eq!(world.state_of(*task), TaskState::Lost);
    }
    nobody_is_avoided(&world);
    assert_eq!(keeps_off(&world, "sum"), []);
    assert_eq!(
        (world.state.indexes().pending.len(), world.state.indexes().throttled.len()),
        (0, 40),
        "not in a hot loop"
    );
    world.pass_heard_ms(2_000, &agents.iter().map(|(link, _)| *link).collect::<Vec<_>>());
    assert_eq!(world.state.indexes().pending.len(), 40);
}

#[test]
fn a_place_that_refuses_is_asked_less_and_less_often_where_there_is_no_other() {
    for reason in [Reason::NodeDiskFull, Reason::NoRoom] {
        let (mut world, agents) = agents(1);
        let spec = one_life("web", 1);
        let (first_ms, most_ms) = (spec.restart.initial_backoff_ms, spec.restart.max_backoff_ms);
        world.submit(&spec).unwrap();
        for refusal in 0..6 {
            let task = *world.state.indexes().pending.iter().next().expect("it is tried again");
            place(&mut world, task, agents[0].1);
            world.report(agents[0].0, task, TaskState::Lost, reason);
            let (ready_at, _) = *world.state.indexes().throttled.iter().next().expect("after a pause");
            let pause_ms = world.state.at.since_ms(ready_at).max(ready_at.since_ms(world.state.at));
            let whole_ms = (first_ms << refusal).min(most_ms);
            assert!(pause_ms <= whole_ms && pause_ms >= whole_ms * 9 / 10, "{reason:?} {refusal}: {pause_ms} ms");
            let job = world.job("web");
            let refused = refusals(&world.state, job, Timestamp::default(), 0).count();
            assert_eq!(refused, usize::min(refusal + 1, world.settings.kept_ended_tasks));
            world.pass_heard_ms(whole_ms + 1_000, &[agents[0].0]);
        }
    }
}

#[test]
fn a_clash_of_a_port_that_the_scheduler_chose_is_nobodys_fault_and_of_one_that_the_job_names_may_be_the_jobs() {
    let (mut world, agents) = agents(4);
    let port = |fixed| vec![PortDemand { name: "http".into(), fixed }];
    world.submit(&JobSpec { ports: port(None), ..one_life("any", 1) }).unwrap();
    assert_eq!(fails(&mut world, "any", agents[0], Reason::PortClash), TaskState::Lost);
    assert_eq!(keeps_off(&world, "any"), []);
    world.submit(&JobSpec { ports: port(Some(8080)), ..one_life("fixed", 1) }).unwrap();
    assert_eq!(fails(&mut world, "fixed", agents[0], Reason::PortClash), TaskState::Failed, "nobody else offers it");
    nobody_is_avoided(&world);
}

#[test]
fn a_second_agent_of_a_job_that_has_just_started_elsewhere_is_not_the_jobs_fault() {
    let (mut world, agents) = agents(8);
    world.submit(&one_life("sum", 4)).unwrap();
    assert_eq!(fails(&mut world, "sum", agents[0], Reason::UnknownUser), TaskState::Lost);
    runs(&mut world, "sum", agents[1]);
    for bad in &agents[2..6] {
        assert_eq!(fails(&mut world, "sum", *bad, Reason::UnknownUser), TaskState::Lost, "it does start elsewhere");
    }
    assert_eq!(keeps_off(&world, "sum").len(), 5);
    nobody_is_avoided(&world);
}

#[test]
fn what_was_tried_nowhere_else_in_time_is_the_jobs_fault_the_next_time() {
    let (mut world, agents) = agents(2);
    let links: Vec<LinkId> = agents.iter().map(|(link, _)| *link).collect();
    world.submit(&one_life("sum", 1)).unwrap();
    assert_eq!(fails(&mut world, "sum", agents[0], Reason::SandboxFailed), TaskState::Lost);
    // The other one has no room all the time.
    world.pass_heard_ms(world.settings.keep_off_ms + 1_000, &links);
    assert_eq!(keeps_off(&world, "sum"), []);
    assert_eq!(fails(&mut world, "sum", agents[0], Reason::SandboxFailed), TaskState::Failed);
    is_durable(&world);
}

#[test]
fn a_job_comes_back_to_an_agent_in_time_and_another_version_at_once() {
    let (mut world, agents) = agents(3);
    let links: Vec<LinkId> = agents.iter().map(|(link, _)| *link).collect();
    world.submit(&service("web", 2)).unwrap();
    assert_eq!(fails(&mut world, "web", agents[0], Reason::SandboxFailed), TaskState::Lost);
    runs(&mut world, "web", agents[1]);
    let spec = world.job("web").kept_off[0].spec;
    assert_eq!(spec, world.state.current_spec(world.job("web")).unwrap().id, "of this version alone");
    world.pass_heard_ms(world.settings.keep_off_ms + 1_000, &links);
    assert_eq!(world.job("web").kept_off, []);
    assert!(world.state.indexes().kept_off_ends.is_empty());
}

#[test]
fn what_a_job_keeps_off_is_bounded_and_what_fails_beyond_is_its_own_fault() {
    let most = KeptOff::MOST as u64;
    let (mut world, agents) = agents(most + 3);
    world.submit(&service("web", 3)).unwrap();
    runs(&mut world, "web", agents[0]);
    for at in &agents[1..=KeptOff::MOST] {
        assert_eq!(fails(&mut world, "web", *at, Reason::UnknownUser), TaskState::Lost);
    }
    assert_eq!(fails(&mut world, "web", agents[KeptOff::MOST + 1], Reason::UnknownUser), TaskState::Failed);
    assert_eq!(world.job("web").kept_off.len(), KeptOff::MOST);
    is_durable(&world);
}
