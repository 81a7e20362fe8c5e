//! An etcd of one's own for the length of a run.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context;
use dawn_scheduler::etcd::{self, EtcdConfig, Store};
use dawn_tests::cluster::{Daemon, Member, PortBlock, members};

/// Dropping it ends its members.
pub struct Etcd {
    _members: Vec<Daemon>,
    _ports: PortBlock,
    pub config: EtcdConfig,
    pub store: Store,
}

impl Etcd {
    /// Starts so many members and waits until they answer. To be called on the main thread: they die with it.
    pub async fn start(count: u16, folder: &Path, lease_ms: u64) -> anyhow::Result<Etcd> {
        let version = std::process::Command::new("etcd").arg("--version").output();
        version.context("running etcd; install it (apt-get install etcd-server)")?;
        let ports = PortBlock::reserve();
        let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let port = |at: u16| ports.first() + at;
        let plan: Vec<Member> =
            (0..count).map(|at| Member { address, client_port: port(2 * at), peer_port: port(2 * at + 1) }).collect();
        let daemons = members(&plan, &[], folder);
        daemons.iter().for_each(Daemon::start);
        let endpoints = plan.iter().map(Member::url).collect();
        let config = EtcdConfig { endpoints, prefix: "/dawn".into(), user: None, tls: None, lease_ms };
        let deadline = Instant::now() + Duration::from_secs(60);
        let store = loop {
            let answered = match Store::connect(&config).await {
                Ok(store) => etcd::claim(&store, "bench", "").await.map(|_| store),
                Err(error) => Err(error),
            };
            match answered {
                Ok(store) => break store,
                Err(error) if Instant::now() > deadline => return Err(error).context("starting etcd"),
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await, // poll
            }
        };
        Ok(Etcd { _members: daemons, _ports: ports, config, store })
    }
}

/// Members of the home called so; None: no etcd.
pub fn members_of(home: &str) -> anyhow::Result<Option<u16>> {
    match home {
        "embedded" => Ok(None),
        "etcd" => Ok(Some(1)),
        "etcd3" => Ok(Some(3)),
        _ => anyhow::bail!("--home {home}: give embedded, etcd or etcd3"),
    }
}
