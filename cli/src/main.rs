//! The `dawn` binary: the client, and by its own names the daemons.

#![warn(clippy::expect_used, clippy::unwrap_used)]

mod address;
mod args;
mod client;
mod commands;
mod daemon;
mod dev;
mod exit;
mod jobfile;
mod render;
mod spec;
mod tips;

#[cfg(test)]
mod hints;
#[cfg(test)]
mod placed;
#[cfg(test)]
mod typed;

use std::process::ExitCode;

use clap::Parser;

/// With this argument `dawn executor` starts executors, as the agent tells it.
const ZYGOTE: &str = "--zygote";

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next().is_some_and(|name| name == "executor") {
        let arguments: Vec<_> = arguments.collect();
        if arguments.first().is_some_and(|first| first == "--enter") {
            return daemon::enter(&arguments[1..]);
        }
        if arguments.first().is_some_and(|first| first == ZYGOTE) {
            return daemon::zygote(ZYGOTE);
        }
        let mut arguments = arguments.into_iter();
        return match (arguments.next(), arguments.next()) {
            (Some(plan), None) => daemon::executor(plan.as_ref()),
            _ => {
                eprintln!("dawn: `dawn executor PLAN` is started by the agent only");
                ExitCode::from(2)
            }
        };
    }
    if std::env::args_os().nth(1).is_some_and(|name| name == dawn_aurora::CHILD_COMMAND) {
        return dawn_aurora::child_main();
    }
    match args::Cli::try_parse() {
        Ok(cli) => ExitCode::from(args::run(cli) as u8),
        Err(error) => tips::added(error, std::env::args_os().skip(1).filter_map(|word| word.into_string().ok())).exit(),
    }
}
