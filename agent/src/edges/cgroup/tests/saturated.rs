//! A kill beside neighbours that take every cpu, on the real kernel.

use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use dawn_proto::TaskId;

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
fn a_task_of_tiny_share_is_gone_at_once_when_its_neighbours_take_every_cpu() {
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
    let begun = Instant::now();
    let removed = tree.remove(task);
    let took = begun.elapsed();
    tree.remove(neighbour).unwrap();
    for child in &mut children {
        child.wait().unwrap();
    }
    removed.unwrap();
    tree.remove_parents();
    // Unraised it takes 3 s to more than 10.
    assert!(took < Duration::from_millis(1_500), "{took:?}");
}
