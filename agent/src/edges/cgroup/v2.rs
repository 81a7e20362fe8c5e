//! Version 2: one group with all limits; or, on a hybrid machine, one without, to track and kill.

use std::fs;
use std::io;
use std::path::Path;

use cgroups_rs::MaxValue;
use cgroups_rs::cpu::CpuController;
use cgroups_rs::error::Error;
use cgroups_rs::memory::MemController;
use cgroups_rs::pid::PidController;
use dawn_proto::CpuShare;

use super::{CgroupError, io_error};
use crate::model::Limits;

const SUBTREE_CONTROL: &str = "cgroup.subtree_control";
const CONTROLLERS: [&str; 3] = ["cpu", "memory", "pids"];
/// For those who ask; a kernel may lack them.
const FURTHER: [&str; 2] = ["cpuset", "io"];
const KILL: &str = "cgroup.kill";
const OOM_GROUP: &str = "memory.oom.group";
const SWAP_MAX: &str = "memory.swap.max";

/// Makes the parent below `root`, and hands the controllers down to it and to its children. Written here and not through
/// cgroups-rs, which swallows a refused write to `cgroup.subtree_control`.
pub(super) fn create_parent(root: &Path, relative: &Path) -> Result<(), CgroupError> {
    let mut path = root.to_path_buf();
    enable_controllers(&path)?;
    for part in relative.components() {
        path.push(part);
        match fs::create_dir(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            made => made.map_err(io_error("create", &path))?,
        }
        enable_controllers(&path)?;
    }
    Ok(())
}

/// One controller per write: a refused one does not take the others with it, and is named.
fn enable_controllers(path: &Path) -> Result<(), CgroupError> {
    let file = path.join(SUBTREE_CONTROL);
    let enabled = fs::read_to_string(&file).map_err(io_error("read", &file))?;
    let there = fs::read_to_string(path.join("cgroup.controllers")).unwrap_or_default();
    for controller in FURTHER.into_iter().filter(|name| there.split_whitespace().any(|one| one == *name)) {
        // Refused only to who asks for it, by the file that is then not there.
        let _ = fs::write(&file, format!("+{controller}"));
    }
    for controller in CONTROLLERS {
        if !enabled.split_whitespace().any(|name| name == controller) {
            fs::write(&file, format!("+{controller}")).map_err(|source| CgroupError::Limit {
                what: controller,
                path: path.to_path_buf(),
                source: source.into(),
            })?;
        }
    }
    Ok(())
}

/// Sets every limit of a group.
pub(super) fn limit(path: &Path, limits: &Limits) -> Result<(), CgroupError> {
    if limits.cpu_milli > 0 {
        let cpu = CpuController::new(path.to_path_buf(), true);
        let share = CpuShare::of(limits.cpu_milli);
        let quota = cpu
            .set_shares(share.weight)
            .and_then(|()| cpu.set_cfs_quota_and_period(share.quota_us, Some(CpuShare::PERIOD_US)));
        quota.map_err(failed("cpu", path))?;
    }
    if limits.memory_bytes > 0 {
        limit_memory(path, limits.memory_bytes, limits.further.swap_bytes)?;
    }
    if limits.max_pids > 0 {
        let pids = PidController::new(path.to_path_buf(), true);
        pids.set_pid_max(MaxValue::Value(limits.max_pids.into())).map_err(failed("pids", path))?;
    }
    Ok(())
}

fn limit_memory(path: &Path, bytes: u64, swap_bytes: u64) -> Result<(), CgroupError> {
    let memory = MemController::new(path.to_path_buf(), true);
    memory.set_limit(i64::try_from(bytes).unwrap_or(i64::MAX)).map_err(failed("memory", path))?;
    // cgroups-rs knows neither "the whole task dies together" nor "no swap at all".
    write(path, OOM_GROUP, "1")?;
    if path.join(SWAP_MAX).exists() { write(path, SWAP_MAX, &swap_bytes.to_string()) } else { Ok(()) }
}

fn write(path: &Path, file: &str, value: &str) -> Result<(), CgroupError> {
    let file = path.join(file);
    fs::write(&file, value).map_err(io_error("write", &file))
}

/// Kills every process of a group and of the groups inside it at once, forks included.
pub(super) fn kill(group: &Path) -> io::Result<()> {
    // Opened, not created: on anything but a cgroup this must fail instead of leaving a file.
    fs::OpenOptions::new().write(true).open(group.join(KILL)).and_then(|mut file| io::Write::write_all(&mut file, b"1"))
}

fn failed(what: &'static str, path: &Path) -> impl FnOnce(Error) -> CgroupError {
    let path = path.to_path_buf();
    move |source| CgroupError::Limit { what, path, source: source.into() }
}
