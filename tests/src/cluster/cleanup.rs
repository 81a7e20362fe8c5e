//! Finding and removing everything a cluster brought into the kernel: processes by pid, control groups, nothing else.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::kernel::{self, Process};
use super::waiting::{self, Patience};

/// Processes of the cluster: in its groups, started with its directory, working in it, or carrying its name.
fn processes(name: &str, folder: &Path) -> Vec<Process> {
    processes_in(&own_prefix(name), folder, Some(&format!("={name}:")))
}

fn processes_in(groups: &str, folder: &Path, mark: Option<&str>) -> Vec<Process> {
    let inside: BTreeSet<i32> = kernel::groups_named(groups).iter().flat_map(|group| members(group)).collect();
    let folder = folder.to_string_lossy().into_owned();
    let tells = |entry: &String| entry.contains(&folder) || mark.is_some_and(|mark| entry.contains(mark));
    let ours = |process: &Process| {
        let pid = process.pid;
        let cwd = std::fs::read_link(format!("/proc/{pid}/cwd")).unwrap_or_default();
        inside.contains(&pid)
            || process.command.contains(&folder)
            || cwd.to_string_lossy().starts_with(&folder)
            || kernel::environment(pid).iter().any(tells)
    };
    kernel::processes().into_iter().filter(|process| process.pid != own_pid() && ours(process)).collect()
}

/// Cluster 1's groups must not match those of cluster 10.
fn own_prefix(name: &str) -> String {
    format!("{name}-")
}

fn own_pid() -> i32 {
    nix::unistd::getpid().as_raw()
}

fn is_of_task(group: &Path) -> bool {
    let number = group.file_name().and_then(|name| name.to_str()?.strip_prefix('t'));
    number.is_some_and(|number| number.parse::<u64>().is_ok())
}

fn members(group: &Path) -> Vec<i32> {
    let text = std::fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
    text.lines().filter_map(|line| line.parse().ok()).collect()
}

/// Whether only these processes are left, and no task's group.
///
/// # Errors
/// What is left beside them.
pub fn nothing_but(name: &str, folder: &Path, daemons: &[i32]) -> Result<(), String> {
    // What forks an agent's executors is part of the agent.
    let is_zygote = |process: &Process| {
        process.command.ends_with(" executor --zygote")
            && kernel::parent(process.pid).is_some_and(|parent| daemons.contains(&parent))
    };
    let is_left = |process: &Process| !daemons.contains(&process.pid) && !is_zygote(process);
    let left: Vec<Process> = processes(name, folder).into_iter().filter(is_left).collect();
    // Removed by the agent after the last process: one that is told to stop before leaves them to its next start.
    let mut groups = kernel::groups_named(&own_prefix(name));
    groups.retain(|group| is_of_task(group));
    if left.is_empty() && groups.is_empty() { Ok(()) } else { Err(format!("{left:?} {groups:?}")) }
}

/// Processes and groups of the cluster, in words.
pub fn leftovers(name: &str, folder: &Path) -> Vec<String> {
    let processes = processes(name, folder).into_iter().map(|process| format!("{process:?}"));
    let groups = kernel::groups_named(&own_prefix(name)).into_iter().map(|group| group.display().to_string());
    processes.chain(groups).collect()
}

/// Kills and removes everything of the cluster; answers with what could not be removed.
pub fn sweep(name: &str, folder: &Path) -> Vec<String> {
    let swept = waiting::until(Patience::STEP, || {
        for process in processes(name, folder) {
            let _ = kill(Pid::from_raw(process.pid), Signal::SIGCONT);
            let _ = kill(Pid::from_raw(process.pid), Signal::SIGKILL);
        }
        for group in kernel::groups_named(&own_prefix(name)) {
            thaw(&group);
            let _ = std::fs::remove_dir(&group);
        }
        let left = leftovers(name, folder);
        if left.is_empty() { Ok(()) } else { Err(left.join("\n")) }
    });
    swept.err().map(|left| left.lines().map(String::from).collect()).unwrap_or_default()
}

/// Kills every process of one agent: in its groups or started with its directory.
pub fn kill_all(group: &str, folder: &Path) {
    let gone = waiting::until(Patience::STEP, || {
        let left = processes_in(group, folder, None);
        for process in &left {
            let _ = kill(Pid::from_raw(process.pid), Signal::SIGKILL);
        }
        if left.is_empty() { Ok(()) } else { Err(format!("{left:?}")) }
    });
    gone.unwrap_or_else(|left| panic!("can't be killed: {left}"));
}

/// A frozen group's processes can't die.
fn thaw(group: &Path) {
    for (file, value) in [("freezer.state", "THAWED"), ("cgroup.freeze", "0")] {
        let path = group.join(file);
        if path.exists() {
            let _ = std::fs::write(path, value);
        }
    }
}

/// Panics of executors, as their own logs below the folder tell; those of directories removed meanwhile are gone.
pub fn panics_of_executors(folder: &Path) -> Vec<String> {
    // Beside the sandbox, in which a task may have a file of that name.
    let is_log = |path: &PathBuf| path.ends_with("executor.log") && path.parent().is_some_and(is_of_task);
    let mut panics = Vec::new();
    for path in kernel::files_below(folder).into_iter().filter(is_log) {
        let text = std::fs::read(&path).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines = text.lines().filter(|line| line.contains("panicked at")).take(3);
        panics.extend(lines.map(|line| format!("an executor panicked: {line} ({})", path.display())));
    }
    panics
}

#[cfg(test)]
mod tests;
