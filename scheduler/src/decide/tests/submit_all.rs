//! Many jobs submitted as one.

use dawn_proto::TaskState::{Finished, Pending, Running};
use dawn_proto::v1::{DependsOn, Reason, SubmitOutcome};
use dawn_proto::{Resources, TaskId};

use super::promises::replay_equals_live;
use super::specs::{batch, key, service};
use super::world::World;
use crate::model::*;

fn submit_all(world: &mut World, specs: &[JobSpec]) -> Result<Vec<SubmitOutcome>, Refusal> {
    let (author, message) = ("ann".into(), String::new());
    match world.command(Command::SubmitAll { specs: specs.to_vec(), author, message })? {
        Answer::AllSubmitted(answers::AllSubmitted(all)) => {
            let keys: Vec<_> = all.iter().map(|(key, ..)| key.clone()).collect();
            assert_eq!(
                keys,
                specs.iter().map(|spec| spec.key.clone()).collect::<Vec<_>>(),
                "in the order of the specs"
            );
            Ok(all.into_iter().map(|(.., outcome)| outcome).collect())
        }
        answer => panic!("{answer:?}"),
    }
}

fn after(name: &str, other: &str, on: DependsOn) -> JobSpec {
    let mut spec = batch(name, 1);
    spec.flow.after = vec![Dependency { job: key(other), on }];
    spec
}

fn cpu_of(mut spec: JobSpec, cpu_milli: u64) -> JobSpec {
    spec.demand = Resources { cpu_milli, ..spec.demand };
    spec.wire = [&*spec.wire, &cpu_milli.to_le_bytes()].concat().into();
    spec
}

#[test]
fn one_that_is_refused_keeps_all_of_them_out_and_is_named() {
    let mut world = World::new();
    world.submit(&batch("b", 1)).unwrap();
    let before = format!("{:?}", world.state);
    let specs = [service("a", 2), cpu_of(batch("b", 1), 7), service("c", 1)];
    let refused = submit_all(&mut world, &specs).unwrap_err();
    let said = "www/prod/b: www/prod/b runs version 1 with another spec, and is not changed while it runs. \
                None of the 3 jobs was submitted";
    assert_eq!(refused.to_string(), said);
    assert_eq!(format!("{:?}", world.state), before);
    // Of one job alone nothing is said of others.
    let alone = submit_all(&mut world, &specs[1..2]).unwrap_err();
    assert_eq!(alone, Refusal::Differs { key: key("b"), version: 1 });
    use SubmitOutcome::{Created, Unchanged};
    let outcomes = submit_all(&mut world, &[service("a", 2), batch("b", 1), service("c", 1)]).unwrap();
    assert_eq!(outcomes, [Created, Unchanged, Created]);
    assert_eq!((world.tasks("a").len(), world.tasks("c").len()), (2, 1));
    assert_eq!(
        world.journal.last().unwrap().mutations.iter().filter(|one| matches!(one, Mutation::JobMade(_))).count(),
        2
    );
    replay_equals_live(&world);
}

#[test]
fn each_counts_on_those_before_it() {
    let mut world = World::new();
    let limit = Some(Bounds::only([(dawn_proto::Dimension::Cpu, 500)]));
    let set = Command::SetQuota { role: "www".into(), guarantee: None, limit, weight: None, author: "op".into() };
    world.command(set).unwrap();
    let specs = ["a", "b", "c"].map(|name| cpu_of(service(name, 1), 200));
    let refused = submit_all(&mut world, &specs).unwrap_err();
    assert!(matches!(&refused, Refusal::OneOfMany { key, of: 3, .. } if key.name() == "c"), "{refused}");
    assert!(world.state.jobs.is_empty());
    submit_all(&mut world, &specs[..2]).unwrap();
    assert_eq!(world.state.jobs.len(), 2);
}

#[test]
fn a_graph_is_run_again_wherever_each_of_its_jobs_stands() {
    let mut world = World::new();
    let (link, agent) = world.agent(1);
    let specs =
        [after("alarm", "load", DependsOn::Failure), after("tidy", "load", DependsOn::Success), batch("load", 1)];
    for run in 1..=2 {
        submit_all(&mut world, &specs).unwrap();
        assert_eq!(world.tasks("load").last(), Some(&(0, run, Pending)));
        assert!(["alarm", "tidy"].iter().all(|name| world.job(name).ended.is_none()), "run {run}");
        while let Some(task) = world.state.indexes().pending.first().copied() {
            world.place_all(agent);
            [Running, Finished].iter().for_each(|state| world.report(link, task, *state, Reason::None));
        }
        assert!(world.job("alarm").ended.as_ref().is_some_and(|ended| ended.not_needed), "run {run}");
        assert_eq!(world.tasks("tidy").last(), Some(&(0, run, Finished)));
    }
    let circle = [after("x", "y", DependsOn::Success), after("y", "x", DependsOn::Success)];
    let refused = submit_all(&mut world, &circle).unwrap_err();
    assert!(refused.to_string().contains("wait for each other"), "{refused}");
    replay_equals_live(&world);
}

#[test]
fn what_does_not_fit_into_a_slice_is_made_by_the_next_ticks() {
    let mut world = World::new();
    world.settings.slice = 100;
    let specs: Vec<JobSpec> = (0..20).map(|number| batch(&format!("j{number}"), 40)).collect();
    submit_all(&mut world, &specs).unwrap();
    let made = world.journal.last().unwrap().mutations.len();
    assert!(made < 100 + 20 * 5, "{made}");
    assert_eq!(world.state.jobs.len(), 20);
    world.pass_ms(30_000);
    let tasks: Vec<TaskId> = world.state.tasks.keys().copied().collect();
    assert_eq!(tasks.len(), 800);
}
