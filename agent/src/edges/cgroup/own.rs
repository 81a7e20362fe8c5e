//! The agent's own group: a limit and, where the kernel has it, a reserve that its tasks can't press out of memory.

use std::fs;
use std::path::{Path, PathBuf};

use super::files::PROCS;
use super::{CgroupError, Tree, io_error};

const NAME: &str = "agent";
/// Kept for the agent by `memory.min`.
const RESERVE_BYTES: u64 = 64 << 20;
/// The kernel takes anything else first; tasks' processes have theirs reset.
const OOM_SCORE: &str = "-500";

/// Entered until dropped.
pub struct OwnGroup {
    group: PathBuf,
    /// Where the agent was before.
    before: PathBuf,
}

impl OwnGroup {
    /// Makes the group, limits it and moves this process into it.
    ///
    /// # Errors
    /// Names what could not be done.
    pub fn enter(tree: &Tree, limit_bytes: u64) -> Result<OwnGroup, CgroupError> {
        let v1 = tree.v1.as_ref().and_then(|v1| v1.memory());
        let parent = v1.or(tree.v2.as_deref()).ok_or(CgroupError::Unusable("no memory controller is mounted"))?;
        let group = parent.join(NAME);
        match fs::create_dir(&group) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            made => made.map_err(io_error("create", &group))?,
        }
        let limit = if v1.is_some() { "memory.limit_in_bytes" } else { "memory.max" };
        write(&group.join(limit), &limit_bytes.to_string())?;
        if v1.is_none() {
            // Before Linux 4.18 there is none.
            let _ = fs::write(group.join("memory.min"), RESERVE_BYTES.min(limit_bytes).to_string());
        }
        let root = parent.ancestors().nth(tree.depth).unwrap_or(parent);
        let before = current(root, v1.is_some()).unwrap_or_else(|| root.to_path_buf());
        write(&group.join(PROCS), "0")?;
        let _ = fs::write("/proc/self/oom_score_adj", OOM_SCORE);
        Ok(OwnGroup { group, before })
    }
}

impl Drop for OwnGroup {
    fn drop(&mut self) {
        // Executors that live on keep the group; then the next life of the agent finds it.
        let _ = fs::write(self.before.join(PROCS), "0");
        let _ = fs::remove_dir(&self.group);
    }
}

fn write(path: &Path, value: &str) -> Result<(), CgroupError> {
    fs::OpenOptions::new()
        .write(true)
        .open(path)
        .and_then(|mut file| std::io::Write::write_all(&mut file, value.as_bytes()))
        .map_err(io_error("write", path))
}

/// The group this process is in, below a hierarchy's root.
fn current(root: &Path, v1: bool) -> Option<PathBuf> {
    let text = fs::read_to_string("/proc/self/cgroup").ok()?;
    let line = text.lines().find_map(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        let (controllers, path) = (parts.next()?, parts.next()?);
        let wanted = if v1 { controllers.split(',').any(|one| one == "memory") } else { controllers.is_empty() };
        wanted.then_some(path)
    })?;
    let group = root.join(line.trim_start_matches('/'));
    // The one of an earlier life is no place to go back to.
    (group.is_dir() && !group.ends_with(NAME)).then_some(group)
}
