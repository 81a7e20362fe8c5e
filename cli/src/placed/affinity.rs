//! Wishes about attributes: weights add up, negative ones repel, and none of them keeps a task from running.

use super::{Cluster, decide, job};

const MACHINES: &[&str] = &[
    "n1 --cpus 4 --attribute disk=hdd --attribute zone=x",
    "n2 --cpus 4 --attribute disk=ssd --attribute zone=x",
    "n3 --cpus 4 --attribute disk=ssd --attribute zone=y",
    "n4 --cpus 4 --attribute disk=hdd --attribute zone=y",
];

#[test]
fn the_sum_of_the_weights_decides() {
    let cases = [
        ("affinities: [{attribute: disk, in: ssd, weight: 60}, {attribute: zone, in: y, weight: 40}]", "n3"),
        ("affinities: [{attribute: disk, in: ssd, weight: -60}, {attribute: zone, in: y, weight: 40}]", "n4"),
        ("affinities: [{attribute: disk, in: ssd, weight: 60}, {attribute: zone, in: y, weight: -70}]", "n2"),
        ("affinities: [{attribute: disk, in: ssd, weight: -60}, {attribute: zone, in: y, weight: -40}]", "n1"),
        (
            "affinities: [{attribute: disk, not_in: ssd, weight: 30}, {attribute: zone, regex: '[y-z]', weight: 20}]",
            "n4",
        ),
        ("affinities: [{attribute: disk, in: tape, weight: 100}, {attribute: host, in: n2, weight: 30}]", "n2"),
        ("affinities: [{attribute: hostname, in: n4.example, weight: 30}]", "n4"),
    ];
    decide(MACHINES, &cases);
}

#[test]
fn a_wish_counts_for_every_instance_and_no_longer_than_there_is_room() {
    let cases = [
        ("instances: 4\naffinities: [{attribute: zone, in: y, weight: 100}]", "n3 n3 n3 n3"),
        (
            "instances: 6\nresources: {cpu: 2}\naffinities: [{attribute: disk, in: ssd, weight: 100}]",
            "n1 n1 n2 n2 n3 n3",
        ),
        ("instances: 4\naffinities: [{attribute: zone, in: x, weight: -100}]", "n3 n3 n3 n3"),
    ];
    decide(MACHINES, &cases);
}

#[test]
fn what_is_wished_for_is_found_among_many() {
    let mut machines: Vec<String> =
        (0..400).map(|n| format!("m{n} --attribute disk=ssd --attribute slot=s{n}")).collect();
    machines.push("last --attribute disk=ssd --attribute zone=y --attribute slot=special".to_string());
    let machines: Vec<&str> = machines.iter().map(String::as_str).collect();
    let cases = [
        ("affinities: [{attribute: slot, in: special, weight: 50}]", "last"),
        ("affinities: [{attribute: slot, regex: 'spec.*', weight: 50}]", "last"),
        ("affinities: [{attribute: host, in: last, weight: 50}]", "last"),
        ("affinities: [{attribute: hostname, in: last.example, weight: 50}]", "last"),
        ("affinities: [{attribute: disk, in: ssd, weight: 50}, {attribute: zone, in: y, weight: 40}]", "last"),
    ];
    decide(&machines, &cases);
}

#[test]
fn what_is_not_wished_for_is_passed_over_however_much_of_it_there_is() {
    let mut machines: Vec<String> = (0..1200).map(|n| format!("m{n} --attribute disk=hdd")).collect();
    machines.extend(["ssd --attribute disk=ssd", "none"].map(str::to_string));
    let machines: Vec<&str> = machines.iter().map(String::as_str).collect();
    let repelled = "{attribute: disk, in: hdd, weight: -50}";
    let cases = [
        (format!("affinities: [{repelled}, {{attribute: disk, exists: true, weight: -10}}]"), "none"),
        (format!("affinities: [{repelled}, {{attribute: disk, exists: true, weight: 10}}]"), "ssd"),
    ];
    decide(&machines, &cases.each_ref().map(|(fields, expected)| (fields.as_str(), *expected)));
}

#[test]
fn a_service_fills_the_machines_it_wishes_for_before_it_goes_elsewhere() {
    let mut cluster = Cluster::of(MACHINES);
    let service =
        job("instances: 4\naffinities: [{attribute: disk, in: ssd, weight: 100}]").replace("batch", "service");
    cluster.yaml(&service);
    assert_eq!(cluster.outcome("r/e/n"), "n2 n2 n3 n3");
}
