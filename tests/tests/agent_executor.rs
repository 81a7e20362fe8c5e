//! The real agent and the real executor on this kernel, under a scheduler made for the test: groups, limits, kills, restarts.

#[path = "../../agent/tests/support/mod.rs"]
mod support;

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use dawn_agent::Config;
use dawn_proto::v1::scheduler_message::Message;
use dawn_proto::v1::{self, Reason, TaskState};
use dawn_tests::cluster::skip;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use prost::Message as _;
use support::scheduler::{Manner, Scheduler};
use support::{RunningAgent, spec, until};

/// First argument that makes this program an executor.
const EXECUTOR: &str = "executor-under-test";

/// Runs before `main`, and so before the test harness starts threads: the executor takes signals for its whole process.
#[used]
#[unsafe(link_section = ".init_array")]
static BECOME_EXECUTOR: extern "C" fn() = {
    extern "C" fn become_executor() {
        let line = fs::read("/proc/self/cmdline").unwrap_or_default();
        let mut arguments = line.split(|byte| *byte == 0).skip(1);
        if arguments.next() == Some(EXECUTOR.as_bytes()) {
            let plan = OsString::from_vec(arguments.next().unwrap_or_default().to_vec());
            let code = dawn_executor::run(Path::new(&plan));
            std::process::exit(i32::from(code != ExitCode::SUCCESS));
        }
    }
    become_executor
};

/// In the memory controller's hierarchy of v1, or in that of v2.
fn groups_can_be_made(name: &str) -> bool {
    let probe = format!("dawn-test-{}-{name}-probe", std::process::id());
    let mounts = ["/sys/fs/cgroup/memory", "/sys/fs/cgroup"].map(|mount| Path::new(mount).join(&probe));
    mounts.iter().any(|probe| fs::create_dir(probe).and_then(|()| fs::remove_dir(probe)).is_ok())
}

/// A work directory, a scheduler and, below every hierarchy, a parent group of its own.
struct Bench {
    work: tempfile::TempDir,
    scheduler: Scheduler,
    parent: String,
    isolated: bool,
}

impl Bench {
    /// None, loudly, where cgroups can't be made.
    async fn new(name: &str, isolated: bool) -> Option<Self> {
        if isolated && !groups_can_be_made(name) {
            skip("no cgroups can be made here");
            return None;
        }
        let parent = format!("dawn-test-{}-{name}", std::process::id());
        let work = tempfile::tempdir().unwrap();
        Some(Bench { work, scheduler: Scheduler::start(Manner::default()).await, parent, isolated })
    }

    fn config(&self) -> Config {
        let own = std::env::current_exe().unwrap().into_os_string();
        Config {
            isolated: self.isolated,
            cgroup_parent: self.parent.clone(),
            executor: vec![own, EXECUTOR.into()],
            ..support::config(self.work.path(), self.scheduler.addresses())
        }
    }

    async fn agent(&self) -> RunningAgent {
        let before = self.scheduler.registers().len();
        let agent = RunningAgent::start(self.config());
        until("a registration", || self.scheduler.registers().len() > before).await;
        agent
    }

    async fn launch(&self, task: u64, script: &str, state: TaskState) {
        self.scheduler.say(Message::Spec(spec(task, script))).await;
        self.scheduler.launch(task, task).await;
        let what = format!("{state:?} of {script:?}");
        until(&what, || self.scheduler.states(task).contains(&state)).await;
    }

    async fn end(&self, task: u64) {
        self.scheduler.kill(task).await;
        until("the end", || self.scheduler.has_ended(task)).await;
    }

    fn plan(&self, task: u64) -> v1::ExecutorPlan {
        let mut file = fs::File::open(self.work.path().join(format!("tasks/t{task}/plan"))).unwrap();
        v1::ExecutorPlan::decode(&dawn_proto::read_frame(&mut file).unwrap()[..]).unwrap()
    }

    fn groups(&self, task: u64) -> Vec<PathBuf> {
        self.plan(task).cgroup.unwrap().join.into_iter().map(PathBuf::from).collect()
    }

    fn events(&self, task: u64) -> Vec<v1::executor_event::Event> {
        let mut file = fs::File::open(self.work.path().join(format!("tasks/t{task}/events"))).unwrap();
        let mut events = Vec::new();
        while let Ok(body) = dawn_proto::read_frame(&mut file) {
            events.extend(v1::ExecutorEvent::decode(&body[..]).unwrap().event);
        }
        events
    }

    fn executor_pid(&self, task: u64) -> Pid {
        let v1::executor_event::Event::Started(started) = &self.events(task)[0] else { panic!("no start") };
        Pid::from_raw(started.pid)
    }

    /// Of the first process, as this machine sees it.
    fn main_pid(&self, task: u64) -> i32 {
        let started = self.events(task).into_iter().find_map(|event| match event {
            v1::executor_event::Event::ProcessStarted(started) => Some(started.pid),
            _ => None,
        });
        started.unwrap()
    }
}

fn members(group: &Path) -> Vec<i32> {
    let text = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
    text.lines().map(|line| line.parse().unwrap()).collect()
}

fn lives(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    !stat.is_empty() && !stat.contains(") Z ")
}

#[tokio::test]
async fn a_task_runs_in_limited_groups_is_killed_and_leaves_nothing() {
    let Some(bench) = Bench::new("life", true).await else { return };
    let agent = bench.agent().await;
    bench.launch(1, "trap '' TERM; sleep 1000 & while :; do sleep 0.1; done", TaskState::Running).await;
    let groups = bench.groups(1);
    let plan = bench.plan(1).cgroup.unwrap();
    until("its processes", || groups.iter().all(|group| members(group).len() >= 2)).await;
    let pids = members(&groups[0]);
    assert!(!pids.contains(&bench.executor_pid(1).as_raw()), "the executor is not in the task's group");
    let limit = if plan.memory_version == 1 { "memory.limit_in_bytes" } else { "memory.max" };
    let limit = fs::read_to_string(Path::new(&plan.memory).join(limit)).unwrap();
    assert_eq!(limit.trim(), (64 << 20).to_string());
    let read = |file: &str| groups.iter().find_map(|group| fs::read_to_string(group.join(file)).ok());
    assert_eq!(read("pids.max").unwrap().trim(), "1024");
    let quota = read("cpu.cfs_quota_us").or_else(|| read("cpu.max")).unwrap();
    assert!(quota.starts_with("100000"), "{quota}");

    bench.end(1).await;
    assert_eq!(bench.scheduler.states(1).last(), Some(&TaskState::Killed));
    until("the groups' removal", || groups.iter().all(|group| !group.exists())).await;
    assert!(pids.iter().all(|pid| !lives(*pid)), "{pids:?}");
    agent.stop().await;
    assert!(!groups[0].parent().unwrap().exists(), "the empty parent goes with the agent");
}

#[tokio::test]
async fn a_task_is_told_its_gpus_from_the_launch_to_its_environment() {
    let Some(bench) = Bench::new("gpus", false).await else { return };
    let before = bench.scheduler.registers().len();
    let agent = RunningAgent::start(Config { gpu_milli: Some(4_000), ..bench.config() });
    until("a registration", || bench.scheduler.registers().len() > before).await;
    let script = "echo \"$DAWN_GPUS $DAWN_GPU_MILLI $CUDA_VISIBLE_DEVICES\" > gpus; exec sleep 1000";
    for (task, gpu_milli, devices, told) in
        [(1, 2_000, vec![1, 3], "1,3 2000 1,3"), (2, 400, vec![2], "2 400 2"), (3, 0, vec![], "")]
    {
        let mut spec = spec(task, script);
        let resources = spec.spec.as_mut().and_then(|job| job.task.as_mut()?.resources.as_mut()).unwrap();
        resources.gpu_milli = gpu_milli;
        resources.cpu_milli = 10;
        bench.scheduler.say(Message::Spec(spec)).await;
        let launch = v1::Launch { epoch: 1, task_id: task, spec_id: task, attempt: 1, devices, ..Default::default() };
        bench.scheduler.say(Message::Launch(launch)).await;
        let file = bench.work.path().join(format!("tasks/t{task}/sandbox/gpus"));
        until("the task's word", || fs::read_to_string(&file).is_ok_and(|text| text.ends_with('\n'))).await;
        assert_eq!(fs::read_to_string(&file).unwrap().trim(), told, "task {task}");
    }
    // The leader gave away what is taken already: it must have lost its memory.
    let mut twice = spec(4, script);
    twice.spec.as_mut().and_then(|job| job.task.as_mut()?.resources.as_mut()).unwrap().gpu_milli = 1_000;
    bench.scheduler.say(Message::Spec(twice)).await;
    let launch = v1::Launch { epoch: 1, task_id: 4, spec_id: 4, attempt: 1, devices: vec![3], ..Default::default() };
    bench.scheduler.say(Message::Launch(launch)).await;
    until("the refusal", || bench.scheduler.has_ended(4)).await;
    let report = bench.scheduler.reports(4).pop().unwrap();
    assert_eq!(report.reason(), Reason::NoRoom);
    assert!(report.message.contains("gpu 3 has 0 thousandths left"), "{}", report.message);
    for task in 1..=3 {
        bench.end(task).await;
    }
    agent.stop().await;
}

#[tokio::test]
async fn a_hog_is_told_as_such_and_a_plain_end_with_its_code() {
    let Some(bench) = Bench::new("ends", true).await else { return };
    let agent = bench.agent().await;
    bench.launch(1, "head -c 200000000 /dev/zero | tail", TaskState::Failed).await;
    let report = bench.scheduler.reports(1).pop().unwrap();
    assert_eq!(report.reason(), Reason::OutOfMemory, "{}", report.message);
    bench.launch(2, "exit 3", TaskState::Failed).await;
    let report = bench.scheduler.reports(2).pop().unwrap();
    assert_eq!((report.reason(), report.exit_code), (Reason::Exited, Some(3)), "{}", report.message);
    bench.launch(3, "true", TaskState::Finished).await;
    for task in 1..=3 {
        let groups = bench.groups(task);
        until("the groups' removal", || groups.iter().all(|group| !group.exists())).await;
    }
    agent.stop().await;
}

#[tokio::test]
async fn a_restarted_agent_takes_its_task_over_and_a_murdered_executor_leaves_no_process() {
    let Some(bench) = Bench::new("restart", true).await else { return };
    let agent = bench.agent().await;
    bench.launch(1, "sleep 1000", TaskState::Running).await;
    bench.launch(2, "exec sleep 1000", TaskState::Running).await;
    let groups = [bench.groups(1), bench.groups(2)];
    let pids = members(&groups[0][0]);
    agent.stop().await;
    let agent = bench.agent().await;
    let register = bench.scheduler.registers().pop().unwrap();
    assert_eq!(register.tasks.len(), 2, "{:?}", register.tasks);
    assert_eq!(members(&groups[0][0]), pids, "the same processes");
    kill(bench.executor_pid(2), Signal::SIGKILL).unwrap();
    until("LOST", || bench.scheduler.is(2, TaskState::Lost)).await;
    assert_eq!(bench.scheduler.reports(2).last().unwrap().reason(), Reason::ExecutorLost);
    until("the groups' removal", || groups[1].iter().all(|group| !group.exists())).await;
    assert_eq!(members(&groups[0][0]), pids, "the other runs on");
    bench.end(1).await;
    until("the groups' removal", || groups[0].iter().all(|group| !group.exists())).await;
    agent.stop().await;
}

#[tokio::test]
async fn a_frozen_executor_is_overruled_when_its_time_is_up() {
    let Some(bench) = Bench::new("frozen", true).await else { return };
    let agent = bench.agent().await;
    bench.launch(1, "exec sleep 1000", TaskState::Running).await;
    let (groups, executor) = (bench.groups(1), bench.executor_pid(1));
    kill(executor, Signal::SIGSTOP).unwrap();
    bench.end(1).await;
    let report = bench.scheduler.reports(1).pop().unwrap();
    assert_eq!((report.state(), report.reason()), (TaskState::Killed, Reason::UserRequest), "{}", report.message);
    until("the groups' removal", || groups.iter().all(|group| !group.exists())).await;
    until("the executor's end", || !lives(executor.as_raw())).await;
    agent.stop().await;
}

#[tokio::test]
async fn without_groups_the_processes_of_a_lost_task_are_ended_all_the_same() {
    let Some(bench) = Bench::new("bare", false).await else { return };
    let agent = bench.agent().await;
    bench.launch(1, "exec sleep 1000", TaskState::Running).await;
    let pid = bench.main_pid(1);
    assert!(lives(pid));
    assert!(bench.groups(1).is_empty());
    kill(bench.executor_pid(1), Signal::SIGKILL).unwrap();
    until("LOST", || bench.scheduler.is(1, TaskState::Lost)).await;
    until("its end", || !lives(pid)).await;
    agent.stop().await;
}

#[tokio::test]
async fn where_groups_can_not_be_made_the_agent_says_so_and_names_the_flag() {
    let Some(bench) = Bench::new("refused", false).await else { return };
    let config = Config { isolated: true, cgroup_parent: "../escape".into(), ..bench.config() };
    let text = RunningAgent::start(config).error().await.to_string();
    assert!(text.contains("--unisolated"), "{text}");
}

/// What of this machine a task could leave behind.
fn leftovers(parent: &str) -> (usize, usize, usize) {
    let roots = fs::read_dir("/sys/fs/cgroup").unwrap().flatten().map(|entry| entry.path().join(parent));
    let groups = roots.flat_map(|root| fs::read_dir(root).into_iter().flatten().flatten());
    let groups = groups.filter(|entry| entry.path().is_dir()).count();
    let mounts =
        fs::read_to_string("/proc/self/mountinfo").unwrap().lines().filter(|line| line.contains("/tasks/t")).count();
    (groups, mounts, fs::read_dir("/proc/self/fd").unwrap().count())
}

/// `DAWN_SHORT_TASKS=10000` for the full number.
#[tokio::test]
async fn many_short_tasks_in_a_row_leave_no_groups_mounts_or_descriptors() {
    let Some(bench) = Bench::new("short", true).await else { return };
    let total: u64 = std::env::var("DAWN_SHORT_TASKS").ok().and_then(|text| text.parse().ok()).unwrap_or(60);
    let agent = bench.agent().await;
    bench.launch(1, "true", TaskState::Finished).await;
    let mut before = (0, 0, 0);
    for task in 2..total {
        bench.launch(task, "true", TaskState::Finished).await;
        if task == 20 {
            before = leftovers(&bench.parent);
        }
    }
    until("nothing is left", || {
        let (groups, mounts, descriptors) = leftovers(&bench.parent);
        // Other tests of this program come and go meanwhile.
        groups == 0 && mounts == 0 && descriptors < before.2 + 40
    })
    .await;
    agent.stop().await;
}
