//! What a job's isolation asks for is what the kernel holds its processes to, and what can't be had is said.

use dawn_proto::v1::{self, Reason, TaskState};
use dawn_tests::cluster::{Cluster, Patience, Plan, Spec, batch, groups, limits_of, service};

const MIB: u64 = 1 << 20;

fn isolated(spec: Spec, change: impl FnOnce(&mut v1::Isolation)) -> Spec {
    spec.with(|job| change(job.task.get_or_insert_default().isolation.get_or_insert_default()))
}

/// Of the groups of a process, the content of those files of this name that there are.
fn held(pid: i32, file: &str) -> Vec<String> {
    let files = groups(pid).into_iter().map(|(_, group)| group.join(file));
    files.filter_map(|file| std::fs::read_to_string(file).ok()).map(|text| text.trim().to_string()).collect()
}

#[test]
fn cpu_memory_swap_and_processes_are_limited_as_the_job_says() {
    let Some(cluster) = Cluster::start(Plan::of(1)) else { return };
    let spec = service("limited").cpu_milli(300).memory_mib(48).with(|job| {
        job.task.as_mut().expect("one").max_pids = 21;
    });
    let job = cluster.submit(isolated(spec, |isolation| isolation.swap_bytes = 16 * MIB));
    cluster.running(&job, 1);
    let pid = cluster.processes_of(&job, 1)[0].pid;
    let limits = limits_of(pid);
    assert_eq!((limits.memory_bytes, limits.cpu_quota_milli, limits.pids), (Some(48 * MIB), Some(300), Some(21)));
    let share = [held(pid, "cpu.shares"), held(pid, "cpu.weight")].concat();
    assert!(share.iter().any(|held| held == "307" || held == "30"), "{share:?}");
    for (file, wanted) in [("memory.memsw.limit_in_bytes", 64 * MIB), ("memory.swap.max", 16 * MIB)] {
        assert!(held(pid, file).iter().all(|held| *held == wanted.to_string()), "{file}: {:?}", held(pid, file));
    }
    cluster.end();
}

#[test]
fn devices_that_were_not_asked_for_can_not_be_opened() {
    let Some(cluster) = Cluster::start(Plan::of(1)) else { return };
    let script = "for file in null kmsg mem loop-control; do \
                  test -e /dev/$file && (exec 3< /dev/$file) 2> /dev/null && echo $file; done; echo done; exec sleep 100000";
    let root = |spec: Spec| spec.shell(script).with(|job| job.task.as_mut().expect("one").user = "root".into());
    let job = cluster.submit(isolated(root(service("few")), |isolation| isolation.devices = vec!["/dev/null".into()]));
    let task = cluster.running(&job, 1).remove(0);
    let said = cluster.eventually("it has tried", Patience::STEP, || {
        let log = cluster.log(&task, "main", false);
        if log.ends_with("done\n") { Ok(log) } else { Err(log) }
    });
    assert_eq!(said, "null\ndone\n");
    cluster.end();
}

#[test]
fn a_task_stays_on_its_cpus_or_is_not_started() {
    let Some(cluster) = Cluster::start(Plan::of(1)) else { return };
    let script = "grep Cpus_allowed_list /proc/self/status";
    let job = cluster.submit(isolated(batch("pinned").shell(script), |isolation| isolation.cpuset = "0".into()));
    let has_cpuset = std::path::Path::new("/sys/fs/cgroup/cpuset").exists()
        || std::fs::read_to_string("/sys/fs/cgroup/cgroup.controllers").is_ok_and(|all| all.contains("cpuset"));
    if has_cpuset {
        let task = cluster.tasks_in(&job, TaskState::Finished, 1, Patience::STEP).remove(0);
        assert_eq!(cluster.log(&task, "main", false), "Cpus_allowed_list:\t0\n");
    } else {
        // There is no other node to try.
        let task = cluster.tasks_in(&job, TaskState::Failed, 1, Patience::STEP).remove(0);
        let last = task.history.last().expect("a history");
        assert_eq!(last.reason(), Reason::LimitNotPossible, "{last:?}");
        assert!(last.message.contains("cpuset"), "{last:?}");
    }
    cluster.end();
}
