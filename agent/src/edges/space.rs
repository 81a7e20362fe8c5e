//! What is free on the disk that holds the sandboxes, asked again and again.

use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use tokio::sync::mpsc;
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

/// Tells what is free until the agent is gone, from a thread of its own: a disk that hangs holds up nothing else, and a pool
/// of threads that is asked ten times a second would never let one of its idle threads go.
///
/// # Errors
/// When there can be no thread.
pub fn watch(work_dir: PathBuf, events: mpsc::Sender<Event>) -> io::Result<()> {
    thread::Builder::new().name("free-space".into()).spawn(move || tell(&work_dir, &events)).map(drop)
}

fn tell(work_dir: &Path, events: &mpsc::Sender<Event>) {
    let mut is_noted = false;
    loop {
        thread::sleep(EVERY);
        match free(work_dir) {
            Ok(free) => {
                is_noted = false;
                // What it has no time for is told the next time.
                let told = events.try_send(Event::Machine(MachineEvent::Free(free)));
                if matches!(told, Err(mpsc::error::TrySendError::Closed(_))) {
                    return;
                }
            }
            Err(_) if events.is_closed() => return,
            Err(error) if !is_noted => {
                is_noted = true;
                warn!(%error, "can't find out what is free on the disk of {}", work_dir.display());
            }
            Err(_) => {}
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
