//! Ports: numbers that are asked for and numbers that are given, under the names of the file.

use super::{Cluster, decide, read};

const MACHINES: &[&str] = &["n1 --ports 31000-31001", "n2 --ports 8080,31000-31001"];

#[test]
fn fixed_numbers_go_where_they_are_offered_and_free() {
    let cases = [
        ("ports: [{name: http, fixed: 8080}]", "n2"),
        (
            "instances: 2\nports: [{name: http, fixed: 8080}]",
            "n2; none of 2 nodes fits: 1 node has fewer than 1 free port",
        ),
        (
            "ports: [{name: http, fixed: 9}]",
            "none of 2 nodes fits: 2 nodes do not offer port 9 (n1.example offers 31000-31001)",
        ),
        ("ports: [a, b, c]", "n2"),
        (
            "ports: [a, b, c, d]",
            "none of 2 nodes fits: 2 nodes have fewer than 4 free ports (most: n2.example with 3 free)",
        ),
    ];
    decide(MACHINES, &cases[..1]);
    decide(MACHINES, &cases[2..]);
    let mut cluster = Cluster::of(MACHINES);
    cluster.yaml(&super::job(cases[1].0));
    let said = cluster.outcome("r/e/n");
    assert!(
        said.starts_with(
            "n2; none of 2 nodes fits: 1 node does not offer port 8080 (n1.example offers 31000-31001); 1 node has port 8080 in use"
        ),
        "{said}"
    );
}

#[test]
fn every_name_has_its_own_number() {
    let mut cluster = Cluster::of(&MACHINES[1..]);
    cluster.yaml(&super::job("ports: [web, {name: admin, fixed: 31000}, debug]"));
    let [task] = &cluster.tasks("r/e/n")[..] else { panic!("{}", cluster.outcome("r/e/n")) };
    assert_eq!((task.ports["admin"], task.ports.len()), (31_000, 3));
    assert_eq!([task.ports["web"], task.ports["debug"]], [8080, 31_001], "in the order of the file");
}

/// An Aurora service whose command names ports.
fn aurora(command: &str, announce: &str) -> String {
    format!(
        "jobs = [Service(role = 'r', cluster = 'c', environment = 'e', name = 'n', {announce}
    task = Task(resources = Resources(cpu = 1, ram = 64*MB, disk = 64*MB),
        processes = [Process(name = 'p', cmdline = '{command}')]))]"
    )
}

#[test]
fn auroras_ports_are_those_that_commands_name() {
    let mut cluster = Cluster::of(MACHINES);
    cluster.aurora(&aurora("x {{thermos.ports[web]}} {{thermos.ports[admin]}}", ""));
    assert_eq!(cluster.tasks("r/e/n")[0].ports.keys().collect::<Vec<_>>(), ["admin", "web"]);

    let announced = "announce = Announcer(primary_port = 'web', portmap = {'admin': 8080, 'alias': 'web'}),";
    let mut cluster = Cluster::of(MACHINES);
    cluster.aurora(&aurora("x {{thermos.ports[alias]}} {{thermos.ports[admin]}}", announced));
    let [task] = &cluster.tasks("r/e/n")[..] else { panic!("{}", cluster.outcome("r/e/n")) };
    assert_eq!((task.agent.as_str(), task.ports["admin"], task.ports.len()), ("n2", 8080, 2));
}

#[test]
fn names_that_stand_for_one_number_are_one_port() {
    let announced = "announce = Announcer(primary_port = 'web', portmap = {'web': 8080, 'health': 'web', 'x': 8080}),";
    let text = aurora("x {{thermos.ports[health]}} {{thermos.ports[x]}}", announced);
    let specs = read("job.aurora", &text).unwrap();
    let task = specs[0].task.as_ref().unwrap();
    assert_eq!(task.ports.iter().map(|port| (port.name.as_str(), port.fixed)).collect::<Vec<_>>(), [("web", 8080)]);
    assert_eq!(task.processes[0].shell, "x {{port:web}} {{port:web}}");
    let mut cluster = Cluster::of(MACHINES);
    cluster.submit(specs);
    assert_eq!(cluster.outcome("r/e/n"), "n2");
}
