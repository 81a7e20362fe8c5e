//! `dawn job logs`: what processes wrote, followed from one life of an instance to the next.

pub mod attempts;
mod lines;
mod reading;
mod silence;

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use clap::Args;
use dawn_proto::{TaskId, v1};

pub use lines::Lines;
pub use reading::Reading;
pub use silence::describe_silence;

use super::tasks;
use crate::args::Context;
use crate::commands::select::Selection;
use crate::commands::until_timeout;
use crate::exit::{Exit, Failure};
use crate::render::time;
use attempts::Which;

/// Instances whose logs are read at the same time.
const MAX_INSTANCES: usize = 100;

#[derive(Args)]
pub struct Logs {
    /// ROLE/ENV/NAME, or ROLE/ENV/NAME/0-3,7 for some instances
    job: Selection,
    /// The attempt before the newest that ran
    #[arg(long, conflicts_with_all = ["attempt", "follow"])]
    previous: bool,
    /// The attempt of this number [default: the newest that ran]
    #[arg(long, value_name = "NUMBER", conflicts_with = "follow")]
    attempt: Option<u32>,
    #[command(flatten)]
    what: What,
}

/// What of a log is read, and how it is shown.
#[derive(Args, Clone)]
pub struct What {
    /// Go on as more is written, and with the next attempt of an instance
    #[arg(long, short)]
    follow: bool,
    /// Only this process, where a task has several
    #[arg(long, short)]
    pub process: Option<String>,
    /// Only what was written to standard output
    #[arg(long, conflicts_with = "stderr")]
    stdout: bool,
    /// Only what was written to standard error
    #[arg(long)]
    stderr: bool,
    /// Show the last LINES lines only [default: all lines that are kept]
    #[arg(long, value_name = "LINES")]
    tail: Option<u64>,
    /// Only what was written since then: a duration such as 10m, or a time such as "2026-11-22 13:00" (of this machine's zone)
    #[arg(long, value_name = "TIME", value_parser = since)]
    since: Option<i64>,
    /// Begin each line with the time at which it was written (UTC, exact to 200 ms)
    #[arg(long)]
    timestamps: bool,
}

impl What {
    /// What to ask of a task's process.
    pub fn request(&self, task_id: u64, process: String) -> v1::ReadLogRequest {
        v1::ReadLogRequest {
            task_id,
            process,
            stderr: self.stderr,
            both: !self.stdout && !self.stderr,
            follow: self.follow,
            tail_lines: self.tail,
            since_ms: self.since.unwrap_or(0),
            ..Default::default()
        }
    }

    /// How to show it; `name` tells the log from others.
    pub fn lines(&self, context: &Context, name: String) -> Lines {
        Lines::new(context.out.clone(), name, !self.stdout && !self.stderr, self.timestamps)
    }
}

/// Milliseconds since 1970.
fn since(text: &str) -> Result<i64, String> {
    if let Ok(ago_ms) = crate::spec::duration(text) {
        return Ok(time::now_ms() - i64::try_from(ago_ms).unwrap_or(i64::MAX).min(time::now_ms()));
    }
    time::parse(text).ok_or_else(|| {
        "write a duration such as 10m, or a time such as 2026-11-22T12:00:00Z or \"2026-11-22 13:00\"".to_string()
    })
}

pub async fn run(args: Logs, context: &mut Context) -> Result<Exit, Failure> {
    let tasks = tasks::list(context, &args.job, true).await?;
    let chosen = choose(&args, context, &tasks).await?;
    let mut names = BTreeMap::new();
    for (_, task) in &chosen {
        let version = task.map_or(0, |task| task.version);
        if let Entry::Vacant(entry) = names.entry(version) {
            entry.insert(processes(context, &args, version).await?);
        }
    }
    let several = names.values().any(|names| names.len() > 1);
    let longest = names.values().flatten().map(String::len).max().filter(|_| several).unwrap_or(0);
    let mut readings = tokio::task::JoinSet::new();
    for (instance, task) in &chosen {
        for (i, process) in names[&task.map_or(0, |task| task.version)].iter().enumerate() {
            let number = (chosen.len() > 1).then_some((*instance, chosen.iter().map(|(n, _)| *n).max().unwrap_or(0)));
            let lines = args.what.lines(context, name(number, process, longest));
            let request = args.what.request(task.map_or(0, |task| task.id), process.clone());
            let mut reading = Reading::new(context.scheduler.again(), lines, request);
            reading.instance = Some((args.job.key.clone(), *instance));
            (reading.started, reading.announces) = (task.is_some(), i == 0);
            readings.spawn(reading.read());
        }
    }
    let read = async {
        let (mut failed, mut shown) = (None, false);
        while let Some(done) = readings.join_next().await {
            match done {
                Ok(Ok(some)) => shown |= some,
                Ok(Err(failure)) => failed = Some(failure),
                Err(error) => failed = Some(Failure::new(Exit::Failed, format!("reading a log: {error}"))),
            }
        }
        if failed.is_none() && !shown {
            let read: Vec<&v1::Task> = chosen.iter().filter_map(|(_, task)| *task).collect();
            describe_silence(&args.what, &read).iter().for_each(|line| eprintln!("--- {line}"));
        }
        failed.map_or(Ok(Exit::Done), Err)
    };
    until_timeout(context.timeout.filter(|_| args.what.follow), read).await
}

/// The instances and, of each, the task that is meant; none: it is waited for.
async fn choose<'a>(
    args: &Logs,
    context: &mut Context,
    tasks: &'a [v1::Task],
) -> Result<Vec<(u32, Option<&'a v1::Task>)>, Failure> {
    let which = match (args.previous, args.attempt) {
        (true, _) => Which::Previous,
        (false, Some(number)) => Which::Attempt(number),
        (false, None) => Which::Newest,
    };
    let instances: BTreeSet<u32> = tasks.iter().map(|task| task.instance).collect();
    if instances.len() > MAX_INSTANCES {
        let message = format!("{} instances; at most {MAX_INSTANCES} at once", instances.len());
        return Err(Failure::new(Exit::Usage, message).hint(format!("ask for some: {}/0-9", args.job.key)));
    }
    let (mut chosen, mut without) = (Vec::new(), Vec::new());
    for instance in instances {
        let own: Vec<&v1::Task> = tasks.iter().filter(|task| task.instance == instance).collect();
        match attempts::choose_attempt(&own, which) {
            Ok(task) => chosen.push((instance, Some(task))),
            Err(why) if args.what.follow => {
                eprintln!("--- {}/{instance}: {why}", args.job.key);
                chosen.push((instance, None));
            }
            Err(why) => without.push(format!("{}/{instance}: {why}", args.job.key)),
        }
    }
    if chosen.is_empty() {
        let status = super::status::get(context, &args.job).await?;
        args.job.must_be_there(&status)?;
        if without.is_empty() {
            without.push(format!("no task of {} was started yet, so it has no logs", args.job));
        }
        return Err(Failure::new(Exit::Failed, without.join("\n")).hint(format!("see `dawn job why {}`", args.job.key)));
    }
    without.iter().for_each(|why| eprintln!("--- {why}"));
    Ok(chosen)
}

/// The names of the processes that are read, in the order of that version of the job.
async fn processes(context: &mut Context, args: &Logs, version: u32) -> Result<Vec<String>, Failure> {
    if let Some(process) = &args.what.process {
        return Ok(vec![process.clone()]);
    }
    let key = (&args.job.key).into();
    let status = match super::diff::version(context, &key, version).await {
        // The version is not kept any more; the current one may have other processes, and mostly has not.
        Err(failure) if failure.exit == Exit::NotFound && version > 0 => super::diff::version(context, &key, 0).await?,
        other => other?,
    };
    let task = status.spec.and_then(|spec| spec.task).unwrap_or_default();
    let names: Vec<String> = task.processes.into_iter().map(|process| process.name).collect();
    // Empty is the agent's word for the only one.
    Ok(if names.is_empty() { vec![String::new()] } else { names })
}

/// What tells a log from the others that are read: its instance (the greatest is known) and its process.
fn name(instance: Option<(u32, u32)>, process: &str, longest: usize) -> String {
    let instance = instance.map(|(number, greatest)| format!("{number:0$}", greatest.to_string().len()));
    let process = (longest > 0).then(|| format!("{process:longest$}"));
    instance.into_iter().chain(process).collect::<Vec<_>>().join(" ")
}

/// Of one task, by its id; why it has no log, where that is so.
pub async fn with_log(context: &mut Context, id: TaskId) -> Result<v1::Task, Failure> {
    match tasks::by_id(context, id).await? {
        Some(task) if !attempts::has_run(&task) => {
            let job = crate::render::key(task.job.as_ref());
            let message = attempts::not_started(&task);
            Err(Failure::new(Exit::Failed, message).hint(format!("see `dawn job status {job}/{}`", task.instance)))
        }
        Some(task) => Ok(task),
        None => Err(Failure::new(Exit::NotFound, format!("there is no task {id}")).hint(
            "the tasks of a job are listed by `dawn job status ROLE/ENV/NAME`, those that ended by `dawn job history`",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logs_are_named_by_what_tells_them_apart() {
        assert_eq!(name(None, "web", 0), "");
        assert_eq!(name(Some((7, 10)), "web", 0), " 7");
        assert_eq!(name(None, "web", 5), "web  ");
        assert_eq!(name(Some((1, 2)), "a", 1), "1 a");
    }

    #[test]
    fn since_is_a_duration_or_a_time() {
        let now_ms = time::now_ms();
        let ago = since("10m").unwrap();
        assert!((now_ms - 600_000..now_ms - 590_000).contains(&ago), "{ago} at {now_ms}");
        assert_eq!(since("2026-11-22T12:00:00.250Z"), Ok(1_795_348_800_250));
        assert!(since("2026-11-22 13:00").is_ok() && since("2026-11-22").is_ok());
        assert!(since("yesterday").is_err() && since("10").is_err());
    }
}
