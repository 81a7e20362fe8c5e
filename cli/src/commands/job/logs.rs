//! `dawn job logs`: what processes wrote, followed from one life of an instance to the next.

use std::time::Duration;

use clap::Args;
use dawn_proto::{JobKey, TaskId, v1};
use tokio::time::sleep;

use super::tasks;
use crate::args::Context;
use crate::client::{Client, Repeat, Scheduler};
use crate::commands::select::Selection;
use crate::exit::{Exit, Failure};
use crate::render::{self, Out};

/// Between two looks for the next life of an instance.
const POLL: Duration = Duration::from_millis(500);
/// Instances whose logs are read at the same time.
const MAX_INSTANCES: usize = 100;
/// A longer line is cut into several when instances are told apart.
const MAX_LINE_BYTES: usize = 64 << 10;

#[derive(Args)]
pub struct Logs {
    /// ROLE/ENV/NAME, or ROLE/ENV/NAME/0-3,7 for some instances
    job: Selection,
    /// Go on as more is written, also after a restart of the instance
    #[arg(long, short)]
    follow: bool,
    /// Only this process, where a task has several
    #[arg(long, short)]
    process: Option<String>,
    /// What was written to standard error instead of standard output
    #[arg(long)]
    stderr: bool,
    /// Start this far from the end, such as 0, 500 or 64KiB [default: at the oldest byte kept]
    #[arg(long, value_name = "BYTES", value_parser = crate::spec::size)]
    tail: Option<u64>,
}

/// One instance's log, and how it is shown.
struct Reading {
    scheduler: Scheduler,
    out: Out,
    key: JobKey,
    instance: u32,
    request: v1::ReadLogRequest,
    /// "3 web | " before each line; empty for a single log, whose bytes go out as they are.
    prefix: String,
    line: Vec<u8>,
    /// Says when the instance begins a new life: one of its processes does.
    announces: bool,
}

pub async fn run(args: Logs, context: &mut Context) -> Result<Exit, Failure> {
    let all = tasks::list(context, &args.job, true).await?;
    let started: Vec<&v1::Task> = tasks::newest(&all).into_iter().filter(|task| !task.agent_id.is_empty()).collect();
    let newest: std::collections::BTreeMap<u32, u64> = started.iter().map(|task| (task.instance, task.id)).collect();
    if newest.is_empty() {
        let failure =
            Failure::new(Exit::Failed, format!("no task of {} was started yet, so it has no logs", args.job.key));
        return Err(failure.hint(format!("see `dawn job why {}`", args.job.key)));
    }
    if newest.len() > MAX_INSTANCES {
        let message = format!("{} instances; at most {MAX_INSTANCES} at once", newest.len());
        return Err(Failure::new(Exit::Usage, message).hint(format!("ask for some: {}/0-9", args.job.key)));
    }
    let processes = match &args.process {
        Some(process) => vec![process.clone()],
        None => processes(context, &args.job).await?,
    };
    let mut readings = tokio::task::JoinSet::new();
    for (prefix, instance, process) in parts(&newest.keys().copied().collect::<Vec<_>>(), &processes) {
        let announces = processes.first() == Some(&process);
        let request = v1::ReadLogRequest {
            task_id: newest[&instance],
            process,
            stderr: args.stderr,
            follow: args.follow,
            tail_bytes: args.tail.unwrap_or(0),
            tail: args.tail.is_some(),
            ..Default::default()
        };
        let reading = Reading {
            scheduler: context.scheduler.again(),
            out: context.out.clone(),
            key: args.job.key.clone(),
            instance,
            request,
            prefix,
            line: Vec::new(),
            announces,
        };
        readings.spawn(read(reading));
    }
    let mut failed = None;
    while let Some(done) = readings.join_next().await {
        match done {
            Ok(Ok(())) => {}
            Ok(Err(failure)) => failed = Some(failure),
            Err(error) => failed = Some(Failure::new(Exit::Failed, format!("reading a log: {error}"))),
        }
    }
    failed.map_or(Ok(Exit::Done), Err)
}

/// The names of a task's processes, in the order of its job.
async fn processes(context: &mut Context, selection: &Selection) -> Result<Vec<String>, Failure> {
    let status = super::status::get(context, selection).await?;
    let task = status.spec.and_then(|spec| spec.task).unwrap_or_default();
    let names: Vec<String> = task.processes.into_iter().map(|process| process.name).collect();
    // Empty is the agent's word for the only one.
    Ok(if names.is_empty() { vec![String::new()] } else { names })
}

/// Which logs are read, and what each line of them begins with: what tells it from the others.
fn parts(instances: &[u32], processes: &[String]) -> Vec<(String, u32, String)> {
    let width = instances.iter().map(|instance| instance.to_string().len()).max().unwrap_or(0);
    let longest = processes.iter().map(String::len).max().unwrap_or(0);
    let mut parts = Vec::new();
    for instance in instances {
        for process in processes {
            let prefix = match (instances.len() > 1, processes.len() > 1) {
                (false, false) => String::new(),
                (true, false) => format!("{instance:width$} | "),
                (false, true) => format!("{process:longest$} | "),
                (true, true) => format!("{instance:width$} {process:longest$} | "),
            };
            parts.push((prefix, *instance, process.clone()));
        }
    }
    parts
}

/// Reads to the end, or for ever when following.
async fn read(mut reading: Reading) -> Result<(), Failure> {
    loop {
        let ended = one_task(&mut reading).await?;
        if !reading.request.follow {
            return Ok(());
        }
        if ended {
            match next_task(&mut reading).await? {
                Some(task_id) => {
                    reading.request = v1::ReadLogRequest { task_id, tail: false, offset: None, ..reading.request };
                }
                None => return Ok(()),
            }
        } else {
            // The stream broke under a task that lives: on from there, so that nothing is lost or comes twice.
            sleep(POLL).await;
        }
    }
}

/// Whether the task has ended and all of its log was read.
async fn one_task(reading: &mut Reading) -> Result<bool, Failure> {
    let call = async |client: &mut Client, request| client.read_log(request).await;
    let mut stream = match reading.scheduler.call(reading.request.clone(), Repeat::Harmless, call).await {
        Err(failure) if failure.may_pass() && reading.request.follow => return Ok(false),
        other => other?,
    };
    loop {
        match stream.message().await {
            Ok(Some(chunk)) => {
                reading.show(&chunk.data);
                reading.request.offset = Some(chunk.offset + chunk.data.len() as u64);
                if chunk.end {
                    reading.finish_line();
                    return Ok(true);
                }
            }
            Ok(None) => {
                reading.finish_line();
                return Ok(!reading.request.follow);
            }
            Err(_) if reading.request.follow => return Ok(false),
            Err(status) => {
                let task = TaskId(reading.request.task_id);
                return Err(Failure::new(
                    Exit::Failed,
                    format!("the log of {task} broke off: {}", render::safe(status.message())),
                ));
            }
        }
    }
}

/// The next life of the instance, once it was started; none when the job has ended.
async fn next_task(reading: &mut Reading) -> Result<Option<u64>, Failure> {
    let last = reading.request.task_id;
    let instance = v1::InstanceRange { first: reading.instance, last: reading.instance };
    loop {
        let request = v1::ListTasksRequest {
            job: Some((&reading.key).into()),
            instances: vec![instance],
            all: true,
            ..Default::default()
        };
        let call = async |client: &mut Client, request| client.list_tasks(request).await;
        let mut tasks = match reading.scheduler.call(request, Repeat::Harmless, call).await {
            Err(failure) if failure.exit == Exit::NotFound => return Ok(None),
            Err(failure) if failure.exit == Exit::Unreachable => Vec::new(),
            other => other?.tasks,
        };
        tasks.retain(|task| task.id > last);
        if let Some(task) = tasks.iter().filter(|task| !task.agent_id.is_empty()).min_by_key(|task| task.id) {
            let (old, new) = (TaskId(last), TaskId(task.id));
            if reading.announces {
                let on = render::safe(&task.hostname);
                eprintln!("--- {}/{}: {old} ended; now {new} on {on}", reading.key, reading.instance);
            }
            return Ok(Some(task.id));
        }
        if tasks.is_empty() && has_ended(reading).await {
            return Ok(None);
        }
        sleep(POLL).await;
    }
}

async fn has_ended(reading: &mut Reading) -> bool {
    let request = v1::GetJobRequest { key: Some((&reading.key).into()), version: 0 };
    let call = async |client: &mut Client, request| client.get_job(request).await;
    match reading.scheduler.call(request, Repeat::Harmless, call).await {
        Ok(status) => {
            let summary = status.summary.unwrap_or_default();
            // A finished instance of a batch job has no next life, even while others go on.
            let batch = summary.kind() == v1::JobKind::Batch;
            let newest =
                status.tasks.iter().filter(|task| task.instance == reading.instance).max_by_key(|task| task.id);
            let settled =
                newest.is_some_and(|task| matches!(task.state(), v1::TaskState::Finished | v1::TaskState::Killed));
            summary.ended || (batch && settled) || (newest.is_none() && summary.instances <= reading.instance)
        }
        Err(failure) => failure.exit == Exit::NotFound,
    }
}

impl Reading {
    fn show(&mut self, data: &[u8]) {
        if self.prefix.is_empty() {
            return self.out.write(data);
        }
        for part in data.split_inclusive(|byte| *byte == b'\n') {
            self.line.extend_from_slice(part);
            if self.line.ends_with(b"\n") {
                self.flush();
            } else if self.line.len() >= MAX_LINE_BYTES {
                self.line.push(b'\n');
                self.flush();
            }
        }
    }

    fn finish_line(&mut self) {
        if !self.line.is_empty() {
            self.line.push(b'\n');
            self.flush();
        }
    }

    fn flush(&mut self) {
        let line = [self.prefix.as_bytes(), &self.line].concat();
        self.out.write(&line);
        self.line.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_begin_with_what_tells_them_apart() {
        let prefixes = |instances: &[u32], processes: &[&str]| {
            let processes: Vec<String> = processes.iter().map(ToString::to_string).collect();
            parts(instances, &processes).into_iter().map(|(prefix, _, _)| prefix).collect::<Vec<_>>()
        };
        assert_eq!(prefixes(&[7], &["web"]), [""]);
        assert_eq!(prefixes(&[7, 10], &["web"]), [" 7 | ", "10 | "]);
        assert_eq!(prefixes(&[7], &["web", "setup"]), ["web   | ", "setup | "]);
        assert_eq!(prefixes(&[0, 1], &["a", "b"]), ["0 a | ", "0 b | ", "1 a | ", "1 b | "]);
    }
}
