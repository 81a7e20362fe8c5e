//! Groups as the agent makes them: on v1 a controller each with its limits, and a v2 group to kill by where there is one;
//! on a machine with nothing but v2 a single group.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use dawn_proto::v1;

use crate::skip::skip;

const V1: [&str; 4] = ["memory", "pids", "cpu", "freezer"];
const ROOT: &str = "/sys/fs/cgroup";

/// One task's groups; removed when dropped.
pub struct Groups {
    pub plan: v1::CgroupPlan,
    pub dirs: Vec<PathBuf>,
    /// The one that counts processes.
    pub pids: PathBuf,
}

/// What of the machine's cgroups to use.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// What the agent uses: v2, or v1 limits and v2 to kill by.
    Usual,
    V1Alone,
}

impl Groups {
    /// None where groups can't be made, with a loud word unless the machine simply has no v1.
    pub fn make(use_: Use, memory_limit_bytes: u64, max_pids: u64) -> Option<Groups> {
        static COUNTER: AtomicU32 = AtomicU32::new(0);
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let name = format!("dawn-test-{}-{number}", std::process::id());
        let mut groups = Groups { plan: v1::CgroupPlan::default(), dirs: Vec::new(), pids: PathBuf::new() };
        groups.plan.memory_limit_bytes = memory_limit_bytes;
        if Path::new(ROOT).join("cgroup.controllers").exists() {
            return if use_ == Use::Usual { groups.made_v2(&name, max_pids) } else { None };
        }
        groups.made_v1(use_, &name, max_pids)
    }

    fn made_v2(mut self, name: &str, max_pids: u64) -> Option<Groups> {
        for controller in ["+memory", "+pids", "+cpu"] {
            fs::write(Path::new(ROOT).join("cgroup.subtree_control"), controller).ok()?;
        }
        let dir = Path::new(ROOT).join(name);
        self.add(&dir)?;
        (self.plan.kill, self.plan.memory) = (dir.display().to_string(), dir.display().to_string());
        (self.plan.memory_version, self.pids) = (2, dir.clone());
        if self.plan.memory_limit_bytes > 0 {
            fs::write(dir.join("memory.max"), self.plan.memory_limit_bytes.to_string()).unwrap();
            fs::write(dir.join("memory.oom.group"), "1").unwrap();
        }
        if max_pids > 0 {
            fs::write(dir.join("pids.max"), max_pids.to_string()).unwrap();
        }
        Some(self)
    }

    fn made_v1(mut self, use_: Use, name: &str, max_pids: u64) -> Option<Groups> {
        for controller in V1 {
            self.add(&Path::new(ROOT).join(controller).join(name))?;
        }
        if use_ == Use::Usual {
            let dir = Path::new(ROOT).join("unified").join(name);
            self.add(&dir)?;
            self.plan.kill = dir.display().to_string();
        }
        self.plan.memory = self.dirs[0].display().to_string();
        (self.plan.memory_version, self.pids) = (1, self.dirs[1].clone());
        if self.plan.memory_limit_bytes > 0 {
            let limit = self.plan.memory_limit_bytes.to_string();
            fs::write(self.dirs[0].join("memory.limit_in_bytes"), &limit).unwrap();
            let _ = fs::write(self.dirs[0].join("memory.memsw.limit_in_bytes"), &limit);
        }
        if max_pids > 0 {
            fs::write(self.pids.join("pids.max"), max_pids.to_string()).unwrap();
        }
        Some(self)
    }

    fn add(&mut self, dir: &Path) -> Option<()> {
        if let Err(error) = fs::create_dir(dir) {
            skip(&format!("cgroup {} can't be made: {error}", dir.display()));
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
