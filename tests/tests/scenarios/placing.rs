//! Where tasks go, where they can't, and what `why` says about it.

use std::net::TcpListener;

use dawn_proto::JobKey;
use dawn_proto::v1::{self, Reason, TaskState};
use dawn_tests::cluster::{Cluster, Patience, Plan, batch, service};

/// Kinds and texts of the vetoes that keep the job pending.
fn vetoes(cluster: &Cluster, job: &JobKey) -> Vec<v1::VetoCount> {
    cluster.eventually(&format!("why {job}"), Patience::STEP, || {
        let why = cluster.api.why(job).map_err(|status| status.to_string())?;
        let vetoes: Vec<v1::VetoCount> = why.classes.iter().flat_map(|class| class.vetoes.clone()).collect();
        if vetoes.is_empty() { Err(format!("{why:?}")) } else { Ok(vetoes) }
    })
}

#[test]
fn a_job_that_fits_nowhere_is_accepted_waits_and_why_counts_the_reasons() {
    let Some(cluster) = Cluster::start(Plan::of(2)) else { return };
    let (key, spec) = service("giant").cpu_milli(1_000_000).marked(&cluster.name);
    let response = cluster.api.submit(spec).expect("it is accepted");
    assert_eq!(response.warnings.len(), 1, "{response:?}");
    let found = vetoes(&cluster, &key);
    assert_eq!(
        found.iter().map(|veto| (veto.kind.as_str(), veto.agents)).collect::<Vec<_>>(),
        [("cpu", 2)],
        "{found:?}"
    );

    let nowhere = service("nowhere").with(|job| {
        let rule = v1::constraint::Rule::OneOf(v1::ValueSet { values: vec!["r9".into()] });
        job.constraints = vec![v1::Constraint { attribute: "rack".into(), rule: Some(rule) }];
    });
    let nowhere = cluster.submit(nowhere);
    let found = vetoes(&cluster, &nowhere);
    assert_eq!(
        found.iter().map(|veto| (veto.kind.as_str(), veto.agents)).collect::<Vec<_>>(),
        [("constraint:rack", 2)],
        "{found:?}"
    );
    for job in [&key, &nowhere] {
        assert_eq!(cluster.tasks_in(job, TaskState::Pending, 1, Patience::STEP).len(), 1);
    }

    let fits = cluster.submit(service("fits"));
    cluster.running(&fits, 1);
    cluster.end();
}

#[test]
fn constraints_hold_where_tasks_land() {
    let Some(cluster) = Cluster::start(Plan::of(3)) else { return };
    let limit = v1::Constraint { attribute: "rack".into(), rule: Some(v1::constraint::Rule::Limit(1)) };
    let job = cluster.submit(service("spread").instances(3).with(|job| job.constraints = vec![limit.clone()]));
    let mut hosts: Vec<String> = cluster.running(&job, 3).into_iter().map(|task| task.hostname).collect();
    hosts.sort();
    assert_eq!(hosts, ["node0", "node1", "node2"]);

    let only = v1::constraint::Rule::OneOf(v1::ValueSet { values: vec!["r1".into()] });
    let only = v1::Constraint { attribute: "rack".into(), rule: Some(only) };
    let job = cluster.submit(service("pinned").instances(2).with(|job| job.constraints = vec![only]));
    assert!(cluster.running(&job, 2).iter().all(|task| task.hostname == "node1"));
    cluster.end();
}

#[test]
fn a_port_has_one_owner() {
    let Some(cluster) = Cluster::start(Plan::of(1)) else { return };
    let (first, last) = cluster.task_ports(0);
    let free = cluster.submit(service("free").port("http", 0));
    let port = cluster.running(&free, 1)[0].ports[0].port;
    assert!((u32::from(first)..=u32::from(last)).contains(&port), "{port} lies in the agent's range");
    cluster.kill(&free);

    let owner = cluster.submit(service("owner").port("http", last));
    assert_eq!(cluster.running(&owner, 1)[0].ports[0].port, u32::from(last));
    let late = cluster.submit(service("late").port("http", last));
    let found = vetoes(&cluster, &late);
    assert_eq!(found.iter().map(|veto| veto.kind.as_str()).collect::<Vec<_>>(), ["ports"], "{found:?}");
    cluster.kill(&owner);
    cluster.running(&late, 1);
    cluster.end();
}

#[test]
fn a_port_that_a_stranger_holds_is_named_and_left_out_of_the_offer() {
    let Some(cluster) = Cluster::start(Plan::of(1)) else { return };
    let (_, last) = cluster.task_ports(0);
    let _stranger = TcpListener::bind(("127.0.0.1", last)).expect("the port is reserved for this cluster");
    let job = cluster.submit(service("late").port("http", last));
    cluster.eventually("the clash is reported", Patience::STEP, || {
        let tasks = cluster.api.tasks(&job).map_err(|status| status.to_string())?;
        let clash = tasks.iter().flat_map(|task| &task.history).find(|step| step.reason() == Reason::PortClash);
        let clash = clash.ok_or(format!("{tasks:?}"))?;
        assert!(clash.message.contains(&last.to_string()), "{clash:?}");
        Ok(())
    });
    cluster.eventually("the port is not offered any more", Patience::STEP, || {
        let nodes = cluster.api.nodes().map_err(|status| status.to_string())?;
        let offered = nodes[0].ports.iter().any(|range| (range.first..=range.last).contains(&u32::from(last)));
        if offered { Err(format!("{:?}", nodes[0].ports)) } else { Ok(()) }
    });
    cluster.processes_of(&job, 0);
    let nodes = cluster.api.nodes().expect("a leader answers");
    let taken = v1::TakenPort { port: last.into(), holder: v1::PortHolder::Listener.into() };
    assert_eq!(nodes[0].taken_ports, [taken]);
    let held = format!("port {last} of {} is held by a process that Dawn did not give it to", nodes[0].hostname);
    for other in [service("other"), batch("sum")] {
        let other = cluster.submit(other.port("http", last));
        let said: Vec<String> = vetoes(&cluster, &other).into_iter().map(|veto| veto.text).collect();
        assert_eq!(said, [&*held], "{other}");
    }
    let any = cluster.submit(service("any").port("http", 0));
    cluster.tasks_in(&any, TaskState::Running, 1, Patience::LONG);
    cluster.end();
}

#[test]
fn an_agent_that_comes_back_with_other_resources_is_taken_at_its_word() {
    let Some(cluster) = Cluster::start(Plan::of(1)) else { return };
    let job = cluster.submit(service("web").instances(2).cpu_milli(1_000));
    let before = cluster.running(&job, 2);
    let pids = cluster.processes_of(&job, 2);

    let agent = &cluster.agents[0];
    agent.kill_9();
    agent.set_flag("--cpus", "1");
    agent.start();
    let cpu = |milli: u64| {
        cluster.eventually(&format!("the node has {milli} thousandths of a cpu"), Patience::START, || {
            let nodes = cluster.api.nodes().map_err(|status| status.to_string())?;
            let total = nodes[0].total.as_ref().map(|total| total.cpu_milli);
            if total == Some(milli) { Ok(()) } else { Err(format!("{nodes:?}")) }
        });
    };
    cpu(1_000);
    assert_eq!(cluster.running(&job, 2), before, "what runs there runs on, too much or not");
    assert_eq!(cluster.processes_of(&job, 2), pids);
    let more = cluster.submit(service("more").cpu_milli(500));
    assert!(vetoes(&cluster, &more).iter().any(|veto| veto.kind == "cpu"));

    agent.kill_9();
    agent.set_flag("--cpus", "3");
    agent.start();
    cpu(3_000);
    cluster.running(&more, 1);
    assert_eq!(cluster.processes_of(&job, 2), pids);
    cluster.end();
}
