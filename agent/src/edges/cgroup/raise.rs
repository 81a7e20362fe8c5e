//! A task's groups are raised before they are killed: on a machine where every cpu is taken, a group of tiny share gets
//! none for seconds, one at its quota waits for the next period, and one that is held to few bytes of disk io waits for
//! them; what was killed there doesn't end, and keeps its memory. Nothing lowers them again: nothing is left in them.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;

use dawn_proto::CpuShare;

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

/// Raises one group, of whatever controller. What the kernel refuses leaves a kill slower and not undone.
pub(super) fn raise(group: &Path) {
    let wanted = CpuShare::raised();
    for (file, least) in [(SHARES, wanted.shares), (WEIGHT, wanted.weight)] {
        let Some(present) = number(&group.join(file)) else { continue };
        // An idle group has no weight that could be set.
        let is_idle = number(&group.join(IDLE)).is_some_and(|idle| idle != 0);
        if is_idle {
            put(&group.join(IDLE), "0");
        }
        if is_idle || present < least {
            put(&group.join(file), &least.to_string());
        }
    }
    for (file, none) in [(QUOTA, "-1"), (MAX, "max")] {
        let present = fs::read_to_string(group.join(file)).unwrap_or_default();
        // A quota is set under a lock of the whole machine: only when there is one.
        if present.split_whitespace().next().is_some_and(|present| present != none) {
            put(&group.join(file), none);
        }
    }
    for file in THROTTLES.into_iter().chain([IO_MAX]) {
        let limits = fs::read_to_string(group.join(file)).unwrap_or_default();
        for (device, _) in limits.lines().filter_map(|line| line.split_once(' ')) {
            let none = if file == IO_MAX { "rbps=max wbps=max riops=max wiops=max" } else { "0" };
            put(&group.join(file), &format!("{device} {none}"));
        }
    }
}

fn number(path: &Path) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// Opened, never made.
fn put(path: &Path, value: &str) {
    let file = OpenOptions::new().write(true).truncate(true).open(path);
    let _ = file.and_then(|mut file| file.write_all(value.as_bytes()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_holds_a_group_back_is_taken_away_and_nothing_is_made() {
        let dir = tempfile::tempdir().unwrap();
        let files = [
            (SHARES, "2\n", "20480"),
            (QUOTA, "1000\n", "-1"),
            (IDLE, "1\n", "0"),
            (WEIGHT, "1\n", "2000"),
            (MAX, "1000 100000\n", "max"),
            (THROTTLES[1], "8:0 1048576\n", "8:0 0"),
            (IO_MAX, "8:0 rbps=max wbps=4096 riops=max wiops=max\n", "8:0 rbps=max wbps=max riops=max wiops=max"),
        ];
        files.iter().for_each(|(file, before, _)| fs::write(dir.path().join(file), before).unwrap());
        raise(dir.path());
        for (file, _, after) in files {
            assert_eq!(fs::read_to_string(dir.path().join(file)).unwrap(), after, "{file}");
        }
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), files.len());
        fs::write(dir.path().join(SHARES), "99999").unwrap();
        raise(dir.path());
        assert_eq!(fs::read_to_string(dir.path().join(SHARES)).unwrap(), "99999", "more stays");
        raise(Path::new("/nonexistent"));
    }
}
