//! One task with its directories, and an executor process over it. Waits on conditions, with a deadline.

use std::fs;
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use dawn_proto::v1::executor_event::Event;
use dawn_proto::v1::{self, Reason, TaskState};
use dawn_proto::{FrameError, read_frame, write_frame};
use prost::Message;

use crate::groups::{Groups, Use};

/// Far above what anything here takes, also on a busy machine.
const DEADLINE: Duration = Duration::from_secs(60);

/// Waits until `condition` holds.
#[track_caller]
pub fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < DEADLINE, "waited {DEADLINE:?} in vain until {what}");
        std::thread::sleep(Duration::from_millis(2)); // poll
    }
}

pub fn shell(name: &str, line: &str) -> v1::ProcessSpec {
    v1::ProcessSpec { name: name.to_string(), shell: line.to_string(), ..Default::default() }
}

pub struct Rig {
    dir: tempfile::TempDir,
    pub plan: v1::ExecutorPlan,
    pub groups: Option<Groups>,
    executor: Option<Child>,
}

impl Rig {
    /// A task without cgroups that runs as whoever runs the tests.
    pub fn new(processes: Vec<v1::ProcessSpec>) -> Rig {
        Rig::with(tempfile::tempdir().unwrap(), "meta", processes)
    }

    /// One of several tasks whose directories are in this one, laid out as an agent does it.
    pub fn among(tasks: &std::path::Path, processes: Vec<v1::ProcessSpec>) -> Rig {
        Rig::with(tempfile::tempdir_in(tasks).unwrap(), "", processes)
    }

    fn with(dir: tempfile::TempDir, meta: &str, processes: Vec<v1::ProcessSpec>) -> Rig {
        let at = |name: &str| {
            let path = dir.path().join(name);
            fs::create_dir_all(&path).unwrap();
            path.display().to_string()
        };
        let task = v1::TaskSpec { processes, grace_period_ms: 20_000, ..Default::default() };
        let plan = v1::ExecutorPlan {
            task_id: 7,
            job: Some(v1::JobKey { role: "www".into(), env: "test".into(), name: "web".into() }),
            instance: 3,
            task: Some(task),
            sandbox: at("sandbox"),
            meta: at(meta),
            uid: nix::unistd::geteuid().as_raw(),
            gid: nix::unistd::getegid().as_raw(),
            hostname: "host-1".into(),
            attempt: 2,
            ..Default::default()
        };
        Rig { dir, plan, groups: None, executor: None }
    }

    /// In groups of its own; None where they can't be made.
    pub fn grouped(processes: Vec<v1::ProcessSpec>, use_: Use, memory_limit_bytes: u64, max_pids: u64) -> Option<Rig> {
        let groups = Groups::make(use_, memory_limit_bytes, max_pids)?;
        let mut rig = Rig::new(processes);
        rig.plan.cgroup = Some(groups.plan.clone());
        rig.groups = Some(groups);
        Some(rig)
    }

    /// The task runs as this user, and its directories are as the agent makes them.
    pub fn belongs_to(&mut self, uid: u32) {
        (self.plan.uid, self.plan.gid) = (uid, uid);
        let mode = std::os::unix::fs::PermissionsExt::from_mode;
        for on_the_way in [self.dir.path(), self.plan.meta.as_ref()] {
            fs::set_permissions(on_the_way, mode(0o711)).unwrap();
        }
        fs::set_permissions(&self.plan.sandbox, mode(0o750)).unwrap();
        std::os::unix::fs::chown(self.plan.sandbox.as_str(), Some(uid), Some(uid)).unwrap();
    }

    pub fn task(&mut self) -> &mut v1::TaskSpec {
        self.plan.task.as_mut().unwrap()
    }

    /// In the machine's own pid namespace, for tasks that tell their pids.
    pub fn in_plain_sight(&mut self) {
        let namespaces = v1::NamespaceUse::None.into();
        self.task().isolation = Some(v1::Isolation { namespaces, ..Default::default() });
    }

    pub fn meta(&self, name: &str) -> PathBuf {
        PathBuf::from(&self.plan.meta).join(name)
    }

    pub fn sandbox(&self, name: &str) -> PathBuf {
        PathBuf::from(&self.plan.sandbox).join(name)
    }

    pub fn root(&self) -> &std::path::Path {
        self.dir.path()
    }

    pub fn read_sandbox(&self, name: &str) -> String {
        fs::read_to_string(self.sandbox(name)).unwrap_or_default()
    }

    pub fn read_log(&self, name: &str) -> String {
        fs::read_to_string(self.meta("logs").join(name)).unwrap_or_default()
    }

    pub fn start(&mut self) {
        self.write_plan();
        self.start_again();
    }

    pub fn write_plan(&self) {
        let mut plan = fs::File::create(self.meta("plan")).unwrap();
        plan.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        write_frame(&mut plan, &self.plan.encode_to_vec()).unwrap();
    }

    /// Of every started process, as the machine sees them.
    pub fn pids(&self) -> Vec<i32> {
        let pids = self.events().into_iter().filter_map(|event| match event.event {
            Some(Event::ProcessStarted(started)) => Some(started.pid),
            _ => None,
        });
        pids.collect()
    }

    /// Starts an executor on the directory as it is.
    pub fn start_again(&mut self) {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.env(crate::executor_process::PLAN_VARIABLE, self.meta("plan")).env("LEAKED", "by the agent");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
        self.executor = Some(command.spawn().unwrap());
    }

    pub fn executor_pid(&self) -> i32 {
        self.executor.as_ref().unwrap().id() as i32
    }

    /// Ends the executor as a crash would.
    pub fn kill_executor(&mut self) {
        let mut executor = self.executor.take().unwrap();
        executor.kill().unwrap();
        executor.wait().unwrap();
    }

    /// Waits for the executor's own end; its exit code.
    pub fn executor_ends(&mut self) -> i32 {
        let executor = self.executor.as_mut().unwrap();
        let mut status = None;
        until("the executor ends", || {
            status = executor.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap().code().unwrap_or(-1)
    }

    pub fn events(&self) -> Vec<v1::ExecutorEvent> {
        let bytes = fs::read(self.meta("events")).unwrap_or_default();
        let mut input = &bytes[..];
        let mut events = Vec::new();
        loop {
            match read_frame(&mut input) {
                Ok(body) => events.push(v1::ExecutorEvent::decode(&body[..]).unwrap()),
                Err(FrameError::End | FrameError::Torn) => break,
                Err(error) => panic!("{error}"),
            }
        }
        let sequences: Vec<u64> = events.iter().map(|event| event.sequence).collect();
        assert_eq!(sequences, (1..=events.len() as u64).collect::<Vec<_>>(), "sequences have no gaps");
        events
    }

    /// The reported states in order.
    pub fn states(&self) -> Vec<TaskState> {
        self.changes().iter().map(v1::TaskChanged::state).collect()
    }

    pub fn changes(&self) -> Vec<v1::TaskChanged> {
        let changes = self.events().into_iter().filter_map(|event| match event.event {
            Some(Event::TaskChanged(changed)) => Some(changed),
            _ => None,
        });
        changes.collect()
    }

    /// Names and runs of started processes in order.
    pub fn starts(&self) -> Vec<(String, u32)> {
        let starts = self.events().into_iter().filter_map(|event| match event.event {
            Some(Event::ProcessStarted(started)) => Some((started.name, started.run)),
            _ => None,
        });
        starts.collect()
    }

    pub fn exits(&self) -> Vec<v1::ProcessExited> {
        let exits = self.events().into_iter().filter_map(|event| match event.event {
            Some(Event::ProcessExited(exited)) => Some(exited),
            _ => None,
        });
        exits.collect()
    }

    pub fn exit_of(&self, name: &str) -> v1::ProcessExited {
        self.exits().into_iter().find(|exited| exited.name == name).unwrap_or_else(|| panic!("{name} has no exit"))
    }

    pub fn until_state(&self, state: TaskState) {
        until(&format!("the task is {state:?}, notes: {}", self.notes()), || self.states().contains(&state));
    }

    /// Waits for the terminal event and the executor's end: it is the last event, the executor ended well, and nobody
    /// is left in the groups.
    pub fn ends(&mut self) -> v1::TaskChanged {
        until("the task ends", || self.states().last().is_some_and(|state| state.is_terminal()));
        assert_eq!(self.executor_ends(), 0, "notes: {}", self.notes());
        let last = self.events().pop().and_then(|event| event.event);
        let Some(Event::TaskChanged(changed)) = last else { panic!("last event: {last:?}") };
        assert!(changed.state().is_terminal(), "{changed:?}");
        assert_eq!(self.states().iter().filter(|state| state.is_terminal()).count(), 1);
        if let Some(groups) = &self.groups {
            assert_eq!(groups.members(), Vec::<i32>::new(), "somebody is left");
        }
        changed
    }

    pub fn notes(&self) -> String {
        fs::read_to_string(self.meta("executor.log")).unwrap_or_default()
    }

    pub fn connect(&self) -> UnixStream {
        let mut stream = None;
        until("the socket answers", || {
            stream = UnixStream::connect(self.meta("socket")).ok();
            stream.is_some()
        });
        stream.unwrap()
    }

    pub fn ask(&self, stream: &mut UnixStream, request: v1::executor_request::Request) {
        let request = v1::ExecutorRequest { request: Some(request) };
        write_frame(stream, &request.encode_to_vec()).unwrap();
        stream.flush().unwrap();
    }

    pub fn kill(&self, reason: Reason, grace_period_ms: Option<u64>) {
        let kill = v1::ExecutorKill { reason: reason as i32, grace_period_ms };
        self.ask(&mut self.connect(), v1::executor_request::Request::Kill(kill));
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        if let Some(executor) = &mut self.executor
            && executor.try_wait().is_ok_and(|status| status.is_none())
        {
            let _ = nix::sys::signal::kill(
                nix::unistd::Pid::from_raw(executor.id() as i32),
                nix::sys::signal::Signal::SIGKILL,
            );
            let _ = executor.wait();
        }
    }
}

/// Whether a process of this number lives (and is no zombie).
pub fn lives(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with(['Z', 'X']))
}
