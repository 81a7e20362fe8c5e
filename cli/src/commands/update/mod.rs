//! `dawn update …`: services go from one version to another, run by the scheduler.

mod given_up;
mod show;
mod start;
mod wait;

use clap::{Args, Subcommand};
use dawn_proto::v1::{self, UpdateAction};

use super::author;
use super::select::Selection;
use crate::args::Context;
use crate::client::{Client, Repeat};
use crate::exit::{Exit, Failure};
use crate::render::json;

pub use given_up::{describe_given_up, given_up};
pub use show::{changes, ranges, short, stands};
pub use start::started;
pub use wait::{Waited, wait_for};

#[derive(Subcommand)]
pub enum Update {
    /// Start the update of a service or daemon job to what a job file says; `dawn job run` does the same for whole files
    Start(start::Start),
    /// Show how far a job's latest update is
    Status {
        /// ROLE/ENV/NAME
        job: Selection,
        /// The number of an earlier update; the latest where it is left out
        #[arg(long, default_value_t = 0, hide_default_value = true)]
        number: u32,
    },
    /// List the updates under way, or all kept ones of a job
    List {
        /// ROLE/ENV/NAME
        job: Option<Selection>,
    },
    /// Wait until a job's latest update has ended
    Wait {
        /// ROLE/ENV/NAME
        job: Selection,
    },
    /// Let no further instance change until it is resumed
    Pause(Told),
    /// Go on after a pause
    Resume(Told),
    /// End the update; instances stay as they are, each with one life: as long as a new set was not promoted, the old one stays
    Abort(Told),
    /// Go back to the version before
    Rollback(Told),
    /// Say that all is well, to an update that needs to hear it
    Pulse(Told),
    /// Let a canary, or a whole new set, take over
    Promote(Told),
}

#[derive(Args)]
pub struct Told {
    /// ROLE/ENV/NAME
    job: Selection,
    /// Why, for the update's history
    #[arg(long, short, default_value = "")]
    message: String,
}

pub async fn run(update: Update, context: &mut Context) -> Result<Exit, Failure> {
    match update {
        Update::Start(start) => start::run(start, context).await,
        Update::Status { job, number } => {
            let found = get(context, &(&job.key).into(), number).await?;
            print(context, &found);
            let causes = if context.out.json { String::new() } else { wait::causes(context, &(&job.key).into()).await };
            if !causes.is_empty() {
                context.out.write(format!("\nlast failures of the job\n{causes}").as_bytes());
            }
            Ok(Exit::Done)
        }
        Update::List { job } => show::list(job, context).await,
        Update::Wait { job } => wait::run(&job, context).await,
        Update::Pause(told) => tell(UpdateAction::Pause, told, context).await,
        Update::Resume(told) => tell(UpdateAction::Resume, told, context).await,
        Update::Abort(told) => tell(UpdateAction::Abort, told, context).await,
        Update::Rollback(told) => tell(UpdateAction::Rollback, told, context).await,
        Update::Pulse(told) => tell(UpdateAction::Pulse, told, context).await,
        Update::Promote(told) => tell(UpdateAction::Promote, told, context).await,
    }
}

pub async fn get(context: &mut Context, key: &v1::JobKey, number: u32) -> Result<v1::UpdateInfo, Failure> {
    let request = v1::GetUpdateRequest { key: Some(key.clone()), number };
    let call = async |client: &mut Client, request| client.updates().get_update(request).await;
    context.scheduler.call(request, Repeat::Harmless, call).await
}

fn print(context: &Context, update: &v1::UpdateInfo) {
    match context.out.json {
        true => context.out.value(&json::object(serde_json::json!({
            "update": json::update(update), "index": update.index,
        }))),
        false => context.out.write(show::text(update).as_bytes()),
    }
}

async fn tell(action: UpdateAction, told: Told, context: &mut Context) -> Result<Exit, Failure> {
    let key = v1::JobKey::from(&told.job.key);
    let request =
        v1::ControlUpdateRequest { key: Some(key), action: action.into(), author: author(), message: told.message };
    let call = async |client: &mut Client, request| client.updates().control_update(request).await;
    let update = context.scheduler.call(request, Repeat::Never, call).await?;
    match context.out.json {
        true => print(context, &update),
        false => {
            context.out.line(&short(&update));
            // To what it goes back.
            if let Some(told) = update.events.last().filter(|_| action == UpdateAction::Rollback) {
                context.out.line(&format!("  {}", crate::render::safe(&told.message)));
            }
        }
    }
    Ok(Exit::Done)
}
