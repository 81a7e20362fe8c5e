//! What an operator says about artifacts.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use crate::address::parse_address;
use crate::args::duration;
use crate::spec::size;

#[derive(Args)]
pub struct Artifacts {
    /// Artifacts kept together; the least lately used go first
    #[arg(long, default_value = "10GiB", value_name = "SIZE", value_parser = size)]
    artifact_cache: u64,
    /// A server that sends nothing for so long is given up
    #[arg(long, default_value = "30s", value_name = "DURATION", value_parser = duration)]
    artifact_stall: Duration,
    /// Agents that serve their caches, asked before an artifact's own server
    #[arg(long, value_name = "HOST:PORT,…", value_delimiter = ',', value_parser = parse_address)]
    artifact_peers: Vec<String>,
    /// Serve this agent's cache there, to whoever knows a file's checksum [default: nowhere]
    #[arg(long, value_name = "ADDRESS:PORT", value_parser = crate::address::parse_own_address)]
    artifact_listen: Option<SocketAddr>,
    /// Certificates that vouch for https servers, PEM [default: the system's]
    #[arg(long, value_name = "FILE")]
    artifact_ca: Option<PathBuf>,
}

impl Artifacts {
    pub fn tell(self, config: &mut dawn_agent::Config) {
        config.artifact_cache_bytes = self.artifact_cache;
        config.artifact_stall_ms = u64::try_from(self.artifact_stall.as_millis()).unwrap_or(u64::MAX).max(1);
        config.artifact_peers = self.artifact_peers;
        config.artifact_listen = self.artifact_listen;
        config.artifact_roots = self.artifact_ca;
    }
}
