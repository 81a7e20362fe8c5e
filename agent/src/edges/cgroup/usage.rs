//! What a task's groups have used, by the kernel's files. A few small reads a task; nothing is kept open.

use std::fs;
use std::path::Path;

use dawn_proto::TaskId;

use super::Tree;
use crate::model::GroupUsage;

impl Tree {
    /// None when the task has no group (any more).
    pub fn usage(&self, task: TaskId) -> Option<GroupUsage> {
        let name = task.to_string();
        let v2 = self.v2.as_ref().map(|parent| parent.join(&name));
        match &self.v1 {
            None => v2_usage(&v2?),
            Some(v1) => {
                let group = |controller: &str| v1.parent(controller).map(|parent| parent.join(&name));
                let mut usage = GroupUsage::default();
                if let Some(memory) = group("memory") {
                    usage.memory_bytes = Some(number(&memory, "memory.usage_in_bytes")?);
                    usage.memory_peak_bytes = number(&memory, "memory.max_usage_in_bytes");
                }
                if let Some(cpu) = group("cpu") {
                    let stat = read(&cpu, "cpu.stat").unwrap_or_default();
                    usage.throttled_periods = field(&stat, "nr_throttled");
                    usage.throttled_usec = field(&stat, "throttled_time").map(|nanoseconds| nanoseconds / 1_000);
                }
                usage.cpu_usec = match group("cpuacct") {
                    Some(cpuacct) => number(&cpuacct, "cpuacct.usage").map(|nanoseconds| nanoseconds / 1_000),
                    None => v2.and_then(|group| field(&read(&group, "cpu.stat")?, "usage_usec")),
                };
                usage.pids = group("pids").and_then(|pids| number(&pids, "pids.current"));
                if let Some(io) = group("blkio").and_then(|io| read(&io, "blkio.throttle.io_service_bytes")) {
                    usage.read_bytes = Some(sum_v1(&io, "Read"));
                    usage.written_bytes = Some(sum_v1(&io, "Write"));
                }
                Some(usage)
            }
        }
    }
}

fn v2_usage(group: &Path) -> Option<GroupUsage> {
    let cpu = read(group, "cpu.stat")?;
    let io = read(group, "io.stat");
    let sum = |key: &str| io.as_ref().map(|io| sum_v2(io, key));
    Some(GroupUsage {
        cpu_usec: field(&cpu, "usage_usec"),
        throttled_usec: field(&cpu, "throttled_usec"),
        throttled_periods: field(&cpu, "nr_throttled"),
        memory_bytes: number(group, "memory.current"),
        memory_peak_bytes: number(group, "memory.peak"),
        pids: number(group, "pids.current"),
        read_bytes: sum("rbytes="),
        written_bytes: sum("wbytes="),
    })
}

fn read(group: &Path, file: &str) -> Option<String> {
    fs::read_to_string(group.join(file)).ok()
}

fn number(group: &Path, file: &str) -> Option<u64> {
    read(group, file)?.trim().parse().ok()
}

/// "name value" on a line of its own.
fn field(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok())
}

/// "8:0 Read 4096" for each device.
fn sum_v1(text: &str, operation: &str) -> u64 {
    let amounts = text.lines().filter_map(|line| {
        let mut parts = line.split(' ').skip(1);
        (parts.next()? == operation).then(|| parts.next()?.parse::<u64>().ok())?
    });
    amounts.fold(0, u64::saturating_add)
}

/// "8:0 rbytes=4096 wbytes=0 …" for each device.
fn sum_v2(text: &str, key: &str) -> u64 {
    let amounts = text.split_ascii_whitespace().filter_map(|part| part.strip_prefix(key)?.parse::<u64>().ok());
    amounts.fold(0, u64::saturating_add)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_files_are_read() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("cpu.stat"), "usage_usec 1500\nnr_throttled 2\nthrottled_usec 30\n").unwrap();
        fs::write(dir.path().join("memory.current"), "4096\n").unwrap();
        fs::write(dir.path().join("io.stat"), "8:0 rbytes=10 wbytes=20 rios=1\n8:16 rbytes=5 wbytes=0\n").unwrap();
        let usage = v2_usage(dir.path()).unwrap();
        let wanted = GroupUsage {
            cpu_usec: Some(1_500),
            throttled_usec: Some(30),
            throttled_periods: Some(2),
            memory_bytes: Some(4_096),
            read_bytes: Some(15),
            written_bytes: Some(20),
            ..Default::default()
        };
        assert_eq!(usage, wanted, "what has no file is missing");
        assert_eq!(v2_usage(&dir.path().join("gone")), None);
        assert_eq!(sum_v1("8:0 Read 7\n8:0 Write 2\n8:16 Read 3\nTotal 12\n", "Read"), 10);
    }
}
