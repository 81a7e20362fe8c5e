//! `dawn update start`: one job of a file, all instances of it or some.

use std::path::PathBuf;

use clap::Args;
use dawn_proto::v1;

use super::{changes, wait_for};
use crate::args::Context;
use crate::client::{Client, Repeat};
use crate::commands::author;
use crate::commands::select::Selection;
use crate::exit::{Exit, Failure};
use crate::jobfile::{self, Reading};
use crate::render::{self, json};

#[derive(Args)]
pub struct Start {
    /// ROLE/ENV/NAME, or ROLE/ENV/NAME/0-3,7 for some instances
    job: Selection,
    /// The job file that has the job
    file: PathBuf,
    /// Don't wait until the update has ended
    #[arg(long)]
    detach: bool,
    /// Why, for the job's history
    #[arg(long, short, default_value = "")]
    message: String,
    #[command(flatten)]
    reading: Reading,
}

pub async fn run(args: Start, context: &mut Context) -> Result<Exit, Failure> {
    let specs = jobfile::load(&[args.file], &args.reading)?;
    let key = v1::JobKey::from(&args.job.key);
    let spec = specs.into_iter().find(|spec| spec.key.as_ref() == Some(&key));
    let missing = || Failure::new(Exit::Usage, format!("the file has no job {}", args.job.key));
    let spec = Some(spec.ok_or_else(missing)?);
    let request =
        v1::StartUpdateRequest { spec, instances: args.job.instances, author: author(), message: args.message };
    let call = async |client: &mut Client, request| client.updates().start_update(request).await;
    let response = context.scheduler.call(request, Repeat::Never, call).await?;
    started(context, &response, args.detach).await
}

/// Says what was started, and waits for its end unless told not to.
pub async fn started(context: &mut Context, response: &v1::StartUpdateResponse, detach: bool) -> Result<Exit, Failure> {
    let key = response.key.clone().unwrap_or_default();
    let name = render::key(Some(&key));
    for warning in response.warnings.iter().filter(|warning| !jobfile::was_noted(warning)) {
        eprintln!("dawn: warning: {name}: {}", render::safe(warning));
    }
    if !context.out.json {
        match response.number {
            0 => context.out.line(&format!("{name}: nothing to do; version {} is what there is", response.version)),
            number => context.out.line(&format!("{name}: update {number} to version {}", response.version)),
        }
        let lines = response.diff.as_ref().map(changes).unwrap_or_default();
        lines.iter().for_each(|line| context.out.line(&format!("  {line}")));
    }
    let exit = match response.number {
        0 => Exit::Done,
        _ if detach => Exit::Done,
        number => wait_for(context, &[(key, number)]).await?.exit,
    };
    if context.out.json {
        let diff = response.diff.clone().unwrap_or_default();
        let fields = serde_json::json!({
            "job": name, "version": response.version, "number": response.number,
            "changed": json::ranges(&diff.changed), "added": json::ranges(&diff.added),
            "removed": json::ranges(&diff.removed),
            "warnings": response.warnings, "index": response.index, "exit": exit as i32,
        });
        context.out.value(&json::object(fields));
    }
    Ok(exit)
}
