//! The `dawn` binary: the client, and by its own names the daemons.

mod args;
mod client;
mod commands;
// Not called yet: the commands that take such files come with their wiring.
#[allow(dead_code, unused_imports)]
mod config;
mod dev;
mod exit;
mod render;
mod spec;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    ExitCode::from(args::run(args::Cli::parse()) as u8)
}
