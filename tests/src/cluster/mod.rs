//! A cluster of real `dawn` processes on loopback, with its own control groups, ports and directory, gone when dropped.
//! Not here: what a scenario expects of it.

mod api;
mod asking;
mod binary;
mod cleanup;
mod daemon;
mod doubles;
mod etcd;
mod fake_clock;
mod kernel;
mod network;
mod plan;
mod ports;
mod several;
mod small_disk;
mod spec;
mod waiting;

pub use crate::skip::skip;
pub use api::Api;
pub use binary::{Output, dawn, path};
pub use daemon::Daemon;
pub use doubles::Doubles;
pub use etcd::{Member, members};
pub use fake_clock::FakeClock;
pub use kernel::{
    Limits, Process, files_below, groups, limits_of, marked, parent, processes, usage, user_of, variable, written_bytes,
};
pub use network::{Host, Network};
pub use plan::{AgentPlan, Plan};
pub use ports::PortBlock;
pub use several::{Several, SeveralPlan, Who};
pub use small_disk::SmallDisk;
pub use spec::{Spec, batch, cron, service};
pub use waiting::Patience;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use dawn_proto::{JobKey, v1};

static CLUSTERS: AtomicU32 = AtomicU32::new(0);

/// A running cluster: one scheduler with the embedded journal, and its agents.
pub struct Cluster {
    /// `dawn-test-<pid>-<n>`; every control group of the cluster starts with it.
    pub name: String,
    pub scheduler: Daemon,
    pub agents: Vec<Daemon>,
    pub api: Api,
    address: SocketAddr,
    ports: PortBlock,
    folder: tempfile::TempDir,
    ended: bool,
}

impl Cluster {
    /// Starts `plan` and waits until every agent is registered. None, said aloud, where this machine can't isolate tasks.
    pub fn start(plan: Plan) -> Option<Cluster> {
        let cluster = Cluster::start_scheduler(plan)?;
        for agent in &cluster.agents {
            agent.start();
        }
        cluster.agents_are_up(cluster.agents.len());
        Some(cluster)
    }

    /// Starts the scheduler alone; the agents of `plan` wait for their start.
    pub fn start_scheduler(plan: Plan) -> Option<Cluster> {
        if !nix::unistd::geteuid().is_root() {
            skip("needs root for control groups");
            return None;
        }
        let cluster = Cluster::lay_out(&plan);
        cluster.scheduler.start();
        cluster.scheduler_answers();
        Some(cluster)
    }

    /// Makes the directory, reserves the ports and writes the command lines; starts nothing.
    pub fn lay_out(plan: &Plan) -> Cluster {
        let number = CLUSTERS.fetch_add(1, Ordering::Relaxed);
        let name = format!("dawn-test-{}-{number}", std::process::id());
        let folder = plan::open_folder(&name);
        let ports = PortBlock::reserve();
        let address = SocketAddr::from(([127, 0, 0, 1], ports.first()));
        let scheduler = plan.scheduler(folder.path(), address);
        let agents = plan.agents(folder.path(), address, &name, &ports);
        let api = Api::new(address);
        Cluster { name, scheduler, agents, api, address, ports, folder, ended: false }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The cluster's own directory: journal, work directories, logs of the daemons.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn data_dir(&self) -> PathBuf {
        self.folder().join("scheduler")
    }

    /// Task ports of agent `agent`, first and last.
    pub fn task_ports(&self, agent: usize) -> (u16, u16) {
        self.ports.of_agent(agent)
    }

    /// Runs `dawn --scheduler <this one> ARGS…` to its end.
    pub fn dawn(&self, args: &[&str]) -> Output {
        let address = self.address.to_string();
        dawn(&[&["--scheduler", &address], args].concat())
    }

    /// Waits until `check` answers Ok; fails the test with what it last said and the daemons' last words.
    pub fn eventually<T>(&self, what: &str, patience: Patience, check: impl FnMut() -> Result<T, String>) -> T {
        match waiting::until(patience, check) {
            Ok(value) => value,
            Err(last) => panic!("{what}: not within {patience}: {last}\n{}", self.last_words()),
        }
    }

    pub fn scheduler_answers(&self) {
        self.eventually("the scheduler answers", Patience::START, || {
            assert!(self.scheduler.is_alive(), "the scheduler ended at its start\n{}", self.scheduler.last_words());
            self.api.server_info().map(|_| ()).map_err(|status| status.to_string())
        });
    }

    pub fn agents_are_up(&self, count: usize) {
        self.eventually(&format!("{count} agents are up"), Patience::START, || {
            let nodes = self.api.nodes().map_err(|status| status.to_string())?;
            let up = nodes.iter().filter(|node| node.state() == v1::NodeState::Up).count();
            (up == count).then_some(()).ok_or(format!("{up} of {} nodes up", nodes.len()))
        });
    }

    /// Kills every job, ends the daemons politely, and fails if a process or control group outlives them.
    pub fn end(mut self) {
        let jobs = self.api.jobs().unwrap_or_else(|status| panic!("listing jobs: {status}\n{}", self.last_words()));
        for job in jobs.iter().filter(|job| !job.ended) {
            let key = job.key.as_ref().and_then(|key| JobKey::try_from(key).ok()).expect("listed jobs have keys");
            self.kill(&key);
        }
        self.eventually("nothing of the tasks is left", Patience::STEP, || {
            let daemons: Vec<i32> = self.agents.iter().chain([&self.scheduler]).filter_map(Daemon::pid).collect();
            cleanup::nothing_but(&self.name, self.folder.path(), &daemons)
        });
        for daemon in self.agents.iter().chain([&self.scheduler]).filter(|daemon| daemon.is_alive()) {
            daemon.terminate();
        }
        let left = cleanup::leftovers(&self.name, self.folder.path());
        assert!(left.is_empty(), "left behind by {}: {left:#?}\n{}", self.name, self.last_words());
        let mut faults: Vec<String> = self.agents.iter().chain([&self.scheduler]).flat_map(Daemon::faults).collect();
        faults.extend(cleanup::panics_of_executors(self.folder.path()));
        assert!(faults.is_empty(), "{}:\n{}", self.name, faults.join("\n"));
        self.ended = true;
    }

    /// As `end`, but its files stay, for whoever measures what removing them does to the file system.
    pub fn end_with_files(mut self) {
        self.folder.disable_cleanup(true);
        self.end();
    }

    /// The ends of the daemons' logs.
    pub fn last_words(&self) -> String {
        let daemons = [&self.scheduler].into_iter().chain(&self.agents);
        daemons.map(Daemon::last_words).collect::<Vec<_>>().join("\n")
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for daemon in self.agents.iter().chain([&self.scheduler]) {
            daemon.kill_9();
        }
        let left = cleanup::sweep(&self.name, self.folder.path());
        if self.ended || left.is_empty() {
            return;
        }
        let report = format!("{} could not be cleaned up: {left:#?}", self.name);
        if std::thread::panicking() { eprintln!("{report}") } else { panic!("{report}") }
    }
}
