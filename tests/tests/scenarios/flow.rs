//! Jobs that follow each other, templates, daemon jobs and a file of Aurora's, on a live cluster.

use std::io::Read;
use std::net::TcpStream;
use std::path::PathBuf;

use dawn_proto::JobKey;
use dawn_proto::v1::TaskState;
use dawn_tests::cluster::{AgentPlan, Cluster, Patience, Plan};

fn key(text: &str) -> JobKey {
    text.parse().expect("a job key")
}

/// A job file of the repository.
fn example(name: &str) -> String {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../deploy/jobs");
    root.join(name).to_string_lossy().into_owned()
}

fn has_log(cluster: &Cluster, job: &str, line: &str) {
    cluster.eventually(&format!("{job} says {line:?}"), Patience::STEP, || {
        let logs = cluster.dawn(&["job", "logs", job]);
        if logs.stdout.contains(line) { Ok(()) } else { Err(format!("{logs:?}")) }
    });
}

#[test]
fn a_graph_of_batch_jobs_runs_to_its_end_and_a_template_by_dispatch() {
    let Some(cluster) = Cluster::start(Plan::of(2)) else { return };
    let file = example("later/pipeline.yaml");
    cluster.dawn(&["config", "check", &file]).succeeded();
    cluster.dawn(&["--timeout", "60s", "job", "run", &file]).succeeded();
    for (job, instances) in [("demo/test/shards", 6), ("demo/test/sum", 2), ("demo/test/tell", 1)] {
        let status = cluster.dawn(&["--json", "job", "status", job]).succeeded().json();
        assert_eq!(
            (&status["summary"]["result"], &status["summary"]["finished"]),
            (&"succeeded".into(), &instances.into())
        );
    }
    // Each began only when the one before it had ended.
    let times = |job: &str| -> (String, String) {
        let status = cluster.dawn(&["--json", "job", "status", job]).succeeded().json();
        let first = status["tasks"][0]["history"][0]["at"].as_str().expect("a time").to_string();
        (first, status["ended_at"].as_str().expect("a time").to_string())
    };
    let (shards, sum, tell) = (times("demo/test/shards"), times("demo/test/sum"), times("demo/test/tell"));
    assert!(shards.1 <= sum.0 && sum.1 <= tell.0, "{shards:?} {sum:?} {tell:?}");
    let shown = cluster.dawn(&["job", "status", "demo/test/sum"]).succeeded();
    assert!(shown.stdout.contains("succeeded") && shown.stdout.contains("ran for"), "{shown:?}");

    let payload = cluster.folder().join("payload");
    std::fs::write(&payload, "be well").expect("it can be written");
    let payload = payload.to_string_lossy();
    let dispatch =
        ["--json", "job", "dispatch", "demo/test/greet", "WHO=world", "--id", "first", "--payload", &payload];
    let first = cluster.dawn(&dispatch).succeeded().json();
    let again = cluster.dawn(&dispatch).succeeded().json();
    assert_eq!((&first["existing"], &again["existing"]), (&false.into(), &true.into()));
    assert_eq!(first["job"], again["job"]);
    has_log(&cluster, first["job"].as_str().expect("a key"), "Hello, world: be well");
    let missing = cluster.dawn(&["job", "dispatch", "demo/test/greet"]);
    assert!(missing.code == Some(4) && missing.stderr.contains("arguments.WHO: is missing"), "{missing:?}");
    cluster.end();
}

#[test]
fn a_failure_takes_the_other_way_through_a_graph() {
    let Some(cluster) = Cluster::start(Plan::of(1)) else { return };
    let path = cluster.folder().join("graph.yaml");
    let job = |name: &str, rest: &str| {
        format!("job: nobody/test/{name}\nkind: batch\nresources: {{ cpu: 0.1, memory: 16MiB, disk: 16MiB }}\n{rest}\n")
    };
    let text = [
        job("good", "after: nobody/test/head\nrun: echo never"),
        job("mend", "after: { job: nobody/test/head, on: failure }\nrun: echo mended"),
        job("head", "run: exit 3"),
    ];
    std::fs::write(&path, text.join("---\n")).expect("it can be written");
    let run = cluster.dawn(&["--timeout", "60s", "job", "run", &path.to_string_lossy()]);
    assert_eq!(run.code, Some(1), "{run:?}");
    has_log(&cluster, "nobody/test/mend", "mended");
    let good = cluster.dawn(&["job", "status", "nobody/test/good"]).succeeded();
    assert!(good.stdout.contains("nobody/test/head did not succeed"), "{good:?}");
    cluster.end();
}

#[test]
fn a_daemon_job_follows_the_agents() {
    let agent = |rack: &str| AgentPlan { attributes: vec![format!("rack={rack}")], ..AgentPlan::default() };
    let plan = Plan { agents: ["a", "b", "c"].map(agent).into(), ..Plan::default() };
    let Some(cluster) = Cluster::start_scheduler(plan) else { return };
    cluster.agents[0].start();
    cluster.agents_are_up(1);
    cluster.dawn(&["--timeout", "90s", "job", "run", &example("collect.yaml")]).succeeded();
    let job = key("demo/ops/collect");
    let first = cluster.running(&job, 1);
    cluster.agents[1].start();
    cluster.agents[2].start();
    cluster.agents_are_up(3);
    let all = cluster.running(&job, 3);
    assert!(all.iter().any(|task| task.id == first[0].id), "the first is left alone");
    let nodes: std::collections::BTreeSet<&str> = all.iter().map(|task| task.agent_id.as_str()).collect();
    assert_eq!(nodes.len(), 3, "{all:?}");
    has_log(&cluster, "demo/ops/collect", "load");
    // Another version of it goes from node to node.
    let changed =
        std::fs::read_to_string(example("collect.yaml")).expect("it can be read").replace("sleep 5", "sleep 4");
    let path = cluster.folder().join("collect.yaml");
    std::fs::write(&path, format!("{changed}update: {{ watch: 500ms, groups: [2] }}\n")).expect("it can be written");
    let run = cluster.dawn(&["--timeout", "60s", "job", "run", &path.to_string_lossy()]).succeeded();
    assert!(run.stdout.contains("version 2"), "{run:?}");
    let again = cluster.running(&job, 3);
    assert!(again.iter().all(|task| task.version == 2), "{again:?}");
    // An agent that restarts finds its task again; one instance that is killed stays away.
    cluster.dawn(&["job", "kill", &format!("demo/ops/collect/{}", first[0].instance)]).succeeded();
    cluster.eventually("two are left", Patience::STEP, || {
        let tasks = cluster.api.tasks(&job).map_err(|status| status.to_string())?;
        let living = tasks.iter().filter(|task| task.state() == TaskState::Running).count();
        (living == 2).then_some(()).ok_or(format!("{living} running"))
    });
    cluster.end();
}

#[test]
fn urgent_work_pushes_the_filler_aside_and_it_comes_back() {
    let agent = || AgentPlan { cpus: "2.7".into(), ..AgentPlan::default() };
    let Some(cluster) = Cluster::start(Plan { agents: vec![agent(), agent()], ..Plan::default() }) else { return };
    cluster.dawn(&["--timeout", "90s", "job", "run", &example("filler.yaml")]).succeeded();
    let run = cluster.dawn(&["--timeout", "120s", "job", "run", &example("later/urgent.yaml")]).succeeded();
    assert!(run.stdout.contains("2 of 2 finished"), "{run:?}");
    has_log(&cluster, "demo/prod/urgent", "pi is about 3.1415");
    let history = cluster.dawn(&["job", "history", "demo/test/filler"]).succeeded();
    assert!(history.stdout.contains("preempted"), "{history:?}");
    cluster.running(&key("demo/test/filler"), 3);
    cluster.end();
}

#[test]
fn a_cron_job_is_paused_shown_and_resumed() {
    let Some(cluster) = Cluster::start(Plan::of(1)) else { return };
    cluster.dawn(&["job", "run", &example("backup.yaml")]).succeeded();
    cluster.dawn(&["cron", "pause", "demo/ops/backup"]).succeeded();
    let shown = cluster.dawn(&["cron", "show", "demo/ops/backup"]).succeeded();
    assert!(shown.stdout.contains("none: paused"), "{shown:?}");
    cluster.dawn(&["cron", "start", "demo/ops/backup"]).succeeded();
    has_log(&cluster, "demo/ops/backup", "packed /etc/skel");
    cluster.dawn(&["cron", "resume", "demo/ops/backup"]).succeeded();
    cluster.eventually("the run's result is shown", Patience::STEP, || {
        let shown = cluster.dawn(&["cron", "show", "demo/ops/backup"]);
        let said = shown.stdout.contains("by hand: finished") && !shown.stdout.contains("paused");
        if said { Ok(()) } else { Err(format!("{shown:?}")) }
    });
    let list = cluster.dawn(&["cron", "list"]).succeeded();
    assert!(list.stdout.contains("demo/ops/backup"), "{list:?}");
    cluster.end();
}

#[test]
fn a_file_written_for_aurora_runs_as_it_is() {
    let Some(cluster) = Cluster::start(Plan::of(1)) else { return };
    let file = example("later/hello.aurora");
    cluster.dawn(&["config", "fmt", "--check", &file]).succeeded();
    cluster.dawn(&["--timeout", "60s", "job", "run", &file, "--bind", "profile.greeting=Hi"]).succeeded();
    for instance in 0..2 {
        cluster.eventually("the page is served", Patience::STEP, || {
            // Asked each time: where its port was taken by somebody else, it starts again with another one.
            let tasks = cluster.running(&key("nobody/demo/hello"), 2);
            let task = tasks.iter().find(|task| task.instance == instance).ok_or("it is not there")?;
            let port = u16::try_from(task.ports[0].port).expect("a port");
            let mut page = String::new();
            let mut stream = TcpStream::connect(("127.0.0.1", port)).map_err(|error| error.to_string())?;
            stream.read_to_string(&mut page).map_err(|error| error.to_string())?;
            let wanted = format!("Hi from {}\n", task.instance);
            (page == wanted).then_some(()).ok_or(page)
        });
    }
    let yaml = cluster.dawn(&["job", "inspect", &file, "--as", "yaml"]).succeeded();
    assert!(yaml.stdout.contains("job: nobody/demo/hello"), "{yaml:?}");
    cluster.end();
}
