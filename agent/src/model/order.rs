//! What the leader orders, and what a launch becomes on its way to an executor.

use std::path::PathBuf;
use std::sync::Arc;

use dawn_proto::v1::{PortHolder, Reason};
use dawn_proto::{Epoch, JobKey, Resources, SpecId, TaskId};

use super::Artifact;

/// A named port of a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    pub name: String,
    pub number: u16,
}

/// Start a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Launch {
    pub epoch: Epoch,
    pub task: TaskId,
    pub spec: SpecId,
    pub instance: u32,
    pub attempt: u32,
    pub ports: Vec<Port>,
    /// Numbers of the gpus it was given, or has a share of.
    pub gpus: Vec<u16>,
    pub run_at_ms: i64,
}

/// Stop a task by its lifecycle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kill {
    pub epoch: Epoch,
    pub task: TaskId,
    pub reason: Reason,
    /// Overrides the spec's when given.
    pub grace_period_ms: Option<u64>,
}

/// What the agent itself needs to know of a job's spec; the rest travels on to the executor unread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spec {
    pub id: SpecId,
    /// Of the job.
    pub version: u32,
    pub job: JobKey,
    pub demand: Resources,
    /// Unix user the processes run as.
    pub user: String,
    /// 0: the agent's default.
    pub max_pids: u32,
    pub grace_period_ms: u64,
    /// The rest of the kill ladder: lifecycle endpoints and final processes.
    pub ladder_ms: u64,
    /// No instance may live twice.
    pub at_most_one: bool,
    pub further: FurtherLimits,
    /// None: the machine's.
    pub root: Option<RootFs>,
    /// Fetched before the executor starts.
    pub artifacts: Vec<Artifact>,
    /// The whole spec as it came, encoded.
    pub payload: Vec<u8>,
}

/// Who a task's processes are to the kernel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    pub uid: u32,
    pub gid: u32,
    pub groups: Vec<u32>,
}

/// What a task's cgroup is limited to. Zero means unlimited.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    pub cpu_milli: u64,
    pub memory_bytes: u64,
    pub max_pids: u32,
    pub further: FurtherLimits,
}

/// Limits that only tasks which ask for them have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FurtherLimits {
    /// On top of the memory.
    pub swap_bytes: u64,
    /// Cpus to stay on, as the kernel lists them; empty: any.
    pub cpuset: String,
    pub io: IoLimits,
    /// Device files that can be opened besides the harmless ones; empty: all that file permissions allow.
    pub devices: Vec<String>,
    /// Numbers of the gpus whose device files can be opened, of a machine that keeps them apart.
    pub gpus: Vec<u16>,
}

/// On the disk of the work directory. Zero means unlimited, for the weight the kernel's default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IoLimits {
    pub read_bytes_per_s: u64,
    pub write_bytes_per_s: u64,
    pub read_ops_per_s: u64,
    pub write_ops_per_s: u64,
    pub weight: u32,
}

/// A root file system on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RootFs {
    Directory(PathBuf),
    Tarball(PathBuf),
    OciLayout {
        path: PathBuf,
        /// Empty: the only image.
        tag: String,
    },
}

/// Where a task's processes go. All empty: unisolated.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupPlan {
    /// Directories whose `cgroup.procs` a process joins.
    pub join: Vec<PathBuf>,
    /// A v2 group with `cgroup.kill`.
    pub kill: Option<PathBuf>,
    /// Where memory events are read.
    pub memory: Option<PathBuf>,
    /// 1 or 2: how to read `memory`.
    pub memory_version: u32,
}

/// Everything about a launch that must be durable before anything of it is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LaunchRecord {
    pub launch: Launch,
    pub spec: Arc<Spec>,
    pub identity: Identity,
    /// On the boot clock, for what must not live twice: the executor kills it then, unless told of a renewal.
    pub lease_until_ms: Option<u64>,
}

impl LaunchRecord {
    /// The limits of its cgroup; `default_pids` where the spec names none.
    pub fn limits(&self, default_pids: u32) -> Limits {
        let max_pids = if self.spec.max_pids == 0 { default_pids } else { self.spec.max_pids };
        let (cpu_milli, memory_bytes) = (self.spec.demand.cpu_milli, self.spec.demand.memory_bytes);
        let further = FurtherLimits { gpus: self.launch.gpus.clone(), ..self.spec.further.clone() };
        Limits { cpu_milli, memory_bytes, max_pids, further }
    }
}

/// Why a step of a launch failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    UnknownUser {
        message: String,
    },
    /// It can't be bound, though Dawn gave it to nobody.
    PortBusy {
        port: Port,
        holder: PortHolder,
        message: String,
    },
    /// The plan can't be made of the spec.
    Plan {
        message: String,
    },
    Checkpoint {
        message: String,
    },
    /// What ended tasks have left did not go in time.
    NoRoom {
        message: String,
    },
    /// The node's disk: full, or failing.
    Disk {
        reason: Reason,
        message: String,
    },
    Sandbox {
        message: String,
    },
    RootFs {
        message: String,
    },
    Cgroup {
        message: String,
    },
    /// One that the job asks for and the node can't keep.
    Limit {
        message: String,
    },
    Executor {
        message: String,
    },
    /// There is no such file, or it is another one, or an unpacking that would leave its folder.
    Artifact {
        reason: Reason,
        message: String,
    },
    /// It was stopped meanwhile.
    Stopped,
}
