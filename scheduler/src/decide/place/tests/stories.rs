//! Small stories, each about one promise.

use dawn_proto::v1::Tier;

use dawn_proto::TaskState;

use crate::decide::place::could_ever_fit;
use crate::model::{AgentNo, Mutation, TaskAssigned};

use super::world::{World, job, limit, one_of, resources};

#[test]
fn a_limit_per_rack_is_kept_and_the_rest_wait_and_say_why() {
    let mut world = World::new(1);
    for at in 0..6 {
        world.agent(resources(8000, 16), &format!("rack=r{}", at % 2), Vec::new());
    }
    let mut spec = job("www/prod/web", 5, resources(1000, 1));
    spec.constraints = vec![limit("rack", 2)];
    let (id, tasks) = world.submit(spec);
    assert_eq!(world.place().len(), 4);
    assert!(world.agent_of(tasks[4]).is_none());
    let why = world.placer.explain(&world.state, id);
    assert_eq!(why.len(), 1);
    assert_eq!(why[0].instances, [4]);
    assert_eq!(why[0].to_string(), "none of 6 nodes fits: 6 nodes have 2 tasks of the job per rack already");
    assert!(world.place().is_empty());
}

#[test]
fn what_fits_no_agent_even_empty_is_named_with_the_nearest_miss() {
    let mut world = World::new(1);
    world.agent(resources(8000, 16), "zone=a", Vec::new());
    world.agent(resources(16_000, 8), "zone=b", Vec::new());
    assert_eq!(could_ever_fit(&world.state, &job("www/prod/web", 1, resources(8000, 16))), Ok(()));
    let vetoes = could_ever_fit(&world.state, &job("www/prod/web", 1, resources(9000, 9))).unwrap_err();
    let texts: Vec<String> = vetoes.iter().map(ToString::to_string).collect();
    assert_eq!(
        texts,
        [
            "1 node has fewer than 9 cpus (most: node-0 with 8 free)",
            "1 node has less than 9 GiB of memory (most: node-1 with 8 GiB free)"
        ]
    );
    let mut absurd = job("www/prod/web", 1, resources(u64::MAX, 1));
    absurd.constraints = vec![one_of("zone", &["a"])];
    assert_eq!(could_ever_fit(&world.state, &absurd).unwrap_err().len(), 2);
}

#[test]
fn an_agent_that_reports_impossible_amounts_breaks_nothing() {
    let mut world = World::new(1);
    let mut total = resources(u64::MAX, 1);
    (total.memory_bytes, total.disk_bytes, total.gpu_milli) = (u64::MAX, u64::MAX, u64::MAX);
    total.custom_milli.insert("licence".into(), u64::MAX);
    for _ in 0..3 {
        world.agent(total.clone(), "", vec![(0, u16::MAX)]);
    }
    world.submit(job("www/prod/web", 10, resources(1000, 1)));
    assert_eq!(world.place().len(), 10);
    let mut more = job("www/prod/more", 1, resources(u64::MAX, 1));
    more.demand.memory_bytes = u64::MAX;
    world.submit(more);
    assert!(world.place().is_empty());
}

#[test]
fn bands_go_before_shares_and_priority_before_age() {
    let mut world = World::new(1);
    world.agent(resources(3000, 16), "", Vec::new());
    let mut tasks = Vec::new();
    for (key, tier, priority) in [
        ("a/x/batch", Tier::Batch, 900),
        ("b/x/low", Tier::Production, 1),
        ("b/x/high", Tier::Production, 2),
        ("c/x/other", Tier::Production, 0),
    ] {
        let mut spec = job(key, 1, resources(1000, 1));
        (spec.tier, spec.priority) = (tier, priority);
        tasks.extend(world.submit(spec).1);
    }
    let order: Vec<_> = world
        .place()
        .into_iter()
        .filter_map(|mutation| match mutation {
            Mutation::TaskAssigned(TaskAssigned { task, .. }) => Some(task),
            _ => None,
        })
        .collect();
    assert_eq!(order, [tasks[2], tasks[3], tasks[1]]);
}

fn batch(key: &str, instances: u32, cpu_milli: u64) -> crate::model::JobSpec {
    let mut spec = job(key, instances, resources(cpu_milli, 1));
    spec.tier = Tier::Batch;
    spec
}

#[test]
fn production_takes_the_least_and_gets_the_room_it_freed() {
    let mut world = World::new(1);
    for _ in 0..2 {
        world.agent(resources(4000, 64), "", Vec::new());
    }
    let mut dear = batch("a/x/dear", 1, 4000);
    dear.priority = 500;
    let (_, dear) = world.submit(dear);
    let (_, cheap) = world.submit(batch("b/x/cheap", 4, 1000));
    assert_eq!(world.place().len(), 5);
    world.pass(1000);
    let (_, wanted) = world.submit(job("c/prod/web", 1, resources(2000, 1)));
    let decided = world.place();
    let stopped: Vec<_> =
        cheap.iter().filter(|task| world.state.tasks[task].state() == TaskState::Preempting).collect();
    assert_eq!((decided.len(), stopped.len()), (3, 2), "{decided:?}");
    assert!(world.agent_of(dear[0]).is_some());
    // A later task can't take the room, nor is more taken while the victims die.
    world.submit(batch("d/x/thief", 1, 1000));
    world.move_to(*stopped[0], TaskState::Killed);
    assert!(world.place().is_empty());
    world.move_to(*stopped[1], TaskState::Killed);
    let decided = world.place();
    let [Mutation::TaskAssigned(TaskAssigned { task, agent: AgentNo(_), .. })] = &decided[..] else {
        panic!("{decided:?}")
    };
    assert_eq!(*task, wanted[0]);
}

#[test]
fn a_nominated_slot_is_given_back_when_unused() {
    let mut world = World::new(1);
    let agent = world.agent(resources(4000, 64), "", Vec::new());
    let (_, victims) = world.submit(batch("a/x/batch", 4, 1000));
    world.place();
    let (_, wanted) = world.submit(job("b/prod/web", 1, resources(1000, 1)));
    assert_eq!(world.place().len(), 2);
    // The task that caused it ends before its room is free.
    world.move_to(wanted[0], TaskState::Killed);
    let (_, thief) = world.submit(batch("c/x/thief", 1, 1000));
    assert!(world.place().is_empty());
    let stopped = victims.iter().find(|task| world.state.tasks[task].state() == TaskState::Preempting);
    world.move_to(*stopped.unwrap(), TaskState::Killed);
    assert_eq!(world.place().len(), 1);
    assert_eq!(world.agent_of(thief[0]), Some(agent));
}

#[test]
fn production_of_another_role_is_never_taken() {
    let mut world = World::new(1);
    world.agent(resources(2000, 64), "", Vec::new());
    let mut low = job("a/prod/low", 2, resources(1000, 1));
    low.priority = 1;
    world.submit(low.clone());
    world.place();
    let mut other = job("b/prod/high", 1, resources(1000, 1));
    other.priority = 1000;
    world.submit(other);
    assert!(world.place().is_empty());
    let mut own = job("a/prod/high", 1, resources(1000, 1));
    own.priority = 2;
    world.submit(own);
    assert_eq!(world.place().len(), 2);
}

#[test]
fn a_disruption_budget_is_kept_until_the_replacement_runs() {
    let mut world = World::new(1);
    world.agent(resources(4000, 64), "", Vec::new());
    let mut fragile = batch("a/x/fragile", 4, 1000);
    fragile.disruption_budget = Some(1);
    let (fragile_job, tasks) = world.submit(fragile);
    world.place();
    world.submit(job("b/prod/web", 3, resources(1000, 1)));
    assert_eq!(world.place().len(), 2);
    let stopped = *tasks.iter().find(|task| world.state.tasks[task].state() == TaskState::Preempting).unwrap();
    let spec = world.state.tasks[&stopped].spec;
    world.move_to(stopped, TaskState::Killed);
    let again = world.make_task(fragile_job, spec, 0, dawn_proto::v1::Reason::Preempted);
    assert_eq!(world.place().len(), 1);
    world.pass(5000);
    assert!(world.place().is_empty(), "the replacement does not run yet");
    world.move_to(again, TaskState::Killed);
    world.pass(5000);
    assert_eq!(world.place().len(), 2);
}
