//! A fake executor: writes the event log and answers on the socket as the first process's `shell` says.
//! "serve": runs until killed. "finish": ends at once. "die": exits without a final event. "deaf": as serve, ignoring kills.
//! "mute": says nothing, ever.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex};

use dawn_proto::v1::executor_event::Event;
use dawn_proto::v1::{self, Reason, TaskState, executor_request};
use prost::Message;

struct Log {
    frames: Mutex<(File, Vec<Vec<u8>>)>,
    grown: Condvar,
}

impl Log {
    fn append(&self, event: Event) {
        let mut guard = self.frames.lock().unwrap();
        let sequence = guard.1.len() as u64 + 1;
        let body = v1::ExecutorEvent { sequence, at_ms: 1_000 + sequence as i64, event: Some(event) }.encode_to_vec();
        dawn_proto::write_frame(&mut guard.0, &body).unwrap();
        guard.1.push(body);
        self.grown.notify_all();
    }

    fn change(&self, state: TaskState, reason: Reason) {
        let message = format!("fake {state:?}");
        let changed = v1::TaskChanged { state: state.into(), reason: reason.into(), message, ..Default::default() };
        self.append(Event::TaskChanged(changed));
    }

    fn stream(&self, mut to: UnixStream, from: u64) {
        let mut next = from as usize - 1;
        loop {
            let mut guard = self.frames.lock().unwrap();
            while guard.1.len() <= next {
                guard = self.grown.wait(guard).unwrap();
            }
            let bodies: Vec<_> = guard.1[next..].to_vec();
            drop(guard);
            next += bodies.len();
            for body in bodies {
                if dawn_proto::write_frame(&mut to, &body).is_err() {
                    return;
                }
            }
        }
    }
}

/// Runs the plan named by the last argument.
pub fn run() {
    let plan_path = PathBuf::from(std::env::args_os().next_back().unwrap());
    let meta = plan_path.parent().unwrap().to_path_buf();
    note_start(&meta);
    // As the real one says that it begins.
    OpenOptions::new().write(true).open(meta.join("executor.lock")).unwrap().set_len(0).unwrap();
    let body = dawn_proto::read_frame(&mut File::open(&plan_path).unwrap()).unwrap();
    let plan = v1::ExecutorPlan::decode(&body[..]).unwrap();
    let script = plan.task.unwrap().processes[0].shell.clone();
    if script == "mute" {
        loop {
            std::thread::park();
        }
    }
    let file = OpenOptions::new().append(true).create(true).open(meta.join("events")).unwrap();
    let log = Arc::new(Log { frames: Mutex::new((file, Vec::new())), grown: Condvar::new() });
    let _ = std::fs::remove_file(meta.join("socket"));
    std::env::set_current_dir(&meta).unwrap();
    let listener = UnixListener::bind("socket").unwrap();
    let pid = std::process::id() as i32;
    log.append(Event::Started(v1::ExecutorStarted { pid, start_ticks: own_ticks(), generation: 1 }));
    let killed = Arc::new((Mutex::new(None), Condvar::new()));
    {
        let (log, killed, deaf) = (log.clone(), killed.clone(), script == "deaf");
        std::thread::spawn(move || accept(&listener, &log, &killed, deaf));
    }
    write_logs(&meta);
    log.change(TaskState::Starting, Reason::None);
    log.change(TaskState::Running, Reason::None);
    match script.as_str() {
        "finish" => log.change(TaskState::Finished, Reason::None),
        "die" => {}
        _ => {
            let mut reason = killed.0.lock().unwrap();
            while reason.is_none() {
                reason = killed.1.wait(reason).unwrap();
            }
            log.append(Event::KillBegun(v1::KillBegun { reason: reason.unwrap(), ..Default::default() }));
            log.change(TaskState::Killed, Reason::try_from(reason.unwrap()).unwrap());
        }
    }
    // Not back into the test harness, which would print.
    std::process::exit(0);
}

type Killed = (Mutex<Option<i32>>, Condvar);

fn accept(listener: &UnixListener, log: &Arc<Log>, killed: &Arc<Killed>, deaf: bool) {
    for stream in listener.incoming() {
        let (mut stream, log, killed) = (stream.unwrap(), log.clone(), killed.clone());
        std::thread::spawn(move || {
            while let Ok(body) = dawn_proto::read_frame(&mut stream) {
                match v1::ExecutorRequest::decode(&body[..]).unwrap().request {
                    Some(executor_request::Request::SubscribeFrom(from)) => {
                        let (log, to) = (log.clone(), stream.try_clone().unwrap());
                        std::thread::spawn(move || log.stream(to, from));
                    }
                    Some(executor_request::Request::Kill(kill)) if !deaf => {
                        *killed.0.lock().unwrap() = Some(kill.reason);
                        killed.1.notify_all();
                    }
                    _ => {}
                }
            }
        });
    }
}

fn own_ticks() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    stat.rsplit_once(')').unwrap().1.split_whitespace().nth(19).unwrap().parse().unwrap()
}

fn write_logs(meta: &Path) {
    std::fs::create_dir_all(meta.join("logs")).unwrap();
    let file = File::create(meta.join(format!("logs/main.stdout.{:020}", 0))).unwrap();
    file.write_all_at(b"hello from the task\n", 0).unwrap();
}

/// Counts starts, for tests that demand exactly one.
fn note_start(meta: &Path) {
    let mut file = OpenOptions::new().append(true).create(true).open(meta.join("starts")).unwrap();
    writeln!(file, "{}", std::process::id()).unwrap();
}

/// How often an executor of this task was started.
pub fn starts(work_dir: &Path, task: u64) -> usize {
    let path = work_dir.join(format!("tasks/t{task}/starts"));
    std::fs::read_to_string(path).map_or(0, |text| text.lines().count())
}

/// Pid of the last executor of a task.
pub fn pid(work_dir: &Path, task: u64) -> i32 {
    let path = work_dir.join(format!("tasks/t{task}/starts"));
    std::fs::read_to_string(path).unwrap().lines().last().unwrap().parse().unwrap()
}
