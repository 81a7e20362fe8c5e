//! The page for operators: its commands do what it says, on machines that really are lost.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::PathBuf;

use dawn_proto::v1::{self, TaskState, constraint};
use dawn_tests::cluster::{Cluster, Output, Patience, Plan, Spec, service};

const BAD_INPUT: Option<i32> = Some(2);
const REFUSED: Option<i32> = Some(4);

fn text_of(path: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..").join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The commands of a section of the page, each to be run at least once.
struct Section {
    commands: BTreeSet<String>,
    run: RefCell<BTreeSet<String>>,
}

impl Section {
    fn of(title: &str) -> Section {
        let page = text_of("docs/operating.md");
        let section = page.split("\n## ").find(|section| section.starts_with(title)).expect("the section is there");
        let blocks = section.split("```sh\n").skip(1).filter_map(|rest| rest.split("```").next());
        let lines = blocks.flat_map(str::lines).map(|line| line.split('#').next().unwrap_or_default().trim());
        let commands = lines.filter(|line| !line.is_empty()).map(str::to_string).collect();
        Section { commands, run: RefCell::default() }
    }

    /// Runs one with these nodes, and more flags than the page names.
    fn run(&self, cluster: &Cluster, command: &str, nodes: &[&str], flags: &[&str]) -> Output {
        assert!(self.commands.contains(command), "{command:?} is not on the page: {:?}", self.commands);
        self.run.borrow_mut().insert(command.to_string());
        let words = command.split(' ').skip(1).filter(|word| !word.starts_with("NODE"));
        cluster.dawn(&words.chain(nodes.iter().copied()).chain(flags.iter().copied()).collect::<Vec<_>>())
    }

    fn all_were_run(&self) {
        assert_eq!(*self.run.borrow(), self.commands, "the page names others");
    }
}

fn impatient(name: &str) -> Spec {
    service(name).with(|job| job.partition = Some(v1::PartitionPolicy { wait: false, delay_ms: 300 }))
}

/// One task that must not live twice, on the second node.
fn only_one() -> Spec {
    let rule = constraint::Rule::OneOf(v1::ValueSet { values: vec!["r1".into()] });
    let rack = v1::Constraint { attribute: "rack".into(), rule: Some(rule) };
    impatient("db").with(|job| (job.at_most_one, job.constraints) = (true, vec![rack]))
}

fn eventually_listed(cluster: &Cluster, section: &Section, words: &str) {
    cluster.eventually(&format!("`dawn node list` says {words:?}"), Patience::LONG, || {
        let list = section.run(cluster, "dawn node list", &[], &[]).succeeded();
        if list.stdout.contains(words) { Ok(()) } else { Err(list.stdout) }
    });
}

#[test]
fn nodes_are_lost_and_the_page_says_what_to_do() {
    let Some(cluster) = Cluster::start(Plan::of(5).agent_lease("2s")) else { return };
    let section = Section::of("Losing nodes");
    let (web, db) = (cluster.submit(impatient("web").instances(10)), cluster.submit(only_one()));
    cluster.running(&db, 1);
    let before = cluster.running(&web, 10);
    let on = |host: &str| before.iter().filter(|task| task.hostname == host).count();
    assert!((0..5).all(|node| on(&format!("node{node}")) > 0), "they were spread: {before:?}");
    (1..5).for_each(|node| cluster.lose_machine(node));
    eventually_listed(&cluster, &section, "trouble: the brake is on: 4 of 5 nodes are silent");
    let status = section.run(&cluster, "dawn node status NODE", &["node1"], &[]).succeeded();
    assert!(status.stdout.contains("`dawn node down NODE…`"), "{status:?}");

    // Nothing is done by mistake.
    let unasked = section.run(&cluster, "dawn node down NODE…", &["node1"], &[]);
    assert_eq!(unasked.code, BAD_INPUT, "{unasked:?}");
    assert!(unasked.stderr.contains("Declare") && unasked.stderr.contains("give --yes"), "{unasked:?}");
    let works = section.run(&cluster, "dawn node down NODE…", &["node0", "node1"], &["-y"]);
    assert_eq!(works.code, REFUSED, "{works:?}");
    assert!(works.stderr.contains("`dawn node drain "), "{works:?}");
    let up = section.run(&cluster, "dawn node forget NODE…", &["node0"], &[]);
    assert_eq!(up.code, REFUSED, "{up:?}");

    // One is gone: its tasks run on the only node that is left, while those of the others wait.
    let down = section.run(&cluster, "dawn node down NODE…", &["node1"], &["--yes", "--json"]).succeeded().json();
    assert_eq!((&down["tasks"], &down["waiting"]), (&(on("node1") + 1).into(), &1.into()), "{down}");
    cluster.tasks_in(&web, TaskState::Running, on("node0") + on("node1"), Patience::LONG);
    eventually_listed(&cluster, &section, "trouble: the brake is on: 3 of 4 nodes are silent");
    let held = section.run(&cluster, "dawn node forget NODE…", &["node1"], &[]);
    assert_eq!(held.code, REFUSED, "{held:?}");
    assert!(held.stderr.contains("1 task of it that must not live twice may live there for"), "{held:?}");

    // The rest has burnt too.
    let command = "dawn admin brake release --for 30m";
    let unasked = section.run(&cluster, command, &[], &[]);
    assert_eq!(unasked.code, BAD_INPUT, "{unasked:?}");
    assert!(unasked.stderr.contains("Release the brake for 30m"), "{unasked:?}");
    let released = section.run(&cluster, command, &[], &["-y"]).succeeded();
    // Without those of the node that was declared down: they are being replaced already.
    let tasks = on("node2") + on("node3") + on("node4");
    assert!(released.stdout.contains(&format!("; {tasks} tasks will be replaced")), "{released:?}");
    cluster.tasks_in(&web, TaskState::Running, 10, Patience::LONG);
    cluster.processes_of(&web, 10);
    eventually_listed(&cluster, &section, "trouble: the brake is released by ");

    section.run(&cluster, "dawn node forget NODE…", &["node2", "node3", "node4"], &[]).succeeded();
    cluster.eventually("what must not live twice can't live any more", Patience::LONG, || {
        let forgotten = section.run(&cluster, "dawn node forget NODE…", &["node1"], &[]);
        if forgotten.code == Some(0) { Ok(()) } else { Err(format!("{forgotten:?}")) }
    });
    cluster.tasks_in(&db, TaskState::Pending, 1, Patience::STEP);
    let list = section.run(&cluster, "dawn node list", &[], &["--json"]).succeeded().json();
    assert_eq!(list["nodes"].as_array().map(Vec::len), Some(1), "{list}");
    let journal = cluster.dawn(&["admin", "journal"]).succeeded().stdout;
    assert!(journal.contains("declared_down") && journal.contains("brake_released"), "{journal}");
    section.all_were_run();

    // The machines are found again, and are nodes as any other.
    (1..5).for_each(|node| cluster.agents[node].start());
    cluster.agents_are_up(5);
    cluster.running(&db, 1);
    cluster.processes_of(&db, 1);
    cluster.dawn(&["admin", "verify"]).succeeded();
    cluster.end();
}

#[test]
fn the_alert_names_the_commands() {
    let alerts = text_of("deploy/prometheus/alerts.yaml");
    let brake = alerts.split("- alert: ").find(|alert| alert.starts_with("DawnBrake")).expect("the alert is there");
    for command in ["dawn node list", "dawn node down NODE…", "dawn admin brake release --for 30m"] {
        assert!(brake.replace('\n', " ").split_whitespace().collect::<Vec<_>>().join(" ").contains(command), "{brake}");
    }
}
