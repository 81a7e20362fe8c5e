//! `dawn scheduler`, `dawn agent` and `dawn executor`: command lines become configurations of the three daemons.
//! Not here: what the daemons do. The only file of the client that knows them.

mod artifacts;
mod etcd;
mod home;
mod notify;
mod panics;
mod parts;
#[cfg(test)]
mod units;

use std::ffi::OsString;
use std::future::Future;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

use crate::args::duration;
use crate::exit::{Exit, Failure, chain};
use crate::spec::size;
pub use home::{Home, check_backup, cut, journal, restore};
use notify::{Notify, Report};
use parts::{amount, attribute, port_ranges};

/// Tells an agent silent for this many leases down.
const DOWN_AFTER_LEASES: u64 = 4;

/// An agent that has drained, or run out of the time to, ends within this.
const STOP_AFTER_DRAIN: Duration = Duration::from_secs(15);

/// A flag that is given again takes the last value, or one more where there may be several: units give some, and what people
/// set comes after them.
#[derive(Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true, args_override_self = true)]
pub struct Scheduler {
    #[command(subcommand)]
    pub command: Option<SchedulerCommand>,
    /// Where clients and agents connect
    #[arg(long, default_value = "127.0.0.1:7070", value_name = "ADDRESS:PORT", value_parser = crate::address::parse_own_address)]
    listen: SocketAddr,
    /// Holds the journal, or with --etcd what was seen of it, so that an old backup is refused; made when missing
    #[arg(long, value_name = "DIR", required_unless_present = "etcd")]
    data_dir: Option<PathBuf>,
    /// Address that others are told to connect to [default: the listening address]
    #[arg(long, value_name = "HOST:PORT", value_parser = crate::address::parse_address)]
    advertise: Option<String>,
    /// How often agents say that they are there
    #[arg(long, default_value = "3s", value_name = "DURATION", value_parser = duration)]
    heartbeat_interval: Duration,
    /// An agent silent for this long is unreachable, and down after four times as long
    #[arg(long, default_value = "15s", value_name = "DURATION", value_parser = duration)]
    agent_lease: Duration,
    /// Serve Prometheus metrics at /metrics there, whether it works and is ready at /livez and /readyz, and where a job's
    /// tasks listen at /endpoints?job=ROLE/ENV/NAME [default: nowhere]
    #[arg(long, value_name = "ADDRESS:PORT", value_parser = crate::address::parse_own_address)]
    metrics_listen: Option<SocketAddr>,
    /// Ask coordinators of jobs only at this HOST, HOST:PORT or *.DOMAIN; may be given several times [default: anywhere]
    #[arg(long, value_name = "HOST")]
    coordinator_allow: Vec<String>,
    #[command(flatten)]
    etcd: etcd::Etcd,
    #[command(flatten)]
    log: Log,
}

#[derive(Subcommand)]
pub enum SchedulerCommand {
    /// Have a scheduler hand over at once and end, within 20 seconds whatever hangs; fails unless another one leads then
    Leave {
        /// Which one [default: the one that leads]
        #[arg(value_name = "HOST:PORT", value_parser = crate::address::parse_address)]
        which: Option<String>,
    },
}

#[derive(Args)]
#[command(args_override_self = true)]
pub struct Agent {
    /// Holds everything the agent keeps, sandboxes too; made when missing
    #[arg(long, value_name = "DIR")]
    work_dir: PathBuf,
    /// Name that people see [default: this machine's]
    #[arg(long)]
    hostname: Option<String>,
    /// What constraints can ask for, such as rack=a or zone=x,y
    #[arg(long, value_name = "NAME=VALUE,…", value_parser = attribute)]
    attribute: Vec<(String, Vec<String>)>,
    /// Cpus to give [default: all]
    #[arg(long, value_name = "NUMBER", value_parser = amount)]
    cpus: Option<u64>,
    /// Memory to give [default: all but a reserve]
    #[arg(long, value_name = "SIZE", value_parser = size)]
    memory: Option<u64>,
    /// Disk to give [default: what is free but a reserve]
    #[arg(long, value_name = "SIZE", value_parser = size)]
    disk: Option<u64>,
    /// Gpus to give [default: as many as have files]
    #[arg(long, value_name = "NUMBER", value_parser = parts::gpus)]
    gpus: Option<u64>,
    /// Device files of one gpu, from number 0 on; once for each gpu. A task can then open those of its own gpus alone
    #[arg(long, value_name = "FILE,…", value_parser = parts::files)]
    gpu_files: Vec<parts::Files>,
    /// Device files that every task with a gpu needs, such as /dev/nvidiactl
    #[arg(long, value_name = "FILE,…", value_parser = parts::files, default_value = "", hide_default_value = true)]
    gpu_common_files: parts::Files,
    /// Other things to give, such as licenses=2
    #[arg(long, value_name = "NAME=NUMBER", value_parser = parts::custom)]
    custom: Vec<(String, u64)>,
    /// Ports to give
    #[arg(long, default_value = "31000-32000", value_name = "FIRST-LAST,…", value_parser = port_ranges)]
    ports: PortRanges,
    /// Run tasks without cgroups where none can be made: no limits and no sure kill
    #[arg(long)]
    unisolated: bool,
    /// The agent's own cgroup; agents of one machine need different ones
    #[arg(long, default_value = "dawn", value_name = "NAME")]
    cgroup_parent: String,
    /// Run every task as the agent's own user
    #[arg(long)]
    run_as_self: bool,
    /// Ended tasks' directories go when they are older
    #[arg(long, default_value = "24h", value_name = "DURATION", value_parser = duration)]
    sandbox_keep: Duration,
    /// Ended tasks' directories together; the oldest go first
    #[arg(long, default_value = "10GiB", value_name = "SIZE", value_parser = size)]
    sandbox_keep_size: u64,
    /// Unpacked images together; those no task uses go, the longest unused first
    #[arg(long, default_value = "20GiB", value_name = "SIZE", value_parser = size)]
    image_keep_size: u64,
    #[command(flatten)]
    artifacts: artifacts::Artifacts,
    /// Serve Prometheus metrics at /metrics there, and whether it works and is ready at /livez and /readyz
    /// [default: nowhere]
    #[arg(long, value_name = "ADDRESS:PORT", value_parser = crate::address::parse_own_address)]
    metrics_listen: Option<SocketAddr>,
    /// When asked to stop, first offer nothing more and end the tasks by their lifecycle, within this time [default: they run on]
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    drain_on_stop: Option<Duration>,
    /// Put the agent into a cgroup of its own with this limit, which its executors share (about half a MiB each) and which
    /// is kept back from tasks [default: none]
    #[arg(long, default_value = "0", value_name = "SIZE", value_parser = size, hide_default_value = true)]
    own_memory: u64,
    /// Lasting id, at the first start [default: made by chance]
    #[arg(long, value_name = "ID")]
    agent_id: Option<String>,
    #[command(flatten)]
    log: Log,
}

/// Inclusive; a type of its own, because clap takes a plain Vec for a flag that is repeated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortRanges(Vec<(u16, u16)>);

#[derive(Args)]
struct Log {
    /// What is logged to standard error, such as info or dawn_agent=debug,info [default: DAWN_LOG of the environment, or info]
    #[arg(long = "log", value_name = "FILTER")]
    filter: Option<String>,
    /// Log one JSON object a line
    #[arg(long)]
    log_json: bool,
}

impl Log {
    fn start(&self) -> Result<(), Failure> {
        let of_environment = || std::env::var("DAWN_LOG").ok().filter(|filter| !filter.trim().is_empty());
        let filter = self.filter.clone().or_else(of_environment).unwrap_or_else(|| "info".to_string());
        let wrong = |error| Failure::new(Exit::Usage, format!("--log {filter:?}: {error}"));
        let filter = EnvFilter::try_new(&filter).map_err(wrong)?;
        let colours = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
            && std::io::IsTerminal::is_terminal(&std::io::stderr());
        let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(colours);
        if self.log_json {
            log.json().init()
        } else {
            log.init()
        }
        Ok(())
    }
}

/// Runs the executor of a plan. Before everything else of the program: there is one for each task, so it stays small.
pub fn executor(plan: &Path) -> ExitCode {
    dawn_executor::run(plan)
}

/// Runs executors as the agent tells it, forked from this one process.
pub fn zygote(named: &str) -> ExitCode {
    dawn_executor::zygote(named)
}

/// Runs a command inside a task, for the agent.
pub fn enter(arguments: &[OsString]) -> ExitCode {
    dawn_executor::enter(arguments)
}

pub fn scheduler(args: Scheduler) -> Result<Exit, Failure> {
    args.log.start()?;
    let milliseconds = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let (heartbeat, lease) = (milliseconds(args.heartbeat_interval), milliseconds(args.agent_lease));
    if heartbeat == 0 || heartbeat.saturating_mul(2) > lease {
        let [every, kept] = [heartbeat, lease].map(dawn_proto::amounts::duration);
        let message = format!("a heartbeat each {every} can't keep a lease of {kept}: one may be lost");
        return Err(Failure::new(Exit::Usage, message).hint("let --agent-lease be at least twice --heartbeat-interval"));
    }
    if args.etcd.is_given() && args.advertise.is_none() && args.listen.ip().is_unspecified() {
        let message = format!("nobody can be told to connect to {}", args.listen);
        return Err(Failure::new(Exit::Usage, message).hint("give --advertise HOST:PORT, or --listen one address"));
    }
    let witness_dir = args.data_dir.clone().filter(|_| args.etcd.is_given());
    let mut config = dawn_scheduler::run::Config::new(args.listen, args.data_dir.unwrap_or_default());
    config.witness_dir = witness_dir;
    config.metrics_listen = args.metrics_listen;
    config.coordinators = dawn_scheduler::model::Allowed::only(args.coordinator_allow);
    config.etcd = args.etcd.config()?;
    config.advertise = args.advertise;
    config.settings.heartbeat_interval_ms = heartbeat;
    config.settings.agent_lease_ms = lease;
    config.settings.down_after_ms = lease.saturating_mul(DOWN_AFTER_LEASES);
    let vitals = config.vitals.clone();
    panics::log_and_count({
        let vitals = vitals.clone();
        move || vitals.panicked()
    });
    let look = move || {
        let health = vitals.health();
        Report { started: health.waits_for.is_none(), lives: health.wedged.is_none(), status: health.doing }
    };
    // The unit's time to stop is enough.
    let stop_within = None;
    serve("scheduler", look, stop_within, async |shutdown| match dawn_scheduler::run::run(config, shutdown).await {
        Err(error) if error.is_deposed() => {
            tracing::warn!("{error}. It ends, to be started again as a follower");
            Ok(Exit::Deposed)
        }
        ended => ended.map(|()| Exit::Done),
    })
}

pub fn agent(args: Agent, schedulers: Vec<String>) -> Result<Exit, Failure> {
    args.log.start()?;
    let stop_within = args.drain_on_stop.map(|drain| drain.saturating_add(STOP_AFTER_DRAIN));
    let config = agent_config(args, schedulers)?;
    let vitals = config.vitals.clone();
    panics::log_and_count({
        let vitals = vitals.clone();
        move || vitals.panicked()
    });
    let look = move || {
        let health = vitals.health();
        let status = health.waits_for.map_or("looks after its tasks".into(), |what| format!("waits: {what}"));
        Report { started: health.started, lives: health.wedged.is_none(), status }
    };
    serve("agent", look, stop_within, async |shutdown| dawn_agent::run(config, shutdown).await.map(|()| Exit::Done))
}

/// What an agent's command line says.
pub fn agent_config(args: Agent, schedulers: Vec<String>) -> Result<dawn_agent::Config, Failure> {
    let hostname = match args.hostname {
        Some(hostname) => hostname,
        None => nix::unistd::gethostname()
            .map(|name| name.to_string_lossy().into_owned())
            .map_err(|error| Failure::new(Exit::Failed, format!("asking for this machine's name: {error}")))?,
    };
    let program = std::env::current_exe()
        .map_err(|error| Failure::new(Exit::Failed, format!("finding this program's own file: {error}")))?;
    let executor: Vec<OsString> = vec![program.into(), "executor".into()];
    let work_dir = std::path::absolute(&args.work_dir)
        .map_err(|error| Failure::new(Exit::Usage, format!("--work-dir {}: {error}", args.work_dir.display())))?;
    let mut config = dawn_agent::Config::new(schedulers, work_dir, hostname, executor);
    config.zygote = true;
    config.attributes = args.attribute;
    config.cpu_milli = args.cpus;
    config.memory_bytes = args.memory;
    config.disk_bytes = args.disk;
    config.gpu_milli = args.gpus;
    config.gpu_files = args.gpu_files.into_iter().map(|files| files.0).collect();
    config.gpu_common_files = args.gpu_common_files.0;
    config.custom = args.custom.into_iter().collect();
    config.ports = args.ports.0;
    config.isolated = !args.unisolated;
    config.cgroup_parent = args.cgroup_parent;
    config.run_as_self = args.run_as_self;
    config.sandbox_keep_ms = u64::try_from(args.sandbox_keep.as_millis()).unwrap_or(u64::MAX);
    config.sandbox_keep_bytes = args.sandbox_keep_size;
    config.image_keep_bytes = args.image_keep_size;
    config.metrics_listen = args.metrics_listen;
    config.drain_on_stop_ms = args.drain_on_stop.map(|within| u64::try_from(within.as_millis()).unwrap_or(u64::MAX));
    config.own_memory_bytes = args.own_memory;
    args.artifacts.tell(&mut config);
    config.agent_id = args.agent_id;
    Ok(config)
}

/// Runs a daemon until it ends or SIGTERM or SIGINT comes; systemd is told how it does, and how long it takes to stop if that
/// may be longer than a unit says.
fn serve<E>(
    name: &str,
    look: impl Fn() -> Report + Send + 'static,
    stop_within: Option<Duration>,
    run: impl AsyncFnOnce(Shutdown) -> Result<Exit, E>,
) -> Result<Exit, Failure>
where
    E: std::error::Error,
{
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::new(Exit::Failed, format!("starting the runtime: {error}")))?;
    let notify = Notify::from_environment();
    if let Some(notify) = notify.clone() {
        let watched = notify.watch(look);
        watched.map_err(|error| Failure::new(Exit::Failed, format!("starting a thread: {error}")))?;
    }
    let stopping = notify.clone();
    let done = runtime.block_on(async {
        let failed = |error: std::io::Error| Failure::new(Exit::Failed, format!("listening for signals: {error}"));
        let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
        let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
        let shutdown: Shutdown = Box::pin(async move {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            tracing::info!("asked to stop");
            stopping.inspect(|notify| notify.stopping("asked to stop", stop_within));
        });
        let ran = run(shutdown).await;
        ran.map_err(|error| Failure::new(Exit::Failed, format!("{name}: {}", chain(&error))))
    });
    // Work on a thread of its own that doesn't end must not keep the process.
    runtime.shutdown_timeout(Duration::from_secs(1));
    if let Some(notify) = notify {
        notify.stopping(&done.as_ref().err().map_or("ended".into(), ToString::to_string), None);
    }
    done
}

type Shutdown = std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        agent: Agent,
    }

    #[test]
    fn an_agent_keeps_as_much_by_its_flags_defaults_as_by_its_own() {
        let agent = Line::try_parse_from(["agent", "--work-dir", "/w"]).unwrap_or_else(|error| panic!("{error}")).agent;
        let by_flags = agent_config(agent, Vec::new()).unwrap_or_else(|error| panic!("{error:?}"));
        let own = dawn_agent::Config::new(Vec::new(), "/w".into(), String::new(), Vec::new());
        let kept = |config: &dawn_agent::Config| {
            [config.sandbox_keep_ms, config.sandbox_keep_bytes, config.image_keep_bytes, config.artifact_cache_bytes]
        };
        assert_eq!(kept(&by_flags), kept(&own));
    }
}
