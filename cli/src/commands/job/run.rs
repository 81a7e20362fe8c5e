//! `dawn job run`: submits the jobs of files and waits until they are where they should be.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::Args;
use dawn_proto::v1::{self, JobKind, JobSpec, SubmitOutcome};

use super::watch::{self, Waiting};
use crate::args::Context;
use crate::client::{Client, Repeat};
use crate::commands::author;
use crate::exit::{Exit, Failure};
use crate::render::{self, json, time};
use crate::spec;

#[derive(Args)]
pub struct Run {
    /// Job files (YAML or JSON); - is standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Submit and don't wait
    #[arg(long)]
    detach: bool,
    /// Why, for the job's history
    #[arg(long, short, default_value = "")]
    message: String,
}

pub async fn run(args: Run, context: &mut Context) -> Result<Exit, Failure> {
    let specs = load(&args.files)?;
    let mut submitted = Vec::new();
    for spec in specs {
        let response = submit(context, spec.clone(), &args.message).await?;
        announce(context, &spec, &response);
        submitted.push((spec, response));
    }
    let mut waiting = Waiting::new(&submitted);
    let interrupted = async { _ = tokio::signal::ctrl_c().await };
    let exit = if args.detach { Exit::Done } else { watch::until_there(context, &mut waiting, interrupted).await? };
    if context.out.json {
        context.out.value(&json::object(result(&submitted, &waiting, exit)));
    }
    Ok(exit)
}

/// The jobs of all files, each key once; nothing is submitted when one file is wrong.
pub fn load(files: &[PathBuf]) -> Result<Vec<JobSpec>, Failure> {
    let mut specs = Vec::new();
    let mut wrong = Vec::new();
    let mut seen: BTreeMap<String, &PathBuf> = BTreeMap::new();
    for file in files {
        match spec::load(file, time::now_ms()) {
            Ok(more) => {
                for spec in more {
                    let key = render::key(spec.key.as_ref());
                    if let Some(first) = seen.insert(key.clone(), file) {
                        wrong.push(format!("{}: {key} is in {} too", file.display(), first.display()));
                    }
                    specs.push(spec);
                }
            }
            Err(error) => wrong.push(crate::exit::chain(&error)),
        }
    }
    match wrong.is_empty() {
        true => Ok(specs),
        false => Err(Failure::new(Exit::Usage, wrong.join("\n")).hint("nothing was submitted")),
    }
}

pub async fn submit(context: &mut Context, spec: JobSpec, message: &str) -> Result<v1::SubmitJobResponse, Failure> {
    let request = v1::SubmitJobRequest { spec: Some(spec), author: author(), message: message.to_string() };
    let call = async |client: &mut Client, request| client.submit_job(request).await;
    context.scheduler.call(request, Repeat::Harmless, call).await
}

fn outcome(response: &v1::SubmitJobResponse) -> &'static str {
    match response.outcome() {
        SubmitOutcome::Unspecified => "submitted",
        SubmitOutcome::Created => "created",
        SubmitOutcome::Unchanged => "unchanged",
        SubmitOutcome::Scaled => "scaled",
        SubmitOutcome::Replaced => "replaced",
    }
}

fn announce(context: &Context, spec: &JobSpec, response: &v1::SubmitJobResponse) {
    let key = render::key(spec.key.as_ref());
    for warning in &response.warnings {
        eprintln!("dawn: warning: {key}: {}", render::safe(warning));
    }
    if context.out.json {
        return;
    }
    let amount = match spec.kind() {
        JobKind::Cron => format!("cron {}", spec.cron.as_ref().map_or("", |cron| &cron.schedule)),
        kind => format!("{}, {}", render::kind(kind), render::count(spec.instances, "instance")),
    };
    context.out.line(&format!("{key}: {} (version {}, {amount})", outcome(response), response.version));
}

fn result(submitted: &[(JobSpec, v1::SubmitJobResponse)], waiting: &Waiting, exit: Exit) -> serde_json::Value {
    let jobs = submitted.iter().map(|(spec, response)| {
        let key = render::key(spec.key.as_ref());
        let status = waiting.status(&key).map(json::status);
        serde_json::json!({
            "job": key, "version": response.version, "outcome": outcome(response),
            "warnings": response.warnings, "index": response.index, "status": status,
        })
    });
    serde_json::json!({ "jobs": jobs.collect::<Vec<_>>(), "exit": exit as i32 })
}
