//! Kills on a machine whose every cpu is taken: bounded spinners beside a task of tiny share. A program of its own, whose
//! tests run one after the other, so that nothing else wants the cpus.

#[path = "../live/executor_process.rs"]
mod executor_process;
#[path = "../live/groups.rs"]
mod groups;
#[path = "../live/rig.rs"]
#[expect(dead_code, reason = "the live tests use all of it")]
mod rig;
#[path = "../../../tests/src/skip.rs"]
mod skip;

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use dawn_proto::v1::{self, Reason, TaskState};

use crate::groups::Use;
use crate::rig::{Rig, shell, until};

const USES: [Use; 2] = [Use::Usual, Use::V1Alone];
/// The least demand that the kernel's units can tell from nothing.
const CPU_MILLI: u64 = 2;
/// Processes that wait for the cpu when they are killed: one that sleeps is given it soon.
const BUSY: &str = "for i in 1 2 3 4 5 6 7; do (while :; do :; done) & done";
/// Unraised, a killed process of this share still lives after 4 s; raised, it is gone in some milliseconds, and what else
/// wants the cpus of the machine that runs this test may make that many.
const SOON: Duration = Duration::from_secs(2);

/// Takes every cpu several times over, for at most a minute of each.
struct Spinners(Vec<Child>);

/// One test at a time; one that failed is no hindrance.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Spinners {
    fn start() -> Spinners {
        let cpus = std::thread::available_parallelism().unwrap().get();
        let spinner = |_| {
            let line = "ulimit -t 60; while :; do :; done";
            Command::new("/bin/sh").args(["-c", line]).stdin(Stdio::null()).spawn().unwrap()
        };
        Spinners((0..3 * cpus).map(spinner).collect())
    }
}

impl Drop for Spinners {
    fn drop(&mut self) {
        for spinner in &mut self.0 {
            let _ = spinner.kill();
            let _ = spinner.wait();
        }
    }
}

/// A task's groups, limited as the agent limits them to next to nothing; where its cpu part is.
fn starved(rig: &mut Rig) -> PathBuf {
    rig.task().resources = Some(v1::Resources { cpu_milli: CPU_MILLI, ..Default::default() });
    let dirs = &rig.groups.as_ref().unwrap().dirs;
    let is_cpu = |dir: &&PathBuf| dir.join("cpu.shares").exists() || dir.join("cpu.weight").exists();
    dirs.iter().find(is_cpu).expect("a group that limits the cpu").clone()
}

fn starve(cpu: &std::path::Path) {
    for (file, value) in [("cpu.shares", "2"), ("cpu.cfs_quota_us", "1000"), ("cpu.weight", "1"), ("cpu.max", "1000")] {
        if cpu.join(file).exists() {
            fs::write(cpu.join(file), value).unwrap();
        }
    }
}

/// Share and quota.
fn share(cpu: &std::path::Path) -> String {
    let files = ["cpu.shares", "cpu.cfs_quota_us", "cpu.weight", "cpu.max"];
    files.iter().filter_map(|file| fs::read_to_string(cpu.join(file)).ok()).collect()
}

#[test]
fn a_killed_task_of_tiny_share_ends_at_once() {
    let _alone = alone();
    for use_ in USES {
        let line = format!("trap '' TERM; {BUSY}; touch up; while :; do :; done");
        let Some(mut rig) = Rig::grouped(vec![shell("main", &line)], use_, 0, 0) else { return };
        let cpu = starved(&mut rig);
        rig.start();
        until("all of it runs", || rig.sandbox("up").exists());
        starve(&cpu);
        let spinners = Spinners::start();
        let begun = Instant::now();
        rig.kill(Reason::UserRequest, Some(0));
        assert_eq!(rig.ends().state(), TaskState::Killed);
        let took = begun.elapsed();
        drop(spinners);
        assert!(took < SOON, "{took:?}");
    }
}

#[test]
fn a_task_that_ends_by_itself_leaves_nothing_dying_and_its_final_process_has_its_own_share() {
    let _alone = alone();
    for use_ in USES {
        let mut last = shell("last", "");
        last.r#final = true;
        let main = shell("main", &format!("{BUSY}; read go < go"));
        let Some(mut rig) = Rig::grouped(vec![main, last], use_, 0, 0) else { return };
        let cpu = starved(&mut rig);
        let files = ["cpu.shares", "cpu.cfs_quota_us", "cpu.weight", "cpu.max"].map(|file| cpu.join(file));
        let files = files.iter().filter(|file| file.exists()).map(|file| file.display().to_string());
        rig.task().processes[1].shell = format!("cat {} > share", files.collect::<Vec<_>>().join(" "));
        nix::unistd::mkfifo(&rig.sandbox("go"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        rig.start();
        rig.until_state(TaskState::Running);
        starve(&cpu);
        let own = share(&cpu);
        let spinners = Spinners::start();
        fs::write(rig.sandbox("go"), "\n").unwrap();
        until("it has ended", || !rig.exits().is_empty());
        let begun = Instant::now();
        until("the final process runs", || rig.starts().len() > 1);
        let took = begun.elapsed();
        drop(spinners);
        assert_eq!(rig.ends().state(), TaskState::Finished);
        assert!(took < SOON, "{took:?}");
        assert_eq!(rig.read_sandbox("share"), own);
    }
}

#[test]
fn a_health_check_out_of_time_is_raised_and_its_task_lowered_again() {
    let _alone = alone();
    for use_ in USES {
        let Some(mut rig) = Rig::grouped(vec![shell("main", "exec sleep 1000")], use_, 0, 0) else { return };
        rig.task().health = Some(v1::HealthCheck {
            probe: Some(v1::health_check::Probe::Shell(format!("{BUSY}; touch checked; wait"))),
            interval_ms: 10_000_000,
            timeout_ms: 1_000,
            max_failures: 2,
            ..Default::default()
        });
        let cpu = starved(&mut rig);
        rig.start();
        until("it is being checked", || rig.sandbox("checked").exists());
        starve(&cpu);
        let own = share(&cpu);
        let members = |rig: &Rig| rig.groups.as_ref().unwrap().members().len();
        let with_check = members(&rig);
        // Frozen, it takes its time to die, and the raise can be seen.
        let freezer = rig.groups.as_ref().unwrap().dirs.iter().map(|dir| dir.join("freezer.state"));
        if let Some(freezer) = freezer.clone().find(|file| file.exists()) {
            fs::write(&freezer, "FROZEN").unwrap();
            until("the task is raised", || share(&cpu) != own);
            fs::write(&freezer, "THAWED").unwrap();
        }
        until("the check is over", || members(&rig) + 8 <= with_check);
        until("the task has its own share", || share(&cpu) == own);
        rig.kill(Reason::UserRequest, Some(0));
        assert_eq!(rig.ends().state(), TaskState::Killed);
    }
}
