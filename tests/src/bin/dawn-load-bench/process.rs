//! Schedulers in processes of their own: this program again, with `scheduler` and where it is to listen.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::Context;
use dawn_scheduler::etcd::EtcdConfig;
use dawn_scheduler::run::{self, Config};
use dawn_tests::cluster::Daemon;

use crate::options::Options;

static STARTED: AtomicU32 = AtomicU32::new(0);

/// Starts one; it dies with this thread.
pub fn start(
    address: SocketAddr,
    folder: &Path,
    etcd: Option<&EtcdConfig>,
    options: &Options,
) -> anyhow::Result<Daemon> {
    let number = STARTED.fetch_add(1, Ordering::Relaxed);
    let data_dir = folder.join(format!("data{number}"));
    let endpoints = etcd.map_or("-".to_string(), |etcd| etcd.endpoints.join(","));
    let args = [
        "scheduler".to_string(),
        address.to_string(),
        data_dir.display().to_string(),
        endpoints,
        options.lease_ms.to_string(),
        options.placements_per_step.to_string(),
    ];
    let program = match &options.program {
        Some(program) => program.clone(),
        None => std::env::current_exe().context("finding this program")?,
    };
    let daemon = Daemon::new(&format!("scheduler{number}"), &program, args.into(), folder);
    daemon.start();
    Ok(daemon)
}

/// Is one, until it is killed.
pub fn scheduler(args: &[String]) -> anyhow::Result<()> {
    let [address, data_dir, endpoints, lease_ms, per_step] = args else {
        anyhow::bail!("started by this program itself")
    };
    let address: SocketAddr = address.parse()?;
    let mut config = Config::new(address, PathBuf::from(data_dir));
    if endpoints != "-" {
        config.etcd = Some(EtcdConfig {
            endpoints: endpoints.split(',').map(String::from).collect(),
            prefix: "/dawn".into(),
            user: None,
            tls: None,
            lease_ms: lease_ms.parse()?,
        });
    }
    match per_step.parse()? {
        0 => {}
        placements => config.pulse.placements_per_step = placements,
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    Ok(runtime.block_on(run::run(config, std::future::pending()))?)
}
