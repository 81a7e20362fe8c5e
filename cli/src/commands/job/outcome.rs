//! What is said of jobs whose wait is over: where each ended up, why it failed, and the one command that leads on.

use std::collections::BTreeMap;

use dawn_proto::amounts::duration;
use dawn_proto::v1::{self, JobKind, Reason};

use super::cause;
use super::rollout::Rollout;
use super::wait::standing;
use super::watch::{Job, pending};
use crate::args::Context;
use crate::exit::Exit;
use crate::render::failure::{self, Cause};
use crate::render::{self, time};

/// Addresses that are shown of one job.
const MOST_ADDRESSES: usize = 10;

/// Jobs whose status is named of those that went well; more are in the list.
const MOST_NAMED: usize = 5;

/// That nobody waits any more: what has failed until then with its cause, and what to type next of each job that goes on.
pub fn describe_unfinished(jobs: &[Job], what: &str) -> Vec<String> {
    let mut lines = vec![format!("dawn: {what}")];
    for job in jobs.iter().filter(|job| !job.left_out) {
        match job.verdict {
            None => {
                lines.extend(cause::failed_so_far(&job.key, job.status.as_ref().map_or(&[], |status| &status.tasks)));
                lines.push(format!("  look:  dawn job status {0}\n  stop:  dawn job kill {0}", job.key));
            }
            Some(Exit::Failed) => {
                let status = job.status.clone().unwrap_or_default();
                if let Some(meanwhile) = &job.meanwhile {
                    lines.push(format!("  {}: {}", job.key, meanwhile.what));
                    lines.extend(meanwhile.ways_on.iter().map(|way| format!("  {way}")));
                    continue;
                }
                lines.push(format!("  {}", headline(job, &failure::causes(&status.tasks))));
                lines.push(format!("  look:  {}", leads_on(&job.key, &status)));
            }
            Some(_) => {}
        }
    }
    lines
}

/// Where the jobs that did not fail ended up, and how many failed where that was told of each before.
pub async fn describe_finished(context: &mut Context, jobs: &mut [Job]) {
    if context.out.json {
        return;
    }
    for job in jobs.iter_mut().filter(|job| !job.left_out && job.verdict == Some(Exit::Done)) {
        if let Some(status) = job.status.clone() {
            went_well(context, job, &status);
            // All are there, and some of them may fail again all the same.
            let failing = cause::failing(&status);
            let causes = cause::describe_new_causes(context, &failing, &mut job.told).await;
            causes.iter().for_each(|cause| context.out.line(&format!("  {cause}")));
            if let Some(line) = cause::failed_so_far(&job.key, &failing).filter(|_| causes.is_empty()) {
                context.out.line(line.trim_start());
            }
        }
    }
    let with = |exit| jobs.iter().filter(move |job| !job.left_out && job.verdict == Some(exit));
    let failed: Vec<&str> = with(Exit::Failed).map(|job| &*job.key).collect();
    if !failed.is_empty() && jobs.len() > 1 {
        context.out.line(&format!("{} of {} jobs failed: {}", failed.len(), jobs.len(), failed.join(", ")));
    } else if failed.is_empty() {
        for job in with(Exit::Done).take(MOST_NAMED) {
            context.out.line(&format!("  look:  dawn job status {}", job.key));
        }
        if with(Exit::Done).count() > MOST_NAMED {
            context.out.line("  look:  dawn job list --all");
        }
    }
}

fn went_well(context: &Context, job: &Job, status: &v1::JobStatus) {
    if let Some(cron) = &status.cron {
        let key = &job.key;
        context.out.line(&match crate::commands::cron::paused(cron, time::now_ms()) {
            Some(paused) => format!("{key}: {paused}, so it starts no run until `dawn cron resume {key}`"),
            None => format!("{key}: next run {}", crate::commands::cron::next_run(cron, time::now_ms())),
        });
        return;
    }
    let summary = status.summary.clone().unwrap_or_default();
    if summary.kind() == JobKind::Daemon && summary.instances == 0 {
        let key = &job.key;
        context.out.line(&format!("{key}: runs on no node, since none matches; `dawn job why {key}` says why"));
        return;
    }
    if let Some(watch) = job.rollout.as_ref().map(Rollout::watch).filter(|watch| !watch.is_zero()) {
        let watch = duration(u64::try_from(watch.as_millis()).unwrap_or(u64::MAX));
        context.out.line(&format!("{}: {}, healthy for {watch}", job.key, standing(status).text));
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

/// Why a job failed, with what its processes wrote last and the one command that leads on.
pub async fn describe_failed(context: &mut Context, job: &mut Job) -> Vec<String> {
    if let Some(meanwhile) = &job.meanwhile {
        let ways_on = meanwhile.ways_on.iter().map(|way| format!("  {way}"));
        return [format!("{}: {}", job.key, meanwhile.what)].into_iter().chain(ways_on).collect();
    }
    let status = job.status.clone().unwrap_or_default();
    let causes = failure::causes(&status.tasks);
    let mut lines = vec![headline(job, &causes)];
    let mut more = match causes.len() {
        // The headline has said the cause.
        0 | 1 => cause::describe_new_causes(context, &status.tasks, &mut job.told).await,
        _ => cause::describe_causes(context, &status.tasks, &mut job.told).await,
    };
    let summary = status.summary.clone().unwrap_or_default();
    if !summary.ended && summary.pending > 0 {
        more.extend(pending(context, job).await);
    }
    lines.extend(more.iter().map(|line| format!("  {line}")));
    if !summary.ended && summary.kind() != JobKind::Batch {
        lines.push(
            "  The job goes on trying, and nothing was stopped; `dawn job run` with a corrected file replaces it."
                .to_string(),
        );
    }
    lines.push(format!("  look:  {}", leads_on(&job.key, &status)));
    lines
}

/// "www/prod/web: failed: 2 of 3 instances failed: exit code 3"; of several causes, how many there are.
fn headline(job: &Job, causes: &[Cause]) -> String {
    let colon = if job.why.is_empty() { "" } else { ": " };
    let killed =
        job.status.as_ref().and_then(|status| status.summary.as_ref()).is_some_and(|one| one.result == "killed");
    let begin = format!("{}: {}{colon}{}", job.key, if killed { "killed" } else { "failed" }, job.why);
    match causes {
        [] => begin,
        [only] => format!("{begin}: {}", only.cause_with_node()),
        several => format!("{begin}, for {} reasons:", several.len()),
    }
}

/// The command that says more than what was said: the whole log where a process ran, else where the job stands.
fn leads_on(key: &str, status: &v1::JobStatus) -> String {
    use Reason::{DiskLimit, Exited, HealthCheck, MaxRunTime, OutOfMemory, Signaled};
    let ran = [Exited, Signaled, OutOfMemory, DiskLimit, HealthCheck, MaxRunTime];
    let summary = status.summary.clone().unwrap_or_default();
    match failure::causes(&status.tasks).first().map(|cause| cause.failure.reason()) {
        Some(reason) if ran.contains(&reason) => format!("dawn job logs {key}"),
        None if summary.pending > 0 => format!("dawn job why {key}"),
        _ => format!("dawn job status {key}"),
    }
}

/// Where a running task with ports is reached.
fn address(task: &v1::Task) -> Option<(u32, String)> {
    let running = task.state() == v1::TaskState::Running && !task.ports.is_empty();
    running.then(|| (task.instance, format!("{} {}", render::safe(&task.hostname), render::ports(&task.ports))))
}
