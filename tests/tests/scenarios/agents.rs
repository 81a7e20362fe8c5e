//! The agent itself: replaced under living tasks, rebooted, stopped, measured, and what it keeps on its disk.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use dawn_proto::v1::{Announce, Reason, TaskState};
use dawn_tests::cluster::{self, AgentPlan, Cluster, Patience, Plan, batch, groups, processes, service};

fn pids(cluster: &Cluster, job: &dawn_proto::JobKey, count: usize) -> Vec<i32> {
    cluster.processes_of(job, count).iter().map(|process| process.pid).collect()
}

#[test]
fn an_agent_is_replaced_by_another_program_under_living_tasks() {
    let Some(cluster) = Cluster::start(Plan::of(1)) else { return };
    let job = cluster.submit(service("web").instances(3));
    cluster.running(&job, 3);
    let before = pids(&cluster, &job, 3);
    let new = cluster.folder().join("dawn-new");
    std::fs::copy(cluster::path(), &new).expect("the program can be copied");
    cluster.agents[0].terminate();
    assert_eq!(pids(&cluster, &job, 3), before, "a stopping agent leaves its tasks alone");
    cluster.agents[0].set_binary(&new);
    cluster.agents[0].start();
    cluster.agents_are_up(1);
    let tasks = cluster.running(&job, 3);
    assert!(tasks.iter().all(|task| task.attempt == 1), "{tasks:?}");
    assert_eq!(pids(&cluster, &job, 3), before);
    // What it starts from now on is the new program's.
    let later = cluster.submit(service("later"));
    cluster.running(&later, 1);
    let new = new.to_string_lossy().into_owned();
    let executors = processes().into_iter().filter(|process| process.command.contains(" executor "));
    // Each is two processes: itself, and the first one of its task's namespaces. One more forks them.
    let of_new: BTreeSet<String> =
        executors.map(|process| process.command).filter(|command| command.starts_with(&new)).collect();
    let (zygotes, of_tasks): (Vec<_>, Vec<_>) = of_new.iter().partition(|command| command.contains("--zygote"));
    assert_eq!((zygotes.len(), of_tasks.len()), (1, 1), "{of_new:?}");
    cluster.end();
}

/// Makes the agent remember another boot than this one, in both copies of what it remembers.
fn forge_boot(cluster: &Cluster) {
    let boot = std::fs::read("/proc/sys/kernel/random/boot_id").expect("the kernel has one");
    for name in ["agent.state", "agent.state.copy"] {
        let path = cluster.folder().join("node0").join(name);
        let bytes = std::fs::read(&path).expect("the agent remembers");
        let mut body = dawn_proto::read_frame(&mut &bytes[..]).expect("a frame");
        let at = body.windows(36).position(|part| part == &boot[..36]).expect("it remembers this boot");
        body[at] = if body[at] == b'0' { b'1' } else { b'0' };
        let mut bytes = Vec::new();
        dawn_proto::write_frame(&mut bytes, &body).expect("memory takes it");
        std::fs::write(&path, bytes).expect("it can be written");
    }
}

#[test]
fn after_a_reboot_tasks_are_lost_with_that_reason_and_their_files_stay_readable() {
    let Some(cluster) = Cluster::start(Plan::of(1)) else { return };
    let job = cluster.submit(service("web").shell("echo before > file; echo said; exec sleep 100000"));
    let old = cluster.running(&job, 1).remove(0);
    cluster.eventually("its log is written", Patience::STEP, || match cluster.log(&old, "main", false).as_str() {
        "said\n" => Ok(()),
        other => Err(format!("{other:?}")),
    });
    cluster.lose_machine(0);
    forge_boot(&cluster);
    cluster.agents[0].start();
    let lost = cluster.tasks_in(&job, TaskState::Lost, 1, Patience::LONG).remove(0);
    let last = lost.history.last().expect("a history");
    assert_eq!((lost.id, last.reason()), (old.id, Reason::AgentRebooted), "{lost:?}");
    let new = cluster.running(&job, 1).remove(0);
    assert!(new.id > old.id, "the service was replaced");
    let id = format!("t{}", old.id);
    assert_eq!(cluster.dawn(&["task", "logs", "--stdout", &id]).succeeded().stdout, "said\n");
    assert_eq!(cluster.dawn(&["task", "cat", &id, "file"]).succeeded().stdout, "before\n");
    // The boot is remembered: the next start loses nothing.
    cluster.agents[0].kill_9();
    cluster.agents[0].start();
    cluster.agents_are_up(1);
    assert_eq!(cluster.running(&job, 1)[0].id, new.id);
    cluster.end();
}

fn with_flags(flags: &[&str]) -> Plan {
    let agent = AgentPlan { extra: flags.iter().map(ToString::to_string).collect(), ..AgentPlan::default() };
    Plan { agents: vec![agent], ..Plan::default() }
}

#[test]
fn sandboxes_of_ended_tasks_go_when_they_are_old() {
    let Some(cluster) = Cluster::start(with_flags(&["--sandbox-keep", "1s"])) else { return };
    let job = cluster.submit(batch("old").shell("echo kept > file"));
    let task = cluster.tasks_in(&job, TaskState::Finished, 1, Patience::STEP).remove(0);
    let living = cluster.submit(service("young"));
    let young = cluster.running(&living, 1).remove(0);
    let directory = |id: u64| cluster.folder().join(format!("node0/tasks/t{id}"));
    cluster.eventually("the old one is gone", Patience::LONG, || {
        if directory(task.id).exists() { Err("it is there".to_string()) } else { Ok(()) }
    });
    assert!(directory(young.id).exists(), "a living task keeps its directory");
    let output = cluster.dawn(&["task", "ls", &format!("t{}", task.id)]);
    assert!(output.code == Some(1) && output.stderr.contains("directory was removed"), "{output:?}");
    cluster.end();
}

#[test]
fn sandboxes_of_ended_tasks_go_when_they_take_too_much_the_oldest_first() {
    let Some(cluster) = Cluster::start(with_flags(&["--sandbox-keep-size", "3MiB"])) else { return };
    let mut tasks = Vec::new();
    for number in 0..3 {
        let job = cluster.submit(batch(&format!("fat{number}")).shell("head -c 1500000 /dev/urandom > file"));
        tasks.push(cluster.tasks_in(&job, TaskState::Finished, 1, Patience::STEP).remove(0).id);
    }
    let there = || tasks.iter().map(|id| cluster.folder().join(format!("node0/tasks/t{id}")).exists());
    cluster.eventually("the oldest is gone", Patience::LONG, || {
        let there: Vec<bool> = there().collect();
        if there[0] { Err(format!("{there:?}")) } else { Ok(()) }
    });
    assert_eq!(there().collect::<Vec<_>>(), [false, true, true]);
    cluster.eventually("the node says what it keeps", Patience::STEP, || {
        let node = cluster.dawn(&["--json", "node", "status", "node0"]).succeeded().json();
        let kept = &node["keeping"];
        let fits = kept["sandboxes"] == 2 && kept["sandbox_bytes"].as_u64().is_some_and(|bytes| bytes <= 3 << 20);
        if fits { Ok(()) } else { Err(kept.to_string()) }
    });
    cluster.end();
}

#[test]
fn a_followed_log_goes_on_across_a_restart_of_its_task() {
    let Some(cluster) = Cluster::start(Plan::of(1)) else { return };
    let job = cluster.submit(service("web").backoff_ms(50, 100).shell("echo life $DAWN_ATTEMPT; exec sleep 100000"));
    cluster.running(&job, 1);
    let mut command = Command::new(cluster::path());
    command.args(["--scheduler", &cluster.address().to_string(), "job", "logs", "--stdout", "-f", "nobody/test/web/0"]);
    let mut follower = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().expect("dawn starts");
    let stdout = BufReader::new(follower.stdout.take().expect("a pipe"));
    let (sender, lines) = mpsc::channel();
    let reader = std::thread::spawn(move || {
        for line in stdout.lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    let next = || lines.recv_timeout(Duration::from_secs(90)).unwrap_or_else(|error| panic!("no line: {error}"));
    assert_eq!(next(), "life 1");
    for life in 2..4 {
        let victim = cluster.processes_of(&job, 1).remove(0);
        cluster.shoot(&victim);
        assert_eq!(next(), format!("life {life}"), "each line once, in order");
    }
    follower.kill().expect("it runs");
    follower.wait().expect("it was killed");
    reader.join().expect("no panic");
    cluster.end();
}

#[test]
fn an_agent_told_to_drain_hands_its_tasks_over_before_it_stops() {
    let draining = AgentPlan { extra: vec!["--drain-on-stop".into(), "30s".into()], ..AgentPlan::default() };
    let plan = Plan { agents: vec![draining, AgentPlan::default()], ..Plan::default() };
    let Some(cluster) = Cluster::start(plan) else { return };
    let job = cluster.submit(service("web").instances(4).shell("trap 'echo bye; exit 0' TERM; sleep 100000 & wait"));
    let before = cluster.running(&job, 4);
    cluster.agents[0].terminate();
    let moved = cluster.eventually("all run on the other agent", Patience::LONG, || {
        let tasks = cluster.api.tasks(&job).map_err(|status| status.to_string())?;
        let running: Vec<_> = tasks.iter().filter(|task| task.state() == TaskState::Running).collect();
        let there = running.iter().all(|task| task.hostname == "node1");
        if running.len() == 4 && there { Ok(tasks.clone()) } else { Err(format!("{running:?}")) }
    });
    for task in before.iter().filter(|task| task.hostname == "node0") {
        let ended = moved.iter().find(|other| other.id == task.id).expect("it is kept");
        let last = ended.history.last().expect("a history");
        assert!(ended.state().is_terminal() && last.reason() == Reason::NodeDrain, "{ended:?}");
        let sandbox = cluster.folder().join(format!("node0/tasks/t{}/logs", task.id));
        assert!(sandbox.exists(), "its files stay");
    }
    cluster.end();
}

pub(super) fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a free port").port()
}

pub(super) fn get(port: u16, path: &str) -> Result<String, String> {
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", port)).map_err(|error| error.to_string())?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").map_err(|error| error.to_string())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).map_err(|error| error.to_string())?;
    Ok(answer)
}

/// Alerts and dashboards name no figure that nobody serves.
fn what_deploy_looks_at_is_there(pages: &[String]) {
    let deploy = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../deploy");
    for file in ["prometheus/alerts.yaml", "grafana/dawn.json"] {
        let text = std::fs::read_to_string(deploy.join(file)).expect("it can be read");
        let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let names = text.split(|c| !is_part(c)).filter(|word| word.starts_with("dawn_"));
        let missing: Vec<&str> =
            names.filter(|name| !pages.iter().any(|page| page.contains(&format!("\n{name}")))).collect();
        assert!(text.contains("dawn_scheduler_leading") && missing.is_empty(), "{file}: nobody serves {missing:?}");
    }
}

#[test]
fn agent_and_scheduler_serve_their_metrics() {
    let (agent, scheduler) = (free_port(), free_port());
    let mut plan = with_flags(&["--metrics-listen", &format!("127.0.0.1:{agent}"), "--own-memory", "512MiB"]);
    plan.scheduler_extra.extend(["--metrics-listen".into(), format!("127.0.0.1:{scheduler}")]);
    let Some(cluster) = Cluster::start(plan) else { return };
    let job = cluster.submit(service("web").port("http", 0));
    let task = cluster.running(&job, 1).remove(0);
    let labels = format!("{{task=\"t{}\",job=\"nobody/test/web\",instance=\"0\"}}", task.id);
    let wanted = [
        "dawn_agent_registered 1".to_string(),
        "dawn_agent_tasks{state=\"RUNNING\"} 1".to_string(),
        format!("dawn_task_memory_limit_bytes{labels} {}", 32 << 20),
        format!("dawn_task_cpu_seconds_total{labels} "),
    ];
    cluster.eventually("the agent tells", Patience::STEP, || {
        let page = get(agent, "/metrics")?;
        let missing: Vec<&String> = wanted.iter().filter(|line| !page.contains(*line)).collect();
        if missing.is_empty() { Ok(()) } else { Err(format!("{missing:?} in {page}")) }
    });
    assert!(get(agent, "/other").expect("an answer").starts_with("HTTP/1.1 404"));
    let wanted = [
        "dawn_scheduler_leading 1",
        "dawn_scheduler_brake 0",
        "dawn_scheduler_agents{state=\"up\"} 1",
        "dawn_scheduler_queue_depth{queue=\"commands\"} 0",
        "dawn_scheduler_tasks{state=\"RUNNING\"} 1",
        "dawn_job_running{job=\"nobody/test/web\"} 1",
        "dawn_job_median_to_running_seconds{job=\"nobody/test/web\"} ",
    ];
    cluster.eventually("the scheduler tells", Patience::STEP, || {
        let page = get(scheduler, "/metrics")?;
        let appended = !page.contains("append_seconds_count 0\n");
        let missing: Vec<&&str> = wanted.iter().filter(|line| !page.contains(**line)).collect();
        if missing.is_empty() && appended { Ok(()) } else { Err(format!("{missing:?} in {page}")) }
    });
    what_deploy_looks_at_is_there(&[
        get(agent, "/metrics").expect("a page"),
        get(scheduler, "/metrics").expect("a page"),
        // What each backup leaves for the node exporter.
        std::fs::read_to_string(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../deploy/systemd/dawn-backup"))
            .expect("it is there"),
    ]);
    // Where it listens, for whoever looks for it.
    let target = format!("\"{}:{}\"", task.hostname, task.ports[0].port);
    let page = get(scheduler, "/endpoints?job=nobody%2Ftest%2Fweb").expect("an answer");
    assert!(page.contains("application/json") && page.contains(&target), "{page}");
    for wrong in ["/endpoints", "/endpoints?job=nobody/test/other", "/other"] {
        assert!(get(scheduler, wrong).expect("an answer").starts_with("HTTP/1.1 404"), "{wrong}");
    }
    let listed = cluster.dawn(&["job", "endpoints", "nobody/test/web", "--plain"]);
    assert_eq!(format!("\"{}\"", listed.stdout.trim()), target);
    // Another name for its port, and nothing is restarted for it.
    let announce = Announce { primary_port: "http".into(), aliases: [("aurora".into(), "http".into())].into() };
    cluster.submit(service("web").port("http", 0).with(|job| job.announce = Some(announce)));
    let listed = cluster.dawn(&["job", "endpoints", "nobody/test/web", "--port", "aurora"]).succeeded();
    assert_eq!(format!("\"{}\"", listed.stdout.trim()), target);
    assert_eq!(cluster.running(&job, 1).remove(0).id, task.id);
    // Its own group, which its task's processes are not in.
    let own = |pid: i32| groups(pid).into_iter().any(|(_, path)| path.ends_with("agent") && cluster.owns(&path));
    assert!(own(cluster.agents[0].pid().expect("it runs")));
    assert!(!own(cluster.processes_of(&job, 1)[0].pid));
    cluster.end();
}
