//! Machines that are lost, or only seem to be: what is started elsewhere, and what happens when they come back.

use dawn_proto::v1::{self, NodeState, Reason, TaskState};
use dawn_tests::cluster::{Cluster, Patience, Plan, Spec, service, variable};

/// Given up two seconds after its last word, replaced at once.
fn plan() -> Plan {
    Plan::of(2).agent_lease("2s")
}

fn impatient(name: &str) -> Spec {
    service(name).with(|job| job.partition = Some(v1::PartitionPolicy { wait: false, delay_ms: 300 }))
}

fn node_is(cluster: &Cluster, host: &str, wanted: &[NodeState]) {
    cluster.eventually(&format!("{host} is {wanted:?}"), Patience::LONG, || {
        let nodes = cluster.api.nodes().map_err(|status| status.to_string())?;
        let node = nodes.iter().find(|node| node.hostname == host).ok_or("no such node")?;
        if wanted.contains(&node.state()) { Ok(()) } else { Err(format!("{node:?}")) }
    });
}

#[test]
fn the_tasks_of_a_lost_machine_live_on_elsewhere() {
    let Some(cluster) = Cluster::start(plan()) else { return };
    let job = cluster.submit(impatient("web").instances(4));
    let before = cluster.running(&job, 4);
    let lost: Vec<&v1::Task> = before.iter().filter(|task| task.hostname == "node0").collect();
    assert!(!lost.is_empty() && lost.len() < 4, "they were spread: {before:?}");

    cluster.lose_machine(0);
    node_is(&cluster, "node0", &[NodeState::Unreachable, NodeState::Down]);
    let after = cluster.eventually("all four run on the other machine", Patience::LONG, || {
        let tasks = cluster.api.tasks(&job).map_err(|status| status.to_string())?;
        let there = |task: &&v1::Task| task.state() == TaskState::Running && task.hostname == "node1";
        let found: Vec<v1::Task> = tasks.iter().filter(there).cloned().collect();
        if found.len() == 4 { Ok(found) } else { Err(format!("{} there", found.len())) }
    });
    cluster.processes_of(&job, 4);
    for task in before.iter().filter(|task| task.hostname == "node1") {
        assert!(after.iter().any(|other| other.id == task.id), "t{} was disturbed", task.id);
    }
    for task in cluster.tasks_in(&job, TaskState::Lost, lost.len(), Patience::LONG) {
        let reasons: Vec<Reason> = task.history.iter().map(v1::Transition::reason).collect();
        assert!(reasons.contains(&Reason::AgentLost), "{task:?}");
    }

    cluster.agents[0].start();
    node_is(&cluster, "node0", &[NodeState::Up]);
    let late = cluster.submit(impatient("late").instances(2));
    cluster.running(&late, 2);
    cluster.running(&job, 4);
    cluster.end();
}

#[test]
fn a_machine_that_was_only_silent_gives_up_what_was_replaced() {
    let Some(cluster) = Cluster::start(plan()) else { return };
    let job = cluster.submit(impatient("web").instances(4));
    let before = cluster.running(&job, 4);
    cluster.agents[0].pause();
    node_is(&cluster, "node0", &[NodeState::Unreachable, NodeState::Down]);
    cluster.eventually("every instance runs on the other machine", Patience::LONG, || {
        let tasks = cluster.api.tasks(&job).map_err(|status| status.to_string())?;
        let there = tasks.iter().filter(|task| task.state() == TaskState::Running && task.hostname == "node1").count();
        if there == 4 { Ok(()) } else { Err(format!("{there} there")) }
    });
    cluster.agents[0].resume();
    node_is(&cluster, "node0", &[NodeState::Up]);
    let living = cluster.processes_of(&job, 4);
    let running = cluster.running(&job, 4);
    for process in &living {
        let id = variable(process.pid, "DAWN_TASK_ID").expect("tasks know their id");
        assert!(running.iter().any(|task| format!("t{}", task.id) == id), "{id} was replaced and lives");
    }
    for task in before.iter().filter(|task| task.hostname == "node1") {
        assert!(running.iter().any(|other| other.id == task.id), "t{} was disturbed", task.id);
    }
    cluster.end();
}

#[test]
fn a_job_that_would_rather_wait_is_waited_for() {
    let Some(cluster) = Cluster::start(plan()) else { return };
    let patient = |job: &mut v1::JobSpec| job.partition = Some(v1::PartitionPolicy { wait: true, delay_ms: 0 });
    let job = cluster.submit(service("patient").instances(4).with(patient));
    let before: Vec<u64> = cluster.running(&job, 4).iter().map(|task| task.id).collect();
    let pids = cluster.processes_of(&job, 4);
    cluster.agents[0].pause();
    node_is(&cluster, "node0", &[NodeState::Unreachable, NodeState::Down]);
    cluster.agents[0].resume();
    node_is(&cluster, "node0", &[NodeState::Up]);
    let after: Vec<u64> = cluster.running(&job, 4).iter().map(|task| task.id).collect();
    assert_eq!(after, before, "the same tasks");
    assert_eq!(cluster.processes_of(&job, 4), pids, "the same processes");
    cluster.end();
}
