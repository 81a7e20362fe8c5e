//! `dawn job revert`: an earlier version anew, as an update.

use clap::Args;
use dawn_proto::v1;

use super::diff;
use crate::args::Context;
use crate::client::{Client, Repeat};
use crate::commands::author;
use crate::commands::select::Selection;
use crate::commands::update::started;
use crate::exit::{Exit, Failure};

#[derive(Args)]
pub struct Revert {
    /// ROLE/ENV/NAME
    job: Selection,
    /// The version to go back to [default: the one before the current one]
    #[arg(long)]
    to: Option<u32>,
    /// Don't wait until the update has ended
    #[arg(long)]
    detach: bool,
    /// Why, for the job's history
    #[arg(long, short)]
    message: Option<String>,
}

pub async fn run(args: Revert, context: &mut Context) -> Result<Exit, Failure> {
    let key = v1::JobKey::from(&args.job.key);
    let now = diff::version(context, &key, 0).await?;
    let current = now.versions.iter().find(|version| version.current).map_or(0, |version| version.version);
    let before = now.versions.iter().rev().map(|version| version.version).find(|version| *version < current);
    let none = || Failure::new(Exit::Refused, format!("{} has no version before {current}", args.job.key));
    let to = args.to.or(before).ok_or_else(none)?;
    let spec = diff::version(context, &key, to).await?.spec;
    let message = args.message.unwrap_or_else(|| format!("revert to version {to}"));
    let request = v1::StartUpdateRequest { spec, instances: Vec::new(), author: author(), message };
    let call = async |client: &mut Client, request| client.updates().start_update(request).await;
    let response = context.scheduler.call(request, Repeat::Never, call).await?;
    started(context, &response, args.detach).await
}
