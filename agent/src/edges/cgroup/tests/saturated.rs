//! A kill beside neighbours that take every cpu, on the real kernel.

use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use dawn_proto::{CpuShare, TaskId};

use super::super::Tree;
use super::{LIMITS, real_tree};
use crate::model::Limits;

/// Takes the cpu for a minute at most, in a task's groups, by as many processes.
fn busy_in(tree: &Tree, task: TaskId, processes: usize) -> Child {
    let limits = Limits { cpu_milli: 100_000, max_pids: 100, ..LIMITS };
    tree.make(task, &limits).unwrap();
    let join = tree.plan(task, &limits).join;
    let join: Vec<String> = join.iter().map(|group| format!("echo $$ > {}/cgroup.procs", group.display())).collect();
    let spin = "ulimit -t 60; while :; do :; done";
    let line = format!("{}; for i in $(seq 2 {processes}); do ({spin}) & done; {spin}", join.join("; "));
    Command::new("/bin/sh").args(["-c", &line]).process_group(0).stdout(Stdio::null()).spawn().unwrap()
}

#[test]
fn a_task_of_tiny_share_is_gone_when_its_neighbours_take_every_cpu() {
    let Some(tree) = real_tree("saturated") else { return };
    let (task, neighbour) = (TaskId(1), TaskId(2));
    let cpus = std::thread::available_parallelism().unwrap().get();
    let mut children = [busy_in(&tree, task, 8), busy_in(&tree, neighbour, 3 * cpus)];
    let used_us = |task| tree.usage(task).and_then(|usage| usage.cpu_usec).unwrap_or(0);
    let deadline = Instant::now() + Duration::from_secs(60);
    while [task, neighbour].into_iter().any(|task| used_us(task) < 300_000) || tree.members(task).len() < 8 {
        assert!(Instant::now() < deadline, "they are not busy");
        sleep(Duration::from_millis(5)); // poll
    }
    tree.make(task, &Limits { cpu_milli: 2, max_pids: 100, ..LIMITS }).unwrap();
    let removed = tree.remove(task);
    tree.remove(neighbour).unwrap();
    for child in &mut children {
        child.wait().unwrap();
    }
    removed.unwrap();
    tree.remove_parents();
}

/// Without this, a task of tiny share takes from a tenth of a second to a dozen seconds to end beside busy neighbours.
#[test]
fn a_kill_gives_the_task_a_large_share_of_the_cpu_to_end_with() {
    let Some(tree) = real_tree("raised") else { return };
    let task = TaskId(1);
    let limits = Limits { cpu_milli: 2, ..LIMITS };
    tree.make(task, &limits).unwrap();
    let share = || {
        let groups = tree.plan(task, &limits).join;
        let files = groups.iter().flat_map(|group| [group.join("cpu.shares"), group.join("cpu.weight")]);
        let shares = files.filter_map(|file| std::fs::read_to_string(file).ok());
        shares.map(|share| share.trim().parse::<u64>().unwrap()).max().unwrap()
    };
    let own = share();
    tree.kill(task).unwrap();
    let raised = CpuShare::raised();
    let least = raised.shares.min(raised.weight);
    assert!(own < least && share() >= least, "{own} before, {} after", share());
    tree.remove(task).unwrap();
    tree.remove_parents();
}
