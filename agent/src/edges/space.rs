//! What is free on the disk that holds the sandboxes, asked again and again.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};
use tracing::warn;

use crate::model::{Event, Free, MachineEvent};

/// A disk takes some hundred mebibytes meanwhile.
const EVERY: Duration = Duration::from_millis(100);

/// What is free now.
///
/// # Errors
/// What the kernel answers.
pub fn free(work_dir: &Path) -> io::Result<Free> {
    let stat = rustix::fs::statvfs(work_dir)?;
    Ok(Free {
        bytes: stat.f_bavail.saturating_mul(stat.f_frsize),
        total_bytes: stat.f_blocks.saturating_mul(stat.f_frsize),
        files: stat.f_favail,
        total_files: stat.f_files,
    })
}

/// Tells what is free until the agent is gone. What it has no time for is told the next time.
pub async fn tell(work_dir: PathBuf, events: mpsc::Sender<Event>) {
    let mut turns = interval(EVERY);
    turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut is_noted = false;
    loop {
        turns.tick().await;
        let asked = work_dir.clone();
        // A disk that hangs holds up nothing else.
        match tokio::task::spawn_blocking(move || free(&asked)).await {
            Ok(Ok(free)) => {
                is_noted = false;
                if let Err(mpsc::error::TrySendError::Closed(_)) =
                    events.try_send(Event::Machine(MachineEvent::Free(free)))
                {
                    return;
                }
            }
            Ok(Err(error)) if !is_noted => {
                is_noted = true;
                warn!(%error, "can't find out what is free on the disk of {}", work_dir.display());
            }
            Ok(Err(_)) | Err(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_has_something_free() {
        let free = free(Path::new("/tmp")).unwrap();
        assert!(free.bytes > 0 && free.bytes <= free.total_bytes && free.files <= free.total_files, "{free:?}");
    }
}
