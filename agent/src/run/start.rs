//! What an agent finds out before it starts: its settings, the machine, the tasks an earlier life left.

use std::time::Duration;

use dawn_proto::{AgentId, v1};
use tracing::{info, warn};

use super::{AgentError, DEFAULT_MAX_PIDS};
use crate::config::Config;
use crate::edges::artifacts::{self, Fetcher};
use crate::edges::cgroup::{CgroupError, Mounts, OwnGroup, Tree};
use crate::edges::checkpoint::{self, Tasks};
use crate::edges::{discover, executors, sandbox};
use crate::model::{Gpus, Keep, OfferState, PortRange, Recovered, Setup};

/// Refuses settings that can't work.
pub(super) fn check(config: &Config) -> Result<(), AgentError> {
    let wrong = |text: String| Err(AgentError::Config(text));
    if config.schedulers.is_empty() {
        return wrong("no scheduler is named; give --scheduler host:port[,host:port…]".into());
    }
    if let Some(bad) = config.schedulers.iter().find(|address| !is_address(address)) {
        return wrong(format!("{bad:?} is no scheduler's address; write host:port"));
    }
    if config.executor.is_empty() {
        return wrong("no executor command is named".into());
    }
    if let Some((first, last)) = config.ports.iter().find(|(first, last)| *first == 0 || first > last) {
        return wrong(format!("{first}-{last} is no port range; write first-last with first <= last, from 1 on"));
    }
    let said = v1::Register { hostname: config.hostname.clone(), offer: Some(offered(config)), ..Default::default() };
    if let Err(error) = dawn_proto::validate::registration(&said) {
        return wrong(format!("no scheduler would take this agent: {error}"));
    }
    let (gpus, with_files) = (config.offered_gpu_milli() / 1_000, config.gpu_files.len() as u64);
    if with_files > 0 && with_files != gpus {
        return wrong(format!("{gpus} gpus and the files of {with_files}; give --gpu-files once for each gpu"));
    }
    if with_files == 0 && !config.gpu_common_files.is_empty() {
        return wrong("--gpu-common-files say nothing without --gpu-files; give these once for each gpu".into());
    }
    if !config.work_dir.is_absolute() {
        return wrong(format!("the work directory {} is not absolute", config.work_dir.display()));
    }
    Ok(())
}

/// What of the offer the settings say.
fn offered(config: &Config) -> v1::Offer {
    let attribute = |(name, values)| v1::Attribute { name, values };
    let port = |(first, last): &(u16, u16)| v1::PortRange { first: (*first).into(), last: (*last).into() };
    let total = v1::Resources {
        custom_milli: config.custom.iter().map(|(name, amount)| (name.clone(), *amount)).collect(),
        ..Default::default()
    };
    v1::Offer {
        total: Some(total),
        attributes: config.offered_attributes().into_iter().map(attribute).collect(),
        ports: config.ports.iter().map(port).collect(),
        ..Default::default()
    }
}

fn is_address(address: &str) -> bool {
    address
        .rsplit_once(':')
        .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0))
}

/// The parents of the tasks' cgroups; None: unisolated, which was allowed.
pub(super) fn cgroups(config: &Config) -> Result<Option<Tree>, AgentError> {
    if !config.isolated {
        warn!("tasks run unisolated: no cgroup, no limits");
        return Ok(None);
    }
    let mounts = Mounts::detect().map_err(|error| AgentError::Cgroup(CgroupError::Mounts(error)))?;
    let mut tree = Tree::create(&mounts, &config.cgroup_parent, &config.work_dir).map_err(AgentError::Cgroup)?;
    if !config.gpu_files.is_empty() {
        tree.keep_gpus_apart(&gpus(config, true)).map_err(AgentError::Gpus)?;
    }
    Ok(Some(tree))
}

/// What is known of the machine's gpus.
pub(super) fn gpus(config: &Config, isolated: bool) -> Gpus {
    Gpus {
        offered_milli: config.offered_gpu_milli(),
        files: config.gpu_files.clone(),
        common_files: config.gpu_common_files.clone(),
        are_kept_apart: isolated && !config.gpu_files.is_empty(),
    }
}

/// Moves the agent into a group of its own, if it is to have one. It leaves it when what is returned is dropped.
pub(super) fn enter_own_group(config: &Config, tree: Option<&Tree>) -> Result<Option<OwnGroup>, AgentError> {
    match tree.filter(|_| config.own_memory_bytes > 0) {
        Some(tree) => OwnGroup::enter(tree, config.own_memory_bytes).map(Some).map_err(AgentError::OwnGroup),
        None if config.own_memory_bytes > 0 => {
            Err(AgentError::Config("an agent that makes no cgroups has none of its own; leave --own-memory out".into()))
        }
        None => Ok(None),
    }
}

/// Whoever fetches artifacts, with the cache an earlier life left.
pub(super) fn fetcher(config: &Config) -> Fetcher {
    let path = config.work_dir.join("artifacts");
    if path.symlink_metadata().is_ok_and(|found| !found.is_dir()) {
        checkpoint::set_aside(&path, "it is no directory");
    }
    let settings = artifacts::Settings {
        cache_bytes: config.artifact_cache_bytes,
        stall: Duration::from_millis(config.artifact_stall_ms.max(1)),
        peers: config.artifact_peers.clone(),
        roots: artifacts::Roots(config.artifact_roots.clone()),
    };
    Fetcher::open(&path, settings)
}

pub(super) fn setup(config: &Config, tree: Option<&Tree>, agent_id: AgentId) -> Result<Setup, AgentError> {
    let machine = discover::machine(&config.work_dir, config.own_memory_bytes)?;
    let total = config.offered(&machine);
    let attributes = config.offered_attributes();
    let ports = config.ports.iter().map(|(first, last)| PortRange { first: *first, last: *last }).collect();
    Ok(Setup {
        agent_id,
        hostname: config.hostname.clone(),
        isolation: isolation(tree),
        boot_id: discover::boot_id()?,
        offer: OfferState { epoch: 0, total, attributes, ports, ..OfferState::default() },
        default_max_pids: DEFAULT_MAX_PIDS,
        keep: Keep { age_ms: config.sandbox_keep_ms, total_bytes: config.sandbox_keep_bytes },
        adds_what_is_left: config.disk_bytes.is_none(),
    })
}

/// Whether the file system of the sandboxes keeps limits of disk by itself, which is written to the log.
pub(super) fn has_quotas(config: &Config) -> bool {
    let has_quotas = sandbox::quota::is_kept(&config.work_dir);
    let by = if has_quotas { "by the file system (quotas of projects)" } else { "by looking at what tasks take" };
    info!("limits of disk are kept {by}");
    has_quotas
}

/// What tasks are kept apart by, in words; what they lack is also written to the log.
fn isolation(tree: Option<&Tree>) -> String {
    let groups = tree.map_or("none", Tree::kind);
    match discover::namespaces() {
        Ok(()) => groups.to_string(),
        Err(error) => {
            warn!(%error, "tasks have no namespaces of their own: they see the node's processes and /tmp");
            if tree.is_some() { format!("{groups}, no namespaces") } else { groups.to_string() }
        }
    }
}

/// Every task of the work directory with its executor as it stands. Of another boot's tasks nothing can live.
pub(super) fn find_tasks(tasks: &Tasks, rebooted: bool) -> Vec<Recovered> {
    let found = tasks.scan(DEFAULT_MAX_PIDS).into_iter();
    let recovered = found.map(|found| {
        let executor = executors::probe(&found.dir, !rebooted && !found.released && found.verdict.is_none());
        Recovered {
            task: found.dir.task,
            record: found.record,
            checkpointed_at: found.checkpointed_at,
            executor: executor.probe,
            heard: executor.heard,
            last: executor.last,
            kill_begun: executor.kill_begun,
            processes: executor.processes,
            verdict: found.verdict,
            released: found.released,
        }
    });
    recovered.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_can_not_work_are_named() {
        let good = Config::new(vec!["localhost:5050".into()], "/var/lib/dawn".into(), "h".into(), vec!["dawn".into()]);
        check(&good).unwrap();
        let cases = [
            (Config { schedulers: vec![], ..good.clone() }, "--scheduler"),
            (Config { schedulers: vec!["localhost".into()], ..good.clone() }, "host:port"),
            (Config { executor: vec![], ..good.clone() }, "executor"),
            (Config { ports: vec![(5, 4)], ..good.clone() }, "5-4"),
            (Config { ports: vec![(0, 4)], ..good.clone() }, "0-4"),
            (Config { gpu_milli: Some(2_000), gpu_files: vec![vec!["/dev/a".into()]], ..good.clone() }, "--gpu-files"),
            (Config { gpu_common_files: vec!["/dev/a".into()], ..good.clone() }, "--gpu-common-files"),
            (Config { work_dir: "relative".into(), ..good.clone() }, "relative"),
            (Config { hostname: "h".repeat(254), ..good.clone() }, "hostname: 254 bytes; at most 253"),
            (
                Config { attributes: vec![("rack".into(), vec!["v".repeat(257)])], ..good.clone() },
                "offer.attributes[0].values[0]: 257 bytes; at most 256",
            ),
        ];
        for (config, named) in cases {
            let text = check(&config).unwrap_err().to_string();
            assert!(text.contains(named), "{text:?} does not name {named:?}");
        }
    }
}
