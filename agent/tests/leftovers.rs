//! An agent starts whatever it finds: each file of its work directory is damaged in turn, and what is whole lives on.

mod support;

use std::fs;
use std::path::{Path, PathBuf};

use dawn_proto::v1::scheduler_message::Message;
use dawn_proto::v1::{self, TaskState};
use nix::sys::signal::{Signal, kill};
use nix::sys::stat::Mode;
use nix::unistd::{Pid, mkfifo};
use prost::Message as _;
use support::scheduler::{Manner, Scheduler};
use support::{RunningAgent, config, executor, spec, until};

/// Not a test: what the agent starts as an executor (see `support::config`).
#[test]
#[ignore = "started by the agent under test"]
fn fake_executor() {
    executor::run();
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Damage {
    Missing,
    Empty,
    Cut,
    Zeroes,
    Garbage,
    Directory,
    /// Reading from it never ends.
    Pipe,
}

const DAMAGES: [Damage; 7] =
    [Damage::Missing, Damage::Empty, Damage::Cut, Damage::Zeroes, Damage::Garbage, Damage::Directory, Damage::Pipe];

fn damage(path: &Path, how: Damage) {
    let content = fs::read(path).unwrap_or_default();
    let removed = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    removed.unwrap();
    match how {
        Damage::Missing => {}
        Damage::Empty => fs::write(path, "").unwrap(),
        Damage::Cut => fs::write(path, &content[..content.len() / 2]).unwrap(),
        Damage::Zeroes => fs::write(path, vec![0; content.len().max(16)]).unwrap(),
        Damage::Garbage => fs::write(path, b"\xff\x01garbage".repeat(100)).unwrap(),
        Damage::Directory => fs::create_dir(path).unwrap(),
        Damage::Pipe => mkfifo(path, Mode::S_IRWXU).unwrap(),
    }
}

struct Bench {
    work: tempfile::TempDir,
    scheduler: Scheduler,
    agent: Option<RunningAgent>,
    executors: Vec<i32>,
    next: u64,
}

/// Executors outlive their agent, and would outlive a test that fails.
impl Drop for Bench {
    fn drop(&mut self) {
        let mine = self.work.path().to_string_lossy().into_owned();
        for pid in &self.executors {
            let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            if String::from_utf8_lossy(&command).contains(&mine) {
                let _ = kill(Pid::from_raw(*pid), Signal::SIGKILL);
            }
        }
    }
}

/// The task that is never touched.
const WITNESS: u64 = 1;

impl Bench {
    async fn new() -> Bench {
        let scheduler = Scheduler::start(Manner::default()).await;
        let (work, executors) = (tempfile::tempdir().unwrap(), Vec::new());
        let mut bench = Bench { work, scheduler, agent: None, executors, next: WITNESS };
        bench.start("the first start").await;
        assert_eq!(bench.launch("serve", TaskState::Running).await, WITNESS);
        bench
    }

    fn path(&self, name: &str) -> PathBuf {
        self.work.path().join(name)
    }

    async fn launch(&mut self, script: &str, state: TaskState) -> u64 {
        let task = self.next;
        self.next += 1;
        self.scheduler.say(Message::Spec(spec(task, script))).await;
        self.scheduler.launch(task, task).await;
        until(&format!("{state:?} of {script:?}"), || self.scheduler.is(task, state)).await;
        self.executors.push(executor::pid(self.work.path(), task));
        task
    }

    async fn stop(&mut self) {
        if let Some(agent) = self.agent.take() {
            agent.stop().await;
        }
    }

    async fn start(&mut self, case: &str) {
        let before = self.scheduler.registers().len();
        self.agent = Some(RunningAgent::start(config(self.work.path(), self.scheduler.addresses())));
        until(&format!("a registration after {case}"), || self.scheduler.registers().len() > before).await;
    }

    /// The agent is who it was, and the untouched task runs on as it did.
    fn check(&self, case: &str) {
        let registers = self.scheduler.registers();
        let (first, last) = (&registers[0], &registers[registers.len() - 1]);
        assert_eq!(first.agent_id, last.agent_id, "{case}");
        assert_eq!(last.cluster_id, "cluster-a", "{case}");
        let witness = last.tasks.iter().find(|report| report.task_id == WITNESS);
        assert_eq!(witness.map(v1::TaskReport::state), Some(TaskState::Running), "{case}");
        assert_eq!(executor::starts(self.work.path(), WITNESS), 1, "{case}");
        kill(Pid::from_raw(self.executors[0]), None).expect(case);
    }
}

#[tokio::test]
async fn every_file_of_the_agent_damaged_in_turn_keeps_it_from_nothing() {
    let mut bench = Bench::new().await;
    bench.stop().await;
    for name in ["agent.id", "agent.state", "agent.state.copy", "agent.lock", "trash", "artifacts", "artifacts/coming"]
    {
        for how in DAMAGES {
            let case = format!("{name}: {how:?}");
            assert!(bench.path(name).exists(), "{case}: it was mended by the start before");
            damage(&bench.path(name), how);
            bench.start(&case).await;
            bench.check(&case);
            bench.stop().await;
        }
    }
    // What was damaged is kept for a person.
    for name in ["agent.id.unreadable", "agent.state.unreadable", "agent.lock.unreadable", "trash.unreadable"] {
        assert!(bench.path(name).symlink_metadata().is_ok(), "{name}");
    }
}

#[tokio::test]
async fn every_file_of_a_task_damaged_in_turn_costs_at_most_that_task() {
    let mut bench = Bench::new().await;
    for (script, state) in [("serve", TaskState::Running), ("finish", TaskState::Finished)] {
        for name in
            ["plan", "events", "executor.lock", "executor.log", "socket", "sandbox", "logs", "released", "verdict", ""]
        {
            for how in DAMAGES {
                if how == Damage::Missing && name == "socket" {
                    // Without its socket an executor can't be told to end: that is another story.
                    continue;
                }
                let case = format!("{name} of a task that is {state:?}: {how:?}");
                let task = bench.launch(script, state).await;
                bench.stop().await;
                let dir = bench.path(&format!("tasks/t{task}"));
                let path = if name.is_empty() { dir } else { dir.join(name) };
                // Where there is none there is one now.
                if path.symlink_metadata().is_err() {
                    fs::write(&path, "").unwrap();
                }
                damage(&path, how);
                bench.start(&case).await;
                bench.check(&case);
                bench.scheduler.kill(task).await;
                until(&format!("the end of {case}"), || bench.scheduler.has_ended(task)).await;
                assert!(executor::starts(bench.work.path(), task) <= 1, "{case}: nothing is started twice");
            }
        }
    }
    bench.stop().await;
}

#[tokio::test]
async fn a_directory_of_tasks_that_is_none_is_left_aside() {
    let mut bench = Bench::new().await;
    bench.stop().await;
    fs::rename(bench.path("tasks"), bench.path("elsewhere")).unwrap();
    fs::write(bench.path("tasks"), "no directory").unwrap();
    bench.start("a file in place of the tasks").await;
    let last = bench.scheduler.registers().pop().unwrap();
    assert!(last.tasks.is_empty(), "{last:?}");
    bench.next = 100;
    bench.launch("finish", TaskState::Finished).await;
    bench.stop().await;
    assert_eq!(fs::read_to_string(bench.path("tasks.unreadable")).unwrap(), "no directory");
}

#[tokio::test]
async fn a_kept_task_whose_executors_number_is_a_threads_now_keeps_the_agent_from_nothing() {
    let mut bench = Bench::new().await;
    let (ended, living) =
        (bench.launch("finish", TaskState::Finished).await, bench.launch("serve", TaskState::Running).await);
    bench.stop().await;
    let (tell, told) = std::sync::mpsc::channel();
    let (end, until_the_end) = std::sync::mpsc::channel::<()>();
    let thread = std::thread::spawn(move || {
        tell.send(nix::unistd::gettid().as_raw()).unwrap();
        let _ = until_the_end.recv();
    });
    let pid = told.recv().unwrap();
    for task in [ended, living] {
        rename_executor(&bench.path(&format!("tasks/t{task}/events")), pid);
    }
    bench.start("a thread with an executor's number").await;
    bench.check("a thread with an executor's number");
    until("the verdict", || bench.scheduler.is(living, TaskState::Lost)).await;
    bench.stop().await;
    drop(end);
    thread.join().unwrap();
}

/// Writes an event log as it would be had the executor had this number.
fn rename_executor(path: &Path, pid: i32) {
    use dawn_proto::v1::executor_event::Event;
    let bytes = fs::read(path).unwrap();
    let (mut rest, mut written) = (&bytes[..], Vec::new());
    while let Ok(body) = dawn_proto::read_frame(&mut rest) {
        let mut event = v1::ExecutorEvent::decode(&body[..]).unwrap();
        if let Some(Event::Started(started)) = &mut event.event {
            started.pid = pid;
        }
        dawn_proto::write_frame(&mut written, &event.encode_to_vec()).unwrap();
    }
    fs::write(path, written).unwrap();
}
