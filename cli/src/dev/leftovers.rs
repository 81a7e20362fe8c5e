//! Takes away what a cluster may leave when it is ended in the middle of something: processes, cgroups, mounts, files.
//! Only what carries this cluster's own group name or lies in its own directories is touched.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use dawn_proto::CpuShare;
use nix::mount::{MntFlags, umount2};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::time::{Instant, sleep};

use super::machine::hierarchies;

/// For killed processes to be gone.
const TIMEOUT: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(50);
/// How a mount that could not be removed is told.
const MOUNT: &str = "mount ";

/// Ends the processes of these directories, and removes their mounts and the group. Returns what could not be removed.
pub async fn remove(own: &[PathBuf], group: &str) -> Vec<String> {
    let mountinfo = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let groups: Vec<PathBuf> = hierarchies(&mountinfo).iter().map(|path| path.join(group)).collect();
    let deadline = Instant::now() + TIMEOUT;
    let mut left = Vec::new();
    groups.iter().flat_map(|group| tree(group)).for_each(|group| raise(&group));
    loop {
        left.clear();
        for pid in members(&groups).into_iter().chain(processes_of(own)) {
            _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            left.push(format!("process {pid}"));
        }
        for group in groups.iter().filter(|group| group.exists()) {
            if let Err(error) = remove_group(group) {
                left.push(format!("cgroup {}: {error}", group.display()));
            }
        }
        if left.is_empty() || Instant::now() >= deadline {
            break;
        }
        sleep(POLL).await;
    }
    for point in own.iter().flat_map(|directory| mounts_below(&mountinfo, directory)) {
        if let Err(error) = umount2(&point, MntFlags::MNT_DETACH) {
            left.push(format!("{MOUNT}{}: {error}", point.display()));
        }
    }
    left
}

/// Removes a folder with all in it, after what was in use there was removed but for `left`. Returns why it could not be.
pub fn remove_folder(folder: &Path, left: &[String]) -> Option<String> {
    // Never delete through a mount that is still there.
    if left.iter().any(|what| what.starts_with(MOUNT)) {
        return None;
    }
    let error = fs::remove_dir_all(folder).err().filter(|error| error.kind() != io::ErrorKind::NotFound)?;
    Some(format!("{}: {error}", folder.display()))
}

/// On a busy machine a group of tiny share gives what was killed in it no cpu to end with.
fn raise(group: &Path) {
    let share = CpuShare::raised();
    let files = [
        ("cpu.shares", share.shares.to_string()),
        ("cpu.cfs_quota_us", "-1".to_string()),
        ("cpu.weight", share.weight.to_string()),
        ("cpu.max", "max".to_string()),
    ];
    for (file, value) in files {
        // Opened, never made: most are not there.
        let file = fs::File::options().write(true).open(group.join(file));
        _ = file.and_then(|mut file| io::Write::write_all(&mut file, value.as_bytes()));
    }
}

/// The group and all groups in it, the innermost first.
fn tree(group: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let inner = fs::read_dir(group).into_iter().flatten().flatten();
    for entry in inner.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
        found.extend(tree(&entry.path()));
    }
    found.push(group.to_path_buf());
    found
}

fn members(groups: &[PathBuf]) -> Vec<i32> {
    let mut pids = Vec::new();
    for group in groups.iter().flat_map(|group| tree(group)) {
        let text = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
        pids.extend(text.lines().filter_map(|line| line.parse::<i32>().ok()).filter(|pid| *pid > 1));
    }
    pids.sort_unstable();
    pids.dedup();
    pids
}

fn remove_group(group: &Path) -> io::Result<()> {
    for path in tree(group) {
        match fs::remove_dir(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// Executors whose plan lies in one of the directories, and processes whose task has its sandbox there.
fn processes_of(own_directories: &[PathBuf]) -> Vec<i32> {
    let own = std::process::id();
    let pids = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let is_ours = |pid: &u32| *pid != own && own_directories.iter().any(|directory| belongs(*pid, directory));
    pids.filter(is_ours).filter_map(|pid| i32::try_from(pid).ok()).collect()
}

fn belongs(pid: u32, data_dir: &Path) -> bool {
    let parts = |name: &str| fs::read(format!("/proc/{pid}/{name}")).unwrap_or_default();
    let below = |text: &[u8]| {
        let path = Path::new(std::str::from_utf8(text).unwrap_or_default());
        path.starts_with(data_dir) && path != data_dir
    };
    let command = parts("cmdline");
    let mut words = command.split(|byte| *byte == 0);
    if words.nth(1) == Some(b"executor") && words.next().is_some_and(below) {
        return true;
    }
    let environment = parts("environ");
    let variables = || environment.split(|byte| *byte == 0);
    // A shell of somebody who looks around in the folder has no task's variables.
    variables().any(|variable| variable.starts_with(b"DAWN_TASK_ID="))
        && variables().any(|variable| variable.strip_prefix(b"HOME=").is_some_and(below))
}

/// Mount points in the folder, the innermost first.
fn mounts_below(mountinfo: &str, data_dir: &Path) -> Vec<PathBuf> {
    let points = mountinfo.lines().filter_map(|line| line.split(' ').nth(4)).map(PathBuf::from);
    let mut points: Vec<PathBuf> = points.filter(|point| point.starts_with(data_dir)).collect();
    points.sort();
    points.reverse();
    points
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    fn sleeper(dir: &Path, task: bool) -> std::process::Child {
        let mut command = Command::new("sleep");
        command.arg("600").stdin(Stdio::null()).current_dir(dir);
        if task {
            command.env("DAWN_TASK_ID", "t1").env("HOME", dir.join("sandbox"));
        }
        let child = command.spawn().unwrap();
        // The kernel shows the environment a moment after exec has let the parent go on.
        let deadline = std::time::Instant::now() + TIMEOUT;
        while fs::read(format!("/proc/{}/environ", child.id())).unwrap().is_empty() {
            assert!(std::time::Instant::now() < deadline, "{} shows no environment", child.id());
            std::thread::yield_now();
        }
        child
    }

    #[tokio::test]
    async fn a_tasks_process_is_ended_and_a_visitors_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let data_dir = dir.path().join("data");
        fs::create_dir(&data_dir).unwrap();
        let (mut ours, mut other) = (sleeper(&data_dir, true), sleeper(&data_dir, false));
        // A killed child stays a zombie, whose environment is empty, until it is waited for.
        let left = remove(std::slice::from_ref(&data_dir), "dawn-test-no-such-group").await;
        assert_eq!((left, remove_folder(&data_dir, &[])), (Vec::new(), None));
        let status = ours.wait().unwrap();
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(9));
        assert!(other.try_wait().unwrap().is_none(), "a process without a task's variables was ended");
        assert!(!data_dir.exists());
        other.kill().unwrap();
        other.wait().unwrap();
    }

    #[tokio::test]
    async fn a_task_in_a_directory_that_is_not_its_own_lives_on() {
        let dir = tempfile::tempdir().unwrap();
        let (own, other) = (dir.path().join("node-1"), dir.path().join("node-2"));
        fs::create_dir(&own).unwrap();
        fs::create_dir(&other).unwrap();
        let mut task = sleeper(&other, true);
        assert_eq!(remove(std::slice::from_ref(&own), "dawn-test-no-such-group").await, Vec::<String>::new());
        assert!(task.try_wait().unwrap().is_none(), "another agent's task was ended");
        assert!(own.exists());
        task.kill().unwrap();
        task.wait().unwrap();
    }

    #[test]
    fn nothing_is_deleted_through_a_mount_that_stays() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("x"), "x").unwrap();
        assert_eq!(remove_folder(dir.path(), &[format!("{MOUNT}/somewhere: busy")]), None);
        assert!(dir.path().join("x").exists());
    }

    #[test]
    fn inner_mounts_come_first() {
        let mountinfo =
            "1 0 0:1 / /d/a rw - tmpfs x rw\n2 1 0:2 / /d/a/b rw - tmpfs x rw\n3 1 0:3 / /dx rw - tmpfs x rw\n";
        assert_eq!(mounts_below(mountinfo, Path::new("/d")), [Path::new("/d/a/b"), Path::new("/d/a")]);
    }
}
