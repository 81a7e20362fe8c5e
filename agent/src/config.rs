//! What an operator tells an agent.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use dawn_proto::Resources;

use crate::drive::vitals::Vitals;

/// The attribute by which people and Aurora's `host` name a machine; "host" is the agent's own id.
const HOSTNAME: &str = "hostname";

/// Settings of an agent. Amounts left out are discovered.
#[derive(Clone, Debug)]
pub struct Config {
    /// Schedulers, `host:port`; tried in turn.
    pub schedulers: Vec<String>,
    /// Everything the agent keeps; made when missing.
    pub work_dir: PathBuf,
    pub hostname: String,
    /// Name and values.
    pub attributes: Vec<(String, Vec<String>)>,
    pub cpu_milli: Option<u64>,
    pub memory_bytes: Option<u64>,
    pub disk_bytes: Option<u64>,
    /// Left out: as many as have device files.
    pub gpu_milli: Option<u64>,
    /// Device files of each gpu, by its number; empty: not known, and nobody is kept from any.
    pub gpu_files: Vec<Vec<PathBuf>>,
    /// Device files that every task with a gpu needs.
    pub gpu_common_files: Vec<PathBuf>,
    /// Custom scalars by name, in thousandths of their unit.
    pub custom: BTreeMap<String, u64>,
    /// Inclusive ranges.
    pub ports: Vec<(u16, u16)>,
    /// Refuse to start where cgroups can't be made; otherwise run without them.
    pub isolated: bool,
    /// Path of the agent's own group below each hierarchy's root; agents of one machine need different ones.
    pub cgroup_parent: String,
    /// Command that starts an executor; the path of its plan is appended.
    pub executor: Vec<OsString>,
    /// Whether that command, with `--zygote` instead of a plan, forks executors. It is then started once: much cheaper.
    pub zygote: bool,
    /// Run every task as the agent's own user.
    pub run_as_self: bool,
    /// An ended task's directory goes when it is older, milliseconds.
    pub sandbox_keep_ms: u64,
    /// Directories of ended tasks together; the oldest go first, bytes.
    pub sandbox_keep_bytes: u64,
    /// Unpacked layers of root file systems together; those no task uses go, the longest unused first, bytes.
    pub image_keep_bytes: u64,
    /// Artifacts kept together; the least lately used go first, bytes.
    pub artifact_cache_bytes: u64,
    /// A source of an artifact that sends nothing for so long is given up, milliseconds.
    pub artifact_stall_ms: u64,
    /// host:port of agents that serve their caches; asked before the source.
    pub artifact_peers: Vec<String>,
    /// Where this one serves its cache to whoever asks by checksum; None: nowhere.
    pub artifact_listen: Option<SocketAddr>,
    /// Certificates that vouch for https sources; None: the system's.
    pub artifact_roots: Option<PathBuf>,
    /// Where metrics are served; None: nowhere.
    pub metrics_listen: Option<SocketAddr>,
    /// When asked to stop, end the tasks by their lifecycle first, within this time, milliseconds; None: they run on.
    pub drain_on_stop_ms: Option<u64>,
    /// Limit of the agent's own cgroup, which its executors share; 0: the agent stays where it was started.
    pub own_memory_bytes: u64,
    /// At the first start; later it must be the same. Left out: made by chance.
    pub agent_id: Option<String>,
    /// Where it shows that it lives.
    pub vitals: Arc<Vitals>,
}

impl Config {
    /// The defaults for what has one.
    pub fn new(schedulers: Vec<String>, work_dir: PathBuf, hostname: String, executor: Vec<OsString>) -> Self {
        Config {
            schedulers,
            work_dir,
            hostname,
            attributes: Vec::new(),
            cpu_milli: None,
            memory_bytes: None,
            disk_bytes: None,
            gpu_milli: None,
            gpu_files: Vec::new(),
            gpu_common_files: Vec::new(),
            custom: BTreeMap::new(),
            ports: vec![(31_000, 32_000)],
            isolated: true,
            cgroup_parent: "dawn".into(),
            executor,
            zygote: false,
            run_as_self: false,
            sandbox_keep_ms: 24 * 60 * 60 * 1_000,
            sandbox_keep_bytes: 10 << 30,
            image_keep_bytes: 20 << 30,
            artifact_cache_bytes: 10 << 30,
            artifact_stall_ms: 30_000,
            artifact_peers: Vec::new(),
            artifact_listen: None,
            artifact_roots: None,
            metrics_listen: None,
            drain_on_stop_ms: None,
            own_memory_bytes: 0,
            agent_id: None,
            vitals: Arc::default(),
        }
    }
    /// Thousandths of gpus that are given.
    pub fn offered_gpu_milli(&self) -> u64 {
        self.gpu_milli.unwrap_or(self.gpu_files.len() as u64 * 1_000)
    }

    /// What tasks may have: what the operator says, and what the machine has where nothing is said.
    pub fn offered(&self, machine: &Resources) -> Resources {
        let custom = self.custom.iter().filter(|(_, amount)| **amount > 0);
        Resources {
            cpu_milli: self.cpu_milli.unwrap_or(machine.cpu_milli),
            memory_bytes: self.memory_bytes.unwrap_or(machine.memory_bytes),
            disk_bytes: self.disk_bytes.unwrap_or(machine.disk_bytes),
            gpu_milli: self.offered_gpu_milli(),
            custom_milli: custom.map(|(name, amount)| (name.clone(), *amount)).collect(),
        }
    }

    /// What constraints can ask for: the operator's attributes, and `hostname` unless they say another one.
    pub fn offered_attributes(&self) -> Vec<(String, Vec<String>)> {
        let mut attributes = self.attributes.clone();
        if attributes.iter().all(|(name, _)| name != HOSTNAME) && !self.hostname.is_empty() {
            attributes.push((HOSTNAME.to_string(), vec![self.hostname.clone()]));
        }
        attributes
    }
}
