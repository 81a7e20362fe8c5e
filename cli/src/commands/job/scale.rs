//! `dawn job scale` and `dawn job add`: another number of instances, at once.

use clap::Args;
use dawn_proto::v1;

use crate::args::Context;
use crate::client::{Client, Repeat};
use crate::commands::author;
use crate::commands::select::Selection;
use crate::exit::{Exit, Failure};
use crate::render::{self, json};

#[derive(Args)]
pub struct Scale {
    /// ROLE/ENV/NAME
    job: Selection,
    /// Number of instances
    instances: u32,
    /// Why, for the job's history
    #[arg(long, short, default_value = "")]
    message: String,
}

#[derive(Args)]
pub struct Add {
    /// ROLE/ENV/NAME
    job: Selection,
    /// Number of instances to add
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    count: u32,
    /// Why, for the job's history
    #[arg(long, short, default_value = "")]
    message: String,
}

pub async fn run(args: Scale, context: &mut Context) -> Result<Exit, Failure> {
    let instances = Some(args.instances);
    send(context, &args.job, v1::ScaleJobRequest { instances, message: args.message, ..Default::default() }).await
}

pub async fn add(args: Add, context: &mut Context) -> Result<Exit, Failure> {
    let request = v1::ScaleJobRequest { add: args.count, message: args.message, ..Default::default() };
    send(context, &args.job, request).await
}

async fn send(context: &mut Context, job: &Selection, request: v1::ScaleJobRequest) -> Result<Exit, Failure> {
    let repeat = if request.add > 0 { Repeat::Never } else { Repeat::Harmless };
    let request = v1::ScaleJobRequest { key: Some((&job.key).into()), author: author(), ..request };
    let call = async |client: &mut Client, request| client.updates().scale_job(request).await;
    let scaled = context.scheduler.call(request, repeat, call).await?;
    if context.out.json {
        let fields = serde_json::json!({
            "job": job.key.to_string(), "instances": scaled.instances, "version": scaled.version, "index": scaled.index,
        });
        context.out.value(&json::object(fields));
    } else {
        let count = render::count(scaled.instances, "instance");
        context.out.line(&format!("{}: {count} (version {})", job.key, scaled.version));
    }
    Ok(Exit::Done)
}
