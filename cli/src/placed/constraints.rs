//! Hard rules about attributes: each rule there is, in YAML and in Aurora's words, and rules that hold together.

use super::{Cluster, decide, decide_aurora, job, refused};

const MACHINES: &[&str] = &[
    "n1 --attribute rack=a --attribute zone=x,y --attribute kernel=5.15.0-91 --attribute cores=8",
    "n2 --attribute rack=b --attribute zone=y --attribute kernel=v6.1 --attribute cores=16",
    "n3 --attribute rack=c --attribute kernel=6.10.2 --attribute cores=9.5 --attribute ssd=yes",
];

#[test]
fn every_rule_finds_its_agent() {
    let cases = [
        ("constraints: [{attribute: rack, in: b}]", "n2"),
        ("constraints: [{attribute: rack, in: [z, c]}]", "n3"),
        ("constraints: [{attribute: rack, not_in: [a, b]}]", "n3"),
        ("constraints: [{attribute: zone, not_in: [y]}]", "n3"),
        ("constraints: [{attribute: zone, in: x}]", "n1"),
        ("constraints: [{attribute: ssd, exists: true}]", "n3"),
        ("constraints: [{attribute: rack, regex: '[b-z]'}, {attribute: zone, exists: true}]", "n2"),
        ("constraints: [{attribute: kernel, version: '< 6'}]", "n1"),
        ("constraints: [{attribute: kernel, version: '>= 6.2'}]", "n3"),
        ("constraints: [{attribute: kernel, version: 6.1.0}]", "n2"),
        ("constraints: [{attribute: cores, number: '> 9.5'}]", "n2"),
        ("constraints: [{attribute: cores, number: '== 9.50'}]", "n3"),
        ("constraints: [{attribute: cores, number: '<= 8'}]", "n1"),
        ("constraints: [{attribute: host, in: n2}]", "n2"),
        ("constraints: [{attribute: hostname, in: n3.example}]", "n3"),
        ("constraints: [{attribute: hostname, regex: 'n[12]\\.example'}, {attribute: host, not_in: n1}]", "n2"),
    ];
    decide(MACHINES, &cases);
}

#[test]
fn what_no_agent_satisfies_waits_and_the_rule_is_named() {
    let cases = [
        (
            "constraints: [{attribute: rack, in: d}]",
            "none of 3 nodes fits: 3 nodes do not match the constraint rack = d",
        ),
        (
            "constraints: [{attribute: rack, regex: 'ab'}]",
            "none of 3 nodes fits: 3 nodes do not match the constraint rack matches /ab/",
        ),
        (
            "constraints: [{attribute: kernel, version: '> 7'}]",
            "none of 3 nodes fits: 3 nodes do not match the constraint kernel version > 7",
        ),
        (
            "constraints: [{attribute: cores, number: '>= 17'}]",
            "none of 3 nodes fits: 3 nodes do not match the constraint cores >= 17",
        ),
        (
            "constraints: [{attribute: rack, not_in: [a, c]}, {attribute: zone, in: x}]",
            "none of 3 nodes fits: 2 nodes do not match the constraint rack not in [a, c]; 2 nodes do not match the constraint zone = x",
        ),
        (
            "constraints: [{attribute: ghost, exists: true}]",
            "none of 3 nodes fits: 3 nodes do not match the constraint ghost exists",
        ),
    ];
    decide(MACHINES, &cases);
}

#[test]
fn limits_leave_the_rest_waiting() {
    let machines = ["n1 --attribute rack=a", "n2 --attribute rack=a", "n3 --attribute rack=b"];
    let cases = [
        (
            "instances: 4\nconstraints: [{distinct_hosts: true}]",
            "n1 n2 n3; none of 3 nodes fits: 3 nodes have 1 task of the job per host already",
        ),
        (
            "instances: 3\nconstraints: [{attribute: rack, limit: 1}]",
            "n1 n3; none of 3 nodes fits: 3 nodes have 1 task of the job per rack already",
        ),
        ("instances: 4\nconstraints: [{attribute: rack, limit: 2}, {attribute: host, limit: 2}]", "n1 n2 n3 n3"),
        ("instances: 2\nconstraints: [{attribute: rack, in: a}, {attribute: rack, limit: 1}]", "contradiction"),
    ];
    decide(&machines, &cases[..3]);
    assert!(refused(cases[3].0).contains(cases[3].1));
}

#[test]
fn a_daemon_is_on_every_machine_that_its_rules_match() {
    let mut cluster = Cluster::of(&[MACHINES, &["n4 --attribute dedicated=r/db --attribute zone=y"]].concat());
    for (fields, expected) in [
        ("", "n1 n2 n3"),
        ("constraints: [{attribute: zone, in: y}]", "n1 n2"),
        ("constraints: [{attribute: hostname, regex: 'n[23]\\..*'}, {attribute: kernel, version: '> 6.2'}]", "n3"),
        ("constraints: [{attribute: zone, in: y}]\ndedicated: r/db", "n4"),
    ] {
        let name = format!("r/e/daemon{}", cluster.jobs);
        cluster.yaml(&job(fields).replace("r/e/n", &name).replace("batch", "daemon"));
        assert_eq!(cluster.outcome(&name), expected, "{fields}");
    }
}

#[test]
fn auroras_words_mean_the_same() {
    let cases = [
        ("constraints = {'rack': 'b'}", "n2"),
        ("constraints = {'rack': 'z, c'}", "n3"),
        ("constraints = {'rack': '!a,b'}", "n3"),
        ("constraints = {'zone': '!y'}", "n3"),
        ("constraints = {'host': 'n2.example'}", "n2"),
        ("constraints = {'host': '!n1.example,n2.example'}", "n3"),
        ("instances = 3, constraints = {'host': 'limit:1'}", "n1 n2 n3"),
        (
            "instances = 3, constraints = {'zone': 'limit:1', 'rack': '!c'}",
            "n1; none of 3 nodes fits: 2 nodes have 1 task of the job per zone already; \
             1 node does not match the constraint rack not in [c]",
        ),
    ];
    decide_aurora(MACHINES, &cases);
}
