//! `dawn dev`: a whole cluster on this machine, with the example jobs in it, that leaves nothing behind.
//! Not here: what a scheduler or an agent does; it starts this same program under their names.

mod children;
mod folder;
mod leftovers;
mod machine;
mod stop;

use std::io::Write;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use dawn_proto::v1;
use tokio::time::{Instant, sleep};

use crate::args::Context;
use crate::client::{Client, Repeat, Scheduler};
use crate::commands::job::watch::{self, Waiting};
use crate::commands::job::{list, submit};
use crate::commands::node;
use crate::exit::{Exit, Failure};
use crate::render::{self, time};
use children::Children;
use folder::Folder;
use machine::Isolation;
use stop::Stop;

/// From start to a scheduler that answers, and to agents that are up.
const START_TIMEOUT: Duration = Duration::from_secs(20);
/// For the example jobs to get where they should be.
const JOBS_TIMEOUT: Duration = Duration::from_secs(120);
/// For killed jobs to be gone, before the cluster is taken down over them.
const KILL_TIMEOUT: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(100);
/// The folder of the examples, from where the repository is.
const EXAMPLES: &str = "deploy/jobs";

#[derive(Args)]
pub struct Dev {
    /// Agents to start, each a process of its own with 2 cpus and 2 GiB to give
    #[arg(long, default_value_t = 3, value_name = "COUNT", value_parser = clap::value_parser!(u16).range(1..=20))]
    agents: u16,
    /// Folder whose job files are submitted
    #[arg(long, default_value = EXAMPLES, value_name = "FOLDER")]
    jobs: PathBuf,
    /// Submit nothing
    #[arg(long)]
    no_jobs: bool,
    /// Where everything is kept, logs too; stays there afterwards [default: a temporary folder that is removed]
    #[arg(long, value_name = "FOLDER")]
    data_dir: Option<PathBuf>,
    /// Where the scheduler listens; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:7070", value_name = "ADDRESS:PORT", value_parser = crate::address::parse_own_address)]
    listen: SocketAddr,
    /// Run tasks without cgroups: no limits and no sure kill
    #[arg(long)]
    unisolated: bool,
    /// Run every task as yourself, whatever its job says
    #[arg(long)]
    run_as_self: bool,
    /// End the cluster when the jobs are there, instead of waiting for Ctrl-C
    #[arg(long, hide = true)]
    once: bool,
}

/// What was asked for, made fit for this machine.
struct Plan {
    args: Dev,
    address: SocketAddr,
    /// Name of the cluster's own cgroup.
    group: String,
    isolation: Isolation,
    files: Vec<PathBuf>,
}

/// Says it on standard error, whether anybody reads there or not: there is something to clean up.
fn say(words: &str) {
    _ = writeln!(std::io::stderr(), "dawn: {words}");
}

pub async fn run(args: Dev, context: &mut Context) -> Result<Exit, Failure> {
    // Before anything else: whoever holds a named folder goes on undisturbed.
    context.out.go_on_unread();
    let named = args.data_dir.as_deref().map(Folder::named).transpose()?;
    let address = free(args.listen)?;
    let mut stop = Stop::listen()?;
    let files = job_files(&args)?;
    let folder = match named {
        Some(folder) => folder,
        None => Folder::temporary()?,
    };
    let group = format!("dawn-dev-{}", std::process::id());
    context.scheduler = Scheduler::new(vec![address.to_string()], Duration::from_secs(5));
    let mut children = Children::new(folder.path().to_path_buf());
    let isolation = machine::isolation(&group, args.unisolated, args.run_as_self);
    let plan = Plan { args, address, group, isolation, files };
    let mut done = Ok(Exit::Done);
    tokio::select! {
        live = live(&plan, context, &mut children, stop.clone()) => done = live,
        () = stop.asked(1) => {}
    }
    if let Err(failure) = &done {
        say(&failure.to_string());
    }
    context.out.line("ending the cluster; Ctrl-C again doesn't wait for the tasks to end by themselves");
    tokio::select! {
        () = kill_jobs(context) => {}
        () = stop.asked(2) => {}
    }
    children.end(&mut stop).await;
    let own = folder.own_parts(&children.agents());
    let mut left = leftovers::remove(&own, &plan.group).await;
    if !folder.is_kept {
        left.extend(leftovers::remove_folder(folder.path(), &left));
    }
    for what in &left {
        say(&format!("left behind: {what}"));
    }
    let path = folder.path().display();
    let end = if folder.is_kept { format!("ended; logs stay in {path}") } else { "ended".to_string() };
    context.out.line(&end);
    match done {
        Ok(Exit::Waited) | Err(_) => Ok(Exit::Failed),
        Ok(exit) if left.is_empty() => Ok(exit),
        Ok(_) => Ok(Exit::Failed),
    }
}

/// The address with a port that is free now.
fn free(listen: SocketAddr) -> Result<SocketAddr, Failure> {
    let bound = TcpListener::bind(listen).and_then(|listener| listener.local_addr());
    bound.map_err(|error| {
        Failure::new(Exit::Failed, format!("listening on {listen}: {error}"))
            .hint("is another `dawn dev` or scheduler running? Give another address: --listen 127.0.0.1:0")
    })
}

/// The job files to submit, in the order of their names; the default folder may be missing.
fn job_files(args: &Dev) -> Result<Vec<PathBuf>, Failure> {
    if args.no_jobs {
        return Ok(Vec::new());
    }
    let folder = match std::fs::read_dir(&args.jobs) {
        Ok(folder) => folder,
        Err(_) if args.jobs == Path::new(EXAMPLES) => {
            say(&format!("no folder {EXAMPLES} here, so no jobs are submitted; name one with --jobs DIR"));
            return Ok(Vec::new());
        }
        Err(error) => return Err(Failure::new(Exit::Usage, format!("reading {}: {error}", args.jobs.display()))),
    };
    let paths = folder.filter_map(|entry| Some(entry.ok()?.path()));
    let is_job =
        |path: &PathBuf| path.extension().is_some_and(|ending| ending == "yaml" || ending == "yml" || ending == "json");
    let mut files: Vec<PathBuf> = paths.filter(is_job).collect();
    files.sort();
    Ok(files)
}

/// From nothing to a cluster with its jobs, and on until it is told to stop.
async fn live(plan: &Plan, context: &mut Context, children: &mut Children, stop: Stop) -> Result<Exit, Failure> {
    let Plan { args, address, group, isolation, files } = plan;
    let address = *address;
    // Wrong job files are said before anything is started.
    let specs =
        if files.is_empty() { Vec::new() } else { crate::jobfile::load(files, &crate::jobfile::Reading::default())? };
    for notice in &isolation.notices {
        say(&format!("NOTICE: {notice}"));
    }
    context.out.line(&format!("data and logs: {}", children.data_dir().display()));
    children.scheduler(address)?;
    until_answers(context, children).await?;
    context.out.line(&format!("scheduler: {address}"));
    for number in 1..=args.agents {
        children.agent(number, address, group, isolation)?;
    }
    until_up(context, children, args.agents).await?;
    context.out.line(&format!("nodes: {} up", args.agents));
    let mut submitted = Vec::new();
    for spec in specs {
        let response = submit::submit_one(context, spec.clone(), "dawn dev").await?;
        submitted.push((spec, response));
    }
    if !submitted.is_empty() {
        context.timeout = Some(JOBS_TIMEOUT);
        let mut waiting = Waiting::new(&submitted);
        let exit = watch::until_there(context, &mut waiting, std::future::pending()).await?;
        context.out.line("");
        let jobs = list::all(context, v1::ListJobsRequest { all: true, ..Default::default() }).await?;
        context.out.table(&list::table(&jobs, time::now_ms()));
        if args.once {
            return Ok(exit);
        }
    }
    context.out.write(next_steps(args, address).as_bytes());
    children.watch(stop).await;
    Ok(Exit::Done)
}

async fn until_answers(context: &mut Context, children: &mut Children) -> Result<(), Failure> {
    let deadline = Instant::now() + START_TIMEOUT;
    loop {
        let call = async |client: &mut Client, request| client.admin().get_server_info(request).await;
        let answer = context.scheduler.call(v1::GetServerInfoRequest {}, Repeat::Harmless, call).await;
        match answer {
            Ok(_) => return Ok(()),
            Err(failure) if Instant::now() >= deadline => return Err(failure),
            Err(_) => children.check()?,
        }
        sleep(POLL).await;
    }
}

async fn until_up(context: &mut Context, children: &mut Children, agents: u16) -> Result<(), Failure> {
    let deadline = Instant::now() + START_TIMEOUT;
    loop {
        let nodes = node::all(context).await?;
        let up = nodes.iter().filter(|node| node.state() == v1::NodeState::Up).count();
        if up >= agents.into() {
            return Ok(());
        }
        children.check()?;
        if Instant::now() >= deadline {
            let message =
                format!("{up} of {agents} nodes are up after {}", dawn_proto::amounts::whole_seconds(START_TIMEOUT));
            return Err(Failure::new(Exit::Failed, message).hint(format!("see {}", children.data_dir().display())));
        }
        sleep(POLL).await;
    }
}

/// What people type next; the program as they typed it, the address only when it is not the usual one.
fn next_steps(args: &Dev, address: SocketAddr) -> String {
    let program = std::env::args().next().unwrap_or_else(|| "dawn".to_string());
    let usual = address.to_string() == "127.0.0.1:7070";
    let export = if usual { String::new() } else { format!("  export DAWN_SCHEDULER={address}\n") };
    let mut steps = vec![
        ("job list", "the jobs"),
        ("job status demo/prod/web", "where its instances are; then curl 127.0.0.1:PORT of one"),
        ("job endpoints demo/prod/web", "the same for scripts; every node-N is this machine, 127.0.0.1"),
        ("job logs demo/test/primes -p report", "what the batch job found"),
        ("cron list", "when the backup runs"),
        ("node list", "the nodes and what is taken"),
    ];
    if args.jobs == Path::new(EXAMPLES) {
        steps.push(("job run deploy/jobs/later/urgent.yaml", "pushes the filler aside"));
        steps.push(("job why demo/test/filler", "why it waits meanwhile"));
    }
    if args.no_jobs {
        steps.truncate(1);
        steps.push(("node list", "the nodes and what is taken"));
    }
    let width = steps.iter().map(|(command, _)| command.len()).max().unwrap_or(0);
    let lines = steps.iter().map(|(command, what)| format!("  {program} {command:width$}  # {what}\n"));
    format!("\nThe cluster is up. In another terminal:\n{export}{}Ctrl-C ends it.\n", lines.collect::<String>())
}

/// Kills every job and waits a while for its tasks to be gone; a scheduler that is gone itself is no reason to stay.
async fn kill_jobs(context: &mut Context) {
    let Ok(jobs) = list::all(context, v1::ListJobsRequest::default()).await else { return };
    for job in jobs {
        let request = v1::KillJobRequest { key: job.key.clone(), author: "dawn dev".into(), ..Default::default() };
        let call = async |client: &mut Client, request| client.jobs().kill_job(request).await;
        if let Err(failure) = context.scheduler.call(request, Repeat::Harmless, call).await {
            say(&format!("killing {}: {failure}", render::key(job.key.as_ref())));
        }
    }
    let deadline = Instant::now() + KILL_TIMEOUT;
    loop {
        let call = async |client: &mut Client, request| client.tasks().list_tasks(request).await;
        match context.scheduler.call(v1::ListTasksRequest::default(), Repeat::Harmless, call).await {
            Ok(answer) if !answer.tasks.is_empty() && Instant::now() < deadline => sleep(POLL).await,
            _ => return,
        }
    }
}
