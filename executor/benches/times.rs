//! What it costs that the times of a log's lines are kept: processor time of an executor whose task writes lines of 100 bytes, as
//! fast as it can and one each 10 ms, with the index of times and without. `cargo bench -p dawn-executor --bench times [ROUNDS]`.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use dawn_proto::{v1, write_frame};
use prost::Message;

const ROUNDS: usize = 15;
const PLAN_VARIABLE: &str = "DAWN_BENCH_EXECUTOR_PLAN";
const FAST_BYTES: u64 = 1 << 30;
const SLOW_LINES: u64 = 500;
const LINE_BYTES: u64 = 100;

fn main() -> ExitCode {
    if let Some(plan) = std::env::var_os(PLAN_VARIABLE) {
        return dawn_executor::run(Path::new(&plan));
    }
    let rounds = std::env::args().skip(1).find_map(|word| word.parse().ok()).unwrap_or(ROUNDS);
    let line = "x".repeat(LINE_BYTES as usize - 1);
    let fast = format!("yes {line} | head -c {FAST_BYTES}; exec sleep 1000");
    let slow = format!("for i in $(seq {SLOW_LINES}); do echo {line}; sleep 0.01; done; exec sleep 1000");
    let dir = tempfile::tempdir().expect("a temporary directory");
    for (what, shell, bytes) in
        [("as fast as it can", fast, FAST_BYTES), ("a line each 10 ms", slow, SLOW_LINES * LINE_BYTES)]
    {
        // By turns, so that both meet the machine in the same moods.
        let mut costs: [Vec<Duration>; 2] = [Vec::new(), Vec::new()];
        for round in 0..rounds * 2 {
            let with_times = round % 2 == 0;
            let place = dir.path().join(format!("{round}"));
            costs[usize::from(with_times)].push(cost(&place, &shell, bytes, with_times));
            fs::remove_dir_all(&place).expect("it is ours");
        }
        let [without, with] = costs.map(|mut costs| {
            costs.sort();
            (costs[rounds / 4], costs[rounds / 2], costs[rounds * 3 / 4])
        });
        let ratio = |a: Duration, b: Duration| a.as_secs_f64() / b.as_secs_f64();
        println!("{what}: without times {without:.2?}, with them {with:.2?} (quartiles of {rounds})");
        println!("  ratio of the medians {:.3}", ratio(with.1, without.1));
    }
    ExitCode::SUCCESS
}

/// Processor time of an executor from its start until its task has written so much.
fn cost(dir: &Path, shell: &str, bytes: u64, with_times: bool) -> Duration {
    let plan = prepare(dir, shell);
    let log = dir.join("meta/logs/main.stdout.00000000000000000000");
    let times = dir.join("meta/logs/main.stdout.00000000000000000000.times");
    if !with_times {
        // Where a directory lies, no index can be written; then none is kept.
        fs::create_dir_all(&times).expect("a directory");
    }
    let mut executor = executor(&plan);
    let deadline = Instant::now() + Duration::from_secs(120);
    while fs::metadata(&log).map_or(0, |log| log.len()) < bytes {
        assert!(Instant::now() < deadline, "{} is not written", log.display());
        std::thread::sleep(Duration::from_millis(20));
    }
    let spent = processor_time(executor.id());
    assert_eq!(times.is_file(), with_times);
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(executor.id() as i32), nix::sys::signal::Signal::SIGTERM)
        .expect("it lives");
    executor.wait().expect("it ends");
    spent
}

/// Of all threads of a process, by the kernel's own count.
fn processor_time(pid: u32) -> Duration {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).expect("it lives").flatten();
    let of_thread = |path: PathBuf| -> Option<u64> {
        fs::read_to_string(path.join("schedstat")).ok()?.split(' ').next()?.parse().ok()
    };
    Duration::from_nanos(threads.filter_map(|thread| of_thread(thread.path())).sum())
}

fn prepare(dir: &Path, shell: &str) -> PathBuf {
    let (meta, sandbox) = (dir.join("meta"), dir.join("sandbox"));
    fs::create_dir_all(meta.join("logs")).expect("meta");
    fs::create_dir_all(&sandbox).expect("sandbox");
    let process = v1::ProcessSpec { name: "main".into(), shell: shell.into(), ..Default::default() };
    // One segment for all of it: another one would keep an index again.
    let logs = Some(v1::LogPolicy { file_size_bytes: 16 << 30, files: 1 });
    let plan = v1::ExecutorPlan {
        task: Some(v1::TaskSpec { processes: vec![process], logs, grace_period_ms: 1_000, ..Default::default() }),
        sandbox: sandbox.display().to_string(),
        meta: meta.display().to_string(),
        ..Default::default()
    };
    let mut file = fs::File::create(meta.join("plan")).expect("plan");
    write_frame(&mut file, &plan.encode_to_vec()).expect("plan");
    file.flush().expect("plan");
    meta.join("plan")
}

fn executor(plan: &Path) -> Child {
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command.env(PLAN_VARIABLE, plan).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().expect("executor")
}
