//! Several schedulers over an etcd of one's own, with agents; on loopback, or each in a network of its own.
//! Not here: what a scenario expects of them.

mod asking;
mod disturbing;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use nix::mount::{MntFlags, umount2};

use super::etcd::{self, Member, members};
use super::{
    AgentPlan, Api, Daemon, Host, Network, Output, Patience, PortBlock, binary, cleanup, dawn, plan, skip, waiting,
};

static CLUSTERS: AtomicU32 = AtomicU32::new(0);

/// Of one call; a host that is cut off answers nothing.
const CALL_TIMEOUT: Duration = Duration::from_secs(3);

/// What there is to be.
#[derive(Clone, Debug)]
pub struct SeveralPlan {
    pub members: usize,
    pub schedulers: usize,
    pub agents: usize,
    /// Each daemon in a network of its own.
    pub apart: bool,
    /// Of the leader, as "2s".
    pub lease: String,
    /// Schedulers are given a directory of their own beside etcd.
    pub data_dirs: bool,
    pub scheduler_extra: Vec<String>,
    pub member_extra: Vec<String>,
}

impl SeveralPlan {
    /// Three members, three schedulers and so many agents, all on loopback.
    pub fn of(agents: usize) -> SeveralPlan {
        let scheduler_extra = ["--heartbeat-interval", "200ms", "--agent-lease", "3s"].map(String::from).into();
        SeveralPlan {
            members: 3,
            schedulers: 3,
            agents,
            apart: false,
            lease: "2s".into(),
            data_dirs: false,
            scheduler_extra,
            member_extra: Vec::new(),
        }
    }
}

/// Which daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    Member(usize),
    Scheduler(usize),
    Agent(usize),
}

pub struct Several {
    /// `dawn-test-<pid>-s<n>`; every control group starts with it.
    pub name: String,
    pub members: Vec<Daemon>,
    pub schedulers: Vec<Daemon>,
    pub agents: Vec<Daemon>,
    apis: Vec<Api>,
    addresses: Vec<SocketAddr>,
    endpoints: Vec<String>,
    network: Option<Network>,
    _ports: PortBlock,
    /// Mounts of its own, unmounted once its daemons have ended.
    mounts: Mutex<Vec<PathBuf>>,
    folder: tempfile::TempDir,
}

impl Several {
    /// Starts everything and waits until a leader has every agent. None, said aloud, where this machine can't.
    pub fn start(plan: &SeveralPlan) -> Option<Several> {
        let several = Several::lay_out(plan)?;
        several.everybody().for_each(Daemon::start);
        several.agents_are_up();
        Some(several)
    }

    /// Writes the command lines and makes the networks; starts nothing.
    pub fn lay_out(plan: &SeveralPlan) -> Option<Several> {
        if !nix::unistd::geteuid().is_root() {
            skip("needs root for control groups");
            return None;
        }
        if !etcd::is_installed() {
            skip("needs etcd; install etcd-server");
            return None;
        }
        let hosts = plan.members + plan.schedulers + plan.agents;
        let network = match plan.apart.then(|| Network::of(hosts)).transpose() {
            Ok(network) => network,
            Err(error) => {
                skip(&format!("needs networks of its own: {error}"));
                return None;
            }
        };
        let number = CLUSTERS.fetch_add(1, Ordering::Relaxed);
        let name = format!("dawn-test-{}-s{number}", std::process::id());
        let (folder, ports) = (plan::open_folder(&name), PortBlock::reserve());
        let sites = Sites { plan, network: &network, ports: &ports };
        let listed: Vec<Member> = (0..plan.members).map(|number| sites.member(number)).collect();
        let endpoints: Vec<String> = listed.iter().map(Member::url).collect();
        let addresses: Vec<SocketAddr> = (0..plan.schedulers).map(|number| sites.scheduler(number)).collect();
        let members = members(&listed, &plan.member_extra, folder.path()).into_iter().enumerate();
        let members = members.map(|(number, daemon)| daemon.on(sites.host(number))).collect();
        let schedulers = addresses.iter().enumerate().map(|(number, address)| {
            let args = plan.scheduler(*address, &endpoints, &folder.path().join(format!("scheduler{number}")));
            let daemon = Daemon::new(&format!("scheduler{number}"), &binary::path(), args, folder.path());
            daemon.on(sites.host(plan.members + number))
        });
        let schedulers = schedulers.collect();
        let all: Vec<String> = addresses.iter().map(SocketAddr::to_string).collect();
        let agents = (0..plan.agents).map(|number| {
            let one = AgentPlan { attributes: vec![format!("rack=r{number}")], ..AgentPlan::default() };
            let daemon = one.daemon(number, folder.path(), addresses[0], &name, ports.of_agent(number));
            daemon.set_flag("--scheduler", &all.join(","));
            daemon.on(sites.host(plan.members + plan.schedulers + number))
        });
        let agents = agents.collect();
        let switch = network.as_ref().map(|network| &network.switch);
        let apis = addresses.iter().map(|address| Api::from(switch, *address, CALL_TIMEOUT)).collect();
        let (mounts, _ports) = (Mutex::default(), ports);
        Some(Several { name, members, schedulers, agents, apis, addresses, endpoints, network, _ports, mounts, folder })
    }

    /// Starts everything that was laid out.
    pub fn start_all(&self) {
        self.everybody().for_each(Daemon::start);
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// host:port of every scheduler.
    pub fn addresses(&self) -> Vec<String> {
        self.addresses.iter().map(SocketAddr::to_string).collect()
    }

    /// URLs of the members.
    pub fn endpoints(&self) -> &[String] {
        &self.endpoints
    }

    pub fn api(&self, scheduler: usize) -> &Api {
        &self.apis[scheduler]
    }

    pub fn daemon(&self, who: Who) -> &Daemon {
        match who {
            Who::Member(number) => &self.members[number],
            Who::Scheduler(number) => &self.schedulers[number],
            Who::Agent(number) => &self.agents[number],
        }
    }

    fn everybody(&self) -> impl Iterator<Item = &Daemon> {
        self.members.iter().chain(&self.schedulers).chain(&self.agents)
    }

    /// Runs `dawn --scheduler <all of them> ARGS…` to its end, from where every scheduler can be reached.
    pub fn dawn(&self, args: &[&str]) -> Output {
        let addresses = self.addresses().join(",");
        let args = [&["--scheduler", &addresses], args].concat();
        let run = || {
            if let Some(network) = &self.network {
                // This thread alone; the program it starts is born where it is.
                network.switch.enter().expect("the switch's network");
            }
            dawn(&args)
        };
        std::thread::scope(|scope| scope.spawn(run).join()).expect("dawn ran")
    }

    /// `dawn admin verify` finds nothing wrong, and asked every agent.
    pub fn verified(&self) {
        let nodes = self.agents.len() as u64;
        self.eventually("every promise holds by `dawn admin verify`", Patience::LONG, || {
            let output = self.dawn(&["--json", "admin", "verify"]);
            if output.code != Some(0) {
                return Err(format!("{output:?}"));
            }
            let verified = output.json();
            let told = (verified["violations"].as_u64(), verified["nodes"].as_u64());
            if told == (Some(0), Some(nodes)) { Ok(()) } else { Err(format!("{verified:#}")) }
        });
    }

    /// Waits until `check` answers Ok; fails the test with what it last said and the daemons' last words.
    pub fn eventually<T>(&self, what: &str, patience: Patience, check: impl FnMut() -> Result<T, String>) -> T {
        match waiting::until(patience, check) {
            Ok(value) => value,
            Err(last) => panic!("{what}: not within {patience}: {last}\n{}", self.last_words()),
        }
    }

    /// Kills every job, ends the daemons politely, and fails if a process or control group outlives them.
    pub fn end(self) {
        self.kill_all_jobs();
        self.eventually("nothing of the tasks is left", Patience::LONG, || {
            let daemons: Vec<i32> = self.everybody().filter_map(Daemon::pid).collect();
            cleanup::nothing_but(&self.name, self.folder.path(), &daemons)
        });
        for daemon in self.agents.iter().chain(&self.schedulers).filter(|daemon| daemon.is_alive()) {
            daemon.terminate();
        }
        self.members.iter().for_each(Daemon::kill_9);
        // While what a test has mounted is still there.
        self.no_faults();
        self.unmount();
        let left = cleanup::leftovers(&self.name, self.folder.path());
        assert!(left.is_empty(), "left behind by {}: {left:#?}\n{}", self.name, self.last_words());
    }

    /// What a test has mounted in the cluster's directory.
    pub fn unmount_at_end(&self, place: PathBuf) {
        self.mounts.lock().expect("no test thread panicked").push(place);
    }

    fn unmount(&self) {
        let mut mounts = self.mounts.lock().unwrap_or_else(PoisonError::into_inner);
        for place in mounts.drain(..) {
            // Whatever is still open there goes with it.
            _ = umount2(&place, MntFlags::MNT_DETACH);
        }
    }

    /// No daemon has ended unasked or panicked, and no executor has panicked.
    pub fn no_faults(&self) {
        let mut faults: Vec<String> = self.everybody().flat_map(Daemon::faults).collect();
        faults.extend(cleanup::panics_of_executors(self.folder.path()));
        assert!(faults.is_empty(), "{}:\n{}", self.name, faults.join("\n"));
    }

    /// The ends of the daemons' logs.
    pub fn last_words(&self) -> String {
        self.everybody().map(Daemon::last_words).collect::<Vec<_>>().join("\n")
    }
}

impl Drop for Several {
    fn drop(&mut self) {
        self.everybody().for_each(Daemon::kill_9);
        self.unmount();
        let left = cleanup::sweep(&self.name, self.folder.path());
        if left.is_empty() {
            return;
        }
        let report = format!("{} could not be cleaned up: {left:#?}", self.name);
        if std::thread::panicking() { eprintln!("{report}") } else { panic!("{report}") }
    }
}

/// Where each daemon is: on a host of its own with well-known ports, or on loopback with ports of its own.
struct Sites<'a> {
    plan: &'a SeveralPlan,
    network: &'a Option<Network>,
    ports: &'a PortBlock,
}

impl Sites<'_> {
    fn host(&self, number: usize) -> Option<&Host> {
        self.network.as_ref().map(|network| &network.hosts[number])
    }

    fn address(&self, host: usize) -> IpAddr {
        self.network.as_ref().map_or(Ipv4Addr::LOCALHOST.into(), |network| network.address(host))
    }

    fn port(&self, number: usize) -> u16 {
        self.ports.first() + u16::try_from(number).expect("a handful of daemons")
    }

    fn member(&self, number: usize) -> Member {
        let (client_port, peer_port) = (self.port(2 * number), self.port(2 * number + 1));
        Member { address: self.address(number), client_port, peer_port }
    }

    fn scheduler(&self, number: usize) -> SocketAddr {
        SocketAddr::new(self.address(self.plan.members + number), self.port(2 * self.plan.members + number))
    }
}

impl SeveralPlan {
    fn scheduler(&self, address: SocketAddr, endpoints: &[String], data_dir: &Path) -> Vec<String> {
        let mut args = vec!["scheduler".to_string()];
        let mut flag = |name: &str, value: String| args.extend([name.to_string(), value]);
        flag("--listen", address.to_string());
        flag("--etcd", endpoints.join(","));
        flag("--etcd-lease", self.lease.clone());
        if self.data_dirs {
            flag("--data-dir", data_dir.to_string_lossy().into_owned());
        }
        args.extend(self.scheduler_extra.clone());
        args
    }
}
