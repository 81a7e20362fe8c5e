//! What clients that watch cost those who submit: jobs that don't change are watched by more and more clients, while others
//! are submitted one after the other.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use anyhow::Context;
use dawn_proto::v1;
use dawn_tests::bench::Figure;
use dawn_tests::cluster::PortBlock;
use tokio::task::JoinSet;
use tonic::Streaming;

use crate::homes::{Etcd, members_of};
use crate::memory::cpu_s;
use crate::mix::job;
use crate::options::Options;
use crate::process;
use crate::whole::{Client, client, leader, pid, row};

/// Jobs that are watched, each by as many as the others.
const JOBS: usize = 1_000;
const WATCHES: [usize; 4] = [0, 1_000, 10_000, 0];
const WATCHES_A_CONNECTION: usize = 100;

pub async fn run(options: &Options) -> anyhow::Result<()> {
    let folder = tempfile::tempdir().context("a folder for the run")?;
    let etcd = match members_of(options.home())? {
        Some(members) => Some(Etcd::start(members, folder.path(), options.lease_ms).await?),
        None => None,
    };
    let ports = PortBlock::reserve();
    let address = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), ports.first());
    let scheduler = process::start(address, folder.path(), etcd.as_ref().map(|etcd| &etcd.config), options)?;
    leader(&[address]).await?;
    let mut submitting = client(address)?;
    for number in 0..JOBS {
        submit(&mut submitting, &watched(number)).await?;
    }
    println!("{JOBS} jobs are watched, journal {}", options.home());
    println!("| what | measured |\n| --- | --- |");
    for (round, count) in WATCHES.into_iter().enumerate() {
        let watches = watch(address, count).await?;
        let (begun, cpu, mut times) = (Instant::now(), cpu_s(pid(&scheduler)), Vec::new());
        while begun.elapsed() < Duration::from_secs(options.seconds) {
            let sent = Instant::now();
            submit(&mut submitting, &format!("new{round}-{}", times.len())).await?;
            times.push(sent.elapsed());
        }
        let cpu_us = (cpu_s(pid(&scheduler)) - cpu) * 1e6 / times.len() as f64;
        let what = format!("{count} watches: submissions one after the other");
        let rate = Figure::rate(&what, times.len(), begun.elapsed());
        row(&rate.what, rate.value);
        let latencies = Figure::latencies(format!("{count} watches: a submission durable and answered"), times);
        row(&latencies.what, latencies.value);
        row(&format!("{count} watches: processor time of the scheduler, a submission"), format!("{cpu_us:.0} us"));
        drop(watches);
    }
    scheduler.kill_9();
    Ok(())
}

fn watched(number: usize) -> String {
    format!("watched{}", number % JOBS)
}

async fn submit(client: &mut Client, name: &str) -> anyhow::Result<()> {
    let spec = Some(job("probe", name, 1));
    client.jobs().submit_job(v1::SubmitJobRequest { spec, ..Default::default() }).await?;
    Ok(())
}

/// Clients that have been told how the job stands that they watch; all end when this is dropped.
async fn watch(address: SocketAddr, count: usize) -> anyhow::Result<JoinSet<()>> {
    let mut watches = JoinSet::new();
    let mut sharing = client(address)?;
    for number in 0..count {
        if number % WATCHES_A_CONNECTION == 0 {
            sharing = client(address)?;
        }
        let key = job("probe", &watched(number), 1).key;
        let request = v1::GetJobRequest { key, ..Default::default() };
        let answer = sharing.jobs().watch_job(request).await.with_context(|| format!("watch {number}"))?;
        let mut stream: Streaming<v1::JobStatus> = answer.into_inner();
        stream.message().await.with_context(|| format!("the first status of watch {number}"))?;
        watches.spawn(async move { while let Ok(Some(_)) = stream.message().await {} });
    }
    Ok(watches)
}
