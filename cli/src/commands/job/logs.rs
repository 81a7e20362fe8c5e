//! `dawn job logs`: what processes wrote, followed from one life of an instance to the next.

pub mod attempts;
mod lines;
mod notes;
mod order;
mod reading;
mod silence;

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use clap::Args;
use dawn_proto::{TaskId, v1};

pub use lines::Lines;
pub use notes::describe_none;
pub use reading::Reading;
pub use silence::describe_silence;

use super::tasks;
use crate::args::Context;
use crate::commands::select::Selection;
use crate::commands::until_timeout;
use crate::exit::{Exit, Failure};
use crate::render::time;
use attempts::Which;
use order::Place;

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

/// An instance and the task whose log is read; none: its first start is waited for.
struct Chosen<'a> {
    instance: u32,
    task: Option<&'a v1::Task>,
    /// An attempt before it has a log too.
    has_previous: bool,
}

pub async fn run(args: Logs, context: &mut Context) -> Result<Exit, Failure> {
    let tasks = tasks::list(context, &args.job, true).await?;
    let status = super::status::get(context, &args.job).await?;
    let chosen = choose(&args, &status, &tasks)?;
    let mut names = BTreeMap::new();
    for task in chosen.iter().map(|chosen| chosen.task) {
        let version = task.map_or(0, |task| task.version);
        if let Entry::Vacant(unknown) = names.entry(version) {
            let there = names_of_processes(context, &args.job, &status, version).await?;
            unknown.insert(asked_for(&args.what, there, task)?);
        }
    }
    let several = names.values().any(|names| names.len() > 1);
    let longest = names.values().flatten().map(String::len).max().filter(|_| several).unwrap_or(0);
    let greatest = chosen.iter().map(|chosen| chosen.instance).max().unwrap_or(0);
    let mut readings = tokio::task::JoinSet::new();
    for Chosen { instance, task, .. } in &chosen {
        let names = &names[&task.map_or(0, |task| task.version)];
        for (i, (process, place)) in names.iter().zip(Place::for_each(names.len())).enumerate() {
            let number = (chosen.len() > 1).then_some((*instance, greatest));
            let lines = args.what.lines(context, name(number, process, longest));
            let request = args.what.request(task.map_or(0, |task| task.id), process.clone());
            let mut reading = Reading::new(context.scheduler.again(), lines, request);
            reading.instance = Some((args.job.key.clone(), *instance));
            (reading.started, reading.announces) = (task.is_some(), i == 0);
            reading.place = Some(place).filter(|_| names.len() > 1 && task.is_some());
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
            let read: Vec<(&v1::Task, bool)> =
                chosen.iter().filter_map(|chosen| Some((chosen.task?, chosen.has_previous))).collect();
            describe_silence(&args.what, &read).iter().for_each(|line| eprintln!("--- {line}"));
        }
        failed.map_or(Ok(Exit::Done), Err)
    };
    until_timeout(context.timeout.filter(|_| args.what.follow), read).await
}

/// The instances and, of each, the task that is meant. What is not as one would expect is said.
fn choose<'a>(args: &Logs, status: &v1::JobStatus, tasks: &'a [v1::Task]) -> Result<Vec<Chosen<'a>>, Failure> {
    let which = match (args.previous, args.attempt) {
        (true, _) => Which::Previous,
        (false, Some(number)) => Which::Attempt(number),
        (false, None) => Which::Newest,
    };
    let key = &args.job.key;
    let mut instances: BTreeSet<u32> = tasks.iter().map(|task| task.instance).collect();
    let gone: Vec<u32> =
        instances.iter().copied().filter(|instance| notes::was_scaled_away(status, *instance)).collect();
    if args.job.instances.is_empty() && !gone.is_empty() && gone.len() < instances.len() {
        instances.retain(|instance| !gone.contains(instance));
        eprintln!("--- {}", notes::describe_left_out(key, &gone));
    }
    if instances.len() > MAX_INSTANCES {
        let message = format!("{} instances; at most {MAX_INSTANCES} at once", instances.len());
        return Err(Failure::new(Exit::Usage, message).hint(format!("ask for some: {key}/0-9")));
    }
    let (mut chosen, mut without) = (Vec::new(), Vec::new());
    for instance in instances {
        let own: Vec<&v1::Task> = tasks.iter().filter(|task| task.instance == instance).collect();
        match attempts::choose_attempt(&own, which) {
            Ok(task) => {
                let note = notes::describe_choice(key, task, &own, status).filter(|_| which == Which::Newest);
                note.iter().for_each(|note| eprintln!("--- {note}"));
                let has_previous = attempts::choose_attempt(&own, Which::Previous).is_ok();
                chosen.push(Chosen { instance, task: Some(task), has_previous });
            }
            Err(why) if args.what.follow => {
                eprintln!("--- {key}/{instance}: {why}");
                chosen.push(Chosen { instance, task: None, has_previous: false });
            }
            Err(why) => without.push(format!("{key}/{instance}: {why}")),
        }
    }
    if chosen.is_empty() {
        args.job.must_be_there(status)?;
        return Err(match without.is_empty() {
            true => describe_none(&args.job, status),
            false => Failure::new(Exit::Failed, without.join("\n")).hint(format!("see `dawn job why {key}`")),
        });
    }
    without.iter().for_each(|why| eprintln!("--- {why}"));
    Ok(chosen)
}

/// The names of a task's processes, in the order of that version of the job; empty when nobody can say it.
pub async fn names_of_processes(
    context: &mut Context,
    job: &Selection,
    status: &v1::JobStatus,
    version: u32,
) -> Result<Vec<String>, Failure> {
    let current = status.summary.as_ref().map_or(0, |summary| summary.version);
    let spec = match version == 0 || version == current {
        true => status.spec.clone(),
        false => match super::diff::version(context, &(&job.key).into(), version).await {
            Ok(status) => status.spec,
            // The version is not kept any more; the current one may have other processes, and mostly has not.
            Err(failure) if failure.exit == Exit::NotFound => status.spec.clone(),
            Err(failure) => return Err(failure),
        },
    };
    let task = spec.and_then(|spec| spec.task).unwrap_or_default();
    Ok(task.processes.into_iter().map(|process| process.name).collect())
}

/// Those whose logs are read: the one that was asked for, or all.
///
/// # Errors
/// When the task has no process of the name that was asked for.
pub fn asked_for(what: &What, there: Vec<String>, task: Option<&v1::Task>) -> Result<Vec<String>, Failure> {
    match &what.process {
        Some(process) if there.is_empty() || there.contains(process) => Ok(vec![process.clone()]),
        Some(process) => {
            let whose = task.map_or("the task".to_string(), |task| TaskId(task.id).to_string());
            let (process, has) = (crate::render::safe(process), crate::render::safe(&there.join(", ")));
            Err(Failure::new(Exit::NotFound, format!("{whose} has no process {process}; it has: {has}")))
        }
        // Empty is the agent's word for the only one.
        None if there.is_empty() => Ok(vec![String::new()]),
        None => Ok(there),
    }
}

/// What tells a log from the others that are read: its instance (the greatest is known) and its process.
fn name(instance: Option<(u32, u32)>, process: &str, longest: usize) -> String {
    let instance = instance.map(|(number, greatest)| format!("{number:0$}", greatest.to_string().len()));
    let process = (longest > 0).then(|| format!("{process:longest$}"));
    instance.into_iter().chain(process).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    impl What {
        fn of_all() -> What {
            let (process, tail, since) = (None, None, None);
            What { follow: false, process, stdout: false, stderr: false, tail, since, timestamps: false }
        }
    }

    #[test]
    fn logs_are_named_by_what_tells_them_apart() {
        assert_eq!(name(None, "web", 0), "");
        assert_eq!(name(Some((7, 10)), "web", 0), " 7");
        assert_eq!(name(None, "web", 5), "web  ");
        assert_eq!(name(Some((1, 2)), "a", 1), "1 a");
    }

    #[test]
    fn a_process_that_is_not_there_is_named_with_those_that_are() {
        let what = |process: Option<&str>| What { process: process.map(str::to_string), ..What::of_all() };
        let (there, task) = (vec!["a".to_string(), "b".to_string()], v1::Task { id: 384, ..Default::default() });
        assert_eq!(asked_for(&what(None), there.clone(), Some(&task)).unwrap(), there);
        assert_eq!(asked_for(&what(Some("b")), there.clone(), Some(&task)).unwrap(), ["b"]);
        let refused = asked_for(&what(Some("nosuch")), there, Some(&task)).unwrap_err();
        assert_eq!(refused.exit, Exit::NotFound);
        assert_eq!(refused.to_string(), "t384 has no process nosuch; it has: a, b");
        assert_eq!(asked_for(&what(Some("x")), Vec::new(), None).unwrap(), ["x"], "the agent knows better");
        assert_eq!(asked_for(&what(None), Vec::new(), None).unwrap(), [""]);
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
