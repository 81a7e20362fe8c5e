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

use std::time::Duration;

use crate::exit::{Exit, Failure};
use crate::render::time;

/// Ends what would go on for ever when `--timeout` is over.
async fn until_timeout(
    timeout: Option<Duration>,
    endless: impl Future<Output = Result<Exit, Failure>>,
) -> Result<Exit, Failure> {
    let Some(timeout) = timeout else { return endless.await };
    tokio::time::timeout(timeout, endless).await.unwrap_or_else(|_| {
        let waited = time::span(i64::try_from(timeout.as_millis()).unwrap_or(i64::MAX));
        Err(Failure::new(Exit::Waited, format!("stopped after {waited}, as --timeout says")))
    })
}

/// Who asks, for a job's history: the user's name on this machine.
fn author() -> String {
    let by_id = nix::unistd::User::from_uid(nix::unistd::getuid()).ok().flatten().map(|user| user.name);
    by_id.or_else(|| std::env::var("USER").ok()).unwrap_or_else(|| "unknown".to_string())
}
