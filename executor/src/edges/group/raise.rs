//! Raises groups whose processes are being killed, and lowers them again. On a machine where every cpu is taken, a group of
//! tiny share gets none for seconds, one at its quota waits for the next period, and one that is held to few bytes of
//! disk io waits for them: what was killed there doesn't end, and keeps its memory.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use dawn_proto::CpuShare;

use super::MAX_DEPTH;

const IDLE: &str = "cpu.idle";
const SHARES: &str = "cpu.shares";
const QUOTA: &str = "cpu.cfs_quota_us";
const WEIGHT: &str = "cpu.weight";
const MAX: &str = "cpu.max";
const IO_MAX: &str = "io.max";
/// Version 1, a line "MAJOR:MINOR LIMIT" for each device.
const THROTTLES: [&str; 4] = [
    "blkio.throttle.read_bps_device",
    "blkio.throttle.write_bps_device",
    "blkio.throttle.read_iops_device",
    "blkio.throttle.write_iops_device",
];

/// What was there before: a file and the line that sets it again.
pub type Lifted = (PathBuf, String);

/// Raises the cpu part of a group and of those inside it.
pub fn raise_cpu(dir: &Path) {
    let wanted = CpuShare::raised();
    raise_alone(dir, wanted);
    each_inside(dir, MAX_DEPTH, &mut |inner| raise_alone(inner, wanted));
}

fn raise_alone(dir: &Path, wanted: CpuShare) {
    for (file, least) in [(SHARES, wanted.shares), (WEIGHT, wanted.weight)] {
        let path = dir.join(file);
        let Some(present) = number(&path) else { continue };
        // An idle group has no weight that could be set.
        if number(&dir.join(IDLE)).is_some_and(|idle| idle != 0) {
            put(&dir.join(IDLE), "0");
            put(&path, &least.to_string());
        } else if present < least {
            put(&path, &least.to_string());
        }
        set_quota(dir, None);
    }
}

/// Gives a group back what a task of this demand has.
pub fn lower_cpu(dir: &Path, cpu_milli: u64) {
    let wanted = CpuShare::of(cpu_milli);
    for (file, value) in [(SHARES, wanted.shares), (WEIGHT, wanted.weight)] {
        let path = dir.join(file);
        if path.exists() {
            put(&path, &value.to_string());
            set_quota(dir, wanted.quota_us);
        }
    }
}

fn set_quota(dir: &Path, quota_us: Option<i64>) {
    let v2 = quota_us.map_or_else(|| "max".to_string(), |quota| quota.to_string());
    for (file, value) in [(QUOTA, quota_us.unwrap_or(-1).to_string()), (MAX, v2)] {
        let path = dir.join(file);
        let present = fs::read_to_string(&path).unwrap_or_default();
        // A quota is set under a lock of the whole machine: only when it is another.
        if present.split_whitespace().next().is_some_and(|present| present != value) {
            put(&path, &value);
        }
    }
}

/// Takes a group's limits of disk io away. Returns what sets them again.
pub fn lift_io(dir: &Path) -> Vec<Lifted> {
    let mut lifted = Vec::new();
    for file in THROTTLES.into_iter().chain([IO_MAX]) {
        let path = dir.join(file);
        for line in fs::read_to_string(&path).unwrap_or_default().lines() {
            let Some((device, limits)) = line.split_once(' ') else { continue };
            let none = match file {
                IO_MAX if limits.split(' ').any(|limit| !limit.ends_with("=max")) => {
                    format!("{device} rbps=max wbps=max riops=max wiops=max")
                }
                IO_MAX => continue,
                _ => format!("{device} 0"),
            };
            put(&path, &none);
            lifted.push((path.clone(), line.to_string()));
        }
    }
    lifted
}

/// Sets again what [`lift_io`] took away.
pub fn set_again(lifted: &[Lifted]) {
    lifted.iter().for_each(|(path, line)| put(path, line));
}

fn number(path: &Path) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// Opened, never made; a group that is gone, or a kernel that refuses, leaves a kill slower and not undone.
fn put(path: &Path, value: &str) {
    let file = File::options().write(true).truncate(true).open(path);
    let _ = file.and_then(|mut file| file.write_all(value.as_bytes()));
}

fn each_inside(dir: &Path, depth: usize, act: &mut impl FnMut(&Path)) {
    // A directory's link count tells whether it holds others.
    let has_others = fs::metadata(dir).is_ok_and(|meta| std::os::unix::fs::MetadataExt::nlink(&meta) > 2);
    if depth == 0 || !has_others {
        return;
    }
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            act(&entry.path());
            each_inside(&entry.path(), depth - 1, act);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(files: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        files.iter().for_each(|(file, text)| fs::write(dir.path().join(file), text).unwrap());
        dir
    }

    fn read(dir: &tempfile::TempDir, file: &str) -> String {
        fs::read_to_string(dir.path().join(file)).unwrap().trim().to_string()
    }

    #[test]
    fn both_versions_are_raised_and_lowered_to_what_the_task_asked_for() {
        let v1 = with(&[(SHARES, "2\n"), (QUOTA, "1000\n"), (IDLE, "1\n")]);
        raise_cpu(v1.path());
        assert_eq!((read(&v1, SHARES), read(&v1, QUOTA), read(&v1, IDLE)), ("20480".into(), "-1".into(), "0".into()));
        lower_cpu(v1.path(), 2);
        assert_eq!((read(&v1, SHARES), read(&v1, QUOTA)), ("2".into(), "1000".into()));
        let v2 = with(&[(WEIGHT, "1\n"), (MAX, "1000 100000\n")]);
        raise_cpu(v2.path());
        assert_eq!((read(&v2, WEIGHT), read(&v2, MAX)), ("2000".into(), "max".into()));
        lower_cpu(v2.path(), 0);
        assert_eq!((read(&v2, WEIGHT), read(&v2, MAX)), ("100".into(), "max".into()));
    }

    #[test]
    fn a_larger_share_stays_and_groups_inside_are_raised_too() {
        let dir = with(&[(SHARES, "99999")]);
        fs::create_dir(dir.path().join("inner")).unwrap();
        fs::write(dir.path().join("inner").join(SHARES), "2").unwrap();
        raise_cpu(dir.path());
        assert_eq!(read(&dir, SHARES), "99999");
        assert_eq!(read(&dir, "inner/cpu.shares"), "20480");
        assert!(!dir.path().join(QUOTA).exists(), "what is not there is not made");
    }

    #[test]
    fn limits_of_disk_io_are_lifted_and_set_again() {
        let dir = with(&[(THROTTLES[1], "8:0 1048576\n"), (IO_MAX, "8:0 rbps=max wbps=4096 riops=max wiops=max\n")]);
        let lifted = lift_io(dir.path());
        assert_eq!(read(&dir, THROTTLES[1]), "8:0 0");
        assert_eq!(read(&dir, IO_MAX), "8:0 rbps=max wbps=max riops=max wiops=max");
        set_again(&lifted);
        assert_eq!(read(&dir, THROTTLES[1]), "8:0 1048576");
        assert_eq!(read(&dir, IO_MAX), "8:0 rbps=max wbps=4096 riops=max wiops=max");
        assert_eq!(lift_io(Path::new("/nonexistent")), []);
    }
}
