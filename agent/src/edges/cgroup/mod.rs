//! The cgroups of tasks: made, limited, killed, removed. Version 1, version 2, and the hybrid of both, where the limits
//! are version 1's and a version 2 group beside them tracks and kills. Not here: joining them, which is the executor's.
//!
//! The rule for cpu: shares (v1) or weight (v2) in proportion to the demand, and a quota of exactly the demand, so that a
//! task never runs faster than it will when its neighbours come. Memory: a hard limit, swap not on top of it.

mod claim;
mod device_filter;
mod extra;
mod files;
mod gpus;
mod mounts;
mod own;
mod raise;
mod usage;
mod v1;
mod v2;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use dawn_proto::TaskId;

pub use mounts::{Mounts, MountsError};
pub use own::OwnGroup;

use crate::model::{FurtherLimits, Gpus, GroupPlan, Limits};
use gpus::GpuDevices;

/// Longest wait for killed processes to leave a group.
const REMOVE_TIMEOUT: Duration = Duration::from_secs(10);

/// Version 1 controllers that limit nothing: a group inside a task's has what the task has.
const TRACKING: [&str; 2] = ["freezer", "cpuacct"];

/// A cgroup operation failed.
#[derive(Debug, thiserror::Error)]
pub enum CgroupError {
    #[error("can't {operation} cgroup {}", path.display())]
    Io { operation: &'static str, path: PathBuf, source: io::Error },
    #[error("can't limit {what} of cgroup {}", path.display())]
    Limit { what: &'static str, path: PathBuf, source: Box<dyn std::error::Error + Send + Sync> },
    #[error("{0:?} is no cgroup parent; give a relative path without \"..\", like dawn/agent-1")]
    BadParent(String),
    #[error(
        "{} has the groups of another agent's tasks; give each agent of a machine a --cgroup-parent of its own, like \
         dawn/agent-2",
        path.display()
    )]
    Claimed { path: PathBuf },
    #[error("the machine has no usable cgroup hierarchy: {0}")]
    Unusable(&'static str),
    #[error("the machine has no cgroup controller {0}, which the task's isolation asks for")]
    NoController(&'static str),
    #[error("the machine has neither a version 2 hierarchy nor the controller devices, which keep gpus apart")]
    NoDevices,
    /// A limit beyond those of every task, which the job asks for.
    #[error(transparent)]
    Asked(Box<CgroupError>),
    #[error(transparent)]
    Mounts(#[from] MountsError),
}

fn io_error(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> CgroupError {
    let path = path.to_path_buf();
    move |source| CgroupError::Io { operation, path, source }
}

/// The parent groups under which every task gets its own.
#[derive(Clone, Debug)]
pub struct Tree {
    v1: Option<v1::Parents>,
    /// Hybrid: without controllers, for tracking and killing. Pure v2: the one with the limits.
    v2: Option<PathBuf>,
    /// Version 1 parents by controller for those who ask.
    extra: BTreeMap<&'static str, PathBuf>,
    /// Gpus that are kept apart; none: whoever may open their files can.
    gpus: GpuDevices,
    /// Whose disk io limits are about.
    disk: PathBuf,
    /// Levels of the parents below their roots.
    depth: usize,
}

impl Tree {
    /// Makes the parents in the mounted hierarchies.
    ///
    /// # Errors
    /// When one can't be made or written: no rights, or nothing mounted.
    pub fn create(mounts: &Mounts, parent: &str, disk: &Path) -> Result<Self, CgroupError> {
        let relative = checked_parent(parent)?;
        let tree = Tree {
            v1: mounts.v1().map(|v1| v1::Parents::new(v1, relative)),
            v2: mounts.v2().map(|root| root.join(relative)),
            extra: mounts.extra().map(|(name, root)| (name, root.join(relative))).collect(),
            gpus: GpuDevices::default(),
            disk: disk.to_path_buf(),
            depth: relative.components().count(),
        };
        match &tree {
            Tree { v1: Some(v1), v2, .. } => {
                v1.check()?;
                for path in v1.paths().chain(v2.as_deref()) {
                    fs::create_dir_all(path).map_err(io_error("create", path))?;
                }
            }
            Tree { v1: None, v2: Some(path), .. } => {
                let root = mounts.v2().unwrap_or(path);
                v2::create_parent(root, relative)?;
            }
            Tree { v1: None, v2: None, .. } => return Err(CgroupError::Unusable("none is mounted")),
        }
        for (name, path) in &tree.extra {
            fs::create_dir_all(path).map_err(io_error("create", path))?;
            if *name == "cpuset" {
                let above: Vec<&Path> = path.ancestors().take(tree.depth).collect();
                above.into_iter().rev().try_for_each(extra::inherit)?;
            }
        }
        for path in tree.parents() {
            let procs = path.join(files::PROCS);
            fs::OpenOptions::new().write(true).open(&procs).map_err(io_error("write to", &procs))?;
        }
        Ok(tree)
    }

    /// From now on a task can open the device files of its own gpus alone.
    ///
    /// # Errors
    /// When a file is none of a device, or nothing here can keep tasks from one.
    pub fn keep_gpus_apart(&mut self, gpus: &Gpus) -> Result<(), CgroupError> {
        if self.v2.is_none() && !self.extra.contains_key("devices") {
            return Err(CgroupError::NoDevices);
        }
        self.gpus = GpuDevices::find(gpus)?;
        Ok(())
    }

    /// "cgroup v1", "cgroup v2" or "hybrid".
    pub fn kind(&self) -> &'static str {
        match (&self.v1, &self.v2) {
            (Some(_), Some(_)) => "hybrid",
            (Some(_), None) => "cgroup v1",
            (None, _) => "cgroup v2",
        }
    }

    fn parents(&self) -> impl Iterator<Item = &Path> {
        self.v1.iter().flat_map(v1::Parents::paths).chain(self.v2.as_deref())
    }

    /// Every group a task has, and those it may have.
    fn groups(&self, task: TaskId) -> Vec<PathBuf> {
        self.parents()
            .chain(self.extra.values().map(PathBuf::as_path))
            .map(|parent| parent.join(task.to_string()))
            .collect()
    }

    /// The group of a version 1 controller that limits what only those have who ask.
    fn asked(&self, controller: &'static str, task: TaskId) -> Result<PathBuf, CgroupError> {
        match self.extra.get(controller) {
            Some(parent) => Ok(parent.join(task.to_string())),
            None => Err(CgroupError::NoController(controller)),
        }
    }

    /// Where a task's processes will go; the same before and after the groups are made.
    pub fn plan(&self, task: TaskId, limits: &Limits) -> GroupPlan {
        let v2 = self.v2.as_ref().map(|parent| parent.join(task.to_string()));
        let v1_memory = self.v1.as_ref().and_then(|v1| v1.memory()).map(|parent| parent.join(task.to_string()));
        let memory_version = if v1_memory.is_some() { 1 } else { 2 };
        let mut join: Vec<PathBuf> = self.parents().map(|parent| parent.join(task.to_string())).collect();
        if self.v1.is_some() {
            // What is not there is told when the groups are made.
            join.extend(self.v1_extras(&limits.further).filter_map(|name| self.asked(name, task).ok()));
        }
        GroupPlan { join, kill: v2.clone(), memory: v1_memory.or(v2), memory_version }
    }

    /// The task's group below which one for a single command may be made, to find what the command left behind. None: no
    /// hierarchy here holds back nothing of what is in it.
    pub fn above_commands(&self, task: TaskId) -> Option<PathBuf> {
        let v1 = || TRACKING.iter().find_map(|controller| self.v1.as_ref()?.parent(controller));
        Some(self.v2.as_deref().or_else(v1)?.join(task.to_string()))
    }

    /// Version 1 controllers needed by who asks; where a version 2 group is, that one filters devices.
    fn v1_extras(&self, limits: &FurtherLimits) -> impl Iterator<Item = &'static str> {
        extra::needed(limits, !self.gpus.is_empty()).filter(|name| *name != "devices" || self.v2.is_none())
    }

    /// Makes and limits a task's groups. A repeat is harmless.
    ///
    /// # Errors
    /// Names the group and what could not be done to it.
    pub fn make(&self, task: TaskId, limits: &Limits) -> Result<(), CgroupError> {
        for path in self.plan(task, limits).join {
            match fs::create_dir(&path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                made => made.map_err(io_error("create", &path))?,
            }
        }
        match (&self.v1, &self.v2) {
            (Some(v1), _) => v1.limit(&task.to_string(), limits)?,
            (None, Some(parent)) => v2::limit(&parent.join(task.to_string()), limits)?,
            (None, None) => {}
        }
        self.limit_further(task, &limits.further)
    }

    fn limit_further(&self, task: TaskId, limits: &FurtherLimits) -> Result<(), CgroupError> {
        for controller in extra::needed(limits, !self.gpus.is_empty()) {
            // Where gpus are kept apart devices are restricted for every task, whether its job asks for it or not.
            let asks = || extra::needed(limits, false).any(|name| name == controller);
            let limited = self.limit_by(controller, task, limits);
            limited.map_err(|error| if asks() { CgroupError::Asked(Box::new(error)) } else { error })?;
        }
        Ok(())
    }

    fn limit_by(&self, controller: &'static str, task: TaskId, limits: &FurtherLimits) -> Result<(), CgroupError> {
        let v2 = self.v2.as_ref().map(|parent| parent.join(task.to_string()));
        // On a hybrid machine version 2 has no controllers; devices are a program, not a controller.
        let is_v2 = self.v1.is_none() || (controller == "devices" && v2.is_some());
        let path = match &v2 {
            Some(path) if is_v2 && extra::is_there(path, controller) => path.clone(),
            _ if self.v1.is_none() => return Err(CgroupError::NoController(controller)),
            _ => self.asked(controller, task)?,
        };
        match controller {
            "cpuset" => extra::keep_to_cpus(&path, &limits.cpuset, is_v2),
            "blkio" => extra::limit_io(&path, &limits.io, &self.disk, is_v2),
            _ if is_v2 => extra::filter_devices(&path, &self.gpus.rule(limits)?),
            _ => extra::restrict_devices(&path, &self.gpus.rule(limits)?),
        }
    }

    /// The processes in a task's groups.
    pub fn members(&self, task: TaskId) -> BTreeSet<i32> {
        let listed = self.groups(task).into_iter().flat_map(|group| fs::read_to_string(group.join(files::PROCS)));
        listed.flat_map(|pids| pids.lines().filter_map(|pid| pid.parse().ok()).collect::<Vec<i32>>()).collect()
    }

    /// Tasks that have a group here, whoever knows of them.
    pub fn tasks(&self) -> BTreeSet<TaskId> {
        let entries = self.parents().flat_map(|parent| fs::read_dir(parent).into_iter().flatten().flatten());
        entries.filter_map(|entry| entry.file_name().to_str()?.strip_prefix('t')?.parse().ok()).map(TaskId).collect()
    }

    /// Raises a task's groups and kills every process in them; they may still be dying when this returns.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn kill(&self, task: TaskId) -> Result<(), CgroupError> {
        for group in self.groups(task) {
            files::each_group(&group, &mut raise::raise);
        }
        if let Some(parent) = &self.v2 {
            let group = parent.join(task.to_string());
            match v2::kill(&group) {
                Ok(()) => {}
                // Before Linux 5.14, or no group any more.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(io_error("kill", &group)(error)),
            }
        }
        // A process that another hand moved out of one hierarchy's group is still in the others'.
        for group in self.groups(task) {
            files::kill_listed(&group).map_err(io_error("kill the processes of", &group))?;
        }
        Ok(())
    }

    /// Kills what is left of a task and removes its groups, with whatever groups were made inside them.
    ///
    /// # Errors
    /// When a group is still in use after 10 s.
    pub fn remove(&self, task: TaskId) -> Result<(), CgroupError> {
        let deadline = Instant::now() + REMOVE_TIMEOUT;
        let mut pause = Duration::from_millis(1);
        loop {
            let result = self
                .groups(task)
                .iter()
                .try_for_each(|group| files::remove_groups(group).map_err(io_error("remove", group)));
            match result {
                Ok(()) => return Ok(()),
                Err(error) if Instant::now() >= deadline => return Err(error),
                Err(_) => {}
            }
            self.kill(task)?;
            sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(100));
        }
    }

    /// Removes empty groups of tasks that are not `known`: what a clean-up cut short has left. Nothing is killed by it.
    pub fn remove_strangers(&self, known: &BTreeSet<TaskId>) {
        for parent in self.parents().chain(self.extra.values().map(PathBuf::as_path)) {
            for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
                let name = entry.file_name();
                let task = name.to_str().and_then(|name| name.strip_prefix('t')?.parse().ok()).map(TaskId);
                if task.is_some_and(|task| !known.contains(&task)) {
                    // In use: processes that nobody ordered to stop.
                    let _ = fs::remove_dir(entry.path());
                }
            }
        }
    }

    /// Removes the parents, and those above them up to the root, if they are empty.
    pub fn remove_parents(&self) {
        for parent in self.parents().chain(self.extra.values().map(PathBuf::as_path)) {
            // Busy: a task runs on, or another agent, and its group keeps the parent.
            let _ = parent.ancestors().take(self.depth).try_for_each(fs::remove_dir);
        }
    }
}

fn checked_parent(parent: &str) -> Result<&Path, CgroupError> {
    let path = Path::new(parent);
    let normal = path.components().all(|part| matches!(part, Component::Normal(_)));
    if parent.is_empty() || !normal { Err(CgroupError::BadParent(parent.to_string())) } else { Ok(path) }
}
