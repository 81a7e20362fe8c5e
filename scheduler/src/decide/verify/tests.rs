//! Each promise broken once, by a state or an agent that is not as it should be.

use std::collections::BTreeMap;

use dawn_proto::v1::JobKind;
use dawn_proto::{Epoch, TaskId, TaskState};

use super::*;
use crate::decide::tests::specs::{encoded, spec};
use crate::decide::tests::world::World;
use crate::model::*;

fn inspected(task: TaskId) -> Inspected {
    let (executor, state, job) = (Some(7), TaskState::Running, String::new());
    Inspected { task, job, state, stopping: false, executor, executor_lives: true, pids: vec![8], processes_total: 1 }
}

/// A job that runs on agent 1, which says so; all is well.
fn well(spec: &JobSpec) -> (State, BTreeMap<AgentNo, Inspection>) {
    let mut world = World::new();
    let (_, agent, tasks) = world.running(spec);
    let tasks = tasks.into_iter().map(inspected).collect();
    let held = BTreeMap::from([(agent, Inspection { epoch_seen: Epoch(1), tasks, strays: vec![] })]);
    let verified = verify(&world.state, &held);
    assert_eq!(verified.findings, []);
    assert!(verified.checked[&Promise::Held] > 0 && verified.checked[&Promise::Ending] > 0);
    (world.state, held)
}

fn found(state: &State, held: &BTreeMap<AgentNo, Inspection>) -> Vec<(Promise, String)> {
    verify(state, held).findings.into_iter().map(|finding| (finding.promise, finding.text)).collect()
}

#[track_caller]
fn only(found: Vec<(Promise, String)>, promise: Promise, words: &str) {
    let [(by, text)] = &found[..] else { panic!("{found:?}") };
    assert!(*by == promise && text.contains(words), "{found:?}");
}

#[test]
fn agents_that_hold_other_than_the_journal_has_are_found() {
    let (state, held) = well(&spec("web", JobKind::Service, 2));
    let agent = *held.keys().next().unwrap();
    let task = held[&agent].tasks[0].task;
    let with = |change: &dyn Fn(&mut Inspection)| {
        let mut held = held.clone();
        change(held.get_mut(&agent).unwrap());
        found(&state, &held)
    };
    only(with(&|one| one.epoch_seen = Epoch(9)), Promise::Epoch, "has obeyed epoch 9");
    only(with(&|one| one.strays.push((TaskId(99), 3))), Promise::Intent, "3 processes in the group of t99");
    only(with(&|one| one.tasks.push(inspected(TaskId(99)))), Promise::Intent, "pid 8), the journal does not know it");
    let of_another = with(&|one| one.tasks[0].job = "www/prod/other".into());
    only(of_another, Promise::Intent, "processes of www/prod/other, and the journal has it as one of www/prod/web");
    only(with(&|one| _ = one.tasks.remove(0)), Promise::Held, "its agent does not hold it");
    only(with(&|one| one.tasks[0].executor_lives = false), Promise::Held, "its executor, pid 7, is dead");
    only(with(&|one| one.tasks[0].executor = None), Promise::Held, "has no executor");
    only(with(&|one| one.tasks[0].processes_total = 0), Promise::Held, "has no process");
    only(with(&|one| one.tasks[0].stopping = true), Promise::Stop, &format!("stops {task}"));
}

#[test]
fn an_instance_that_lives_twice_is_found_where_it_must_not() {
    let once = encoded(JobSpec { at_most_one: true, ..spec("once", JobKind::Service, 2) });
    let (mut state, held) = well(&once);
    let twin = *state.tasks.keys().next_back().unwrap();
    state.truth_mut().tasks.get_mut(&twin).unwrap().instance = 0;
    only(found(&state, &held), Promise::AtMostOne, "www/prod/once/0 lives as t");
}

#[test]
fn a_lost_instance_a_second_end_and_an_overcommitted_agent_are_found() {
    let (state, held) = well(&spec("web", JobKind::Service, 2));
    let agent = *held.keys().next().unwrap();
    let job = *state.jobs.keys().next().unwrap();
    let mut lost = state.clone();
    let last = *lost.tasks_of(job).slots.last().unwrap();
    lost.indexes_mut().job_tasks.get_mut(&job).unwrap().slots.remove(&last);
    only(found(&lost, &held), Promise::Submission, "www/prod/web/1 neither waits");

    let mut ended = state.clone();
    let task = ended.truth_mut().tasks.values_mut().next().unwrap();
    let end = Transition { to: TaskState::Failed, ..task.history[0].clone() };
    task.history.insert(1, end);
    only(found(&ended, &held), Promise::Ending, "is RUNNING after PENDING, FAILED, ");

    let mut small = state.clone();
    small.truth_mut().agents.get_mut(&agent).unwrap().total.cpu_milli = 150;
    only(found(&small, &held), Promise::Commitment, "is committed to 0.2 cpus, it offers 0.15 cpus");

    let port = PortDemand { name: "http".into(), fixed: None };
    let (mut twice, held) = well(&encoded(JobSpec { ports: vec![port], ..spec("web", JobKind::Service, 2) }));
    for task in twice.truth_mut().tasks.values_mut() {
        task.status =
            Status::Placed(PlacedState::Running, Place { agent, ports: [80].into(), devices: Box::default() });
    }
    only(found(&twice, &held), Promise::Commitment, "port 80 is given twice");
}

#[test]
fn a_device_given_twice_is_found() {
    let mut demand = spec("web", JobKind::Service, 2).demand;
    demand.gpu_milli = 600;
    let mut world = World::new();
    let (_, agent, _) = world.running(&encoded(spec("web", JobKind::Service, 2)));
    let mut state = world.state;
    for spec in state.truth_mut().specs.values_mut() {
        let job = JobSpec { demand: demand.clone(), ..spec.job.clone() };
        *spec = std::sync::Arc::new(Spec { job, ..Spec::clone(spec) });
    }
    state.truth_mut().agents.get_mut(&agent).unwrap().total.gpu_milli = 2_000;
    let give = |state: &mut State, devices: [u16; 2]| {
        for (task, device) in state.truth_mut().tasks.values_mut().zip(devices) {
            task.status =
                Status::Placed(PlacedState::Running, Place { agent, ports: Box::default(), devices: [device].into() });
        }
    };
    give(&mut state, [0, 1]);
    assert_eq!(found(&state, &BTreeMap::new()), []);
    give(&mut state, [1, 1]);
    let words = "1200 thousandths of gpu device 1 are given";
    only(found(&state, &BTreeMap::new()), Promise::Commitment, words);
}

#[test]
fn an_update_that_changes_too_many_at_once_is_found() {
    let mut world = World::new();
    let (link, ..) = world.running(&encoded(spec("web", JobKind::Service, 3)));
    world.pass_heard_ms(10_000, &[link]);
    world.submit(&encoded(JobSpec { priority: 7, ..spec("web", JobKind::Service, 3) })).unwrap();
    let job = *world.state.jobs.keys().next().unwrap();
    assert!(world.state.jobs[&job].changes.active().is_some(), "an update is under way");
    assert_eq!(found(&world.state, &BTreeMap::new()), []);
    let mut busy = world.state.clone();
    let advanced: Instances = (0..3).collect();
    busy.truth_mut().jobs.get_mut(&job).unwrap().changes.updates.back_mut().unwrap().advanced = advanced;
    only(found(&busy, &BTreeMap::new()), Promise::Update, "3 instances change at once, update 1 lets 1");
    let mut twice = world.state;
    let task = *twice.tasks.keys().next_back().unwrap();
    twice.truth_mut().tasks.get_mut(&task).unwrap().instance = 0;
    let all = found(&twice, &BTreeMap::new());
    assert!(
        all.iter().any(|(by, text)| *by == Promise::Update && text.contains("1 instance lives twice, update ")),
        "{all:?}"
    );
}

#[test]
fn a_victim_that_need_not_make_way_is_found() {
    let mut world = World::new();
    let (_, _, tasks) = world.running(&spec("web", JobKind::Service, 1));
    world.submit(&JobSpec { priority: 7, ..spec("other", JobKind::Service, 1) }).unwrap();
    let taker = TaskId(tasks[0].0 + 1);
    let mut state = world.state;
    let victim = state.truth_mut().tasks.get_mut(&tasks[0]).unwrap();
    let place = victim.status.place().unwrap().clone();
    victim.status = Status::Placed(PlacedState::Preempting, place);
    let last = victim.history.last().unwrap().clone();
    victim.history.push(Transition { to: TaskState::Preempting, message: format!("room for {taker}").into(), ..last });
    assert_eq!(found(&state, &BTreeMap::new()), [], "the same role, and a higher priority");
    let spec = state.tasks[&taker].spec;
    let job = JobSpec { priority: 0, ..state.specs[&spec].job.clone() };
    let low = Spec { job, ..Spec::clone(&state.specs[&spec]) };
    state.truth_mut().specs.insert(spec, std::sync::Arc::new(low));
    only(found(&state, &BTreeMap::new()), Promise::Preemption, "makes way for");
}

#[test]
fn broken_limits_are_violations_and_what_was_changed_since_is_a_drift() {
    let limit = Constraint { attribute: "host".into(), rule: Rule::Limit(2) };
    let (mut state, held) = well(&encoded(JobSpec { constraints: vec![limit], ..spec("web", JobKind::Service, 2) }));
    let change = |state: &mut State, constraints: Vec<Constraint>| {
        for spec in state.truth_mut().specs.values_mut() {
            let job = JobSpec { constraints: constraints.clone(), ..spec.job.clone() };
            *spec = std::sync::Arc::new(Spec { job, ..Spec::clone(spec) });
        }
    };
    change(&mut state, vec![Constraint { attribute: "host".into(), rule: Rule::Limit(1) }]);
    only(found(&state, &held), Promise::Constraint, "2 tasks at host=node-1, at most 1");
    change(&mut state, vec![Constraint { attribute: "rack".into(), rule: Rule::OneOf(vec!["a".into()]) }]);
    let drifted = verify(&state, &held).findings;
    assert!(drifted.len() == 2 && drifted.iter().all(|finding| finding.drifted), "{drifted:?}");
    change(&mut state, vec![]);
    let limit = Bounds::only([(dawn_proto::Dimension::Cpu, 100)]);
    state.truth_mut().quotas.insert("www".into(), Quota { limit, ..Quota::default() });
    only(found(&state, &held), Promise::Constraint, "role www holds 0.2 cpus, its limit is 0.1 cpus");
    assert!(verify(&state, &held).findings[0].drifted);
}

#[test]
fn a_template_has_no_instance_before_it_is_dispatched() {
    let batch = spec("tp", JobKind::Batch, 1);
    let template = encoded(JobSpec { flow: FlowSpec { is_template: true, ..batch.flow.clone() }, ..batch });
    let mut world = World::new();
    world.submit(&template).unwrap();
    assert_eq!(found(&world.state, &BTreeMap::new()), []);
}
