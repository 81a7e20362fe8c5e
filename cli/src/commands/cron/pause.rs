//! `dawn cron pause` and `resume`.

use dawn_proto::v1;

use crate::args::Context;
use crate::client::{Client, Repeat};
use crate::commands::author;
use crate::commands::job::status;
use crate::commands::select::Selection;
use crate::exit::{Exit, Failure};
use crate::render::{json, time};

pub async fn pause(job: &Selection, context: &mut Context) -> Result<Exit, Failure> {
    let was_paused = paused(context, job).await;
    let request = v1::PauseCronRequest { key: Some((&job.key).into()), author: author() };
    let call = async |client: &mut Client, request| client.cron().pause_cron(request).await;
    let done = context.scheduler.call(request, Repeat::Harmless, call).await?;
    if context.out.json {
        let fields = serde_json::json!({ "job": job.key.to_string(), "index": done.index });
        context.out.value(&json::object(fields));
    } else {
        let already = if was_paused { "was paused already" } else { "paused" };
        context.out.line(&format!("{0}: {already}; `dawn cron resume {0}` lets it fire again", job.key));
    }
    Ok(Exit::Done)
}

/// Whether it is paused already. Where nobody can say it, the command itself finds that out.
async fn paused(context: &mut Context, job: &Selection) -> bool {
    let status = status::get(context, job).await.ok();
    status.and_then(|status| status.cron).is_some_and(|cron| cron.paused_ms > 0)
}

pub async fn resume(job: &Selection, context: &mut Context) -> Result<Exit, Failure> {
    let was_paused = paused(context, job).await;
    let request = v1::ResumeCronRequest { key: Some((&job.key).into()), author: author() };
    let call = async |client: &mut Client, request| client.cron().resume_cron(request).await;
    let done = context.scheduler.call(request, Repeat::Harmless, call).await?;
    if context.out.json {
        let next_at = time::rfc3339(done.next_ms);
        let fields = serde_json::json!({ "job": job.key.to_string(), "next_at": next_at, "index": done.index });
        context.out.value(&json::object(fields));
    } else {
        // Its zone and jitter are the job's own.
        let cron = status::get(context, job).await.ok().and_then(|status| status.cron);
        let next = match cron.filter(|cron| cron.paused_ms == 0) {
            Some(cron) => super::next_run(&v1::CronStatus { next_ms: done.next_ms, ..cron }, time::now_ms()),
            None => time::local(done.next_ms),
        };
        let resumed = if was_paused { "resumed" } else { "was not paused" };
        context.out.line(&format!("{}: {resumed}; next run {next}", job.key));
    }
    Ok(Exit::Done)
}
