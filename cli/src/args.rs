//! The command line: what there is, and whom it goes to. Not here: what the commands do.

use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use crate::address::{parse_address, parse_addresses};
use crate::client::Scheduler;
use crate::commands;
use crate::daemon;
use crate::exit::{Exit, Failure, HELP};
use crate::render::Out;
use crate::spec;

/// The answer to one request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

#[derive(Parser)]
#[command(
    name = "dawn",
    version,
    about = "Dawn runs jobs on a cluster of machines",
    after_help = HELP,
    max_term_width = 110
)]
pub struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// Heading of the options that every command has.
const GLOBAL: &str = "Global options";

#[derive(Args)]
struct Global {
    /// Schedulers to ask, in any order; the leader is found [default: DAWN_SCHEDULER of the environment, or 127.0.0.1:7070]
    #[arg(
        long,
        global = true,
        help_heading = GLOBAL,
        value_name = "HOST:PORT,…",
        value_delimiter = ',',
        value_parser = parse_address
    )]
    scheduler: Vec<String>,
    /// Print one JSON object instead of text
    #[arg(long, global = true, help_heading = GLOBAL)]
    json: bool,
    /// Print without colours
    #[arg(long, global = true, help_heading = GLOBAL)]
    no_color: bool,
    /// How long to wait for what is waited for, such as 90s or 5m [default: for ever; 5s for an answer, 15s while a leader is elected]
    #[arg(long, global = true, help_heading = GLOBAL, value_name = "DURATION", value_parser = duration)]
    timeout: Option<Duration>,
}

#[derive(Subcommand)]
enum Command {
    /// Submit jobs, look at them, stop them
    #[command(subcommand)]
    Job(commands::job::Job),
    /// Reach into a task: run a command in it, look at its files, what it uses, its ports
    #[command(subcommand)]
    Task(commands::task::Task),
    /// Show the tasks that use most, as it changes
    Top(commands::top::Top),
    /// Change services and daemon jobs to another version, and see how far that is
    #[command(subcommand)]
    Update(commands::update::Update),
    /// See and start jobs that run by the clock
    #[command(subcommand)]
    Cron(commands::cron::Cron),
    /// Look at job files without a scheduler
    #[command(subcommand)]
    Config(commands::config::Config),
    /// See the machines, take them out of use and back
    #[command(subcommand)]
    Node(commands::node::Node),
    /// Back up, restore and look into the cluster's journal
    #[command(subcommand)]
    Admin(commands::admin::Admin),
    /// See and set what roles may have
    #[command(subcommand)]
    Quota(commands::quota::Quota),
    /// Run a cluster on this machine, with the example jobs; Ctrl-C ends it
    Dev(crate::dev::Dev),
    /// Run a scheduler, or have one hand over
    Scheduler(daemon::Scheduler),
    /// Run an agent, the daemon on a machine that runs tasks
    Agent(daemon::Agent),
    /// Print the version of this program and of the scheduler
    Version,
    /// Print a completion script for a shell
    Completions {
        /// The shell that is to read it
        shell: clap_complete::Shell,
    },
}

impl Command {
    /// It looks at files and at this machine only.
    fn asks_nobody(&self) -> bool {
        matches!(self, Command::Config(_) | Command::Completions { .. } | Command::Dev(_))
    }
}

/// What every command has at hand.
pub struct Context {
    pub scheduler: Scheduler,
    pub out: Out,
    /// Of a wait; none: for ever.
    pub timeout: Option<Duration>,
}

pub fn duration(text: &str) -> Result<Duration, String> {
    spec::duration(text).map(Duration::from_millis)
}

/// A count that is not nothing.
pub fn at_least_one(text: &str) -> Result<u32, String> {
    text.parse().ok().filter(|count| *count > 0).ok_or_else(|| "write a whole number from 1 on".to_string())
}

/// Does what the command line asks.
pub fn run(cli: Cli) -> Exit {
    let Global { scheduler, json, no_color, timeout } = cli.global;
    let command = match cli.command {
        Command::Scheduler(args) if args.command.is_none() => return ended(daemon::scheduler(args)),
        Command::Agent(args) => return ended(parse_addresses(scheduler).and_then(|all| daemon::agent(args, all))),
        command => command,
    };
    let scheduler = match parse_addresses(scheduler) {
        Ok(addresses) => addresses,
        Err(_) if command.asks_nobody() => Vec::new(),
        Err(failure) => return ended(Err(failure)),
    };
    let request = timeout.map_or(REQUEST_TIMEOUT, |timeout| timeout.min(REQUEST_TIMEOUT));
    let scheduler = Scheduler::new(scheduler, request);
    let scheduler = match timeout {
        Some(timeout) => scheduler.within(timeout),
        None => scheduler,
    };
    let mut context = Context { scheduler, out: Out::stdout(json, no_color), timeout };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let done = match runtime {
        Ok(runtime) => runtime.block_on(answered(command, &mut context)),
        Err(error) => Err(Failure::new(Exit::Failed, format!("starting the runtime: {error}"))),
    };
    ended(done)
}

fn ended(done: Result<Exit, Failure>) -> Exit {
    done.unwrap_or_else(|failure| {
        eprintln!("{}", failure.said());
        failure.exit
    })
}

/// What the command line asks, with a context that is there already.
#[cfg(test)]
pub async fn run_in(cli: Cli, context: &mut Context) -> Result<Exit, Failure> {
    answered(cli.command, context).await
}

/// With what there is instead of what was not found.
async fn answered(command: Command, context: &mut Context) -> Result<Exit, Failure> {
    match dispatch(command, context).await {
        Err(failure) => Err(commands::similar::named(failure, context).await),
        done => done,
    }
}

async fn dispatch(command: Command, context: &mut Context) -> Result<Exit, Failure> {
    match command {
        Command::Job(job) => commands::job::run(job, context).await,
        Command::Task(task) => commands::task::run(task, context).await,
        Command::Top(top) => commands::top::run(top, context).await,
        Command::Update(update) => commands::update::run(update, context).await,
        Command::Cron(cron) => commands::cron::run(cron, context).await,
        Command::Config(config) => commands::config::run(config, context).await,
        Command::Node(node) => commands::node::run(node, context).await,
        Command::Quota(quota) => commands::quota::run(quota, context).await,
        Command::Admin(admin) => commands::admin::run(admin, context).await,
        Command::Scheduler(daemon::Scheduler { command: Some(command), .. }) => {
            commands::scheduler::run(command, context).await
        }
        Command::Dev(dev) => crate::dev::run(dev, context).await,
        Command::Scheduler(_) | Command::Agent(_) => {
            Err(Failure::new(Exit::Usage, "a daemon has a runtime of its own"))
        }
        Command::Version => commands::version::run(context).await,
        Command::Completions { shell } => {
            let mut script = Vec::new();
            let mut command = <Cli as clap::CommandFactory>::command();
            clap_complete::generate(shell, &mut command, "dawn", &mut script);
            context.out.write(&script);
            Ok(Exit::Done)
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn help_numbers_every_exit_code() {
        let help = Cli::command().render_help().to_string();
        for exit in [
            Exit::Done,
            Exit::Failed,
            Exit::Usage,
            Exit::NotFound,
            Exit::Refused,
            Exit::Unreachable,
            Exit::Waited,
            Exit::Findings,
            Exit::Deposed,
        ] {
            assert!(help.contains(&format!("\n  {}  ", exit as i32)), "{exit:?} is not in the help:\n{help}");
        }
    }
}
