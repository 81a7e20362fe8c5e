//! Waits for submitted jobs, showing how far each is; leaving it leaves the jobs.

use std::collections::BTreeSet;
use std::time::Duration;

use dawn_proto::v1::{self, JobSpec};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until};

use super::cause;
use super::meanwhile::{Meanwhile, Submitted};
use super::outcome;
use super::rollout::{Outlook, Rollout};
use super::unchecked;
use super::wait::{Standing, standing, why_ended};
use crate::args::Context;
use crate::client::{Client, Repeat, Scheduler};
use crate::exit::{Exit, Failure};
use crate::render::{self, Progress, time};

/// How long a job may be pending before it is said why: what has room is placed sooner.
const PENDING_PATIENCE: Duration = Duration::from_secs(1);
/// Between two looks at the reasons.
const PENDING_LOOK: Duration = Duration::from_secs(5);
/// Nobody who has given up waits longer than this for the causes that were not told yet.
const LAST_LOOK: Duration = Duration::from_secs(2);
/// Between two attempts to watch a job whose stream ended.
const WATCH_AGAIN: Duration = Duration::from_millis(500);

/// A job that is waited for.
pub struct Job {
    pub key: String,
    wire_key: v1::JobKey,
    /// Older states say nothing about what was submitted.
    index: u64,
    pub status: Option<v1::JobStatus>,
    submitted: Submitted,
    /// Of a first run that is watched; none: the job must only get there.
    pub rollout: Option<Rollout>,
    pub verdict: Option<Exit>,
    /// For people: why it failed; empty when only its instances can say it.
    pub why: String,
    /// What somebody did to it that ends the wait.
    pub meanwhile: Option<Meanwhile>,
    /// Its failure was told.
    announced: bool,
    /// Somebody else has said what became of it.
    pub left_out: bool,
    pending_since: Option<Instant>,
    /// When it was last asked why it is pending.
    looked_at: Option<Instant>,
    /// The last line that was said of it.
    said: String,
    /// Reasons that were told already: why instances are pending, and how they failed.
    pub told: BTreeSet<String>,
}

pub struct Waiting {
    jobs: Vec<Job>,
}

/// A watcher's news: which job, and its state or why it can't be watched.
type News = (usize, Result<v1::JobStatus, Failure>);

impl Waiting {
    /// Services are there once all of their instances run.
    pub fn new(submitted: &[(JobSpec, v1::SubmitJobResponse)]) -> Waiting {
        let job = |(spec, response): &(JobSpec, v1::SubmitJobResponse)| Job {
            key: render::key(spec.key.as_ref()),
            wire_key: spec.key.clone().unwrap_or_default(),
            index: response.index,
            status: None,
            submitted: Submitted::of(response),
            rollout: None,
            verdict: None,
            why: String::new(),
            meanwhile: None,
            announced: false,
            left_out: false,
            pending_since: None,
            looked_at: None,
            said: String::new(),
            told: BTreeSet::new(),
        };
        Waiting { jobs: submitted.iter().map(job).collect() }
    }

    /// Services whose first run this is must be healthy as their update policies say it; updates were judged already.
    pub fn with_rollouts(mut self, submitted: &[(JobSpec, v1::SubmitJobResponse)]) -> Waiting {
        let now = Instant::now();
        for (job, (spec, response)) in self.jobs.iter_mut().zip(submitted) {
            job.rollout = if response.update == 0 { Rollout::of(spec, now) } else { None };
        }
        self
    }

    /// Those of these keys, and the others.
    pub fn split(self, keys: &[&v1::JobKey]) -> (Waiting, Waiting) {
        let (these, others) = self.jobs.into_iter().partition(|job| keys.contains(&&job.wire_key));
        (Waiting { jobs: these }, Waiting { jobs: others })
    }

    /// What was told of the failures of jobs already is not told again.
    pub fn know(&mut self, told: Vec<(v1::JobKey, BTreeSet<String>)>) {
        for (key, causes) in told {
            self.jobs
                .iter_mut()
                .filter(|job| job.wire_key == key)
                .for_each(|job| job.told.extend(causes.iter().cloned()));
        }
    }

    pub fn is_empty(&self) -> bool {
        self.jobs.is_empty()
    }

    /// Waits for these too, or has waited for them.
    pub fn join(&mut self, others: Waiting) {
        self.jobs.extend(others.jobs);
    }

    /// Waits for none of them any more: what became of them was said.
    pub fn leave_out(&mut self, verdict: Exit) {
        for job in &mut self.jobs {
            (job.verdict, job.left_out) = (Some(verdict), true);
        }
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

    /// When nobody waits any more: a job that has failed for good makes it a failure, whatever becomes of the others.
    fn verdict_so_far(&self) -> Exit {
        let failed = self.jobs.iter().any(|job| job.verdict == Some(Exit::Failed));
        if failed { Exit::Failed } else { Exit::Waited }
    }

    fn lines(&self) -> String {
        let shown = || self.jobs.iter().filter(|job| !job.left_out);
        let width = shown().map(|job| job.key.len()).max().unwrap_or(0);
        shown().map(|job| format!("{:width$}  {}", job.key, job.text())).collect::<Vec<_>>().join("\n")
    }
}

impl Job {
    fn text(&self) -> String {
        let Some(status) = &self.status else { return "waiting".to_string() };
        let text = standing(status).text;
        let summary = status.summary.clone().unwrap_or_default();
        match &self.rollout {
            Some(rollout) if self.verdict.is_none() && summary.running >= summary.instances => {
                let watch = i64::try_from(rollout.watch().as_millis()).unwrap_or(i64::MAX);
                format!("{text}; must stay healthy for {}", time::span(watch))
            }
            Some(_) if self.verdict.is_none() && summary.running == 0 => {
                let mut tasks = status.tasks.iter();
                let said = tasks.find_map(|task| unchecked::describe(status.spec.as_ref(), task, time::now_ms()));
                [text].into_iter().chain(said).collect::<Vec<_>>().join("; ")
            }
            _ => text,
        }
    }

    fn take_in(&mut self, status: v1::JobStatus) {
        if status.index < self.index {
            return;
        }
        let Standing { pending, .. } = standing(&status);
        self.pending_since = pending.then(|| self.pending_since.unwrap_or_else(Instant::now));
        self.status = Some(status);
        self.judge();
    }

    /// A verdict stands: what comes later is not waited for any more.
    fn judge(&mut self) {
        let Some(status) = self.status.as_ref().filter(|_| self.verdict.is_none()) else { return };
        self.meanwhile = self.submitted.look(&self.key, status);
        if self.meanwhile.is_some() {
            self.verdict = Some(Exit::Failed);
            return;
        }
        let Some(rollout) = &mut self.rollout else {
            self.verdict = standing(status).verdict;
            if self.verdict == Some(Exit::Failed) {
                self.why = why_ended(status);
            }
            return;
        };
        match rollout.judge(status, Instant::now(), time::now_ms()) {
            Outlook::Waits { .. } => {}
            Outlook::Good => self.verdict = Some(Exit::Done),
            Outlook::Failed(why) => (self.verdict, self.why) = (Some(Exit::Failed), why),
        }
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
        tell_failed(context, waiting, &mut progress).await;
        if let Some(exit) = waiting.verdict() {
            break exit;
        }
        let given_up = tokio::select! {
            Some((i, news)) = receive.recv() => {
                waiting.jobs[i].take_in(news?);
                show(waiting, &mut progress, context);
                continue;
            }
            _ = look.tick() => {
                waiting.jobs.iter_mut().for_each(Job::judge);
                explain(context, waiting, &mut progress).await;
                continue;
            }
            () = at(deadline) => ["timed out; the job stays as it is", "timed out; the jobs stay as they are"],
            () = &mut stop => ["not waiting any more; the job goes on", "not waiting any more; the jobs go on"],
        };
        _ = tokio::time::timeout(LAST_LOOK, explain(context, waiting, &mut progress)).await;
        let what = given_up[usize::from(waiting.jobs.len() > 1)];
        outcome::describe_unfinished(&waiting.jobs, what).iter().for_each(|line| eprintln!("{line}"));
        return Ok(waiting.verdict_so_far());
    };
    outcome::describe_finished(context, &mut waiting.jobs).await;
    Ok(exit)
}

/// Each failure is told when it comes: other jobs may go on for long.
async fn tell_failed(context: &mut Context, waiting: &mut Waiting, progress: &mut Progress) {
    let failed = |job: &&mut Job| job.verdict == Some(Exit::Failed) && !job.announced && !job.left_out;
    for job in waiting.jobs.iter_mut().filter(failed) {
        job.announced = true;
        if !context.out.json {
            outcome::describe_failed(context, job).await.iter().for_each(|line| progress.say(line));
        }
    }
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
        let call = async |client: &mut Client, request| client.jobs().watch_job(request).await;
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

fn show(waiting: &mut Waiting, progress: &mut Progress, context: &Context) {
    // Without a terminal each job's change is a line of its own, not all of them again.
    if context.out.terminal {
        progress.show(&waiting.lines());
    } else {
        let lines = waiting.lines();
        let shown = waiting.jobs.iter_mut().filter(|job| !job.left_out);
        for (job, line) in shown.zip(lines.lines()) {
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
        let Some(status) = job.status.clone().filter(|_| job.verdict.is_none()) else { continue };
        let mut lines = cause::describe_new_causes(context, &status.tasks, &mut job.told).await;
        let is_due = |since: Instant| match job.looked_at {
            Some(looked_at) => looked_at.elapsed() >= PENDING_LOOK,
            None => since.elapsed() >= PENDING_PATIENCE,
        };
        if job.pending_since.is_some_and(is_due) {
            lines.extend(pending_anew(context, job).await);
            job.looked_at = Some(Instant::now());
        }
        for line in lines {
            progress.say(&format!("  {}: {line}", job.key));
        }
    }
}

/// Why instances are pending, as far as it was not told yet.
async fn pending_anew(context: &mut Context, job: &mut Job) -> Vec<String> {
    let reasons = pending(context, job).await;
    reasons.into_iter().filter(|reason| job.told.insert(without_figures(reason))).collect()
}

/// Why instances are pending.
pub async fn pending(context: &mut Context, job: &Job) -> Vec<String> {
    let request = v1::WhyRequest { key: Some(job.wire_key.clone()) };
    let call = async |client: &mut Client, request| client.jobs().why(request).await;
    let Ok(why) = context.scheduler.call(request, Repeat::Harmless, call).await else { return Vec::new() };
    // What waits out a backoff has failed, and its failure is told.
    let pending = why.classes.iter().filter(|class| class.state() == v1::TaskState::Pending);
    let reasons = pending.map(|class| match class.instances.len() {
        0 => render::safe(&class.summary),
        1 => format!("instance {}: {}", class.instances[0], render::safe(&class.summary)),
        _ => format!("instances {}: {}", render::instances(&class.instances), render::safe(&class.summary)),
    });
    reasons.collect()
}

/// The reason without "(most: node-2 with 0.46 cpus free)": what is free changes all the time, and is no news.
fn without_figures(reason: &str) -> String {
    let mut kept = String::new();
    let mut rest = reason;
    while let Some((before, after)) = rest.split_once(" (most: ") {
        kept += before;
        rest = after.split_once(')').map_or("", |(_, rest)| rest);
    }
    kept + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_free_is_no_part_of_a_reason() {
        let said = |free| format!("1 node has fewer than 2 cpus (most: node-2 with {free} free); 3 are cordoned");
        assert_eq!(without_figures(&said("0.46")), without_figures(&said("0.5")));
        assert_eq!(without_figures(&said("1")), "1 node has fewer than 2 cpus; 3 are cordoned");
    }
}
