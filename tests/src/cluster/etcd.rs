//! The members of an etcd as daemons.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use super::Daemon;

/// Where one member listens.
#[derive(Clone, Copy, Debug)]
pub struct Member {
    pub address: IpAddr,
    pub client_port: u16,
    pub peer_port: u16,
}

impl Member {
    pub fn url(&self) -> String {
        format!("http://{}", SocketAddr::new(self.address, self.client_port))
    }

    fn peer_url(&self) -> String {
        format!("http://{}", SocketAddr::new(self.address, self.peer_port))
    }
}

/// One daemon a member with these flags too, not started; data and logs below `folder`.
pub fn members(members: &[Member], extra: &[String], folder: &Path) -> Vec<Daemon> {
    let name = |number: usize| format!("etcd{number}");
    let peers = members.iter().enumerate().map(|(number, one)| format!("{}={}", name(number), one.peer_url()));
    let peers = peers.collect::<Vec<_>>().join(",");
    let daemon = |(number, one): (usize, &Member)| {
        let (name, url, peer_url) = (name(number), one.url(), one.peer_url());
        let data = folder.join(&name).to_string_lossy().into_owned();
        let flags = [
            ("name", &name),
            ("data-dir", &data),
            ("listen-client-urls", &url),
            ("advertise-client-urls", &url),
            ("listen-peer-urls", &peer_url),
            ("initial-advertise-peer-urls", &peer_url),
            ("initial-cluster", &peers),
        ];
        let mut args: Vec<String> =
            flags.iter().flat_map(|(flag, value)| [format!("--{flag}"), value.to_string()]).collect();
        args.extend(
            ["--log-level", "warn", "--heartbeat-interval", "100", "--election-timeout", "1000"].map(String::from),
        );
        args.extend_from_slice(extra);
        Daemon::new(&name, Path::new("etcd"), args, folder)
    };
    members.iter().enumerate().map(daemon).collect()
}

/// Whether `etcd` is installed.
pub fn is_installed() -> bool {
    let version = std::process::Command::new("etcd").arg("--version").stdout(std::process::Stdio::null()).status();
    version.is_ok_and(|status| status.success())
}
