//! The whole agent over real gRPC on loopback, with real processes for executors: launches, reports, kills, restarts.

mod support;

use std::net::TcpListener;

use dawn_agent::Config;
use dawn_proto::v1::scheduler_message::Message;
use dawn_proto::v1::{self, Reason, TaskState};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use support::scheduler::{Manner, Scheduler};
use support::{RunningAgent, config, executor, spec, until};

/// Not a test: what the agent starts as an executor (see `support::config`).
#[test]
#[ignore = "started by the agent under test"]
fn fake_executor() {
    executor::run();
}

struct Bench {
    work: tempfile::TempDir,
    scheduler: Scheduler,
}

/// Executors outlive their agent, and would outlive a test that fails.
impl Drop for Bench {
    fn drop(&mut self) {
        for entry in std::fs::read_dir(self.work.path().join("tasks")).into_iter().flatten().flatten() {
            let starts = std::fs::read_to_string(entry.path().join("starts")).unwrap_or_default();
            for pid in starts.lines().filter_map(|line| line.parse().ok()) {
                let command = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
                if String::from_utf8_lossy(&command).contains(&*entry.path().to_string_lossy()) {
                    let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
                }
            }
        }
    }
}

impl Bench {
    async fn new(manner: Manner) -> Self {
        Bench { work: tempfile::tempdir().unwrap(), scheduler: Scheduler::start(manner).await }
    }

    fn config(&self) -> Config {
        config(self.work.path(), self.scheduler.addresses())
    }

    /// Starts an agent and waits for its registration.
    async fn agent(&self) -> RunningAgent {
        let before = self.scheduler.registers().len();
        let agent = RunningAgent::start(self.config());
        until("a registration", || self.scheduler.registers().len() > before).await;
        agent
    }

    /// Launches a task with this script and waits for a state.
    async fn launch(&self, task: u64, script: &str, state: TaskState) {
        self.scheduler.say(Message::Spec(spec(task, script))).await;
        self.scheduler.launch(task, task).await;
        until(&format!("{state:?} of {script:?}"), || self.scheduler.is(task, state)).await;
    }

    async fn end(&self, task: u64) {
        self.scheduler.kill(task).await;
        until("the end", || self.scheduler.has_ended(task)).await;
    }
}

#[tokio::test]
async fn a_task_is_launched_reported_and_killed() {
    let bench = Bench::new(Manner::default()).await;
    let scheduler = &bench.scheduler;
    let agent = bench.agent().await;
    let register = &scheduler.registers()[0];
    assert_eq!((register.hostname.as_str(), register.isolation.as_str()), ("test-host", "none"));
    assert_eq!(register.offer.as_ref().unwrap().total.as_ref().unwrap().cpu_milli, 4_000);
    assert!(register.tasks.is_empty() && register.cluster_id.is_empty());

    scheduler.launch(1, 7).await;
    until("the spec's need", || scheduler.need_specs().len() == 1).await;
    scheduler.say(Message::Spec(spec(7, "serve"))).await;
    until("RUNNING", || scheduler.is(1, TaskState::Running)).await;
    scheduler.launch(1, 7).await;
    bench.end(1).await;
    let mut states = scheduler.states(1);
    states.retain(|state| *state != TaskState::Assigned);
    assert_eq!(states, [TaskState::Starting, TaskState::Running, TaskState::Killed]);
    assert_eq!(scheduler.reports(1).last().unwrap().reason(), Reason::UserRequest);
    until("the release", || bench.work.path().join("tasks/t1/released").exists()).await;
    until("heartbeats", || scheduler.heartbeats() >= 2).await;
    assert_eq!(executor::starts(bench.work.path(), 1), 1, "the repeated launch started nothing");
    assert!(scheduler.offers().is_empty(), "launches and ends change no offer");
    agent.stop().await;
}

#[tokio::test]
async fn a_task_runs_on_while_its_agent_is_restarted_and_is_reported_again() {
    let bench = Bench::new(Manner::default()).await;
    let agent = bench.agent().await;
    bench.launch(1, "serve", TaskState::Running).await;
    let pid = executor::pid(bench.work.path(), 1);
    agent.stop().await;
    kill(Pid::from_raw(pid), None).expect("the executor outlives the agent");

    let config = Config { cpu_milli: Some(500), ..bench.config() };
    let agent = RunningAgent::start(config);
    until("a registration", || bench.scheduler.registers().len() == 2).await;
    let (first, second) = (&bench.scheduler.registers()[0], &bench.scheduler.registers()[1]);
    assert_eq!((&second.agent_id, second.cluster_id.as_str()), (&first.agent_id, "cluster-a"));
    assert_eq!(second.epoch_seen, 1);
    let held: Vec<_> = second.tasks.iter().map(|report| (report.task_id, report.state())).collect();
    assert_eq!(held, [(1, TaskState::Running)]);
    let (before, after) = (first.offer.as_ref().unwrap(), second.offer.as_ref().unwrap());
    assert!(after.epoch > before.epoch && after.total.as_ref().unwrap().cpu_milli == 500, "{after:?}");
    bench.end(1).await;
    assert!(bench.scheduler.is(1, TaskState::Killed));
    assert_eq!(executor::starts(bench.work.path(), 1), 1);
    agent.stop().await;
}

#[tokio::test]
async fn what_ends_while_the_agent_is_away_is_told_when_it_is_back() {
    let bench = Bench::new(Manner::default()).await;
    let agent = bench.agent().await;
    bench.launch(1, "serve", TaskState::Running).await;
    bench.launch(2, "serve", TaskState::Running).await;
    let pids = [1, 2].map(|task| executor::pid(bench.work.path(), task));
    agent.stop().await;
    // The one is told to end by hand, as a finished task would; the other dies without a word.
    kill(Pid::from_raw(pids[1]), Signal::SIGKILL).unwrap();
    until("its death", || kill(Pid::from_raw(pids[1]), None).is_err() || is_zombie(pids[1])).await;
    let agent = bench.agent().await;
    until("LOST", || bench.scheduler.is(2, TaskState::Lost)).await;
    assert_eq!(bench.scheduler.reports(2).last().unwrap().reason(), Reason::ExecutorLost);
    assert!(bench.scheduler.is(1, TaskState::Running));
    bench.end(1).await;
    agent.stop().await;
}

fn is_zombie(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.contains(") Z ")
}

#[tokio::test]
async fn an_executor_that_dies_without_a_word_is_lost_and_a_short_task_is_told_whole() {
    let bench = Bench::new(Manner::default()).await;
    let agent = bench.agent().await;
    bench.launch(1, "die", TaskState::Lost).await;
    assert_eq!(bench.scheduler.reports(1).last().unwrap().reason(), Reason::ExecutorLost);
    bench.launch(2, "finish", TaskState::Finished).await;
    assert_eq!(bench.scheduler.states(2), [TaskState::Starting, TaskState::Running, TaskState::Finished]);
    let sequences: Vec<u64> = bench.scheduler.reports(2).iter().map(|report| report.sequence).collect();
    assert!(sequences.is_sorted(), "{sequences:?}");
    agent.stop().await;
}

#[tokio::test]
async fn executors_that_never_begin_keep_no_other_from_it() {
    let bench = Bench::new(Manner::default()).await;
    // As many as begin at once on this machine.
    let mute = std::thread::available_parallelism().map_or(2, |cpus| cpus.get().max(2)) as u64;
    let room = Some((mute + 1) * 1_000);
    let agent = RunningAgent::start(Config { cpu_milli: room, memory_bytes: Some((mute + 1) << 30), ..bench.config() });
    until("a registration", || !bench.scheduler.registers().is_empty()).await;
    for task in 1..=mute {
        bench.scheduler.say(Message::Spec(spec(task, "mute"))).await;
        bench.scheduler.launch(task, task).await;
        until("its executor", || bench.work.path().join(format!("tasks/t{task}/starts")).exists()).await;
    }
    bench.launch(mute + 1, "serve", TaskState::Running).await;
    bench.end(mute + 1).await;
    agent.stop().await;
}

#[tokio::test]
async fn a_report_is_sent_again_until_acknowledged_over_reconnects_and_restarts() {
    let bench = Bench::new(Manner { acks: false, ..Manner::default() }).await;
    let agent = bench.agent().await;
    bench.launch(1, "finish", TaskState::Finished).await;
    let told = |bench: &Bench| {
        let reports = bench.scheduler.reports(1);
        reports.iter().filter(|report| report.state() == TaskState::Finished).count()
    };
    let once = told(&bench);
    bench.scheduler.hang_up();
    until("a second registration", || bench.scheduler.registers().len() >= 2).await;
    until("a repeat", || told(&bench) > once).await;
    agent.stop().await;
    let before = told(&bench);
    bench.scheduler.behave(|manner| manner.acks = true);
    let agent = bench.agent().await;
    until("a repeat by the next life", || told(&bench) > before).await;
    until("the release", || bench.work.path().join("tasks/t1/released").exists()).await;
    agent.stop().await;
    let agent = bench.agent().await;
    assert!(bench.scheduler.registers().last().unwrap().tasks.is_empty(), "acknowledged: told no more");
    agent.stop().await;
}

#[tokio::test]
async fn orders_of_a_deposed_leader_stop_nothing_and_the_link_is_dropped() {
    let bench = Bench::new(Manner { epoch: 5, ..Manner::default() }).await;
    let agent = bench.agent().await;
    bench.launch(1, "serve", TaskState::Running).await;
    let registers = bench.scheduler.registers().len();
    let stale = v1::Kill { epoch: 4, task_id: 1, reason: Reason::UserRequest.into(), grace_period_ms: Some(0) };
    bench.scheduler.say(Message::Kill(stale)).await;
    until("a new registration", || bench.scheduler.registers().len() > registers).await;
    let register = bench.scheduler.registers().last().cloned().unwrap();
    assert_eq!(register.epoch_seen, 5);
    assert_eq!(register.tasks[0].state(), TaskState::Running);
    agent.stop().await;

    // Not even after a restart is an older leader obeyed.
    bench.scheduler.behave(|manner| manner.epoch = 4);
    let agent = bench.agent().await;
    let registers = bench.scheduler.registers().len();
    until("another try", || bench.scheduler.registers().len() > registers).await;
    assert!(bench.scheduler.is(1, TaskState::Running));
    bench.scheduler.behave(|manner| manner.epoch = 6);
    until("the newer leader's registration", || bench.scheduler.heartbeats() > 3).await;
    bench.end(1).await;
    agent.stop().await;
}

#[tokio::test]
async fn a_follower_is_left_for_the_leader_it_names() {
    let leader = Bench::new(Manner::default()).await;
    let refused = v1::Refused {
        reason: "not the leader".into(),
        leader_address: leader.scheduler.address.to_string(),
        ..Default::default()
    };
    let follower = Bench::new(Manner { refuses: Some(refused), ..Manner::default() }).await;
    let agent = RunningAgent::start(config(leader.work.path(), follower.scheduler.addresses()));
    until("a registration with the leader", || !leader.scheduler.registers().is_empty()).await;
    assert_eq!(follower.scheduler.registers().len(), 1);
    agent.stop().await;
}

#[tokio::test]
async fn a_silent_scheduler_is_left_for_another() {
    let mute = Manner { lease_ms: 400, answers_heartbeats: false, ..Manner::default() };
    let silent = Bench::new(mute).await;
    let other = Bench::new(Manner::default()).await;
    let addresses = [silent.scheduler.addresses(), other.scheduler.addresses()].concat();
    let agent = RunningAgent::start(config(silent.work.path(), addresses));
    until("the first registration", || silent.scheduler.registers().len() == 1).await;
    until("a registration elsewhere", || !other.scheduler.registers().is_empty()).await;
    agent.stop().await;
}

#[tokio::test]
async fn another_cluster_or_a_refusal_ends_no_agent_and_it_is_back_when_that_changes() {
    let bench = Bench::new(Manner::default()).await;
    let agent = bench.agent().await;
    until("a heartbeat", || bench.scheduler.heartbeats() > 0).await;
    let before = bench.scheduler.registers().len();
    bench.scheduler.behave(|manner| manner.cluster_id = "cluster-b".into());
    bench.scheduler.hang_up();
    until("it asks again and again", || bench.scheduler.registers().len() > before + 2).await;
    // As schedulers of before say it, and as those of today.
    for (is_final, dial_slowly) in [(true, false), (false, true)] {
        let refused =
            v1::Refused { reason: "agent id in use".into(), r#final: is_final, dial_slowly, ..Default::default() };
        let before = bench.scheduler.registers().len();
        bench.scheduler.behave(|manner| manner.refuses = Some(refused));
        until("it asks again", || bench.scheduler.registers().len() > before).await;
    }
    let beats = bench.scheduler.heartbeats();
    bench.scheduler.behave(|manner| *manner = Manner::default());
    until("a heartbeat again", || bench.scheduler.heartbeats() > beats).await;
    agent.stop().await;
}

#[tokio::test]
async fn a_second_agent_on_the_same_work_directory_is_refused() {
    let bench = Bench::new(Manner::default()).await;
    let agent = bench.agent().await;
    let text = RunningAgent::start(bench.config()).error().await.to_string();
    let holder = format!("another agent (pid {}) runs", std::process::id());
    assert!(text.contains(&holder), "{text}");
    agent.stop().await;
}

#[tokio::test]
async fn a_port_in_use_is_named_and_left_out_of_the_offer() {
    let bench = Bench::new(Manner::default()).await;
    let listener = TcpListener::bind("0.0.0.0:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let agent = RunningAgent::start(Config { ports: vec![(port, port)], ..bench.config() });
    until("a registration", || bench.scheduler.registers().len() == 1).await;
    bench.scheduler.say(Message::Spec(spec(1, "serve"))).await;
    let ports = vec![v1::AssignedPort { name: "http".into(), port: port.into() }];
    let launch = v1::Launch { epoch: 1, task_id: 1, spec_id: 1, ports, ..Default::default() };
    bench.scheduler.say(Message::Launch(launch)).await;
    until("LOST", || bench.scheduler.is(1, TaskState::Lost)).await;
    let report = bench.scheduler.reports(1).pop().unwrap();
    assert_eq!(report.reason(), Reason::PortClash);
    assert!(report.message.contains(&port.to_string()), "{}", report.message);
    until("an offer without it", || bench.scheduler.offers().iter().any(|offer| offer.ports.is_empty())).await;
    let first = bench.scheduler.registers()[0].offer.as_ref().unwrap().epoch;
    assert!(bench.scheduler.offers()[0].epoch > first);
    assert!(!bench.work.path().join("tasks/t1").exists(), "nothing was made for it");
    agent.stop().await;
}

#[tokio::test]
async fn an_unknown_user_fails_the_task_and_an_unknown_task_is_not_on_the_agent() {
    let bench = Bench::new(Manner::default()).await;
    let agent = RunningAgent::start(Config { run_as_self: false, ..bench.config() });
    until("a registration", || bench.scheduler.registers().len() == 1).await;
    let mut nobody = spec(1, "serve");
    nobody.spec.as_mut().unwrap().task.as_mut().unwrap().user = "no-such-user".into();
    bench.scheduler.say(Message::Spec(nobody)).await;
    bench.scheduler.launch(1, 1).await;
    until("FAILED", || bench.scheduler.is(1, TaskState::Failed)).await;
    let report = bench.scheduler.reports(1).pop().unwrap();
    assert_eq!(report.reason(), Reason::UnknownUser);
    assert_eq!(report.message, "user no-such-user does not exist on this node");
    bench.scheduler.say(Message::Reconcile(v1::Reconcile { epoch: 1, task_ids: vec![99] })).await;
    bench.scheduler.kill(98).await;
    for task in [98, 99] {
        until("LOST", || bench.scheduler.is(task, TaskState::Lost)).await;
        assert_eq!(bench.scheduler.reports(task)[0].reason(), Reason::NotOnAgent);
    }
    agent.stop().await;
}

#[tokio::test]
async fn logs_are_read_through_a_tunnel_followed_to_the_end() {
    let bench = Bench::new(Manner::default()).await;
    let agent = bench.agent().await;
    bench.launch(1, "serve", TaskState::Running).await;
    let read_log = v1::ReadLogRequest { task_id: 1, follow: true, ..Default::default() };
    let open = |tunnel_id, read_log| {
        Message::OpenTunnel(v1::OpenTunnel { tunnel_id, read_log: Some(read_log), ..Default::default() })
    };
    bench.scheduler.say(open(11, read_log.clone())).await;
    let text = || {
        let chunks = bench.scheduler.tunnel().into_iter().filter_map(|up| up.log).flat_map(|log| log.data).collect();
        String::from_utf8(chunks).unwrap()
    };
    until("the log", || text() == "hello from the task\n").await;
    assert_eq!(bench.scheduler.tunnel()[0].tunnel_id, 11);
    assert!(!bench.scheduler.tunnel().iter().any(|up| up.log.as_ref().is_some_and(|log| log.end)));
    bench.end(1).await;
    until("its end", || bench.scheduler.tunnel().last().unwrap().log.as_ref().is_some_and(|log| log.end)).await;
    assert_eq!(text(), "hello from the task\n", "and nothing else");

    let errors = || bench.scheduler.tunnel().into_iter().map(|up| up.error).filter(|error| !error.is_empty());
    bench.scheduler.say(open(12, v1::ReadLogRequest { task_id: 5, ..Default::default() })).await;
    until("an error", || errors().count() == 1).await;
    bench.scheduler.say(open(13, v1::ReadLogRequest { process: "web".into(), ..read_log })).await;
    until("an error", || errors().count() == 2).await;
    let errors: Vec<String> = errors().collect();
    assert_eq!(errors, ["the agent has no task t5", "task t1 has no process web; it has: main"]);
    agent.stop().await;
}
