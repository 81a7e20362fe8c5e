//! `dawn cron pause` and `resume`.

use dawn_proto::v1;

use crate::args::Context;
use crate::client::{Client, Repeat};
use crate::commands::author;
use crate::commands::select::Selection;
use crate::exit::{Exit, Failure};
use crate::render::{json, time};

pub async fn pause(job: &Selection, context: &mut Context) -> Result<Exit, Failure> {
    let request = v1::PauseCronRequest { key: Some((&job.key).into()), author: author() };
    let call = async |client: &mut Client, request| client.batches().pause_cron(request).await;
    let done = context.scheduler.call(request, Repeat::Harmless, call).await?;
    if context.out.json {
        let fields = serde_json::json!({ "job": job.key.to_string(), "index": done.index });
        context.out.value(&json::object(fields));
    } else {
        context.out.line(&format!("{0}: paused; `dawn cron resume {0}` lets it fire again", job.key));
    }
    Ok(Exit::Done)
}

pub async fn resume(job: &Selection, context: &mut Context) -> Result<Exit, Failure> {
    let request = v1::ResumeCronRequest { key: Some((&job.key).into()), author: author() };
    let call = async |client: &mut Client, request| client.batches().resume_cron(request).await;
    let done = context.scheduler.call(request, Repeat::Harmless, call).await?;
    if context.out.json {
        let next_at = time::rfc3339(done.next_ms);
        let fields = serde_json::json!({ "job": job.key.to_string(), "next_at": next_at, "index": done.index });
        context.out.value(&json::object(fields));
    } else {
        context.out.line(&format!("{}: resumed; next run {}", job.key, time::local(done.next_ms)));
    }
    Ok(Exit::Done)
}
