//! `dawn dev` as a process: it comes up with its jobs, and whatever happens leaves nothing behind.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

#[path = "../../tests/src/skip.rs"]
mod skip;

const PATIENCE: Duration = Duration::from_secs(60);

/// A service that ignores SIGTERM: its grace period is what ending the cluster waits for.
const JOB: &str = "\
job: nobody/test/stubborn
kind: service
instances: 2
resources: { cpu: 0.1, memory: 32MiB, disk: 16MiB }
grace_period: 1s
run: |
  trap '' TERM
  while true; do sleep 1; done
";

struct Dev {
    child: Child,
    lines: Receiver<String>,
    /// The temporary folder that it names in its first line.
    data_dir: PathBuf,
}

impl Dev {
    fn start(jobs: &Path) -> Dev {
        Dev::start_with(jobs, &[])
    }

    fn start_with(jobs: &Path, arguments: &[&str]) -> Dev {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dawn"));
        command.args(["dev", "--agents", "2", "--listen", "127.0.0.1:0", "--jobs"]).arg(jobs).args(arguments);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        let mut child = command.spawn().expect("the binary is there");
        let lines = lines(child.stdout.take().expect("it is piped"));
        let mut dev = Dev { child, lines, data_dir: PathBuf::new() };
        let first = dev.until("data and logs: ");
        dev.data_dir = PathBuf::from(first.trim_start_matches("data and logs: "));
        dev
    }

    /// The next line that begins so.
    fn until(&mut self, begin: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        let mut seen = Vec::new();
        while let Ok(line) = self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            if line.starts_with(begin) {
                return line;
            }
            seen.push(line);
        }
        self.signal(Signal::SIGTERM);
        panic!("no line begins with {begin:?}: {seen:#?}");
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id() as i32), signal).expect("it lives");
    }

    fn ended(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().expect("it is a child") {
                return status;
            }
            assert!(Instant::now() < deadline, "it does not end");
            std::thread::park_timeout(Duration::from_millis(20));
        }
    }

    /// Its daemons, executors and tasks: whatever was started with its folder in its command line or environment.
    fn processes(&self) -> Vec<(i32, String)> {
        let folder = self.data_dir.to_str().expect("a plain path");
        let pids = fs::read_dir("/proc").unwrap().flatten();
        let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
        let mut found = Vec::new();
        for pid in pids.filter(|pid| *pid != self.child.id() as i32) {
            let text = |name: &str| {
                let mut bytes = Vec::new();
                let file = fs::File::open(format!("/proc/{pid}/{name}"));
                _ = file.and_then(|mut file| file.read_to_end(&mut bytes));
                String::from_utf8_lossy(&bytes).replace('\0', " ")
            };
            let command = text("cmdline");
            if command.contains(folder) || text("environ").contains(folder) {
                found.push((pid, command));
            }
        }
        found
    }

    fn nothing_is_left(&self) {
        assert!(self.data_dir.to_str().is_some_and(|path| path.contains("dawn-dev-")), "{:?}", self.data_dir);
        assert_eq!(self.processes(), [], "processes are left");
        assert!(!self.data_dir.exists(), "{} is left", self.data_dir.display());
        let group = format!("dawn-dev-{}", self.child.id());
        let hierarchies = fs::read_dir("/sys/fs/cgroup").unwrap().flatten().map(|entry| entry.path());
        for hierarchy in hierarchies.chain([PathBuf::from("/sys/fs/cgroup")]) {
            let left = hierarchy.join(&group);
            assert!(!left.exists(), "{} is left", left.display());
        }
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        assert!(!mounts.contains(&group), "a mount is left:\n{mounts}");
    }
}

fn lines(stdout: ChildStdout) -> Receiver<String> {
    let (send, receive) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            if send.send(line).is_err() {
                return;
            }
        }
    });
    receive
}

/// A folder with the job; none, said aloud, where tasks can't be isolated.
fn jobs() -> Option<tempfile::TempDir> {
    if !nix::unistd::geteuid().is_root() {
        skip::skip("needs root for control groups");
        return None;
    }
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("stubborn.yaml"), JOB).unwrap();
    Some(folder)
}

#[test]
fn one_interrupt_ends_everything() {
    let Some(jobs) = jobs() else { return };
    let mut dev = Dev::start(jobs.path());
    dev.until("nobody/test/stubborn  2 of 2 running");
    dev.until("The cluster is up.");
    // One scheduler, two agents, two executors, and each task's shell at least.
    assert!(dev.processes().len() >= 7, "{:#?}", dev.processes());
    dev.signal(Signal::SIGINT);
    assert!(dev.ended().success());
    dev.nothing_is_left();
}

#[test]
fn what_nobody_reads_any_more_is_cleaned_up_too() {
    let Some(jobs) = jobs() else { return };
    let mut dev = Dev::start(jobs.path());
    dev.until("nodes: 2 up");
    // As `dawn dev | head` does: the pipe is closed once its reader has lost its interest.
    dev.lines = channel().1;
    dev.signal(Signal::SIGINT);
    assert!(dev.ended().success());
    dev.nothing_is_left();
}

#[test]
fn a_second_one_in_the_same_folder_does_nothing_and_the_first_goes_on() {
    let Some(jobs) = jobs() else { return };
    let folder = tempfile::tempdir().unwrap();
    let named = folder.path().join("data");
    let named = named.to_str().unwrap();
    let mut first = Dev::start_with(jobs.path(), &["--data-dir", named]);
    first.until("The cluster is up.");
    let before = first.processes();
    assert!(before.len() >= 7, "{before:#?}");

    let mut second = Command::new(env!("CARGO_BIN_EXE_dawn"));
    let second = second.args(["dev", "--no-jobs", "--listen", "127.0.0.1:0", "--data-dir", named]);
    let output = second.stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(1), &b""[..]), "{said}");
    assert!(said.contains(&format!("pid {};", first.child.id())) && said.contains("--data-dir"), "{said}");

    // Its shells' sleeps come and go; whoever else was there is there.
    let lives = |pid: i32| Path::new(&format!("/proc/{pid}/exe")).exists();
    let gone: Vec<_> = before.iter().filter(|(pid, command)| !command.starts_with("sleep ") && !lives(*pid)).collect();
    assert!(gone.is_empty(), "{gone:#?}");
    first.signal(Signal::SIGINT);
    assert!(first.ended().success());
    assert_eq!(first.processes(), [], "processes are left");
    assert!(Path::new(named).join("node-1").exists(), "the files of a named folder stay");
}

#[test]
fn dead_daemons_and_impatience_leave_nothing_either() {
    let Some(jobs) = jobs() else { return };
    let mut dev = Dev::start(jobs.path());
    dev.until("The cluster is up.");
    // Without the scheduler no job can be killed, and an agent's tasks outlive it.
    for (pid, command) in dev.processes() {
        if command.contains(" scheduler --listen") || command.contains("--hostname node-1") {
            kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
        }
    }
    dev.signal(Signal::SIGTERM);
    dev.until("ending the cluster");
    dev.signal(Signal::SIGTERM);
    dev.ended();
    dev.nothing_is_left();
}

#[test]
fn an_address_in_use_is_said_before_anything_is_started() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = Command::new(env!("CARGO_BIN_EXE_dawn")).args(["dev", "--listen", &address]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains(&address) && said.contains("--listen 127.0.0.1:0"), "{said}");
    assert!(output.stdout.is_empty());
}
