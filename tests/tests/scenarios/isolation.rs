//! An agent that may not make control groups: it says so and stops, and runs tasks without them only when told to.

use dawn_proto::v1::TaskState;
use dawn_tests::cluster::{AgentPlan, Cluster, Patience, Plan, groups, service, user_of};

fn powerless(extra: &[&str]) -> AgentPlan {
    AgentPlan { extra: extra.iter().map(|flag| flag.to_string()).collect(), as_nobody: true, ..AgentPlan::default() }
}

#[test]
fn without_control_groups_the_agent_refuses_and_names_the_flag() {
    let Some(cluster) = Cluster::start_scheduler(Plan { agents: vec![powerless(&[])], ..Plan::default() }) else {
        return;
    };
    let agent = &cluster.agents[0];
    agent.start();
    let code = agent.exit_code(Patience::START);
    assert!(code.is_some_and(|code| code != 0), "{code:?}");
    let log = agent.log();
    assert!(log.contains("cgroup") && log.contains("--unisolated"), "{}", agent.last_words());
    assert!(cluster.api.nodes().expect("the scheduler answers").is_empty(), "it never registered");
    cluster.end();
}

#[test]
fn when_told_to_it_runs_tasks_unisolated_and_kills_them_all_the_same() {
    let agent = powerless(&["--unisolated", "--run-as-self"]);
    let Some(cluster) = Cluster::start(Plan { agents: vec![agent], ..Plan::default() }) else { return };
    let nodes = cluster.api.nodes().expect("nodes");
    assert_eq!(nodes[0].isolation, "none");
    let job = cluster.submit(service("web").instances(2).shell("sleep 100000 & exec sleep 100000"));
    cluster.running(&job, 2);
    for process in cluster.processes_of(&job, 4) {
        assert_eq!(user_of(process.pid), Some("nobody".into()));
        assert!(!groups(process.pid).iter().any(|(_, path)| cluster.owns(path)), "{process:?}");
    }
    cluster.kill(&job);
    cluster.tasks_in(&job, TaskState::Killed, 2, Patience::STEP);
    cluster.end();
}
