//! Many short tasks in a row: nothing of them stays, and the agent is as big as before.

use std::fs;
use std::path::Path;

use dawn_proto::v1::TaskState;
use dawn_tests::cluster::{AgentPlan, Cluster, Patience, Plan, batch};

/// At once; the next so many come when these have ended.
const AT_ONCE: u32 = 20;
/// Rounds after which everything that is made once is there, at least; and of all rounds this part, as the allocator keeps
/// for itself what bursts have needed, ever less with each.
const WARM_ROUNDS: u32 = 2;
const WARM_PART: u32 = 4;
/// What of each kind is made once, with the first task; less than the tasks are.
const MADE_ONCE: usize = 16;
/// What an allocator may hold back, and what the memory of so many short tasks must stay below.
const SPARE_KIB: u64 = 6 << 10;

/// What an agent has of its machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Held {
    descriptors: usize,
    threads: usize,
    /// Of its work directory.
    files: usize,
    mounts: usize,
    memory_kib: u64,
}

/// Files and directories below.
fn entries(path: &Path) -> usize {
    let listed = fs::read_dir(path).into_iter().flatten().flatten();
    listed.map(|entry| 1 + if entry.path().is_symlink() { 0 } else { entries(&entry.path()) }).sum()
}

fn held(cluster: &Cluster) -> Held {
    let pid = cluster.agents[0].pid().expect("it runs");
    let of = |name: &str| format!("/proc/{pid}/{name}");
    let text = |name: &str| fs::read_to_string(of(name)).expect("the agent lives");
    let count = |name: &str| fs::read_dir(of(name)).expect("the agent lives").count();
    let folder = cluster.folder().to_string_lossy().into_owned();
    let memory =
        text("status").lines().find_map(|line| line.strip_prefix("RssAnon:")?.split_whitespace().next()?.parse().ok());
    Held {
        descriptors: count("fd"),
        threads: count("task"),
        files: entries(&cluster.folder().join("node0")),
        mounts: text("mountinfo").lines().filter(|line| line.contains(&folder)).count(),
        memory_kib: memory.expect("the kernel counts it"),
    }
}

fn round(cluster: &Cluster, number: u32) {
    let job = cluster.submit(batch(&format!("short{number}")).instances(AT_ONCE).argv(&["true"]));
    let count = usize::try_from(AT_ONCE).expect("a few");
    cluster.tasks_in(&job, TaskState::Finished, count, Patience::LONG);
}

/// Waits until no task's directory is kept any more.
fn swept(cluster: &Cluster) {
    let tasks = cluster.folder().join("node0/tasks");
    cluster.eventually("no task's directory is left", Patience::LONG, || {
        let left = fs::read_dir(&tasks).into_iter().flatten().count();
        if left == 0 { Ok(()) } else { Err(format!("{left} are left")) }
    });
}

/// `DAWN_SHORT_TASKS=10000` for the full number.
#[test]
fn an_agent_is_as_before_after_many_short_tasks() {
    let agent = AgentPlan { extra: vec!["--sandbox-keep".into(), "1ms".into()], ..AgentPlan::default() };
    let Some(cluster) = Cluster::start(Plan { agents: vec![agent], ..Plan::default() }) else { return };
    let total: u32 = std::env::var("DAWN_SHORT_TASKS").ok().and_then(|text| text.parse().ok()).unwrap_or(120);
    let idle = held(&cluster);
    let rounds = total.div_ceil(AT_ONCE);
    let warm = WARM_ROUNDS.max(rounds / WARM_PART);
    (0..warm).for_each(|number| round(&cluster, number));
    swept(&cluster);
    // Memory alone is compared with an agent that has worked: it needs more for its first tasks than for all others.
    let before = Held { memory_kib: held(&cluster).memory_kib, ..idle };
    (warm..rounds).for_each(|number| round(&cluster, number));
    swept(&cluster);
    let after = cluster.eventually("the agent has no more than before", Patience::STEP, || {
        let now = held(&cluster);
        let fits = now.descriptors <= before.descriptors + MADE_ONCE
            && now.threads <= before.threads + MADE_ONCE
            && now.files <= before.files + MADE_ONCE
            && now.mounts == 0
            && now.memory_kib < before.memory_kib + SPARE_KIB;
        if fits { Ok(now) } else { Err(format!("{before:?}, now {now:?}")) }
    });
    println!("after {total} tasks: {before:?}, then {after:?}");
    // Groups and processes that are left make this fail.
    cluster.end();
}
