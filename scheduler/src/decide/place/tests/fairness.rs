//! Nobody starves: weighted dominant shares even out, the largest share yields, and a role's flood is its own trouble.

use dawn_proto::v1::Tier;
use rand::Rng;

use crate::model::{Bounds, Mutation, Quota, QuotaSet, TaskMoved};

use super::world::{World, job, resources};

fn weigh(world: &mut World, role: &str, weight: u32) {
    let (guarantee, limit) = (Bounds::default(), Bounds::default());
    let quota = Quota { guarantee, limit, weight };
    world.apply(Mutation::QuotaSet(Box::new(QuotaSet { role: role.into(), quota, author: String::new() })));
}

/// The larger of cpu's and memory's part of the cluster that the role holds, over its weight.
fn share(world: &World, role: &str, weight: u32) -> f64 {
    let total = |of: fn(&dawn_proto::Resources) -> u64| world.state.agents.values().map(|agent| of(&agent.total)).sum();
    let (cpu, memory): (u64, u64) = (total(|all| all.cpu_milli), total(|all| all.memory_bytes));
    let (mut cpu_held, mut memory_held) = (0, 0);
    for task in world.state.tasks.values().filter(|task| task.held_on().is_some()) {
        let spec = &world.state.spec_of(task).job;
        if spec.key.role() == role {
            (cpu_held, memory_held) = (cpu_held + spec.demand.cpu_milli, memory_held + spec.demand.memory_bytes);
        }
    }
    let part = |held: u64, of: u64| held as f64 / of as f64;
    part(cpu_held, cpu).max(part(memory_held, memory)) / f64::from(weight)
}

#[test]
fn on_a_full_cluster_dominant_shares_are_even_by_weight_up_to_one_task() {
    for seed in 0..40 {
        let mut world = World::new(seed);
        for _ in 0..20 {
            world.agent(resources(16_000, 64), "", Vec::new());
        }
        let roles: Vec<(String, u32)> = (0..world.random.random_range(2..6))
            .map(|at| (format!("r{at}"), world.random.random_range(1..4)))
            .collect();
        for (role, weight) in &roles {
            weigh(&mut world, role, *weight);
            // Each may want cpu or memory; all want more than there is.
            let demand = resources(world.random.random_range(1..8) * 250, world.random.random_range(1..5));
            for at in 0..4 {
                world.submit(job(&format!("{role}/prod/job{at}"), 400, demand.clone()));
            }
        }
        world.place();
        assert!(!world.state.indexes().pending.is_empty());
        let shares: Vec<f64> = roles.iter().map(|(role, weight)| share(&world, role, *weight)).collect();
        let (least, most) = shares.iter().fold((f64::MAX, 0.0f64), |(low, high), one| (low.min(*one), high.max(*one)));
        // One task is at most 2 of 320 cpus or 4 of 1,280 GiB; the slack is a thousandth. What fits nowhere any more,
        // while something smaller still does, may add a little.
        assert!(most - least < 0.03, "seed {seed}: {roles:?} hold {shares:?}");
    }
}

#[test]
fn a_flood_of_urgent_jobs_keeps_no_other_role_waiting() {
    let mut world = World::new(1);
    world.agent(resources(10_000, 64), "", Vec::new());
    let (_, modest) = world.submit(job("modest/prod/web", 2, resources(1000, 1)));
    for at in 0..50 {
        let mut spec = job(&format!("flood/prod/job{at}"), 10, resources(1000, 1));
        spec.priority = 1000;
        world.submit(spec);
    }
    world.place();
    assert!(
        modest.iter().all(|task| world.agent_of(*task).is_some()),
        "its share is the smallest: its turn comes first"
    );
}

#[test]
fn what_is_old_is_not_overtaken_for_ever_by_what_is_as_urgent() {
    let mut world = World::new(1);
    world.agent(resources(2000, 64), "", Vec::new());
    let mut batch = job("a/x/first", 2, resources(1000, 1));
    batch.tier = Tier::Batch;
    let (_, running) = world.submit(batch.clone());
    world.place();
    batch.key = "a/x/waiting".parse().unwrap();
    let (_, waiting) = world.submit(batch.clone());
    for round in 0..4 {
        batch.key = format!("a/x/younger{round}").parse().unwrap();
        world.submit(batch.clone());
    }
    for task in running {
        world.move_to(task, dawn_proto::TaskState::Finished);
        world.place();
    }
    assert!(waiting.iter().all(|task| world.agent_of(*task).is_some()));
}

#[test]
fn a_large_task_gets_its_room_though_small_ones_keep_coming() {
    let mut world = World::new(1);
    for _ in 0..4 {
        world.agent(resources(4000, 64), "", Vec::new());
    }
    let mut small = job("small/x/job", 16, resources(1000, 1));
    small.tier = Tier::Batch;
    world.submit(small.clone());
    world.place();
    let (_, large) = world.submit(job("large/prod/web", 1, resources(4000, 4)));
    for round in 0..6 {
        small.key = format!("small/x/job{round}").parse().unwrap();
        small.instances = 4;
        world.submit(small.clone());
        let decided = world.place();
        for mutation in decided {
            if let Mutation::TaskMoved(TaskMoved { task, .. }) = mutation {
                world.move_to(task, dawn_proto::TaskState::Killed);
            }
        }
        world.pass(1000);
    }
    assert!(world.agent_of(large[0]).is_some(), "the room of its victims was kept for it");
}
