//! The leader is killed, paused or asked to go: another takes over, nothing acknowledged is lost, nothing is launched
//! twice.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use dawn_proto::JobKey;
use dawn_proto::v1::TaskState;
use dawn_tests::cluster::{Api, Doubles, Patience, Several, SeveralPlan, batch, service};

/// From the loss of a leader with a lease of 2 s to a successor that acknowledges, on a busy machine.
const TAKEOVER: Duration = Duration::from_secs(15);

/// Submits jobs one after the other until told to stop; what was acknowledged.
fn submit_on(several: &Several, prefix: &str, stop: &AtomicBool) -> Vec<JobKey> {
    let mut acknowledged = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let name = format!("{prefix}{}", acknowledged.len());
        acknowledged.push(several.submit(batch(&name).shell("echo $DAWN_INSTANCE").max_failures(9).cpu_milli(10)));
    }
    acknowledged
}

/// Runs `disturb` while jobs are submitted; every acknowledged one is there afterwards, and ends well.
fn under_load(several: &Several, disturb: impl FnOnce()) {
    let stop = AtomicBool::new(false);
    let acknowledged = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let done = submit_on(several, "load", &stop);
            *acknowledged.lock().expect("no panic") = done;
        });
        // Also when it panics: the scope waits for its threads.
        let _stop = Stop(&stop);
        disturb();
    });
    let acknowledged = acknowledged.into_inner().expect("no panic");
    let listed = several.eventually("the jobs are listed", Patience::LONG, || several.read(Api::jobs));
    for job in &acknowledged {
        let found = listed.iter().any(|summary| summary.key.as_ref().is_some_and(|key| *key == job.into()));
        assert!(found, "{job} was acknowledged and is lost\n{}", several.last_words());
    }
    for job in &acknowledged {
        several.tasks_in(job, TaskState::Finished, 1);
    }
    println!("{} submissions acknowledged", acknowledged.len());
}

struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_killed_leader_is_replaced_and_nothing_is_launched_twice() {
    let Some(several) = Several::start(&SeveralPlan::of(3)) else { return };
    let web = several.submit(service("web").instances(6));
    let before = several.running(&web, 6);
    let pids = several.processes_of(&web, 6);
    let watch = Doubles::watch(several.mark(&web));
    under_load(&several, || {
        for _ in 0..2 {
            let (leader, epoch) = several.leader_after(0);
            several.schedulers[leader].kill_9();
            let lost = Instant::now();
            let (next, _) = several.leader_after(epoch);
            assert!(lost.elapsed() < TAKEOVER, "a new leader after {:?}", lost.elapsed());
            assert_ne!(next, leader);
            several.schedulers[leader].start();
        }
    });
    several.agents_are_up();
    assert_eq!(several.running(&web, 6), before, "same tasks, same histories");
    assert_eq!(several.processes_of(&web, 6), pids, "same processes");
    assert_eq!(watch.end(), [] as [String; 0]);
    several.end();
}

#[test]
fn a_leader_paused_beyond_its_lease_acts_no_more() {
    let Some(several) = Several::start(&SeveralPlan::of(3)) else { return };
    let web = several.submit(service("web").instances(4));
    let doomed = several.submit(service("doomed").instances(2));
    let before = several.running(&web, 4);
    several.running(&doomed, 2);
    let pids = several.processes_of(&web, 4);
    let watch = Doubles::watch(several.mark(&web));
    let (old, epoch) = several.leader_after(0);
    under_load(&several, || {
        several.schedulers[old].pause();
        let paused = Instant::now();
        let (new, _) = several.leader_after(epoch);
        assert!(paused.elapsed() < TAKEOVER, "a new leader after {:?}", paused.elapsed());
        assert_ne!(new, old);
        several.agents_are_up();
        several.api(new).kill(&doomed).expect("the new leader takes commands");
        several.tasks_in(&doomed, TaskState::Killed, 2);
        several.schedulers[old].resume();
        let code = several.schedulers[old].exit_code(Patience::STEP);
        assert_eq!(code, Some(8), "a deposed leader ends, with the code that says so");
        let log = several.schedulers[old].log();
        assert!(
            log.contains("WARN") && log.contains("leads no more"),
            "it says why:\n{}",
            several.schedulers[old].last_words()
        );
        assert!(!log.contains("ERROR") && !log.contains("dawn: scheduler"), "and that nothing is wrong:\n{log}");
        several.schedulers[old].start();
        assert_eq!(several.leading().map(|(leader, _)| leader), Some(new), "it follows now");
    });
    several.agents_are_up();
    several.processes_of(&doomed, 0);
    assert_eq!(several.running(&web, 4), before, "same tasks, same histories");
    assert_eq!(several.processes_of(&web, 4), pids, "same processes");
    assert_eq!(watch.end(), [] as [String; 0]);
    several.end();
}

#[test]
fn a_leader_asked_to_end_hands_over_at_once() {
    // Waiting for such a lease would take longer than the test's patience.
    let plan = SeveralPlan { lease: "120s".into(), ..SeveralPlan::of(1) };
    let Some(several) = Several::start(&plan) else { return };
    let web = several.submit(service("web").instances(2));
    let before = several.running(&web, 2);
    let (leader, epoch) = several.leader_after(0);
    several.schedulers[leader].terminate();
    let (next, _) = several.leader_after(epoch);
    assert_ne!(next, leader);
    several.agents_are_up();
    assert_eq!(several.running(&web, 2), before, "same tasks, same histories");
    several.schedulers[leader].start();

    // The same by a command, and to the one that leads when none is named.
    let (leader, epoch) = several.leader_after(epoch);
    several.dawn(&["scheduler", "leave"]).succeeded();
    assert_eq!(several.schedulers[leader].exit_code(Patience::STEP), Some(0), "it was asked to end");
    let (next, _) = several.leader_after(epoch);
    assert_ne!(next, leader);
    several.agents_are_up();
    assert_eq!(several.running(&web, 2), before, "same tasks, same histories");
    several.verified();
    several.end();
}
