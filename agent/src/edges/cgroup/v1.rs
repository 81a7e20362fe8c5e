//! Version 1 limits, one hierarchy per controller, through cgroups-rs with explicit paths (its own detection reads the
//! wrong root on hybrid machines, and its group builder would touch controllers that are not ours).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use cgroups_rs::MaxValue;
use cgroups_rs::cpu::CpuController;
use cgroups_rs::error::Error;
use cgroups_rs::memory::MemController;
use cgroups_rs::pid::PidController;
use dawn_proto::CpuShare;

use super::CgroupError;
use crate::model::Limits;

/// `cpu.cfs_quota_us` of a group that has none.
const NO_QUOTA: i64 = -1;
/// There only with swap accounting.
const MEMSW_LIMIT: &str = "memory.memsw.limit_in_bytes";

/// The parents by controller.
#[derive(Clone, Debug)]
pub(super) struct Parents {
    by_controller: BTreeMap<String, PathBuf>,
}

impl Parents {
    pub(super) fn new(roots: BTreeMap<&str, &Path>, relative: &Path) -> Self {
        let parent = |(name, root): (&str, &Path)| (name.to_string(), root.join(relative));
        Parents { by_controller: roots.into_iter().map(parent).collect() }
    }

    /// Without these two there is no isolation worth the name.
    pub(super) fn check(&self) -> Result<(), CgroupError> {
        for (controller, missing) in
            [("memory", "the memory controller is not mounted"), ("cpu", "the cpu controller is not mounted")]
        {
            if !self.by_controller.contains_key(controller) {
                return Err(CgroupError::Unusable(missing));
            }
        }
        Ok(())
    }

    /// Each directory once: controllers may share a hierarchy.
    pub(super) fn paths(&self) -> impl Iterator<Item = &Path> {
        let mut paths: Vec<&Path> = self.by_controller.values().map(PathBuf::as_path).collect();
        paths.sort_unstable();
        paths.dedup();
        paths.into_iter()
    }

    pub(super) fn memory(&self) -> Option<&Path> {
        self.by_controller.get("memory").map(PathBuf::as_path)
    }

    pub(super) fn parent(&self, controller: &str) -> Option<&Path> {
        self.by_controller.get(controller).map(PathBuf::as_path)
    }

    pub(super) fn limit(&self, group: &str, limits: &Limits) -> Result<(), CgroupError> {
        let place = |controller: &str| self.by_controller.get(controller).map(|parent| parent.join(group));
        if let Some(path) = place("cpu").filter(|_| limits.cpu_milli > 0) {
            limit_cpu(&path, limits.cpu_milli).map_err(failed("cpu", &path))?;
        }
        if let Some(path) = place("memory").filter(|_| limits.memory_bytes > 0) {
            limit_memory(&path, limits.memory_bytes, limits.further.swap_bytes).map_err(failed("memory", &path))?;
        }
        if let Some(path) = place("pids").filter(|_| limits.max_pids > 0) {
            let pids = PidController::new(path.clone(), false);
            pids.set_pid_max(MaxValue::Value(limits.max_pids.into())).map_err(failed("pids", &path))?;
        }
        Ok(())
    }
}

fn failed(what: &'static str, path: &Path) -> impl FnOnce(Error) -> CgroupError {
    let path = path.to_path_buf();
    move |source| CgroupError::Limit { what, path, source: source.into() }
}

fn limit_cpu(path: &Path, cpu_milli: u64) -> Result<(), Error> {
    let cpu = CpuController::new(path.to_path_buf(), false);
    let share = CpuShare::of(cpu_milli);
    cpu.set_shares(share.shares)?;
    cpu.set_cfs_period(CpuShare::PERIOD_US)?;
    cpu.set_cfs_quota(share.quota_us.unwrap_or(NO_QUOTA))
}

fn limit_memory(path: &Path, bytes: u64, swap_bytes: u64) -> Result<(), Error> {
    let memory = MemController::new(path.to_path_buf(), false);
    let limit = i64::try_from(bytes).unwrap_or(i64::MAX);
    let together = limit.saturating_add_unsigned(swap_bytes);
    let swap_counts = path.join(MEMSW_LIMIT).exists();
    // The kernel keeps memory <= memory+swap at every write: a repeat that raises has to raise the latter first.
    if swap_counts && memory.set_memswap_limit(together).is_ok() {
        return memory.set_limit(limit);
    }
    memory.set_limit(limit)?;
    if swap_counts { memory.set_memswap_limit(together) } else { Ok(()) }
}
