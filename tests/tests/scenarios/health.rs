//! Health of real processes: what systemd is told through its socket, and what /livez and /readyz answer.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::{Duration, Instant};

use dawn_tests::cluster::{Cluster, Daemon, Patience, Plan, service};

use super::agents::{free_port, get};

/// As systemd's, for one daemon.
struct Systemd {
    socket: UnixDatagram,
}

impl Systemd {
    /// From its next start on the daemon tells it, and is watched.
    fn of(daemon: &Daemon) -> Systemd {
        let name = format!("dawn-systemd-{}-{}", std::process::id(), daemon.name);
        let address = SocketAddr::from_abstract_name(&name).expect("a short name");
        let socket = UnixDatagram::bind_addr(&address).expect("nobody else has the name");
        socket.set_read_timeout(Some(Duration::from_millis(100))).expect("it can be set");
        daemon.set_env("NOTIFY_SOCKET", &format!("@{name}"));
        daemon.set_env("WATCHDOG_USEC", "2000000");
        Systemd { socket }
    }

    /// The next message.
    fn next(&self, patience: Duration) -> Option<String> {
        let deadline = Instant::now() + patience;
        let mut buffer = [0; 4096];
        loop {
            match self.socket.recv(&mut buffer) {
                Ok(length) => return Some(String::from_utf8_lossy(&buffer[..length]).trim().to_string()),
                Err(_) if Instant::now() < deadline => {}
                Err(_) => return None,
            }
        }
    }

    /// Hears until this is said, and answers what was said before it.
    fn until(&self, wanted: &str) -> Vec<String> {
        let mut before = Vec::new();
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            match self.next(deadline.saturating_duration_since(Instant::now())) {
                Some(said) if said.contains(wanted) => return before,
                // The watchdog is told for ever.
                Some(said) if Instant::now() < deadline => before.push(said),
                _ => panic!("{wanted:?} is not said, but {before:?}"),
            }
        }
    }
}

fn answers(cluster: &Cluster, port: u16, path: &str, status: &str, words: &str) {
    cluster.eventually(&format!("{path} answers {status}"), Patience::STEP, || {
        let page = get(port, path)?;
        let as_wanted = page.starts_with(&format!("HTTP/1.1 {status}")) && page.contains(words);
        as_wanted.then_some(()).ok_or(page)
    });
}

#[test]
fn systemd_and_probes_are_told_how_scheduler_and_agent_do() {
    let ports = [free_port(), free_port()];
    let listen = ports.map(|port| ["--metrics-listen".to_string(), format!("127.0.0.1:{port}")]);
    let [_, agent_port] = ports;
    let mut plan = Plan::of(1).agent_lease("2s");
    plan.scheduler_extra.extend(listen[0].clone());
    plan.agents[0].extra.extend(listen[1].clone());
    let Some(cluster) = Cluster::start(plan) else { return };
    // Without a socket nothing is told, and all goes as ever.
    let job = cluster.submit(service("web"));
    cluster.running(&job, 1);
    let (scheduler, agent) = (&cluster.scheduler, &cluster.agents[0]);
    scheduler.terminate();
    agent.terminate();

    let told = Systemd::of(agent);
    agent.start();
    // It looks after its tasks whether a scheduler is there or not.
    told.until("READY=1");
    told.until("STATUS=waits: no scheduler has registered it");
    answers(&cluster, agent_port, "/livez", "200", "ok");
    answers(&cluster, agent_port, "/readyz", "503", "no scheduler has registered it");

    let of_scheduler = Systemd::of(scheduler);
    scheduler.start();
    let before = of_scheduler.until("READY=1");
    assert!(before.iter().all(|said| said.starts_with("STATUS=waits: ") || said == "WATCHDOG=1"), "{before:?}");
    of_scheduler.until("STATUS=leads");
    told.until("STATUS=looks after its tasks");
    for port in ports {
        answers(&cluster, port, "/livez", "200", "ok");
        answers(&cluster, port, "/readyz", "200", "ok");
    }
    for (systemd, daemon) in [(&told, agent), (&of_scheduler, scheduler)] {
        for _ in 0..3 {
            systemd.until("WATCHDOG=1");
        }
        let pid = daemon.pid();
        daemon.pause();
        // What was said before it stood still.
        while systemd.next(Duration::from_secs(1)).is_some() {}
        assert_eq!(systemd.next(Duration::from_secs(2)), None, "it says that it lives while it stands still");
        daemon.resume();
        systemd.until("WATCHDOG=1");
        assert_eq!(daemon.pid(), pid);
    }
    // Only an agent that has found its scheduler again says that it lost it.
    answers(&cluster, agent_port, "/readyz", "200", "ok");
    scheduler.terminate();
    of_scheduler.until("STOPPING=1");
    told.until("STATUS=waits: no scheduler has registered it");
    agent.terminate();
    told.until("STOPPING=1");
    agent.start();
    scheduler.start();
    cluster.scheduler_answers();
    cluster.agents_are_up(1);
    cluster.end();
}
