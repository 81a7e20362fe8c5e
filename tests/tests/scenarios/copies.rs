//! Work directories that were copied: two agents that claim to be one, on the same machine and the same boot.

use dawn_proto::JobKey;
use dawn_proto::v1;
use dawn_tests::cluster::{Cluster, Patience, Plan, marked, service};

/// The copy's place among the agents.
const COPY: usize = 2;

/// The first agent runs; the second may be started; the third is the copy of the first.
fn cluster() -> Option<Cluster> {
    let cluster = Cluster::start_scheduler(Plan::of(3).agent_lease("2s"))?;
    cluster.agents[0].start();
    cluster.agents_are_up(1);
    Some(cluster)
}

fn copy_directory(cluster: &Cluster) {
    let [from, to] = [0, COPY].map(|agent| cluster.folder().join(format!("node{agent}")));
    let copied = std::process::Command::new("cp").arg("-a").arg(from).arg(to).status().expect("cp runs");
    assert!(copied.success());
}

/// Something that must not live twice runs on the first agent.
fn database(cluster: &Cluster) -> (JobKey, v1::Task) {
    let policy = v1::PartitionPolicy { wait: false, delay_ms: 300 };
    let spec = service("db").grace_ms(500).with(|job| (job.at_most_one, job.partition) = (true, Some(policy)));
    let job = cluster.submit(spec);
    let task = cluster.running(&job, 1).remove(0);
    (job, task)
}

/// Looks until `check` is content, and that the job never lives twice meanwhile.
fn never_twice<T>(
    cluster: &Cluster,
    job: &JobKey,
    what: &str,
    mut check: impl FnMut(&[v1::Task]) -> Result<T, String>,
) -> T {
    let mark = cluster.mark(job);
    cluster.eventually(what, Patience::LONG, || {
        let living = marked(&mark);
        assert!(living.len() <= 1, "it lives twice: {living:?}\n{}", cluster.last_words());
        check(&cluster.api.tasks(job).map_err(|status| status.to_string())?)
    })
}

fn trouble(cluster: &Cluster) -> String {
    cluster.api.server_info().map(|info| info.troubles.join("\n")).unwrap_or_default()
}

fn is_running(tasks: &[v1::Task], host: &str) -> Result<u64, String> {
    let running = tasks.iter().find(|task| task.state() == v1::TaskState::Running && task.hostname == host);
    running.map(|task| task.id).ok_or_else(|| format!("{tasks:?}"))
}

#[test]
fn a_copy_under_another_host_name_gets_no_link_while_the_original_is_heard() {
    let Some(cluster) = cluster() else { return };
    let (job, _) = database(&cluster);
    cluster.agents[1].start();
    cluster.agents_are_up(2);
    copy_directory(&cluster);
    cluster.agents[COPY].start();
    never_twice(&cluster, &job, "both are named", |_| {
        let words = trouble(&cluster);
        if words.contains("node0") && words.contains("node2") { Ok(()) } else { Err(words) }
    });
    let nodes = cluster.api.nodes().expect("they are listed");
    assert!(nodes.iter().all(|node| node.hostname != "node2"), "the original keeps its link: {nodes:?}");
    // The copy is stopped: whatever it did to the original's processes, one life goes on.
    cluster.agents[COPY].terminate();
    never_twice(&cluster, &job, "one life goes on", |tasks| {
        is_running(tasks, "node0").or_else(|_| is_running(tasks, "node1"))
    });
    cluster.end();
}

#[test]
fn what_must_not_live_twice_waits_where_a_copy_takes_over_a_link_that_is_heard() {
    let Some(cluster) = cluster() else { return };
    copy_directory(&cluster);
    cluster.agents[COPY].set_flag("--hostname", "node0");
    let (job, task) = database(&cluster);
    cluster.agents[1].start();
    cluster.agents_are_up(2);
    // It has no trace of the task, and says so.
    cluster.agents[COPY].start();
    never_twice(&cluster, &job, "the copy is found out", |_| {
        let words = trouble(&cluster);
        if words.contains("dawn node forgive") { Ok(()) } else { Err(words) }
    });
    let next = never_twice(&cluster, &job, "its next life is elsewhere", |tasks| is_running(tasks, "node1"));
    assert!(next > task.id);
    cluster.agents[COPY].terminate();
    // Each takes more than half of a node.
    let web = cluster.submit(service("web").instances(2).cpu_milli(2_500));
    never_twice(&cluster, &job, "the original is of use again", |_| {
        // Its link may not be known to be closed yet: then the copy is chosen, and the original is the copy.
        if trouble(&cluster).contains("two machines") {
            cluster.dawn(&["node", "forgive", "node0"]).succeeded();
            return Err("it was forgiven just now".into());
        }
        is_running(&cluster.api.tasks(&web).map_err(|status| status.to_string())?, "node0")
    });
    cluster.end();
}
