//! `dawn top`: the tasks that use most, asked of every node at once.

use std::collections::BTreeMap;
use std::time::Duration;

use clap::{Args, ValueEnum};
use dawn_proto::TaskId;
use dawn_proto::v1::reach_down::Message as Down;
use dawn_proto::v1::reach_open::What;
use dawn_proto::v1::{self, NodeState};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use super::node;
use super::select::Selection;
use super::task::{Screen, is_there, usage_json};
use super::until_timeout;
use crate::args::{Context, duration};
use crate::client::Scheduler;
use crate::exit::{Exit, Failure, Missing};
use crate::render::{self, Table, json};

/// Nodes that are asked at the same time.
const MAX_NODES: usize = 200;
/// A node that says nothing for so long is shown without its tasks.
const FIRST_ANSWER: Duration = Duration::from_secs(5);
/// After a session with a node broke.
const AGAIN: Duration = Duration::from_secs(2);

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Sort {
    Cpu,
    Memory,
}

#[derive(Args)]
pub struct Top {
    /// Only tasks of this job: ROLE/ENV/NAME, or with instances
    #[arg(value_name = "JOB")]
    job: Option<Selection>,
    /// Only this node, by id or host name
    #[arg(long)]
    node: Option<String>,
    /// Show it once and end
    #[arg(long)]
    once: bool,
    /// Between two samples
    #[arg(long, default_value = "2s", value_name = "DURATION", value_parser = duration)]
    interval: Duration,
    /// What counts as most
    #[arg(long, value_enum, default_value_t = Sort::Cpu)]
    sort: Sort,
    /// Most tasks shown
    #[arg(long, short = 'n', default_value = "50", value_name = "NUMBER")]
    limit: usize,
}

/// A node's newest sample.
struct Sample {
    host: String,
    tasks: Vec<v1::Usage>,
}

type Samples = BTreeMap<String, Sample>;

pub async fn run(args: Top, context: &mut Context) -> Result<Exit, Failure> {
    let nodes = nodes(&args, context).await?;
    let interval_ms = if args.once { 0 } else { u32::try_from(args.interval.as_millis()).unwrap_or(u32::MAX).max(1) };
    let (sender, mut samples) = mpsc::channel(64);
    let count = nodes.len();
    for node in nodes {
        tokio::spawn(watch(context.scheduler.again(), node, interval_ms, sender.clone()));
    }
    drop(sender);
    if args.once {
        let mut newest = Samples::new();
        let wait = context.timeout.unwrap_or(FIRST_ANSWER);
        let all = async {
            while let Some((id, sample)) = samples.recv().await {
                newest.insert(id, sample);
            }
        };
        if tokio::time::timeout(wait, all).await.is_err() {
            eprintln!(
                "dawn: {} of {count} nodes did not answer within {}",
                count - newest.len(),
                dawn_proto::amounts::whole_seconds(wait)
            );
        }
        show(&args, context, &newest, count);
        return Ok(Exit::Done);
    }
    until_timeout(context.timeout, show_on(&args, context, samples, count)).await
}

/// Shows what comes, again and again.
async fn show_on(
    args: &Top,
    context: &Context,
    mut samples: mpsc::Receiver<(String, Sample)>,
    count: usize,
) -> Result<Exit, Failure> {
    let mut newest = Samples::new();
    let screen = (!context.out.json && is_there()).then(Screen::enter);
    let mut keys = screen.as_ref().map(|_| keys());
    let (mut interrupted, mut terminated) = stops()?;
    let mut pace = tokio::time::interval(args.interval.max(Duration::from_millis(500)));
    loop {
        tokio::select! {
            Some((id, sample)) = samples.recv() => {
                newest.insert(id, sample);
            }
            _ = pace.tick() => match &screen {
                Some(screen) => screen.show(&text(args, context, &newest, count)),
                None if !newest.is_empty() => show(args, context, &newest, count),
                None => {}
            },
            _ = interrupted.recv() => return Ok(Exit::Done),
            _ = terminated.recv() => return Ok(Exit::Done),
            () = quit(&mut keys) => return Ok(Exit::Done),
        }
    }
}

type Stop = tokio::signal::unix::Signal;

fn stops() -> Result<(Stop, Stop), Failure> {
    let failed = |error: std::io::Error| Failure::new(Exit::Failed, format!("listening for signals: {error}"));
    Ok((signal(SignalKind::interrupt()).map_err(failed)?, signal(SignalKind::terminate()).map_err(failed)?))
}

/// What is typed, one byte at a time; read on a thread of its own, which the program's end takes along.
fn keys() -> mpsc::Receiver<u8> {
    let (sender, keys) = mpsc::channel(1);
    std::thread::spawn(move || {
        use std::io::Read;
        for key in std::io::stdin().lock().bytes().map_while(Result::ok) {
            if sender.blocking_send(key).is_err() {
                return;
            }
        }
    });
    keys
}

async fn quit(keys: &mut Option<mpsc::Receiver<u8>>) {
    if let Some(keys) = keys {
        while let Some(key) = keys.recv().await {
            if key == b'q' {
                return;
            }
        }
    }
    std::future::pending().await
}

async fn nodes(args: &Top, context: &mut Context) -> Result<Vec<v1::Node>, Failure> {
    let named =
        |node: &v1::Node| args.node.as_ref().is_none_or(|name| [&node.agent_id, &node.hostname].contains(&name));
    let mut nodes: Vec<v1::Node> = node::all(context).await?.into_iter().filter(named).collect();
    if let (Some(name), true) = (&args.node, nodes.is_empty()) {
        let failure = Failure::new(Exit::NotFound, format!("there is no node {name:?}")).hint("see `dawn node list`");
        return Err(failure.missing(Missing::Node(name.to_string())));
    }
    nodes.retain(|node| node.state() == NodeState::Up && node.tasks > 0);
    if let Some(job) = &args.job {
        let tasks = super::job::tasks::list(context, job, false).await?;
        nodes.retain(|node| tasks.iter().any(|task| task.agent_id == node.agent_id));
    }
    if nodes.len() > MAX_NODES {
        let message = format!("{} nodes have tasks; at most {MAX_NODES} are asked at once", nodes.len());
        return Err(Failure::new(Exit::Usage, message).hint("name a job, or a node with --node"));
    }
    Ok(nodes)
}

async fn watch(mut scheduler: Scheduler, node: v1::Node, interval_ms: u32, samples: mpsc::Sender<(String, Sample)>) {
    let host = if node.hostname.is_empty() { node.agent_id.clone() } else { node.hostname.clone() };
    let open = v1::ReachOpen {
        task_id: 0,
        agent_id: node.agent_id.clone(),
        what: Some(What::Usage(v1::WatchUsage { interval_ms })),
    };
    loop {
        if let Ok(mut session) = scheduler.reach(open.clone()).await {
            while let Ok(Some(message)) = session.next().await {
                let Down::Usage(list) = message else { continue };
                let sample = Sample { host: host.clone(), tasks: list.tasks };
                if samples.send((node.agent_id.clone(), sample)).await.is_err() {
                    return;
                }
            }
        }
        if interval_ms == 0 || samples.is_closed() {
            return;
        }
        tokio::time::sleep(AGAIN).await;
    }
}

fn chosen<'a>(args: &Top, samples: &'a Samples) -> Vec<(&'a str, &'a v1::Usage)> {
    let all = samples.values().flat_map(|sample| sample.tasks.iter().map(|usage| (sample.host.as_str(), usage)));
    let wanted = |usage: &v1::Usage| {
        args.job.as_ref().is_none_or(|job| usage.job == job.key.to_string() && job.has(usage.instance))
    };
    let mut chosen: Vec<_> = all.filter(|(_, usage)| wanted(usage)).collect();
    chosen.sort_by_key(|(_, usage)| {
        let most = match args.sort {
            Sort::Cpu => usage.cpu_milli,
            Sort::Memory => usage.memory_bytes,
        };
        (std::cmp::Reverse(most), usage.task_id)
    });
    chosen
}

fn table(chosen: &[(&str, &v1::Usage)]) -> Table {
    let mut table =
        Table::new(&["JOB", ">INSTANCE", "TASK", "NODE", ">CPU", ">OF", ">MEMORY", ">PEAK", ">OF", ">PIDS"]);
    let cores = |milli: u64| format!("{}.{:02}", milli / 1_000, milli % 1_000 / 10);
    let above = |limit: u64, text: String| if limit > 0 { text } else { String::new() };
    for (host, usage) in chosen {
        table.row(vec![
            usage.job.clone(),
            usage.instance.to_string(),
            TaskId(usage.task_id).to_string(),
            (*host).to_string(),
            usage.cpu_milli.map_or_else(|| "-".to_string(), cores),
            above(usage.cpu_limit_milli, cores(usage.cpu_limit_milli)),
            usage.memory_bytes.map(render::bytes).unwrap_or_default(),
            usage.memory_peak_bytes.map(render::bytes).unwrap_or_default(),
            above(usage.memory_limit_bytes, render::bytes(usage.memory_limit_bytes)),
            usage.pids.map(|pids| pids.to_string()).unwrap_or_default(),
        ]);
    }
    table
}

fn text(args: &Top, context: &Context, samples: &Samples, nodes: usize) -> String {
    let chosen = chosen(args, samples);
    let cpu_milli: u64 = chosen.iter().filter_map(|(_, usage)| usage.cpu_milli).sum();
    let memory: u64 = chosen.iter().filter_map(|(_, usage)| usage.memory_bytes).sum();
    let shown = &chosen[..chosen.len().min(args.limit)];
    format!(
        "{} of {} answering, {}, {}.{:02} cores, {}{}\n\n{}",
        samples.len(),
        render::count(nodes as u64, "node"),
        render::count(chosen.len() as u64, "task"),
        cpu_milli / 1_000,
        cpu_milli % 1_000 / 10,
        render::bytes(memory),
        if context.out.terminal && !args.once { "; q quits" } else { "" },
        table(shown).text(),
    )
}

fn show(args: &Top, context: &Context, samples: &Samples, nodes: usize) {
    if !context.out.json {
        return context.out.write(text(args, context, samples, nodes).as_bytes());
    }
    let chosen = chosen(args, samples);
    let rows = chosen.iter().take(args.limit).map(|(host, usage)| {
        let mut row = usage_json(usage);
        row["hostname"] = (*host).into();
        row
    });
    let fields = serde_json::json!({
        "nodes": nodes, "answering": samples.len(), "tasks": chosen.len(), "usage": rows.collect::<Vec<_>>(),
    });
    context.out.value(&json::object(fields));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hungriest_come_first() {
        let usage = |task_id, cpu_milli, memory_bytes| v1::Usage {
            task_id,
            cpu_milli,
            memory_bytes: Some(memory_bytes),
            memory_limit_bytes: 64 << 20,
            job: "www/prod/web".into(),
            ..Default::default()
        };
        let tasks = vec![usage(1, Some(20), 9 << 20), usage(2, Some(1_500), 1 << 20), usage(3, None, 0)];
        let samples = Samples::from([("n1".to_string(), Sample { host: "node-1".into(), tasks })]);
        let mut args =
            Top { job: None, node: None, once: true, interval: Duration::from_secs(2), sort: Sort::Cpu, limit: 10 };
        let expected = "\
JOB           INSTANCE  TASK  NODE     CPU  MEMORY      OF
www/prod/web         0  t2    node-1  1.50   1 MiB  64 MiB
www/prod/web         0  t1    node-1  0.02   9 MiB  64 MiB
www/prod/web         0  t3    node-1     -     0 B  64 MiB
";
        assert_eq!(table(&chosen(&args, &samples)).text(), expected);
        args.sort = Sort::Memory;
        assert_eq!(chosen(&args, &samples)[0].1.task_id, 1);
        args.job = "www/prod/other".parse().ok();
        assert!(chosen(&args, &samples).is_empty());
    }
}
