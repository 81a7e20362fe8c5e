//! `dawn job …`: submit jobs, look at them, stop them.

pub mod cause;
mod changed;
mod diff;
mod dispatch;
mod endpoints;
mod history;
mod inspect;
mod kill;
pub mod list;
pub mod logs;
mod meanwhile;
mod outcome;
mod plan;
mod restart;
mod revert;
mod rollout;
mod run;
mod scale;
mod sla;
pub mod status;
pub mod submit;
pub mod tasks;
mod unchecked;
pub mod wait;
pub mod watch;
mod way;
mod why;

use clap::Subcommand;

use crate::args::Context;
use crate::exit::{Exit, Failure};

#[derive(Subcommand)]
pub enum Job {
    /// Submit the jobs of a file and wait until they run (service), are done (batch) or are scheduled (cron)
    Run(run::Run),
    /// Say what submitting the jobs of a file would do, and do nothing
    Plan(plan::Plan),
    /// Show a job and where its instances stand
    Status(status::Status),
    /// List jobs
    List(list::List),
    /// Stop a job, or some instances of it
    Kill(kill::Kill),
    /// Print what a job's processes wrote
    Logs(logs::Logs),
    /// Say why instances of a job are pending
    Why(why::Why),
    /// Print what a job file or a submitted job says, with every default
    Inspect(inspect::Inspect),
    /// Run a template: makes a job of it with arguments and a payload
    Dispatch(dispatch::Dispatch),
    /// Show a job's versions and what became of its tasks
    History(history::History),
    /// Show what differs between two versions, or between the current one and a job file, and which instances that is about
    Diff(diff::Diff),
    /// Go back to an earlier version, as an update
    Revert(revert::Revert),
    /// Change the number of a service's instances; of fewer, those that run healthily live on
    Scale(scale::Scale),
    /// Add instances to a service; they take the numbers first of those that were taken away
    Add(scale::Add),
    /// Restart instances of a service or daemon job, as an update to the version they have
    Restart(restart::Restart),
    /// Show how well jobs do: times until they run, uptime, and what their SLA policy says
    Sla(sla::Sla),
    /// List where a job's healthy tasks listen, for load balancers and scripts
    Endpoints(endpoints::Endpoints),
}

pub async fn run(job: Job, context: &mut Context) -> Result<Exit, Failure> {
    match job {
        Job::Run(run) => run::run(run, context).await,
        Job::Plan(plan) => plan::run(plan, context).await,
        Job::Status(status) => status::run(status, context).await,
        Job::List(list) => list::run(list, context).await,
        Job::Kill(kill) => kill::run(kill, context).await,
        Job::Logs(logs) => logs::run(logs, context).await,
        Job::Why(why) => why::run(why, context).await,
        Job::Inspect(inspect) => inspect::run(inspect, context).await,
        Job::Dispatch(dispatch) => dispatch::run(dispatch, context).await,
        Job::History(history) => history::run(history, context).await,
        Job::Diff(diff) => diff::run(diff, context).await,
        Job::Revert(revert) => revert::run(revert, context).await,
        Job::Scale(scale) => scale::run(scale, context).await,
        Job::Add(add) => scale::add(add, context).await,
        Job::Restart(restart) => restart::run(restart, context).await,
        Job::Sla(sla) => sla::run(sla, context).await,
        Job::Endpoints(endpoints) => endpoints::run(endpoints, context).await,
    }
}
