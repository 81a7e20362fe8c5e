//! The whole scheduler: clients submit, it places, journals and launches over gRPC, simulated agents report back. Then agents
//! fall silent, a client lists everything while others submit, and at last the leader is killed.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::Context;
use dawn_proto::v1::{self, NodeState};
use dawn_scheduler::etcd;
use dawn_tests::bench::Figure;
use dawn_tests::cluster::{Daemon, PortBlock};
use tonic::transport::Endpoint;

use crate::agents::{Counts, Fleet};
use crate::homes::{Etcd, members_of};
use crate::memory::{cpu_s, mib, resident};
use crate::mix::{Mix, job};
use crate::options::Options;
use crate::process;

/// Clients that submit at the same time: their waiting must not be what is measured.
const CLIENTS: usize = 64;
/// Agents that fall silent.
const SILENT: u64 = 20;

pub type Client = dawn_proto::Clients;

pub async fn run(options: &Options, takeover: bool) -> anyhow::Result<()> {
    let folder = tempfile::tempdir().context("a folder for the run")?;
    let home = if takeover && options.home() == "embedded" { "etcd" } else { options.home() };
    let etcd = match members_of(home)? {
        Some(members) => Some(Etcd::start(members, folder.path(), options.lease_ms).await?),
        None => None,
    };
    let ports = PortBlock::reserve();
    let count = if takeover { 2 } else { 1 };
    let addresses: Vec<SocketAddr> =
        (0..count).map(|at| SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), ports.first() + at)).collect();
    let mut schedulers = Vec::new();
    for address in &addresses {
        schedulers.push(process::start(*address, folder.path(), etcd.as_ref().map(|etcd| &etcd.config), options)?);
        if schedulers.len() == 1 {
            // The one that leads.
            leader(&[*address]).await?;
        }
    }
    let mut bench = Bench { options, addresses, schedulers, etcd, mix: Mix::new(options.agents, options.tasks) };
    println!("{} agents, {} tasks of the mix, journal {home}", options.agents, options.tasks);
    println!("| what | measured |\n| --- | --- |");
    let fleet = bench.gather().await?;
    bench.fill(&fleet).await?;
    bench.silence(&fleet).await?;
    bench.list().await?;
    if takeover {
        bench.takeover(&fleet).await?;
    }
    for daemon in &bench.schedulers {
        daemon.kill_9();
    }
    Ok(())
}

pub fn row(what: &str, measured: impl std::fmt::Display) {
    println!("| {what} | {measured} |");
}

pub fn pid(daemon: &Daemon) -> u32 {
    daemon.pid().and_then(|pid| u32::try_from(pid).ok()).unwrap_or(0)
}

pub fn client(address: SocketAddr) -> anyhow::Result<Client> {
    let endpoint = Endpoint::from_shared(format!("http://{address}"))?.tcp_nodelay(true);
    Ok(Client::new(endpoint.connect_lazy()))
}

/// Waits for one that takes commands.
pub async fn leader(addresses: &[SocketAddr]) -> anyhow::Result<SocketAddr> {
    let deadline = Instant::now() + Duration::from_secs(120);
    while Instant::now() < deadline {
        for address in addresses {
            let info = client(*address)?.admin().get_server_info(v1::GetServerInfoRequest::default()).await;
            if info.is_ok_and(|info| info.get_ref().leader) {
                return Ok(*address);
            }
        }
        tokio::time::sleep(Duration::from_millis(20)).await; // poll
    }
    anyhow::bail!("no scheduler leads within 120 s")
}

struct Bench<'a> {
    options: &'a Options,
    addresses: Vec<SocketAddr>,
    /// The leader first.
    schedulers: Vec<Daemon>,
    etcd: Option<Etcd>,
    mix: Mix,
}

impl Bench<'_> {
    fn residents(&self) -> Vec<u64> {
        self.schedulers.iter().map(|daemon| resident(pid(daemon))).collect()
    }

    fn grown(&self, what: &str, before: &[u64], by: u32) {
        for (at, (before, now)) in before.iter().zip(self.residents()).enumerate() {
            let who = if at == 0 { "leader" } else { "standby" };
            let grown = now.saturating_sub(*before);
            row(&format!("{who}, resident, {what}"), format!("{} bytes ({})", grown / u64::from(by.max(1)), mib(now)));
        }
    }

    /// Agents register for the first time.
    async fn gather(&mut self) -> anyhow::Result<Fleet> {
        let (before, begun) = (self.residents(), Instant::now());
        let addresses: Vec<String> = self.addresses.iter().map(SocketAddr::to_string).collect();
        let fleet = Fleet::start(self.options, &mut self.mix, &addresses)?;
        self.until("agents register", || Counts::get(&fleet.counts.registered) >= u64::from(self.options.agents))
            .await?;
        row("all agents registered for the first time", format!("{:.1} s", begun.elapsed().as_secs_f64()));
        tokio::time::sleep(Duration::from_secs(2)).await; // poll
        self.grown("by agent", &before, self.options.agents);
        Ok(fleet)
    }

    async fn until(&self, what: &str, done: impl Fn() -> bool) -> anyhow::Result<()> {
        let deadline = Instant::now() + Duration::from_secs(1200);
        while !done() {
            for daemon in &self.schedulers {
                anyhow::ensure!(daemon.is_alive(), "{what}: {}", daemon.last_words());
            }
            anyhow::ensure!(Instant::now() < deadline, "{what}: not within 20 minutes");
            tokio::time::sleep(Duration::from_millis(5)).await; // poll
        }
        Ok(())
    }

    async fn fill(&mut self, fleet: &Fleet) -> anyhow::Result<()> {
        let (mut jobs, mut asked) = (vec![Vec::new(); CLIENTS], 0);
        while asked < self.options.tasks {
            let job = self.mix.job(self.options.tasks - asked);
            asked += job.instances;
            let shortest = (0..CLIENTS).min_by_key(|at| jobs[*at].len()).unwrap_or(0);
            jobs[shortest].push(job);
        }
        let (before, begun) = (self.residents(), Instant::now());
        let leader = pid(&self.schedulers[0]);
        let cpu = cpu_s(leader);
        for jobs in jobs {
            tokio::spawn(submit(client(self.addresses[0])?, jobs));
        }
        let (counts, wanted) = (&fleet.counts, u64::from(self.options.tasks));
        self.until("launches", || Counts::get(&counts.launches) >= wanted).await?;
        let launched = begun.elapsed().as_secs_f64();
        self.until("reports", || Counts::get(&counts.running) >= wanted).await?;
        let took = begun.elapsed().as_secs_f64();
        row("placed, durable and launched", format!("{:.0}/s", wanted as f64 / launched));
        row(
            "the same with STARTING and RUNNING back, durable and acknowledged",
            format!("{:.0}/s", wanted as f64 / took),
        );
        row("cpu time of the leader by task", format!("{:.1} us", (cpu_s(leader) - cpu) * 1e6 / wanted as f64));
        tokio::time::sleep(Duration::from_secs(2)).await; // poll
        self.grown("by task", &before, self.options.tasks);
        Ok(())
    }

    /// From an agent's last word to its being UNREACHABLE.
    async fn silence(&self, fleet: &Fleet) -> anyhow::Result<()> {
        let silent = SILENT.min(u64::from(self.options.agents) / 10).max(1);
        fleet.silent.set(silent);
        let begun = Instant::now();
        let client = client(self.addresses[0])?;
        let (mut waiting, mut times): (Vec<u64>, _) = ((0..silent).collect(), Vec::new());
        while !waiting.is_empty() && begun.elapsed() < Duration::from_secs(60) {
            for number in waiting.clone() {
                let node =
                    client.nodes().get_node(v1::GetNodeRequest { agent_id: format!("n{number}") }).await?.into_inner();
                if node.node.is_some_and(|node| node.state() != NodeState::Up) {
                    times.push(begun.elapsed());
                    waiting.retain(|one| *one != number);
                }
            }
            tokio::time::sleep(Duration::from_millis(20)).await; // poll
        }
        let figure = Figure::latencies(format!("{silent} agents fell silent: noticed after"), times);
        row(&figure.what, figure.value);
        fleet.silent.clear();
        Ok(())
    }

    /// Submissions one after the other, without and with a client that lists everything all the time.
    async fn list(&self) -> anyhow::Result<()> {
        for listing in [false, true] {
            let lister = listing.then(|| tokio::spawn(list_all(client(self.addresses[0]))));
            let (client, begun, mut times) = (client(self.addresses[0])?, Instant::now(), Vec::new());
            while begun.elapsed() < Duration::from_secs(self.options.seconds) {
                let name = format!("one{}-{listing}", times.len());
                let (spec, sent) = (Some(job("probe", &name, 1)), Instant::now());
                client.jobs().submit_job(v1::SubmitJobRequest { spec, ..Default::default() }).await?;
                times.push(sent.elapsed());
                tokio::time::sleep(Duration::from_millis(5)).await; // poll
            }
            let listed = match lister {
                Some(lister) => {
                    lister.abort();
                    " while a client lists all tasks"
                }
                None => "",
            };
            let figure = Figure::latencies(format!("a submission decided, durable and answered{listed}"), times);
            row(&figure.what, figure.value);
        }
        Ok(())
    }

    async fn takeover(&mut self, fleet: &Fleet) -> anyhow::Result<()> {
        let etcd = self.etcd.as_ref().context("a takeover needs etcd")?;
        let dead = self.addresses.remove(0).to_string();
        let counts = fleet.counts.clone();
        let epoch = Counts::get(&counts.epoch);
        counts.asked_for_list.store(0, Ordering::SeqCst);
        self.schedulers.remove(0).kill_9();
        let killed = Instant::now();
        tokio::spawn(submit(client(self.addresses[0])?, vec![job("probe", "after", 100)]));
        // Where everything comes back at once, etcd may be too busy to say.
        while etcd::leader(&etcd.store).await.map_or(true, |leader| leader.is_some_and(|leader| leader == dead)) {
            tokio::time::sleep(Duration::from_millis(10)).await; // poll
        }
        let lost = Instant::now();
        row("leader killed: its lease was over after", format!("{:.2} s", (lost - killed).as_secs_f64()));
        let first = || *counts.first_launch.lock().expect("no agent panicked");
        let is_new = || Counts::get(&counts.epoch) > epoch;
        self.until("the first registration", is_new).await?;
        row("lease over to the first registration", format!("{:.2} s", lost.elapsed().as_secs_f64()));
        self.until("the first launch", || is_new() && first().is_some()).await?;
        let placed = first().map_or(lost.elapsed(), |first| first - lost);
        row("lease over to the first new placement, launched", format!("{:.2} s", placed.as_secs_f64()));
        let all = u64::from(self.options.agents);
        self.until("all agents come back", || Counts::get(&counts.registered) >= all).await?;
        row("lease over to all agents back", format!("{:.2} s", lost.elapsed().as_secs_f64()));
        row("of these, asked for their whole list", Counts::get(&counts.asked_for_list));
        row("new leader, resident", mib(self.residents()[0]));
        Ok(())
    }
}

async fn list_all(client: anyhow::Result<Client>) {
    let Ok(client) = client else { return };
    let mut page_token = String::new();
    loop {
        let request = v1::ListTasksRequest { page_token, page_size: 10_000, ..Default::default() };
        match client.tasks().list_tasks(request).await {
            Ok(page) => page_token = page.into_inner().next_page_token,
            Err(_) => return,
        }
    }
}

async fn submit(client: Client, jobs: Vec<v1::JobSpec>) {
    for spec in jobs {
        let request = v1::SubmitJobRequest { spec: Some(spec), ..Default::default() };
        let deadline = Instant::now() + Duration::from_secs(120);
        while let Err(status) = client.jobs().submit_job(request.clone()).await {
            if Instant::now() > deadline {
                eprintln!("a submission was refused: {status}");
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await; // poll
        }
    }
}
