//! `dawn task …`: reaching into one task, through the scheduler.

mod copy;
mod exec;
mod files;
mod forward;
mod logs;
mod stats;
mod target;
mod terminal;

use clap::Subcommand;

pub use stats::usage_json;
pub use terminal::{Screen, is_there};

use super::until_timeout;
use crate::args::Context;
use crate::exit::{Exit, Failure};

#[derive(Subcommand)]
pub enum Task {
    /// Print what a task's processes wrote
    Logs(logs::Logs),
    /// Run a command inside a task; its exit code becomes this one's
    Exec(exec::Exec),
    /// List files of a task's sandbox
    Ls(files::Ls),
    /// Print a file of a task's sandbox
    Cat(files::Cat),
    /// Copy files from a task's sandbox or into it
    Cp(copy::Cp),
    /// Show what a task uses
    Stats(stats::Stats),
    /// Make a port of a task reachable on this machine
    PortForward(forward::PortForward),
}

pub async fn run(task: Task, context: &mut Context) -> Result<Exit, Failure> {
    match task {
        Task::Logs(logs) => logs::run(logs, context).await,
        Task::Exec(exec) => exec::run(exec, context).await,
        Task::Ls(ls) => files::ls(ls, context).await,
        Task::Cat(cat) => files::cat(cat, context).await,
        Task::Cp(cp) => copy::run(cp, context).await,
        Task::Stats(stats) => {
            let timeout = context.timeout.filter(|_| stats.goes_on());
            until_timeout(timeout, stats::run(stats, context)).await
        }
        Task::PortForward(forward) => until_timeout(context.timeout, forward::run(forward, context)).await,
    }
}
