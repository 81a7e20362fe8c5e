//! `dawn admin brake release`: tasks of silent nodes are replaced for a while, however many nodes are silent.

use std::time::Duration;

use clap::{Args, Subcommand};
use dawn_proto::v1;
use serde_json::json;

use crate::args::{self, Context};
use crate::client::{Client, Repeat};
use crate::commands::asking::agreed;
use crate::commands::author;
use crate::commands::node::will_be_replaced;
use crate::exit::{Exit, Failure};
use crate::render::{json, time};

#[derive(Subcommand)]
pub enum Brake {
    /// Have the tasks of silent nodes replaced for a while, however many nodes are silent
    Release(Release),
}

#[derive(Args)]
pub struct Release {
    /// For how long, at most 24h; then the brake works again by itself
    #[arg(long = "for", value_name = "DURATION", value_parser = args::duration)]
    time: Duration,
    /// Don't ask before tasks are replaced; needed where there is no terminal to ask on
    #[arg(long, short)]
    yes: bool,
}

pub async fn run(brake: Brake, context: &mut Context) -> Result<Exit, Failure> {
    match brake {
        Brake::Release(release) => self::release(release, context).await,
    }
}

async fn release(args: Release, context: &mut Context) -> Result<Exit, Failure> {
    let for_ms = u64::try_from(args.time.as_millis()).unwrap_or(u64::MAX);
    let call = async |client: &mut Client, request| client.admin().release_brake(request).await;
    let mut request = v1::ReleaseBrakeRequest { for_ms, author: author(), preview: true };
    let before = context.scheduler.call(request.clone(), Repeat::Harmless, call).await?;
    let words = will_be_replaced(&before.replaced.unwrap_or_default());
    let span = time::span(i64::try_from(for_ms).unwrap_or(i64::MAX));
    if !agreed(&format!("Release the brake for {span}? Then {words}."), args.yes)? {
        eprintln!("dawn: nothing was done");
        return Ok(Exit::Failed);
    }
    request.preview = false;
    let done = context.scheduler.call(request, Repeat::Harmless, call).await?;
    let replaced = done.replaced.unwrap_or_default();
    if context.out.json {
        let fields = json!({
            "until": time::rfc3339(done.until_ms), "tasks": replaced.tasks, "waiting": replaced.waiting,
            "wait_ms": replaced.wait_ms, "index": done.index,
        });
        context.out.value(&json::object(fields));
    } else {
        let until = time::local(done.until_ms);
        context.out.line(&format!("the brake is released until {until}; {}", will_be_replaced(&replaced)));
    }
    Ok(Exit::Done)
}
