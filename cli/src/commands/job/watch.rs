//! Waits for submitted jobs, showing how far each is; leaving it leaves the jobs.

use std::collections::BTreeMap;
use std::time::Duration;

use dawn_proto::v1::{self, JobSpec};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until};

use super::wait::{Standing, standing, trouble};
use crate::args::Context;
use crate::client::{Client, Repeat, Scheduler};
use crate::exit::{Exit, Failure};
use crate::render::{self, Progress, time};

/// How long a job may be pending before it is said why, and between two looks at the reasons.
const PENDING_PATIENCE: Duration = Duration::from_secs(5);
/// Between two attempts to watch a job whose stream ended.
const WATCH_AGAIN: Duration = Duration::from_millis(500);

/// A job that is waited for.
struct Job {
    key: String,
    wire_key: v1::JobKey,
    /// Older states say nothing about what was submitted.
    index: u64,
    status: Option<v1::JobStatus>,
    verdict: Option<Exit>,
    pending_since: Option<Instant>,
    /// What was said about it already.
    said: String,
}

pub struct Waiting {
    jobs: Vec<Job>,
}

/// A watcher's news: which job, and its state or why it can't be watched.
type News = (usize, Result<v1::JobStatus, Failure>);

impl Waiting {
    pub fn new(submitted: &[(JobSpec, v1::SubmitJobResponse)]) -> Waiting {
        let job = |(spec, response): &(JobSpec, v1::SubmitJobResponse)| Job {
            key: render::key(spec.key.as_ref()),
            wire_key: spec.key.clone().unwrap_or_default(),
            index: response.index,
            status: None,
            verdict: None,
            pending_since: None,
            said: String::new(),
        };
        Waiting { jobs: submitted.iter().map(job).collect() }
    }

    /// The last known state of a job; none when it was never heard of.
    pub fn status(&self, key: &str) -> Option<&v1::JobStatus> {
        self.jobs.iter().find(|job| job.key == key)?.status.as_ref()
    }

    /// The worst verdict, once there are all.
    fn verdict(&self) -> Option<Exit> {
        let verdicts: Option<Vec<Exit>> = self.jobs.iter().map(|job| job.verdict).collect();
        verdicts?.into_iter().max_by_key(|exit| *exit as i32).or(Some(Exit::Done))
    }

    fn lines(&self) -> String {
        let width = self.jobs.iter().map(|job| job.key.len()).max().unwrap_or(0);
        let line = |job: &Job| {
            let text = job.status.as_ref().map_or("waiting".to_string(), |status| standing(status).text);
            format!("{:width$}  {text}", job.key)
        };
        self.jobs.iter().map(line).collect::<Vec<_>>().join("\n")
    }
}

/// Waits until every job is where it should be, or failed for good, or `stop` says that nobody waits any more.
///
/// # Errors
/// When the schedulers can't be asked any more.
pub async fn until_there(
    context: &mut Context,
    waiting: &mut Waiting,
    stop: impl Future<Output = ()>,
) -> Result<Exit, Failure> {
    tokio::pin!(stop);
    let deadline = context.timeout.map(|timeout| Instant::now() + timeout);
    let (send, mut receive) = mpsc::channel::<News>(64);
    let mut watchers = tokio::task::JoinSet::new();
    for (i, job) in waiting.jobs.iter().enumerate() {
        watchers.spawn(watch(context.scheduler.again(), job.wire_key.clone(), i, send.clone()));
    }
    let mut progress = Progress::new(&context.out);
    let mut look = tokio::time::interval(Duration::from_secs(1));
    let exit = loop {
        if let Some(exit) = waiting.verdict() {
            break exit;
        }
        tokio::select! {
            Some((i, news)) = receive.recv() => {
                take_in(&mut waiting.jobs[i], news?);
                show(waiting, &mut progress, context);
            }
            _ = look.tick() => explain(context, waiting, &mut progress).await,
            () = at(deadline) => {
                leave(waiting, "timed out; the job stays as it is");
                return Ok(Exit::Waited);
            }
            () = &mut stop => {
                leave(waiting, "not waiting any more; the job goes on");
                return Ok(Exit::Waited);
            }
        }
    };
    conclude(context, waiting);
    Ok(exit)
}

async fn at(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

/// Follows a job's state until nobody listens; opens the stream anew when it breaks.
async fn watch(mut scheduler: Scheduler, key: v1::JobKey, i: usize, send: mpsc::Sender<News>) {
    loop {
        let request = v1::GetJobRequest { key: Some(key.clone()), version: 0 };
        let call = async |client: &mut Client, request| client.watch_job(request).await;
        match scheduler.call(request, Repeat::Harmless, call).await {
            Ok(mut stream) => {
                while let Ok(Some(status)) = stream.message().await {
                    if send.send((i, Ok(status))).await.is_err() {
                        return;
                    }
                }
            }
            // A scheduler that comes back is worth waiting for: the job is there.
            Err(failure) if failure.exit == Exit::Unreachable => {}
            Err(failure) => return drop(send.send((i, Err(failure))).await),
        }
        sleep(WATCH_AGAIN).await;
    }
}

fn take_in(job: &mut Job, status: v1::JobStatus) {
    if status.index < job.index {
        return;
    }
    let Standing { verdict, pending, .. } = standing(&status);
    job.verdict = verdict;
    job.pending_since = pending.then(|| job.pending_since.unwrap_or_else(Instant::now));
    job.status = Some(status);
}

fn show(waiting: &mut Waiting, progress: &mut Progress, context: &Context) {
    // Without a terminal each job's change is a line of its own, not all of them again.
    if context.out.terminal {
        progress.show(&waiting.lines());
    } else {
        let lines = waiting.lines();
        for (job, line) in waiting.jobs.iter_mut().zip(lines.lines()) {
            if job.said != line && job.status.is_some() {
                progress.say(line);
                job.said = line.to_string();
            }
        }
    }
}

/// Says why a job is pending for long, or keeps failing; once for each reason.
async fn explain(context: &mut Context, waiting: &mut Waiting, progress: &mut Progress) {
    for job in &mut waiting.jobs {
        let Some(status) = &job.status else { continue };
        let mut reasons: Vec<String> = trouble(status).into_iter().collect();
        if job.pending_since.is_some_and(|since| since.elapsed() >= PENDING_PATIENCE) {
            let request = v1::WhyRequest { key: Some(job.wire_key.clone()) };
            let call = async |client: &mut Client, request| client.why(request).await;
            if let Ok(why) = context.scheduler.call(request, Repeat::Harmless, call).await {
                reasons.extend(why.classes.iter().map(|class| render::safe(&class.summary)));
            }
            job.pending_since = Some(Instant::now());
        }
        for reason in reasons {
            let line = format!("  {}: {reason}", job.key);
            if !job.said.contains(&reason) {
                job.said = format!("{}\n{reason}", job.said.lines().next().unwrap_or_default());
                progress.say(&line);
            }
        }
    }
}

/// What to type next, of a job that is left as it is.
fn leave(waiting: &Waiting, what: &str) {
    eprintln!("dawn: {what}");
    for job in waiting.jobs.iter().filter(|job| job.verdict.is_none()) {
        eprintln!("  look:  dawn job status {0}\n  stop:  dawn job kill {0}", job.key);
    }
}

/// Where each job ended up: addresses of a service, what failed, the next run.
fn conclude(context: &Context, waiting: &Waiting) {
    if context.out.json {
        return;
    }
    let now_ms = time::now_ms();
    for job in &waiting.jobs {
        let Some(status) = &job.status else { continue };
        if let Some(cron) = &status.cron {
            let next = format!("{} ({})", time::local(cron.next_ms), time::relative(cron.next_ms, now_ms));
            context.out.line(&format!("{}: next run {next}", job.key));
        } else if job.verdict == Some(Exit::Failed) {
            let why = trouble(status).map_or_else(String::new, |why| format!(": {why}"));
            context.out.line(&format!("{}: failed{why}", job.key));
            context.out.line(&format!("  look:  dawn job logs {0}\n         dawn job history {0}", job.key));
        } else {
            let ports: BTreeMap<u32, String> = status.tasks.iter().filter_map(address).collect();
            for (instance, address) in ports.iter().take(10) {
                context.out.line(&format!("{}/{instance}: {address}", job.key));
            }
        }
    }
}

/// Where a running task with ports is reached.
fn address(task: &v1::Task) -> Option<(u32, String)> {
    let running = task.state() == v1::TaskState::Running && !task.ports.is_empty();
    running.then(|| (task.instance, format!("{} {}", render::safe(&task.hostname), render::ports(&task.ports))))
}
