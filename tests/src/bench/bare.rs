//! The yardstick: a bare loop that makes a task's control groups, forks and execs /bin/true in them, waits and removes.

use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use super::Figure;

/// Limits as an agent writes them, by v1 controller.
const V1: [(&str, &[(&str, &str)]); 4] = [
    ("cpu", &[("cpu.shares", "102"), ("cpu.cfs_quota_us", "10000")]),
    ("memory", &[("memory.limit_in_bytes", "33554432")]),
    ("pids", &[("pids.max", "1024")]),
    ("freezer", &[]),
];
const V2: &[(&str, &str)] = &[("cpu.max", "10000 100000"), ("memory.max", "33554432"), ("pids.max", "1024")];
const MOUNT: &str = "/sys/fs/cgroup";

/// Runs the loop `count` times in this one process.
///
/// # Errors
/// What the kernel refused, with the path.
pub fn run(count: usize) -> io::Result<Figure> {
    let parent = format!("dawn-bench-{}", std::process::id());
    let begun = Instant::now();
    let mut result = Ok(());
    for number in 0..count {
        result = one(&parent, number);
        if result.is_err() {
            break;
        }
    }
    let took = begun.elapsed();
    for (folder, _) in groups(&parent) {
        let _ = std::fs::remove_dir(folder);
    }
    result?;
    Ok(Figure::rate("bare loop: make groups, fork, exec /bin/true, wait, remove", count, took))
}

/// The groups of one task below `path`, with the limits each gets.
pub(super) fn groups(path: &str) -> Vec<(PathBuf, &'static [(&'static str, &'static str)])> {
    let mount = Path::new(MOUNT);
    if mount.join("cgroup.controllers").exists() {
        return vec![(mount.join(path), V2)];
    }
    let v1 = V1.iter().map(|(controller, limits)| (mount.join(controller).join(path), *limits));
    let unified = mount.join("unified").is_dir().then(|| (mount.join("unified").join(path), &[] as &[_]));
    v1.chain(unified).collect()
}

fn one(parent: &str, number: usize) -> io::Result<()> {
    let groups = groups(&format!("{parent}/{number}"));
    for (folder, limits) in &groups {
        std::fs::create_dir_all(folder).map_err(|error| at(folder, error))?;
        for (file, value) in *limits {
            let path = folder.join(file);
            std::fs::write(&path, value).map_err(|error| at(&path, error))?;
        }
    }
    let folders: Vec<PathBuf> = groups.iter().map(|(folder, _)| folder.clone()).collect();
    let join = join(&folders);
    let mut command = Command::new("/bin/true");
    // SAFETY: the child only opens, writes and closes files by paths made before the fork.
    unsafe {
        command.pre_exec(move || join.iter().try_for_each(|path| std::fs::write(path, "0")));
    }
    let status = command.status()?;
    for (folder, _) in &groups {
        std::fs::remove_dir(folder).map_err(|error| at(folder, error))?;
    }
    if status.success() { Ok(()) } else { Err(io::Error::other(format!("/bin/true: {status}"))) }
}

/// The files by which a process joins the groups.
pub(super) fn join(groups: &[PathBuf]) -> Vec<PathBuf> {
    groups.iter().map(|folder| folder.join("cgroup.procs")).collect()
}

pub(super) fn at(path: &Path, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}
