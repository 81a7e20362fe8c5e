//! Amounts beyond cpu and memory: custom scalars, whole gpus, shares of one.

use super::{Cluster, aurora_job, decide, job};

const MACHINES: &[&str] = &["n1 --gpus 2 --custom licenses=1.5", "n2 --gpus 4 --custom licenses=3", "n3"];

#[test]
fn amounts_reach_the_decision() {
    let cases = [
        ("resources: {custom: {licenses: 2}}", "n2"),
        ("instances: 3\nresources: {custom: {licenses: 1.5}}", "n1 n2 n2"),
        (
            "resources: {custom: {licenses: 3.001}}",
            "none of 3 nodes fits: 3 nodes have less than 3.001 of licenses (most: n2.example with 3 free)",
        ),
        (
            "resources: {custom: {tokens: 1}}",
            "none of 3 nodes fits: 3 nodes have less than 1 of tokens (most: n1.example with 0 free)",
        ),
        ("resources: {gpu: 3}", "n2"),
        ("resources: {gpu: 5}", "none of 3 nodes fits: 3 nodes have fewer than 5 gpus (most: n2.example with 4 free)"),
        (
            "resources: {gpu: 2, custom: {licenses: 1}}\ninstances: 4",
            "n1 n2; none of 3 nodes fits: 2 nodes have less than 1 of licenses",
        ),
    ];
    decide(MACHINES, &cases[..6]);
    let mut cluster = Cluster::of(MACHINES);
    cluster.yaml(&job(cases[6].0));
    let said = cluster.outcome("r/e/n");
    assert!(said.starts_with("n1 n2 n2; none of 3 nodes fits: 3 nodes have fewer than 2 gpus"), "{said}");
}

#[test]
fn devices_have_numbers_and_no_device_is_given_away_twice() {
    let mut cluster = Cluster::of(&MACHINES[1..2]);
    cluster.yaml(&job("instances: 5\nresources: {gpu: 0.4}"));
    let devices: Vec<Vec<u32>> = cluster.tasks("r/e/n").into_iter().map(|task| task.devices).collect();
    assert_eq!(devices, [[0], [0], [1], [1], [2]], "shares fill one device before the next");
    cluster.yaml(&job("resources: {gpu: 1}\ninstances: 2").replace("r/e/n", "r/e/whole"));
    assert_eq!(cluster.tasks("r/e/whole")[0].devices, [3]);
    let said = cluster.outcome("r/e/whole");
    assert_eq!(
        said,
        "n2; the only node does not fit: 1 node has fewer than 1 wholly free gpu (most: n2.example with 0 free)"
    );
}

#[test]
fn a_share_needs_one_device_that_has_it() {
    let mut cluster = Cluster::of(&["n1 --gpus 2"]);
    cluster.yaml(&job("instances: 3\nresources: {gpu: 0.6}"));
    let said = cluster.outcome("r/e/n");
    assert_eq!(
        said,
        "n1 n1; the only node does not fit: 1 node has no single gpu with 0.6 free (most: n1.example with 0.4 free)"
    );
}

#[test]
fn auroras_gpus_are_whole_ones() {
    let mut cluster = Cluster::of(MACHINES);
    cluster.aurora(&aurora_job("instances = 1").replace("cpu = 1,", "cpu = 1, gpu = 3,"));
    let [task] = &cluster.tasks("r/e/n")[..] else { panic!("{}", cluster.outcome("r/e/n")) };
    assert_eq!((task.agent.as_str(), &task.devices[..]), ("n2", &[0, 1, 2][..]));
}
