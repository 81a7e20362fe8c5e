//! Rules and wishes about other jobs' tasks, and about the job's own.

use super::{Cluster, job};

const MACHINES: &[&str] =
    &["n1 --attribute rack=a", "n2 --attribute rack=a", "n3 --attribute rack=b", "n4 --attribute rack=b"];

/// Where a job goes once `r/e/cache` is on n3.
fn beside_cache(fields: &str) -> String {
    let mut cluster = Cluster::of(MACHINES);
    cluster.yaml(&job("constraints: [{attribute: host, in: n3}]").replace("r/e/n", "r/e/cache"));
    cluster.yaml(&job(fields));
    cluster.outcome("r/e/n")
}

#[test]
fn other_jobs_attract_and_repel() {
    for (fields, expected) in [
        ("affinities: [{job: r/e/cache, weight: 50}]", "n3"),
        ("instances: 3\naffinities: [{job: r/e/cache, weight: 100}]", "n3 n3 n3"),
        ("affinities: [{job: r/e/cache, weight: 50, topology: rack}, {job: r/e/cache, weight: -60}]", "n4"),
        ("affinities: [{job: r/e/cache, weight: -50, topology: rack}]", "n1"),
        ("instances: 2\naffinities: [{job: r/e/cache, weight: 1, required: true}]", "n3 n3"),
        (
            "affinities: [{job: r/e/cache, weight: -1, required: true, topology: rack}]\n\
             constraints: [{attribute: rack, in: b}]",
            "none of 4 nodes fits: 2 nodes do not match the constraint rack = b; 2 nodes have tasks of r/e/cache on the same rack",
        ),
        (
            "affinities: [{job: r/e/ghost, weight: 1, required: true}]",
            "none of 4 nodes fits: 4 nodes have no task of r/e/ghost on the same host",
        ),
        ("affinities: [{job: r/e/ghost, weight: -1, required: true}]\nconstraints: [{attribute: host, in: n2}]", "n2"),
    ] {
        assert_eq!(beside_cache(fields), expected, "{fields}");
    }
}

#[test]
fn a_job_keeps_its_own_tasks_together_or_apart() {
    for (fields, expected) in [
        ("instances: 3\naffinities: [{job: r/e/n, weight: 1, required: true, topology: rack}]", "n1 n1 n2"),
        ("instances: 3\naffinities: [{job: r/e/n, weight: 1, required: true}]", "n1 n1 n1"),
        ("instances: 4\naffinities: [{job: r/e/n, weight: -100}]", "n1 n2 n3 n4"),
        (
            "instances: 3\naffinities: [{job: r/e/n, weight: -1, required: true, topology: rack}]",
            "n1 n3; none of 4 nodes fits: 4 nodes have tasks of r/e/n on the same rack",
        ),
    ] {
        let mut cluster = Cluster::of(MACHINES);
        cluster.yaml(&job(fields));
        assert_eq!(cluster.outcome("r/e/n"), expected, "{fields}");
    }
}

#[test]
fn who_refuses_a_neighbour_is_not_joined_by_it_later() {
    let mut cluster = Cluster::of(&MACHINES[..1]);
    cluster.yaml(&job("affinities: [{job: r/e/noisy, weight: -1, required: true}]"));
    cluster.yaml(&job("").replace("r/e/n", "r/e/noisy"));
    let said = cluster.outcome("r/e/noisy");
    assert_eq!(said, "the only node does not fit: 1 node is near tasks of r/e/n, which refuses this job");
}
