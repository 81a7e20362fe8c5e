//! Quotas at placement.

use dawn_proto::v1::Tier;
use dawn_proto::{Dimension, TaskState};

use crate::model::{Bounds, Mutation, Quota, QuotaSet, TaskMoved};

use super::world::{World, job, resources};

fn set(world: &mut World, role: &str, guarantee_milli: Option<u64>, limit_milli: Option<u64>, weight: u32) {
    let cpu = |milli: Option<u64>| milli.map_or_else(Bounds::default, |milli| Bounds::only([(Dimension::Cpu, milli)]));
    let quota = Quota { guarantee: cpu(guarantee_milli), limit: cpu(limit_milli), weight };
    world.apply(Mutation::QuotaSet(Box::new(QuotaSet { role: role.into(), quota, author: String::new() })));
}

#[test]
fn nothing_is_placed_beyond_the_quota_and_why_says_so_with_the_numbers() {
    let mut world = World::new(1);
    world.agent(resources(64_000, 64), "", Vec::new());
    set(&mut world, "www", Some(2_000), Some(5_000), 1);
    let (production, tasks) = world.submit(job("www/prod/web", 3, resources(1000, 1)));
    let mut batch = job("www/prod/sum", 9, resources(1000, 1));
    batch.tier = Tier::Batch;
    let (batch, _) = world.submit(batch);
    assert_eq!(world.place().len(), 2 + 3, "two by the guarantee, three more by the limit");
    let why = |world: &mut World, job| world.placer.explain(&world.state, job)[0].to_string();
    let held = "a task needs 1 cpu, but role www holds 2 for production of its guarantee of 2 cpus";
    assert_eq!(why(&mut world, production), held);
    assert_eq!(why(&mut world, batch), "a task needs 1 cpu, but role www holds 5 of its limit of 5 cpus");
    assert!(world.place().is_empty());
    // Room under the quota wakes who waits for it, and nobody beyond.
    let placed = *tasks.iter().find(|task| world.agent_of(**task).is_some()).unwrap();
    world.move_to(placed, TaskState::Finished);
    assert_eq!(world.place().len(), 1);
    set(&mut world, "www", None, Some(6_000), 1);
    assert_eq!(world.place().len(), 1, "a higher limit is used at once");
}

#[test]
fn a_quota_below_what_is_held_stops_nothing_and_places_nothing_more() {
    let mut world = World::new(1);
    world.agent(resources(64_000, 64), "", Vec::new());
    let (_, tasks) = world.submit(job("www/prod/web", 4, resources(1000, 1)));
    assert_eq!(world.place().len(), 4);
    set(&mut world, Quota::EVERYBODY, None, Some(2_000), 1);
    world.submit(job("www/prod/more", 1, resources(1000, 1)));
    let (_, others) = world.submit(job("ann/prod/web", 3, resources(1000, 1)));
    assert_eq!(world.place().len(), 2, "everybody's quota is each role's by itself");
    assert_eq!(others.iter().filter(|task| world.agent_of(**task).is_some()).count(), 2);
    assert!(tasks.iter().all(|task| world.agent_of(*task).is_some()), "nothing was stopped");
}

#[test]
fn preemption_frees_no_room_that_the_quota_forbids_to_use() {
    let mut world = World::new(1);
    world.agent(resources(4_000, 64), "", Vec::new());
    let mut low = job("ann/prod/sum", 4, resources(1000, 1));
    low.tier = Tier::Batch;
    world.submit(low);
    assert_eq!(world.place().len(), 4);
    set(&mut world, "www", Some(1_000), None, 1);
    world.submit(job("www/prod/web", 4, resources(1000, 1)));
    let preempting = |decided: &[Mutation]| {
        let to =
            |mutation: &&Mutation| matches!(mutation, Mutation::TaskMoved(TaskMoved { to: TaskState::Preempting, .. }));
        decided.iter().filter(to).count()
    };
    let mut victims = 0;
    for _ in 0..5 {
        let decided = world.place();
        victims += preempting(&decided);
        world.pass(2_000);
    }
    assert_eq!(victims, 1);
}

#[test]
fn a_role_of_weight_two_is_due_twice_the_share_of_a_full_cluster() {
    let mut world = World::new(1);
    for _ in 0..10 {
        world.agent(resources(9_000, 64), "", Vec::new());
    }
    set(&mut world, "www", None, None, 2);
    let (_, heavy) = world.submit(job("www/prod/web", 90, resources(1000, 1)));
    world.submit(job("ann/prod/web", 90, resources(1000, 1)));
    world.place();
    let placed = heavy.iter().filter(|task| world.agent_of(**task).is_some()).count();
    assert!((59..=61).contains(&placed), "{placed} of 90");
}
