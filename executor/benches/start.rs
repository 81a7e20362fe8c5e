//! What an executor costs: the whole life of a task of `/bin/true` beside bare fork, exec and wait in groups of the
//! same kind, and the private memory of an idle executor. `cargo bench -p dawn-executor` prints a table.

use std::fs;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use dawn_proto::{v1, write_frame};
use prost::Message;

const ROUNDS: usize = 300;
const PLAN_VARIABLE: &str = "DAWN_BENCH_EXECUTOR_PLAN";

fn main() -> ExitCode {
    if let Some(plan) = std::env::var_os(PLAN_VARIABLE) {
        return dawn_executor::run(Path::new(&plan));
    }
    let groups = Groups::make();
    let dir = tempfile::tempdir().expect("a temporary directory");
    println!("{:<44} {:>10} {:>10} {:>10}", "", "p50", "p99", "cpu");
    row("bare fork+exec+wait", |_| bare(&[]));
    row("the same, joining the groups", |_| bare(&groups.dirs));
    row("executor of the same, whole life", |round| {
        let begun = Instant::now();
        let plan = prepare(&dir.path().join(format!("true-{round}")), "/bin/true", &groups);
        let made = Instant::now();
        executor(&plan).wait().expect("executor");
        made - begun
    });
    let mut idle = executor(&prepare(&dir.path().join("idle"), "/bin/cat", &groups));
    std::thread::sleep(Duration::from_millis(300));
    let rollup = fs::read_to_string(format!("/proc/{}/smaps_rollup", idle.id())).unwrap_or_default();
    for line in rollup.lines().filter(|line| line.starts_with("Private") || line.starts_with("Rss")) {
        println!("idle executor {line}");
    }
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(idle.id() as i32), nix::sys::signal::Signal::SIGTERM)
        .expect("kill");
    idle.wait().expect("executor");
    ExitCode::SUCCESS
}

/// Times `once`, less what it answers.
fn row(what: &str, mut once: impl FnMut(usize) -> Duration) {
    let cpu_before = children_cpu();
    let time = |round| {
        let begun = Instant::now();
        let apart = once(round);
        begun.elapsed() - apart
    };
    let mut times: Vec<Duration> = (0..ROUNDS).map(time).collect();
    times.sort();
    let us = |share: usize| format!("{} us", times[ROUNDS * share / 100].as_micros());
    // The one figure that a busy machine leaves alone.
    let cpu = format!("{} us", (children_cpu() - cpu_before).as_micros() / ROUNDS as u128);
    println!("{what:<44} {:>10} {:>10} {cpu:>10}", us(50), us(99));
}

/// Processor time of all children waited for, and of theirs.
fn children_cpu() -> Duration {
    let usage = nix::sys::resource::getrusage(nix::sys::resource::UsageWho::RUSAGE_CHILDREN).expect("getrusage");
    let micros = |time: nix::sys::time::TimeVal| time.tv_sec() * 1_000_000 + time.tv_usec();
    Duration::from_micros((micros(usage.user_time()) + micros(usage.system_time())) as u64)
}

fn bare(groups: &[PathBuf]) -> Duration {
    let procs: Vec<PathBuf> = groups.iter().map(|dir| dir.join("cgroup.procs")).collect();
    let mut command = Command::new("/bin/true");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    if !procs.is_empty() {
        // SAFETY: this program is single-threaded here, so the child may do what it likes.
        unsafe { command.pre_exec(move || procs.iter().try_for_each(|procs| fs::write(procs, "0"))) };
    }
    command.status().expect("/bin/true");
    Duration::ZERO
}

fn prepare(dir: &Path, program: &str, groups: &Groups) -> PathBuf {
    let (meta, sandbox) = (dir.join("meta"), dir.join("sandbox"));
    fs::create_dir_all(&meta).expect("meta");
    fs::create_dir_all(&sandbox).expect("sandbox");
    // `cat` waits for nothing but a signal when it reads a fifo nobody writes.
    let argv = match program {
        "/bin/cat" => {
            nix::unistd::mkfifo(&sandbox.join("fifo"), nix::sys::stat::Mode::S_IRWXU).expect("fifo");
            vec![program.to_string(), "fifo".to_string()]
        }
        _ => vec![program.to_string()],
    };
    let process = v1::ProcessSpec { name: "main".into(), argv, ..Default::default() };
    let plan = v1::ExecutorPlan {
        task: Some(v1::TaskSpec { processes: vec![process], ..Default::default() }),
        sandbox: sandbox.display().to_string(),
        meta: meta.display().to_string(),
        cgroup: Some(v1::CgroupPlan {
            join: groups.dirs.iter().map(|dir| dir.display().to_string()).collect(),
            kill: groups.kill.clone(),
            ..Default::default()
        }),
        ..Default::default()
    };
    let mut file = fs::File::create(meta.join("plan")).expect("plan");
    write_frame(&mut file, &plan.encode_to_vec()).expect("plan");
    file.flush().expect("plan");
    meta.join("plan")
}

fn executor(plan: &Path) -> std::process::Child {
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command.env(PLAN_VARIABLE, plan).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().expect("executor")
}

/// Groups of this machine, as far as they can be made; removed at the end.
struct Groups {
    dirs: Vec<PathBuf>,
    kill: String,
}

impl Groups {
    fn make() -> Groups {
        let at =
            |controller: &str| PathBuf::from(format!("/sys/fs/cgroup/{controller}/dawn-bench-{}", std::process::id()));
        let dirs: Vec<PathBuf> = ["memory", "pids", "cpu", "unified"]
            .into_iter()
            .map(at)
            .filter(|dir| dir.parent().is_some_and(|parent| parent.join("cgroup.procs").exists()))
            .filter(|dir| fs::create_dir(dir).is_ok())
            .collect();
        println!("groups: {dirs:?}");
        let kill = dirs.iter().find(|dir| dir.join("cgroup.kill").exists());
        Groups { kill: kill.map(|dir| dir.display().to_string()).unwrap_or_default(), dirs }
    }
}

impl Drop for Groups {
    fn drop(&mut self) {
        for dir in &self.dirs {
            if let Err(error) = fs::remove_dir(dir) {
                eprintln!("{}: {error}", dir.display());
            }
        }
    }
}
