//! What the kernel says: processes by environment, the groups they are in, and those groups' limits.
//! Works on control groups v1, v2 and hybrid alike, and knows nothing of how Dawn names its groups.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

const MOUNT: &str = "/sys/fs/cgroup";

/// A process of the kernel's table.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Process {
    pub pid: i32,
    pub command: String,
}

/// Every process but zombies.
pub fn processes() -> Vec<Process> {
    let entries = std::fs::read_dir("/proc").expect("/proc is mounted").flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let command = |pid: i32| {
        let text = String::from_utf8_lossy(&std::fs::read(format!("/proc/{pid}/cmdline")).ok()?).replace('\0', " ");
        (!text.is_empty()).then(|| Process { pid, command: text.trim_end().to_string() })
    };
    pids.filter_map(command).collect()
}

/// Processes whose environment holds this entry, `NAME=value`.
pub fn marked(entry: &str) -> Vec<Process> {
    processes().into_iter().filter(|process| environment(process.pid).iter().any(|other| other == entry)).collect()
}

/// A process's environment entries; empty once it is gone.
pub fn environment(pid: i32) -> Vec<String> {
    let bytes = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    bytes.split(|byte| *byte == 0).map(|entry| String::from_utf8_lossy(entry).into_owned()).collect()
}

/// A process's parent; None once it is gone.
pub fn parent(pid: i32) -> Option<i32> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

/// The directories of the groups a process is in, by controller; "" for v2.
pub fn groups(pid: i32) -> Vec<(String, PathBuf)> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
    let entries = text.lines().filter_map(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        Some((parts.next()?.to_string(), parts.next()?.trim_start_matches('/').to_string()))
    });
    let folder = |(controller, path): (String, String)| {
        let unified = Path::new(MOUNT).join("unified");
        let mount = match controller.as_str() {
            "" if unified.is_dir() => unified,
            "" => PathBuf::from(MOUNT),
            name => Path::new(MOUNT).join(name.trim_start_matches("name=")),
        };
        (controller, mount.join(path))
    };
    entries.map(folder).collect()
}

/// Limits as the kernel holds them; none: no limit, or no such group.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Limits {
    pub memory_bytes: Option<u64>,
    /// Of one cpu, by quota over period.
    pub cpu_quota_milli: Option<u64>,
    pub pids: Option<u64>,
}

/// What binds a process.
pub fn limits_of(pid: i32) -> Limits {
    let groups = groups(pid);
    let file = |controller: &str, name: &str| {
        let holds = |(own, _): &&(String, PathBuf)| own.split(',').any(|one| one == controller);
        let (_, folder) = groups.iter().find(holds)?;
        std::fs::read_to_string(folder.join(name)).ok()
    };
    let number = |text: Option<String>| text?.trim().parse::<u64>().ok();
    let quota_v1 = || {
        let quota = number(file("cpu", "cpu.cfs_quota_us"))?;
        Some(quota * 1000 / number(file("cpu", "cpu.cfs_period_us"))?)
    };
    let quota_v2 = || {
        let text = file("", "cpu.max")?;
        let (quota, period) = text.trim().split_once(' ')?;
        Some(quota.parse::<u64>().ok()? * 1000 / period.parse::<u64>().ok()?)
    };
    let no_limit = |bytes: &u64| *bytes < 1 << 60;
    Limits {
        memory_bytes: number(file("memory", "memory.limit_in_bytes").or_else(|| file("", "memory.max")))
            .filter(no_limit),
        cpu_quota_milli: quota_v1().or_else(quota_v2),
        pids: number(file("pids", "pids.max").or_else(|| file("", "pids.max"))),
    }
}

/// Every control group directory below one whose name starts with `prefix`, deepest first.
pub fn groups_named(prefix: &str) -> Vec<PathBuf> {
    let mounts = std::fs::read_dir(MOUNT).into_iter().flatten().flatten().map(|entry| entry.path());
    let tops = mounts.chain([PathBuf::from(MOUNT)]).flat_map(|mount| folders(&mount));
    let ours = |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(prefix));
    let mut found = Vec::new();
    for top in tops.filter(ours) {
        deepest_first(&top, &mut found);
    }
    found
}

fn folders(path: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
    entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).map(|entry| entry.path()).collect()
}

fn deepest_first(path: &Path, found: &mut Vec<PathBuf>) {
    for folder in folders(path) {
        deepest_first(&folder, found);
    }
    found.push(path.to_path_buf());
}

/// The value of a variable in a process's environment.
pub fn variable(pid: i32, name: &str) -> Option<String> {
    environment(pid).iter().find_map(|entry| entry.strip_prefix(name)?.strip_prefix('=').map(String::from))
}

/// The user a process runs as.
pub fn user_of(pid: i32) -> Option<String> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let ids = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    let effective = ids.split_whitespace().nth(1)?.parse().ok()?;
    Some(nix::unistd::User::from_uid(nix::unistd::Uid::from_raw(effective)).ok()??.name)
}

/// Bytes a process has handed to write calls so far.
pub fn written_bytes(pid: i32) -> u64 {
    let io = std::fs::read_to_string(format!("/proc/{pid}/io")).unwrap_or_default();
    io.lines().find_map(|line| line.strip_prefix("wchar: ")?.parse().ok()).unwrap_or(0)
}

/// Bytes on disk of the files below a directory.
pub fn usage(folder: &Path) -> u64 {
    files_below(folder)
        .iter()
        .filter_map(|path| std::fs::symlink_metadata(path).ok())
        .map(|file| file.blocks() * 512)
        .sum()
}

/// Every file below a directory, in any order.
pub fn files_below(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut files = Vec::new();
    for entry in entries {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => files.extend(files_below(&entry.path())),
            Ok(kind) if kind.is_file() => files.push(entry.path()),
            _ => {}
        }
    }
    files
}
