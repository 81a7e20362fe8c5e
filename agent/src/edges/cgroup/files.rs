//! What both versions of cgroup do alike: listing, signalling and removing by the kernel's files.

use std::fs;
use std::io;
use std::path::Path;

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Pids of a group's processes.
pub const PROCS: &str = "cgroup.procs";

/// Does something to a group, if it is there, and to the groups inside it.
pub fn each_group(group: &Path, act: &mut impl FnMut(&Path)) {
    act(group);
    for inner in inner_groups(group).unwrap_or_default() {
        each_group(&inner, act);
    }
}

/// Sends SIGKILL to every listed process of a group and of the groups inside it. A group that is gone has none.
pub fn kill_listed(group: &Path) -> io::Result<()> {
    for inner in inner_groups(group)? {
        kill_listed(&inner)?;
    }
    let text = match fs::read_to_string(group.join(PROCS)) {
        Err(error) if is_gone(&error) => return Ok(()),
        text => text?,
    };
    for pid in text.lines().filter_map(|line| line.trim().parse::<i32>().ok()).filter(|pid| *pid > 0) {
        match kill(Pid::from_raw(pid), Signal::SIGKILL) {
            Ok(()) | Err(Errno::ESRCH) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Removes a group and those inside it, deepest first. `rmdir` alone: the kernel refuses while processes are in it.
pub fn remove_groups(group: &Path) -> io::Result<()> {
    // Few have others inside: without, this is all.
    if remove_group(group).is_ok() {
        return Ok(());
    }
    for inner in inner_groups(group)? {
        remove_groups(&inner)?;
    }
    remove_group(group)
}

fn remove_group(group: &Path) -> io::Result<()> {
    match fs::remove_dir(group) {
        Err(error) if is_gone(&error) => Ok(()),
        other => other,
    }
}

fn inner_groups(group: &Path) -> io::Result<Vec<std::path::PathBuf>> {
    let listing = match fs::read_dir(group) {
        Err(error) if is_gone(&error) => return Ok(Vec::new()),
        listing => listing?,
    };
    let directories = listing.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    Ok(directories.map(|entry| entry.path()).collect())
}

/// Reading a group that is being removed answers ENODEV.
fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(Errno::ENODEV as i32)
}
