//! What nothing can satisfy waits, says why, and disturbs nobody.

use std::collections::BTreeMap;

use crate::decide::place::could_ever_fit;
use crate::model::{PortDemand, Spread};

use super::world::{World, job, resources};

#[test]
fn more_ports_than_any_agent_has_are_named_at_once_and_wait() {
    let mut world = World::new(1);
    world.agent(resources(8000, 16), "", vec![(31_000, 31_001)]);
    let mut spec = job("www/prod/web", 1, resources(1000, 1));
    spec.ports = ["a", "b", "c"].map(|name| PortDemand { name: name.into(), fixed: None }).into();
    let vetoes = could_ever_fit(&world.state, &spec).unwrap_err();
    let texts: Vec<String> = vetoes.iter().map(ToString::to_string).collect();
    assert_eq!(texts, ["1 node has fewer than 3 free ports (most: node-0 with 2 free)"]);
    let (_, waiting) = world.submit(spec);
    let (_, other) = world.submit(job("www/prod/other", 1, resources(1000, 1)));
    assert_eq!(world.place().len(), 1);
    assert!(world.agent_of(waiting[0]).is_none() && world.agent_of(other[0]).is_some());
}

#[test]
fn a_spread_over_an_attribute_nobody_has_is_a_wish_that_keeps_nothing_back() {
    let mut world = World::new(1);
    for _ in 0..2 {
        world.agent(resources(8000, 16), "zone=a", Vec::new());
    }
    let mut spec = job("www/prod/web", 6, resources(1000, 1));
    let share_percent = BTreeMap::from([("x".to_string(), 100)]);
    spec.spreads = vec![Spread { attribute: "moon".into(), share_percent, weight: 100 }];
    let (_, tasks) = world.submit(spec);
    assert_eq!(world.place().len(), 6);
    assert!(tasks.iter().all(|task| world.agent_of(*task).is_some()));
}
