//! The `dawn` binary: the client, and by its own names the daemons.

mod args;
mod client;
mod commands;
mod exit;
mod render;
mod spec;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    ExitCode::from(args::run(args::Cli::parse()) as u8)
}
