//! What nothing can satisfy waits, says why, and disturbs nobody.

use std::collections::BTreeMap;

use dawn_proto::v1::PortHolder;

use crate::decide::place::{Veto, could_ever_fit};
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
fn a_fixed_port_that_something_else_holds_is_named_with_its_node() {
    let mut world = World::new(1);
    world.taken_ports.insert(31_002, PortHolder::Listener);
    for _ in 0..2 {
        world.agent(resources(8000, 16), "", vec![(31_000, 31_001), (31_003, 31_100)]);
    }
    world.taken_ports.clear();
    world.agent(resources(8000, 16), "", vec![(32_000, 32_100)]);
    let mut spec = job("www/prod/web", 1, resources(1000, 1));
    spec.ports = vec![PortDemand { name: "http".into(), fixed: Some(31_002) }];
    let said = [
        "port 31002 of node-0 and 1 more node is held by a process that Dawn did not give it to",
        "1 node does not offer port 31002 (node-2 offers 32000-32100)",
    ];
    let texts = |vetoes: &[Veto]| vetoes.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(texts(&could_ever_fit(&world.state, &spec).unwrap_err()), said);
    let (id, _) = world.submit(spec);
    world.place();
    assert_eq!(texts(&world.placer.explain(&world.state, id)[0].vetoes), said);
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
