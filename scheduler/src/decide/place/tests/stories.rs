//! Small stories, each about one promise.

use dawn_proto::v1::Tier;

use crate::decide::place::could_ever_fit;
use crate::model::Mutation;

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
    assert_eq!(why[0].to_string(), "none of 6 agents fits: 6 agents: 2 tasks of the job per rack already there");
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
            "1 agent lacks 9 of cpu (nearest: node-0 with 8 free)",
            "1 agent lacks 9 GiB of memory (nearest: node-1 with 8 GiB free)"
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
        ("a/x/batch", Tier::BatchTier, 900),
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
            Mutation::TaskAssigned { task, .. } => Some(task),
            _ => None,
        })
        .collect();
    assert_eq!(order, [tasks[2], tasks[3], tasks[1]]);
}
