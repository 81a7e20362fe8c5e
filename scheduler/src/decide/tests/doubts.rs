//! What must not live twice, where the machine that says that it ended may be a copy of the one that has it.

use dawn_proto::v1::Reason;
use dawn_proto::{TaskId, TaskState::*};

use super::copies::{Bench, Machine, machine};
use super::specs::service;
use super::world::report;
use crate::decide::lease::gone_after_ms;
use crate::model::*;

/// One instance that must not live twice, running on the agent.
fn with_database(bench: &mut Bench, link: LinkId) -> (TaskId, JobSpec) {
    let spec = JobSpec { at_most_one: true, ladder_ms: 1_000, partition_delay_ms: 0, ..service("db", 1) };
    bench.world.submit(&spec).unwrap();
    let task = *bench.world.state.indexes().pending.first().unwrap();
    let agent = bench.no();
    bench.world.place_all(agent);
    bench.world.report(link, task, Running, Reason::None);
    bench.world.take();
    (task, spec)
}

#[test]
fn what_must_not_live_twice_waits_whatever_boot_an_agent_claims() {
    for named in [true, false] {
        let mut bench = Bench::new();
        let mut agent = machine();
        let link = bench.join(&mut agent);
        let (task, spec) = with_database(&mut bench, link);
        let gone_ms = gone_after_ms(&bench.world.settings, &spec);
        bench.world.event(Event::LinkClosed { link });
        // The machine itself is stopped, say; a copy of it comes, whose boot ended all that the copied files tell of.
        agent.boot = "boot-2";
        let says = vec![report(task, Lost, Reason::AgentRebooted)];
        let told = if named { says.clone() } else { vec![] };
        let (link, _) = bench.dial(&agent, told).unwrap();
        for _ in 0..gone_ms / 1_000 {
            bench.world.event(Event::Reported { link, report: says[0].clone() });
            bench.world.report(link, task, Lost, Reason::NotOnAgent);
            bench.pass_heard(link, 1_000);
            assert_eq!(bench.world.tasks("db"), [(0, 1, Running)]);
        }
        bench.world.pass_heard_ms(1_000, &[link]);
        let asked = bench.world.take();
        assert!(asked.contains(&Effect::Reconcile { agent: bench.no(), tasks: vec![task] }), "{asked:?}");
        bench.world.report(link, task, Lost, Reason::NotOnAgent);
        assert_eq!(bench.world.tasks("db"), [(0, 1, Lost), (0, 2, Pending)]);
    }
}

#[test]
fn a_new_leader_waits_for_what_an_earlier_boot_may_have_left() {
    let mut bench = Bench::new();
    let mut agent = machine();
    let link = bench.join(&mut agent);
    let (task, spec) = with_database(&mut bench, link);
    bench.world.event(Event::LinkClosed { link });
    agent.boot = "boot-2";
    bench.join(&mut agent);
    bench.world.elect(2);
    let link = bench.join(&mut agent);
    bench.world.report(link, task, Lost, Reason::NotOnAgent);
    assert_eq!(bench.world.tasks("db"), [(0, 1, Running)]);
    bench.pass_heard(link, gone_after_ms(&bench.world.settings, &spec) + 500);
    bench.world.report(link, task, Lost, Reason::NotOnAgent);
    assert_eq!(bench.world.tasks("db")[0], (0, 1, Lost));
}

#[test]
fn a_launch_of_before_is_not_repeated_to_another_boot_while_it_may_live() {
    let mut bench = Bench::new();
    let mut agent = machine();
    let link = bench.join(&mut agent);
    let spec = JobSpec { at_most_one: true, ..service("db", 1) };
    bench.world.submit(&spec).unwrap();
    let no = bench.no();
    bench.world.place_all(no);
    bench.world.take();
    bench.world.event(Event::LinkClosed { link });
    agent.boot = "boot-2";
    let link = bench.join(&mut agent);
    let gone_ms = gone_after_ms(&bench.world.settings, &spec);
    bench.world.pass_heard_ms(gone_ms, &[link]);
    let is_launch = |effect: &Effect| matches!(effect, Effect::Launch { .. });
    assert!(!bench.world.take().iter().any(is_launch));
    bench.world.pass_heard_ms(1_000, &[link]);
    assert!(bench.world.take().iter().any(is_launch));
}

/// The same assigned, with no word of it yet.
fn with_launch(bench: &mut Bench) -> (TaskId, u64) {
    let spec = JobSpec { at_most_one: true, ..service("db", 1) };
    bench.world.submit(&spec).unwrap();
    let task = *bench.world.state.indexes().pending.first().unwrap();
    let no = bench.no();
    bench.world.place_all(no);
    bench.world.take();
    (task, gone_after_ms(&bench.world.settings, &spec))
}

fn is_launched(effects: &[Effect]) -> bool {
    effects.iter().any(|effect| matches!(effect, Effect::Launch { .. }))
}

#[test]
fn what_another_boot_says_of_a_launch_of_before_is_not_believed_while_it_may_live() {
    for said in [Reason::AgentRebooted, Reason::LaunchRefused, Reason::NotOnAgent] {
        let mut bench = Bench::new();
        let mut agent = machine();
        let link = bench.join(&mut agent);
        let (task, gone_ms) = with_launch(&mut bench);
        bench.world.event(Event::LinkClosed { link });
        // Cut off, not dead: its disk comes up elsewhere, with the plan of the task on it or without.
        agent.boot = "boot-2";
        let link = bench.join(&mut agent);
        for _ in 0..gone_ms / 1_000 {
            bench.world.report(link, task, Lost, said);
            assert!(!is_launched(&bench.world.take()), "{said:?}");
            bench.pass_heard(link, 1_000);
            assert_eq!(bench.world.tasks("db"), [(0, 1, Assigned)], "{said:?}");
        }
        bench.pass_heard(link, 1_500);
        bench.world.report(link, task, Lost, said);
        assert!(is_launched(&bench.world.take()) || bench.world.tasks("db")[0] == (0, 1, Lost), "{said:?}");
    }
}

#[test]
fn a_launch_of_after_the_reboot_is_believed_at_once() {
    let mut bench = Bench::new();
    let mut agent = machine();
    let link = bench.join(&mut agent);
    bench.world.submit(&JobSpec { at_most_one: true, ..service("old", 1) }).unwrap();
    let no = bench.no();
    bench.world.place_all(no);
    // Made before the reboot, placed after it.
    bench.world.submit(&JobSpec { at_most_one: true, ..service("db", 1) }).unwrap();
    let task = *bench.world.state.indexes().pending.first().unwrap();
    bench.world.event(Event::LinkClosed { link });
    agent.boot = "boot-2";
    let link = bench.join(&mut agent);
    bench.pass_heard(link, 1_000);
    bench.world.place_all(no);
    bench.world.report(link, task, Lost, Reason::LaunchRefused);
    assert_eq!(bench.world.tasks("db")[0], (0, 1, Lost));
}

#[test]
fn another_host_with_the_same_boot_waits_as_a_reboot_does() {
    let mut bench = Bench::new();
    let mut original = machine();
    let link = bench.join(&mut original);
    let (task, _) = with_database(&mut bench, link);
    // Another container of the same kernel, with a copy of the work directory.
    let mut copy = Machine { host: "host-2", ..original.clone() };
    for _ in 0..5 {
        assert!(bench.dial(&copy, vec![]).is_none(), "the original is heard");
        bench.pass_heard(link, 1_000);
    }
    assert_eq!(bench.world.state_of(task), Running);
    assert!(bench.beat(link, original.number), "its leases go on");
    // A container that was made anew over the same directory.
    bench.world.event(Event::LinkClosed { link });
    let link = bench.join(&mut copy);
    bench.world.report(link, task, Lost, Reason::NotOnAgent);
    bench.world.report(link, task, Failed, Reason::Exited);
    assert_eq!(bench.world.state_of(task), Running, "it may live in the other one");
}

#[test]
fn a_link_that_replaces_one_that_is_heard_proves_nothing_of_what_must_not_live_twice() {
    let mut bench = Bench::new();
    let mut original = machine();
    let link = bench.join(&mut original);
    let (task, spec) = with_database(&mut bench, link);
    let (launched, _) = {
        bench.world.submit(&JobSpec { at_most_one: true, ..service("second", 1) }).unwrap();
        let no = bench.no();
        let second = *bench.world.state.indexes().pending.first().unwrap();
        bench.world.place_all(no);
        (second, no)
    };
    bench.world.take();
    // A copied work directory, with the same host name: let in at once.
    let mut copy = original.clone();
    let link = bench.join(&mut copy);
    let gone_ms = gone_after_ms(&bench.world.settings, &spec);
    for _ in 0..gone_ms / 1_000 {
        for reason in [Reason::NotOnAgent, Reason::ExecutorLost, Reason::Exited] {
            bench.world.report(link, task, Lost, reason);
            bench.world.report(link, launched, Lost, reason);
        }
        assert!(!is_launched(&bench.world.take()), "nor is it launched again");
        bench.pass_heard(link, 1_000);
        assert_eq!([task, launched].map(|task| bench.world.state_of(task)), [Running, Assigned]);
    }
    // Another leader knows that it may be a copy, and counts from its election.
    bench.world.elect(2);
    bench.world.take();
    let link = bench.join(&mut copy);
    for _ in 0..gone_ms / 1_000 {
        bench.world.report(link, task, Lost, Reason::Exited);
        bench.world.report(link, launched, Lost, Reason::NotOnAgent);
        assert!(!is_launched(&bench.world.take()), "nor is it launched again");
        bench.pass_heard(link, 1_000);
        assert_eq!([task, launched].map(|task| bench.world.state_of(task)), [Running, Assigned]);
    }
    bench.pass_heard(link, 1_500);
    bench.world.report(link, task, Lost, Reason::NotOnAgent);
    assert_eq!(bench.world.state_of(task), Lost);
}

#[test]
fn an_end_that_nobody_saw_is_not_believed_after_any_registration_while_the_task_may_live() {
    let mut bench = Bench::new();
    let mut agent = machine();
    let link = bench.join(&mut agent);
    let (task, spec) = with_database(&mut bench, link);
    // The agent ends, its executors live on; it comes back over a copy of its directory, or one that lost a file.
    bench.world.event(Event::LinkClosed { link });
    let link = bench.join(&mut agent);
    let gone_ms = gone_after_ms(&bench.world.settings, &spec);
    for _ in 0..gone_ms / 1_000 {
        bench.world.report(link, task, Lost, Reason::NotOnAgent);
        bench.world.report(link, task, Lost, Reason::ExecutorLost);
        bench.pass_heard(link, 1_000);
        assert_eq!(bench.world.state_of(task), Running);
    }
    bench.world.take();
    bench.world.pass_heard_ms(1_500, &[link]);
    let asked = bench.world.take();
    assert!(asked.contains(&Effect::Reconcile { agent: bench.no(), tasks: vec![task] }), "{asked:?}");
    bench.world.report(link, task, Lost, Reason::NotOnAgent);
    assert_eq!(bench.world.tasks("db"), [(0, 1, Lost), (0, 2, Pending)]);
}

#[test]
fn an_end_that_was_seen_is_believed_from_an_agent_that_came_back() {
    let mut bench = Bench::new();
    let mut agent = machine();
    let link = bench.join(&mut agent);
    let (task, _) = with_database(&mut bench, link);
    bench.world.event(Event::LinkClosed { link });
    let link = bench.join(&mut agent);
    bench.world.report(link, task, Failed, Reason::Exited);
    assert_eq!(bench.world.state_of(task), Failed);
}

#[test]
fn other_tasks_end_with_the_boot_as_they_are_said_to() {
    let mut bench = Bench::new();
    let mut agent = machine();
    let link = bench.join(&mut agent);
    bench.world.submit(&service("web", 1)).unwrap();
    let no = bench.no();
    bench.world.place_all(no);
    bench.world.report(link, TaskId(0), Running, Reason::None);
    bench.world.event(Event::LinkClosed { link });
    agent.boot = "boot-2";
    bench.join(&mut agent);
    assert_eq!(bench.world.tasks("web"), [(0, 1, Lost), (0, 2, Pending)]);
}
