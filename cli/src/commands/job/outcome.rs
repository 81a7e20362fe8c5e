//! What is said of jobs whose wait is over: where each ended up, why it failed, and the one command that leads on.

use std::collections::BTreeMap;

use dawn_proto::v1::{self, JobKind, Reason};

use super::cause;
use super::watch::{Job, pending};
use crate::args::Context;
use crate::exit::Exit;
use crate::render::{self, failure, time};

/// Addresses that are shown of one job.
const MOST_ADDRESSES: usize = 10;

/// What to type next, of jobs that are left as they are.
pub fn describe_unfinished(jobs: &[Job], what: &str) {
    eprintln!("dawn: {what}");
    for job in jobs.iter().filter(|job| job.verdict.is_none()) {
        eprintln!("  look:  dawn job status {0}\n  stop:  dawn job kill {0}", job.key);
    }
}

/// Where each job ended up: addresses of a service, what failed, the next run.
pub async fn describe_finished(context: &mut Context, jobs: &mut [Job]) {
    if context.out.json {
        return;
    }
    for job in jobs.iter_mut().filter(|job| !job.left_out) {
        let Some(status) = job.status.clone() else { continue };
        if job.verdict == Some(Exit::Failed) {
            failed(context, job, &status).await;
        } else {
            went_well(context, job, &status);
        }
    }
    let good: Vec<&str> = jobs.iter().filter(|job| job.verdict == Some(Exit::Done)).map(|job| &*job.key).collect();
    match good[..] {
        [] => {}
        [key] => context.out.line(&format!("  look:  dawn job status {key}")),
        // They may have nothing in common but that they are there.
        _ if good.len() == jobs.len() => context.out.line("  look:  dawn job list --all"),
        _ => {}
    }
}

fn went_well(context: &Context, job: &Job, status: &v1::JobStatus) {
    if let Some(cron) = &status.cron {
        let next = crate::commands::cron::next_run(cron, time::now_ms());
        return context.out.line(&format!("{}: next run {next}", job.key));
    }
    let addresses: BTreeMap<u32, String> = status.tasks.iter().filter_map(address).collect();
    for (instance, address) in addresses.iter().take(MOST_ADDRESSES) {
        context.out.line(&format!("{}/{instance}: {address}", job.key));
    }
    if addresses.len() > MOST_ADDRESSES {
        let left = addresses.len() - MOST_ADDRESSES;
        context.out.line(&format!("… and {left} more; `dawn job endpoints {}` lists them", job.key));
    }
}

async fn failed(context: &mut Context, job: &mut Job, status: &v1::JobStatus) {
    let failures = cause::newest_of_each_cause(&status.tasks);
    let newest = failures.first().map(|(_, failure)| failure.clone());
    let why = match (&job.why, &newest) {
        (why, Some(newest)) if why.is_empty() => failure::cause(newest),
        (why, Some(newest)) => format!("{why}: {}", failure::cause(newest)),
        (why, None) => why.clone(),
    };
    let colon = if why.is_empty() { "" } else { ": " };
    context.out.line(&format!("{}: failed{colon}{why}", job.key));
    let mut lines = cause::describe_new_causes(context, &status.tasks, &mut job.told).await;
    let summary = status.summary.clone().unwrap_or_default();
    if !summary.ended && summary.pending > 0 {
        lines.extend(pending(context, job).await);
    }
    for line in lines {
        context.out.line(&format!("  {line}"));
    }
    if !summary.ended && summary.kind() != JobKind::Batch {
        context.out.line(
            "  The job goes on trying, and nothing was stopped; `dawn job run` with a corrected file replaces it.",
        );
    }
    context.out.line(&format!("  look:  {}", leads_on(&job.key, &summary, newest.as_ref())));
}

/// The command that says more than what was said: the whole log where a process ran, else where the job stands.
fn leads_on(key: &str, summary: &v1::JobSummary, newest: Option<&v1::TaskFailure>) -> String {
    use Reason::{DiskLimit, Exited, HealthCheck, MaxRunTime, OutOfMemory, Signaled};
    let ran = [Exited, Signaled, OutOfMemory, DiskLimit, HealthCheck, MaxRunTime];
    match newest {
        Some(newest) if ran.contains(&newest.reason()) => format!("dawn job logs {key}"),
        None if summary.pending > 0 => format!("dawn job why {key}"),
        _ => format!("dawn job status {key}"),
    }
}

/// Where a running task with ports is reached.
fn address(task: &v1::Task) -> Option<(u32, String)> {
    let running = task.state() == v1::TaskState::Running && !task.ports.is_empty();
    running.then(|| (task.instance, format!("{} {}", render::safe(&task.hostname), render::ports(&task.ports))))
}
