//! What an operator tells an agent.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

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
    /// Left out: none.
    pub gpu_milli: Option<u64>,
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
    /// Run every task as the agent's own user.
    pub run_as_self: bool,
    /// An ended task's directory goes when it is older, milliseconds.
    pub sandbox_keep_ms: u64,
    /// Directories of ended tasks together; the oldest go first, bytes.
    pub sandbox_keep_bytes: u64,
    /// Unpacked layers of root file systems together; those no task uses go, the longest unused first, bytes.
    pub image_keep_bytes: u64,
    /// At the first start; later it must be the same. Left out: made by chance.
    pub agent_id: Option<String>,
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
            custom: BTreeMap::new(),
            ports: vec![(31_000, 32_000)],
            isolated: true,
            cgroup_parent: "dawn".into(),
            executor,
            run_as_self: false,
            sandbox_keep_ms: 24 * 60 * 60 * 1_000,
            sandbox_keep_bytes: 20 << 30,
            image_keep_bytes: 20 << 30,
            agent_id: None,
        }
    }
}
