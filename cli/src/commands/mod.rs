//! The client's commands, one noun each.

pub mod admin;
mod asking;
pub mod config;
pub mod cron;
pub mod job;
mod keeping;
mod leader;
pub mod node;
pub mod quota;
pub mod scheduler;
mod select;
pub mod similar;
pub mod task;
pub mod top;
pub mod update;
pub mod version;

/// Who asks, for a job's history: the user's name on this machine.
fn author() -> String {
    let by_id = nix::unistd::User::from_uid(nix::unistd::getuid()).ok().flatten().map(|user| user.name);
    by_id.or_else(|| std::env::var("USER").ok()).unwrap_or_else(|| "unknown".to_string())
}
