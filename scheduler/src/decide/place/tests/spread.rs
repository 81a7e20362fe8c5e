//! Spreads over several levels, shares, and wishes of every kind.

use std::collections::BTreeMap;

use dawn_proto::TaskId;
use dawn_proto::v1::Comparison;

use crate::decide::place::Placer;
use crate::model::{Affinity, AgentForgotten, Constraint, Mutation, Near, Rule, Spread};

use super::world::{World, job, resources};

fn spread(attribute: &str, shares: &[(&str, u32)]) -> Spread {
    let share_percent = shares.iter().map(|(value, percent)| (value.to_string(), *percent)).collect();
    Spread { attribute: attribute.into(), share_percent, weight: 100 }
}

/// How many of the tasks are on agents with each value.
fn by_value(world: &World, tasks: &[TaskId], attribute: &str) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for agent in tasks.iter().filter_map(|task| world.agent_of(*task)) {
        let agent = &world.state.agents[&agent];
        let value = match attribute {
            "host" => agent.id.to_string(),
            _ => agent.attributes[attribute][0].clone(),
        };
        *counts.entry(value).or_default() += 1;
    }
    counts
}

/// Two zones of three racks of four agents.
fn zones() -> World {
    let mut world = World::new(1);
    for at in 0..24 {
        world.agent(resources(8000, 64), &format!("zone=z{} rack=z{}r{}", at % 2, at % 2, at % 3), Vec::new());
    }
    world
}

#[test]
fn zones_then_racks_then_hosts_each_get_their_even_part() {
    for instances in [6, 12, 24] {
        let mut world = zones();
        let mut spec = job("www/prod/web", instances, resources(500, 1));
        spec.spreads = ["zone", "rack", "host"].map(|attribute| spread(attribute, &[])).into();
        let (_, tasks) = world.submit(spec);
        assert_eq!(world.place().len(), instances as usize);
        for (attribute, values) in [("zone", 2), ("rack", 6), ("host", 24)] {
            let counts = by_value(&world, &tasks, attribute);
            let most = (instances as usize).div_ceil(values);
            assert!(counts.values().all(|count| *count <= most), "{instances} over {attribute}: {counts:?}");
        }
    }
}

#[test]
fn shares_count_on_every_level() {
    let mut world = zones();
    let mut spec = job("www/prod/web", 20, resources(500, 1));
    spec.spreads = vec![spread("zone", &[("z0", 80)]), spread("rack", &[("z0r0", 40), ("z1r1", 0)])];
    let (_, tasks) = world.submit(spec);
    assert_eq!(world.place().len(), 20);
    let zones = by_value(&world, &tasks, "zone");
    assert_eq!((zones["z0"], zones["z1"]), (16, 4), "four fifths and the rest");
    let racks = by_value(&world, &tasks, "rack");
    assert_eq!(racks.get("z1r1"), None, "a share of nothing: {racks:?}");
    assert!(racks["z0r0"] >= 8, "{racks:?}");
}

#[test]
fn wishes_about_an_attribute_are_heard_whatever_their_rule() {
    let rules = [
        Rule::OneOf(vec!["6.1".into()]),
        Rule::NoneOf(vec!["5.10".into()]),
        Rule::Regex("6[.].*".into()),
        Rule::Number(Comparison::Greater, "6".into()),
        Rule::Version(Comparison::GreaterOrEqual, "6.0".into()),
    ];
    for rule in rules {
        for (weight, kernel) in [(100, "6.1"), (-100, "5.10")] {
            let mut world = World::new(1);
            // What is wished for is the looser fit.
            let loose = if weight > 0 { "kernel=6.1" } else { "kernel=5.10" };
            let tight = if weight > 0 { "kernel=5.10" } else { "kernel=6.1" };
            world.agent(resources(2000, 4), tight, Vec::new());
            world.agent(resources(4000, 8), loose, Vec::new());
            let mut spec = job("www/prod/web", 1, resources(1000, 1));
            let near = Near::Attribute(Constraint { attribute: "kernel".into(), rule: rule.clone() });
            spec.affinities = vec![Affinity { weight, required: false, near }];
            let (_, tasks) = world.submit(spec);
            world.place();
            let counts = by_value(&world, &tasks, "kernel");
            assert_eq!(counts.get(kernel), Some(&1), "{rule:?} of weight {weight}: {counts:?}");
        }
    }
}

#[test]
fn hosts_get_their_even_part_where_the_numbers_of_agents_have_gaps() {
    let mut world = World::new(1);
    let agents: Vec<_> = (0..7).map(|_| world.agent(resources(8000, 64), "", Vec::new())).collect();
    for agent in &agents[..3] {
        world.apply(Mutation::AgentForgotten(AgentForgotten { agent: *agent }));
    }
    // As a leader does that begins.
    world.placer = Placer::rebuild(&world.state, &world.settings);
    agents[3..].iter().for_each(|agent| world.connect(*agent, true));
    let mut spec = job("www/prod/batch", 8, resources(500, 1));
    spec.spreads = vec![spread("host", &[])];
    let (_, tasks) = world.submit(spec);
    world.place();
    assert_eq!(by_value(&world, &tasks, "host").into_values().collect::<Vec<_>>(), [2; 4]);
}
