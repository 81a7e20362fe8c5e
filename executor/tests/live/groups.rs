//! Groups as the agent makes them: v1 controllers with limits, and a v2 group to kill by where there is one.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use dawn_proto::v1;

const V1: [&str; 4] = ["memory", "pids", "cpu", "freezer"];
const ROOT: &str = "/sys/fs/cgroup";

/// One task's groups; removed when dropped.
pub struct Groups {
    pub plan: v1::CgroupPlan,
    pub dirs: Vec<PathBuf>,
}

/// What of the machine's cgroups to use.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// v1 limits, v2 kill: what the agent does on a hybrid machine.
    Hybrid,
    V1Alone,
}

impl Groups {
    /// None, with a loud word, where groups can't be made.
    pub fn make(use_: Use, memory_limit_bytes: u64, max_pids: u64) -> Option<Groups> {
        static COUNTER: AtomicU32 = AtomicU32::new(0);
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let name = format!("dawn-test-{}-{number}", std::process::id());
        let mut groups = Groups { plan: v1::CgroupPlan::default(), dirs: Vec::new() };
        for controller in V1 {
            groups.add(&Path::new(ROOT).join(controller).join(&name))?;
        }
        let unified = Path::new(ROOT).join("unified");
        if use_ == Use::Hybrid {
            let dir = unified.join(&name);
            groups.add(&dir)?;
            groups.plan.kill = dir.display().to_string();
        }
        groups.plan.memory = groups.dirs[0].display().to_string();
        groups.plan.memory_version = 1;
        if memory_limit_bytes > 0 {
            groups.plan.memory_limit_bytes = memory_limit_bytes;
            fs::write(groups.dirs[0].join("memory.limit_in_bytes"), memory_limit_bytes.to_string()).unwrap();
            let _ = fs::write(groups.dirs[0].join("memory.memsw.limit_in_bytes"), memory_limit_bytes.to_string());
        }
        if max_pids > 0 {
            fs::write(groups.dirs[1].join("pids.max"), max_pids.to_string()).unwrap();
        }
        Some(groups)
    }

    fn add(&mut self, dir: &Path) -> Option<()> {
        if let Err(error) = fs::create_dir(dir) {
            eprintln!("SKIPPED: cgroup {} can't be made: {error}", dir.display());
            return None;
        }
        self.dirs.push(dir.to_path_buf());
        self.plan.join.push(dir.display().to_string());
        Some(())
    }

    /// Everybody in any of the groups.
    pub fn members(&self) -> Vec<i32> {
        let read = |dir: &PathBuf| fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
        let all = self.dirs.iter().map(read).collect::<String>();
        all.lines().filter_map(|line| line.parse().ok()).collect()
    }
}

impl Drop for Groups {
    fn drop(&mut self) {
        crate::rig::until("the groups are removed", || {
            for pid in self.members() {
                let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL);
            }
            self.dirs.retain(|dir| fs::remove_dir(dir).is_err() && dir.exists());
            self.dirs.is_empty()
        });
    }
}
