//! Two machines that claim to be one agent, and reboots that are none.

use dawn_proto::v1::Reason;
use dawn_proto::{TaskId, TaskState::*};

use super::specs::service;
use super::world::{World, registration, report};
use crate::decide::lease::gone_after_ms;
use crate::model::*;

/// An agent as a machine has it on its disk.
#[derive(Clone)]
struct Machine {
    number: u64,
    boot: &'static str,
    host: &'static str,
}

fn machine() -> Machine {
    Machine { number: 0, boot: "boot-1", host: "host-1" }
}

struct Bench {
    world: World,
    links: u64,
}

impl Bench {
    fn new() -> Bench {
        Bench { world: World::new(), links: 100 }
    }

    /// Registers on a link of its own; what it was given, if it was let in.
    fn dial(&mut self, machine: &Machine, tasks: Vec<Report>) -> Option<(LinkId, u64)> {
        self.links += 1;
        let link = LinkId(self.links);
        let registration = Registration {
            welcome: machine.number,
            fresh_number: self.links << 1,
            boot_id: machine.boot.into(),
            hostname: machine.host.into(),
            ..registration(1, tasks)
        };
        self.world.event(Event::Registered { link, registration: Box::new(registration) });
        self.world.take().into_iter().find_map(|effect| match effect {
            Effect::Welcome { number, .. } => Some((link, number)),
            _ => None,
        })
    }

    /// The same, with the number on its disk and confirmed.
    fn join(&mut self, machine: &mut Machine) -> LinkId {
        let (link, number) = self.dial(machine, vec![]).expect("it is let in");
        machine.number = number;
        self.beat(link, number);
        link
    }

    /// Whether its leases are renewed.
    fn beat(&mut self, link: LinkId, welcome: u64) -> bool {
        self.world.event(Event::Heartbeat { link, sequence: 1, welcome, wall: Default::default() });
        self.world.take().iter().any(|effect| matches!(effect, Effect::HeartbeatAck { .. }))
    }

    fn no(&self) -> AgentNo {
        self.world.state.agent(&registration(1, vec![]).id).unwrap().no
    }

    fn is_copied(&self) -> bool {
        self.world.state.agents[&self.no()].welcome.copied.is_some()
    }

    fn forgive(&mut self) {
        let agents = vec![registration(1, vec![]).id];
        let command = ForgiveCommand { agents, author: "ann".into(), message: String::new() };
        self.world.command(Command::Forgive(command)).unwrap();
        self.world.take();
    }

    fn pass_heard(&mut self, link: LinkId, ms: u64) {
        self.world.pass_heard_ms(ms, &[link]);
        self.world.take();
    }
}

#[test]
fn an_agent_may_name_the_number_it_has_confirmed_or_the_one_it_was_given_last() {
    let mut bench = Bench::new();
    let mut agent = machine();
    bench.join(&mut agent);
    let before = agent.number;
    // Given another one, which it never had on its disk; then one that it had, and never said so.
    bench.dial(&agent, vec![]).unwrap();
    let (_, number) = bench.dial(&agent, vec![]).unwrap();
    let after = Machine { number, ..agent.clone() };
    bench.dial(&after, vec![]).unwrap();
    assert!(!bench.is_copied());
    // What it named is known to be on its disk: the one before is a copy's.
    assert!(bench.dial(&Machine { number: before, ..agent }, vec![]).is_none());
    assert!(bench.is_copied());
}

#[test]
fn a_copy_is_refused_and_neither_machine_has_leases_until_an_operator_chooses() {
    let mut bench = Bench::new();
    let mut original = machine();
    bench.join(&mut original);
    let copy = Machine { boot: "boot-2", ..original.clone() };
    let link = bench.join(&mut original);
    assert!(bench.beat(link, original.number));
    for _ in 0..3 {
        assert!(bench.dial(&copy, vec![]).is_none());
    }
    let words = &bench.world.live.alarms[&Alarm::AgentCopied(bench.no())];
    assert!(words.contains("node-1") && words.contains("dawn node forgive"), "{words}");
    assert!(bench.is_copied() && !bench.beat(link, original.number));
    // Another leader knows it too.
    bench.world.elect(2);
    assert!(bench.world.live.alarms.contains_key(&Alarm::AgentCopied(bench.no())));
    bench.world.take();
    let link = bench.join(&mut original);
    assert!(!bench.beat(link, original.number));
    bench.forgive();
    assert!(bench.beat(link, original.number) && !bench.is_copied() && bench.world.live.alarms.is_empty());
}

#[test]
fn a_copy_that_came_first_is_found_out_by_the_machine_it_is_of() {
    let mut bench = Bench::new();
    let mut original = machine();
    let link = bench.join(&mut original);
    let mut copy = Machine { boot: "boot-2", ..original.clone() };
    bench.world.event(Event::LinkClosed { link });
    bench.join(&mut copy);
    assert!(!bench.is_copied(), "it may have been a reboot");
    assert!(bench.dial(&original, vec![]).is_none());
    assert!(bench.is_copied());
}

#[test]
fn an_operator_may_choose_the_machine_that_lost_its_place_by_stopping_the_other() {
    let mut bench = Bench::new();
    let mut original = machine();
    let link = bench.join(&mut original);
    let mut copy = Machine { boot: "boot-2", ..original.clone() };
    bench.world.event(Event::LinkClosed { link });
    let link = bench.join(&mut copy);
    assert!(bench.dial(&original, vec![]).is_none());
    bench.world.event(Event::LinkClosed { link });
    bench.forgive();
    let link = bench.join(&mut original);
    assert!(bench.beat(link, original.number));
    assert!(bench.dial(&copy, vec![]).is_none());
}

#[test]
fn the_same_boot_replaces_a_half_open_link_at_once() {
    let mut bench = Bench::new();
    let mut agent = machine();
    let old = bench.join(&mut agent);
    let new = bench.join(&mut agent);
    assert!(!bench.world.live.links.contains_key(&old) && bench.world.live.links.contains_key(&new));
    assert!(bench.world.live.alarms.is_empty());
}

#[test]
fn another_boot_is_taken_once_the_old_link_is_closed_or_silent_for_two_heartbeats() {
    let two_ms = 2 * Settings::default().heartbeat_interval_ms;
    let mut bench = Bench::new();
    let mut agent = machine();
    let link = bench.join(&mut agent);
    agent.boot = "boot-2";
    assert!(bench.dial(&agent, vec![]).is_none(), "still heard");
    bench.world.pass_ms(two_ms);
    assert!(bench.dial(&agent, vec![]).is_none());
    bench.world.pass_ms(250);
    let link_2 = bench.join(&mut agent);
    assert_ne!(link, link_2);
    bench.world.event(Event::LinkClosed { link: link_2 });
    agent.boot = "boot-3";
    bench.join(&mut agent);
    // A new leader takes it for heard at its election.
    bench.world.elect(2);
    bench.world.take();
    agent.boot = "boot-4";
    assert!(bench.dial(&agent, vec![]).is_none());
    bench.world.pass_ms(two_ms + 250);
    bench.join(&mut agent);
    assert!(!bench.is_copied() && bench.world.live.alarms.is_empty(), "no reboot is an alarm");
}

#[test]
fn another_boot_beside_a_machine_that_goes_on_being_heard_is_said() {
    let mut bench = Bench::new();
    let mut agent = machine();
    let link = bench.join(&mut agent);
    let copy = Machine { boot: "boot-2", ..agent.clone() };
    for _ in 0..10 {
        assert!(bench.dial(&copy, vec![]).is_none());
        bench.pass_heard(link, 1_000);
    }
    assert!(bench.world.live.alarms.contains_key(&Alarm::AgentCopied(bench.no())));
    assert!(bench.beat(link, agent.number), "its number is right, and so is its machine");
}

#[test]
fn agents_of_before_and_restored_journals_know_no_number_and_are_let_in() {
    let mut bench = Bench::new();
    let mut agent = machine();
    for _ in 0..3 {
        bench.dial(&agent, vec![]).expect("it says and keeps nothing");
    }
    bench.join(&mut agent);
    let backup = bench.world.state.clone();
    bench.join(&mut agent);
    bench.join(&mut agent);
    let mut restored = Bench { world: bench.world.restored(&backup, 1_000), links: 500 };
    let old = agent.clone();
    restored.join(&mut agent);
    assert!(restored.dial(&old, vec![]).is_none(), "once");
}

#[test]
fn a_nodes_new_record_begins_without_a_number() {
    let mut bench = Bench::new();
    let agent = Machine { number: 77, ..machine() };
    bench.dial(&agent, vec![]).expect("whatever an unknown agent names");
}

/// One instance that must not live twice, running on the agent.
fn with_database(bench: &mut Bench, link: LinkId) -> (TaskId, JobSpec) {
    let spec = JobSpec { at_most_one: true, ladder_ms: 1_000, partition_delay_ms: 0, ..service("db", 1) };
    bench.world.submit(&spec).unwrap();
    let task = *bench.world.state.pending.first().unwrap();
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
    let task = *bench.world.state.pending.first().unwrap();
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
    let task = *bench.world.state.pending.first().unwrap();
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
        let second = *bench.world.state.pending.first().unwrap();
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
