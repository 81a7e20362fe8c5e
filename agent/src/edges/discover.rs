//! What there is on the machine: cpus, memory, disk, boot id. Linux only.

use std::fs;
use std::io;
use std::path::Path;

use dawn_proto::Resources;

/// Memory left to the system and the agent: this, or 5 % if that is more.
const MEMORY_RESERVE_BYTES: u64 = 256 << 20;
/// Amounts are offered in whole mebibytes.
const MIB: u64 = 1 << 20;

/// The machine can't be looked at.
#[derive(Debug, thiserror::Error)]
#[error("can't find out {what}")]
pub struct DiscoverError {
    what: &'static str,
    source: io::Error,
}

/// What the machine can offer; `work_dir` is there. Of what is free on its file system, 90 %. Memory is kept back for the machine's own use, and for the agent what it
/// may take, `own_memory_bytes`, if that is more.
///
/// # Errors
/// Names what could not be found out.
pub fn machine(work_dir: &Path, own_memory_bytes: u64) -> Result<Resources, DiscoverError> {
    let cpus = std::thread::available_parallelism().map_err(failed("the number of cpus"))?;
    let meminfo = fs::read_to_string("/proc/meminfo").map_err(failed("the memory (/proc/meminfo)"))?;
    let total = memory_total(&meminfo)
        .ok_or_else(|| failed("the memory (/proc/meminfo)")(io::ErrorKind::InvalidData.into()))?;
    let stat = rustix::fs::statvfs(work_dir).map_err(|error| failed("the free disk space")(error.into()))?;
    let disk = stat.f_bavail.saturating_mul(stat.f_frsize);
    Ok(Resources {
        cpu_milli: u64::try_from(cpus.get()).unwrap_or(u64::MAX).saturating_mul(1_000),
        memory_bytes: without_reserve(total, own_memory_bytes),
        disk_bytes: whole_mib(disk - disk / 10),
        ..Resources::default()
    })
}

/// Whether tasks can have namespaces of their own.
///
/// # Errors
/// What the kernel answers to a thread that asks for them, and then ends.
pub fn namespaces() -> io::Result<()> {
    use nix::sched::{CloneFlags, unshare};
    let wanted =
        CloneFlags::CLONE_NEWPID | CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWIPC | CloneFlags::CLONE_NEWUTS;
    let asked = std::thread::spawn(move || unshare(wanted)).join();
    asked.map_err(|_| io::Error::other("the thread that asked broke down"))?.map_err(Into::into)
}

/// The kernel's boot id: another one after each boot.
///
/// # Errors
/// When the kernel has none.
pub fn boot_id() -> Result<String, DiscoverError> {
    let text = fs::read_to_string("/proc/sys/kernel/random/boot_id").map_err(failed("the boot id"))?;
    Ok(text.trim().to_string())
}

fn failed(what: &'static str) -> impl FnOnce(io::Error) -> DiscoverError {
    move |source| DiscoverError { what, source }
}

fn memory_total(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1_024)
}

fn without_reserve(total_bytes: u64, own_bytes: u64) -> u64 {
    whole_mib(total_bytes.saturating_sub(MEMORY_RESERVE_BYTES.max(total_bytes / 20).max(own_bytes)))
}

fn whole_mib(bytes: u64) -> u64 {
    bytes / MIB * MIB
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_has_something_to_offer() {
        let found = machine(Path::new("/tmp"), 0).unwrap();
        assert!(found.cpu_milli >= 1_000 && found.memory_bytes > 0 && found.disk_bytes > 0, "{found:?}");
        assert_eq!(boot_id().unwrap().len(), 36);
    }

    #[test]
    fn the_reserve_is_the_largest_and_never_more_than_there_is() {
        assert_eq!(memory_total("MemFree: 1 kB\nMemTotal:       2048 kB\n"), Some(2 << 20));
        assert_eq!(memory_total("nothing"), None);
        assert_eq!(without_reserve(1 << 30, 0), (1 << 30) - MEMORY_RESERVE_BYTES);
        assert_eq!(without_reserve(100 << 30, 1 << 30), 95 << 30);
        assert_eq!(without_reserve(100 << 30, 9 << 30), 91 << 30, "what the agent may take itself");
        assert_eq!(without_reserve(1 << 20, 0), 0);
    }
}
