//! A real etcd on loopback for a test.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{EtcdConfig, MIN_LEASE_MS, Store};

/// A member of its own, ended with the value.
pub struct Etcd {
    child: Child,
    pub config: EtcdConfig,
    _dir: tempfile::TempDir,
}

impl Drop for Etcd {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

impl Etcd {
    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).unwrap();
        kill(Pid::from_raw(pid), signal).unwrap();
    }

    /// It hears and says nothing from now on.
    pub fn pause(&self) {
        self.signal(Signal::SIGSTOP);
    }

    pub fn kill(&self) {
        self.signal(Signal::SIGKILL);
    }

    pub fn resume(&self) {
        self.signal(Signal::SIGCONT);
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// None, said loudly, where no etcd is installed.
pub fn etcd() -> Option<Etcd> {
    etcd_with(&[])
}

pub fn etcd_with(flags: &[&str]) -> Option<Etcd> {
    etcd_over("http", flags)
}

/// `scheme` is what clients speak.
pub fn etcd_over(scheme: &str, flags: &[&str]) -> Option<Etcd> {
    if Command::new("etcd").arg("--version").stdout(Stdio::null()).status().is_err() {
        assert!(std::env::var_os("CI").is_none(), "no etcd on CI: the test command must install it");
        crate::skip::skip("no etcd in PATH; install etcd-server to test the journal in etcd");
        return None;
    }
    let dir = tempfile::tempdir().unwrap();
    let (client, peer) = (format!("{scheme}://127.0.0.1:{}", free_port()), format!("http://127.0.0.1:{}", free_port()));
    let child = Command::new("etcd")
        .args(["--data-dir", dir.path().join("etcd").to_str().unwrap(), "--log-level", "error"])
        .args(["--listen-client-urls", &client, "--advertise-client-urls", &client, "--listen-peer-urls", &peer])
        .args(["--initial-advertise-peer-urls", &peer, "--initial-cluster", &format!("default={peer}")])
        .args(flags)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let config =
        EtcdConfig { endpoints: vec![client], prefix: "dawn".into(), user: None, tls: None, lease_ms: MIN_LEASE_MS };
    Some(Etcd { child, config, _dir: dir })
}

/// Three members of one cluster; the configuration of each names all of them.
pub fn three() -> Option<Vec<Etcd>> {
    let peers: Vec<_> = (0..3).map(|_| format!("http://127.0.0.1:{}", free_port())).collect();
    let cluster: Vec<_> = peers.iter().enumerate().map(|(no, peer)| format!("m{no}={peer}")).collect();
    let cluster = cluster.join(",");
    let member = |(no, peer): (usize, &String)| {
        let name = format!("m{no}");
        let flags = ["--name", &name, "--initial-cluster", &cluster, "--listen-peer-urls", peer];
        etcd_with(&[&flags[..], &["--initial-advertise-peer-urls", peer]].concat())
    };
    let mut members: Vec<_> = peers.iter().enumerate().map(member).collect::<Option<_>>()?;
    let endpoints: Vec<_> = members.iter().flat_map(|member| member.config.endpoints.clone()).collect();
    members.iter_mut().for_each(|member| member.config.endpoints.clone_from(&endpoints));
    Some(members)
}

/// Connected, once it answers.
pub async fn store(config: &EtcdConfig) -> Store {
    let store = Store::connect(config).await.unwrap();
    answers(&store).await;
    store
}

/// Waits until etcd has a leader and answers.
pub async fn answers(store: &Store) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while let Err(error) = store.read("waiting for etcd", "/none").await {
        assert!(Instant::now() < deadline, "etcd does not come up: {error}");
        tokio::task::yield_now().await;
    }
}
