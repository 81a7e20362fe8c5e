//! What a cluster consists of, as the daemons' command lines.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::{Daemon, PortBlock, binary};

/// One agent's resources and attributes.
#[derive(Clone, Debug)]
pub struct AgentPlan {
    pub cpus: String,
    pub memory: String,
    pub disk: String,
    pub attributes: Vec<String>,
    pub extra: Vec<String>,
    /// Runs as user `nobody`, without any right over control groups.
    pub as_nobody: bool,
}

impl Default for AgentPlan {
    fn default() -> Self {
        AgentPlan {
            cpus: "4".into(),
            memory: "2GiB".into(),
            disk: "4GiB".into(),
            attributes: Vec::new(),
            extra: Vec::new(),
            as_nobody: false,
        }
    }
}

/// A cluster to be.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    pub agents: Vec<AgentPlan>,
    pub scheduler_extra: Vec<String>,
}

impl Plan {
    /// So many equal agents, each in a rack of its own: rack=r0, r1…
    pub fn of(agents: usize) -> Plan {
        let agent = |n: usize| AgentPlan { attributes: vec![format!("rack=r{n}")], ..AgentPlan::default() };
        Plan { agents: (0..agents).map(agent).collect(), scheduler_extra: Vec::new() }
    }

    /// Agents are heard every 200 ms and given up after `lease`, as "2s".
    pub fn agent_lease(mut self, lease: &str) -> Plan {
        self.scheduler_extra.extend(["--heartbeat-interval", "200ms", "--agent-lease", lease].map(String::from));
        self
    }

    pub(super) fn scheduler(&self, folder: &Path, address: SocketAddr) -> Daemon {
        let data = folder.join("scheduler");
        let mut args: Vec<String> = ["scheduler", "--listen"].map(String::from).into();
        args.extend([address.to_string(), "--data-dir".into(), data.to_string_lossy().into_owned()]);
        args.extend(self.scheduler_extra.clone());
        Daemon::new("scheduler", &binary::path(), args, folder)
    }

    pub(super) fn agents(&self, folder: &Path, scheduler: SocketAddr, name: &str, ports: &PortBlock) -> Vec<Daemon> {
        let agents = self.agents.iter().enumerate();
        agents.map(|(n, agent)| agent.daemon(n, folder, scheduler, name, ports.of_agent(n))).collect()
    }
}

impl AgentPlan {
    /// The command line of agent `number`.
    pub fn daemon(&self, number: usize, folder: &Path, scheduler: SocketAddr, name: &str, ports: (u16, u16)) -> Daemon {
        let host = format!("node{number}");
        let work = folder.join(&host);
        let mut args = vec!["agent".to_string()];
        let mut flag = |name: &str, value: String| args.extend([name.to_string(), value]);
        flag("--scheduler", scheduler.to_string());
        flag("--work-dir", work.to_string_lossy().into_owned());
        flag("--hostname", host.clone());
        flag("--cpus", self.cpus.clone());
        flag("--memory", self.memory.clone());
        flag("--disk", self.disk.clone());
        flag("--ports", format!("{}-{}", ports.0, ports.1));
        flag("--cgroup-parent", format!("{name}-{host}"));
        for attribute in &self.attributes {
            flag("--attribute", attribute.clone());
        }
        args.extend(self.extra.clone());
        let daemon = Daemon::new(&host, &binary::path(), args, folder);
        if self.as_nobody { daemon.as_nobody(&work) } else { daemon }
    }
}

/// A temporary directory that tasks of any user may pass through.
pub(super) fn open_folder(name: &str) -> tempfile::TempDir {
    let folder = tempfile::Builder::new().prefix(&format!("{name}-")).tempdir().expect("a temporary directory");
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).expect("it is ours");
    folder
}
