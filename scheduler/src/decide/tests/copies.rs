//! Two machines that claim to be one agent: which is let in, and what operators are told. Not here: what becomes of tasks
//! that must not live twice (`doubts`).

use dawn_proto::v1::Reason;
use dawn_proto::{Epoch, TaskId};

use super::world::{World, registration};
use crate::model::*;

/// An agent as a machine has it on its disk.
#[derive(Clone)]
pub(super) struct Machine {
    pub number: u64,
    pub boot: &'static str,
    pub host: &'static str,
}

pub(super) fn machine() -> Machine {
    Machine { number: 0, boot: "boot-1", host: "host-1" }
}

pub(super) struct Bench {
    pub world: World,
    links: u64,
}

impl Bench {
    pub fn new() -> Bench {
        Bench { world: World::new(), links: 100 }
    }

    /// Registers on a link of its own; what it was given, if it was let in.
    pub fn dial(&mut self, machine: &Machine, tasks: Vec<Report>) -> Option<(LinkId, u64)> {
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
    pub fn join(&mut self, machine: &mut Machine) -> LinkId {
        let (link, number) = self.dial(machine, vec![]).expect("it is let in");
        machine.number = number;
        self.beat(link, number);
        link
    }

    /// Whether its leases are renewed.
    pub fn beat(&mut self, link: LinkId, welcome: u64) -> bool {
        self.world.event(Event::Heartbeat { link, sequence: 1, welcome, wall: Default::default() });
        self.world.take().iter().any(|effect| matches!(effect, Effect::HeartbeatAck { .. }))
    }

    pub fn no(&self) -> AgentNo {
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

    pub fn pass_heard(&mut self, link: LinkId, ms: u64) {
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
fn one_that_is_heard_beside_another_boot_goes_on_and_the_alarm_says_so_until_the_other_dials_no_more() {
    let mut bench = Bench::new();
    let mut agent = machine();
    let link = bench.join(&mut agent);
    let copy = Machine { boot: "boot-2", ..agent.clone() };
    for _ in 0..10 {
        bench.dial(&copy, vec![]);
        bench.pass_heard(link, 1_000);
    }
    let alarm = Alarm::AgentCopied(bench.no());
    let words = &bench.world.live.alarms[&alarm];
    assert!(words.contains("goes on as it was") && !words.contains("no lease"), "{words}");
    bench.pass_heard(link, 88_000);
    assert!(bench.world.live.alarms.contains_key(&alarm), "it may dial every minute");
    bench.pass_heard(link, 3_000);
    assert!(bench.world.live.alarms.is_empty() && bench.world.live.contested.is_empty());
    // Long after that stray one, a reboot of its own: it comes back while its old link is open, and is heard to the last.
    agent.boot = "boot-3";
    bench.dial(&agent, vec![]);
    bench.world.pass_ms(2 * Settings::default().heartbeat_interval_ms + 250);
    bench.join(&mut agent);
    assert!(bench.world.live.alarms.is_empty());
}

#[test]
fn the_alarm_ends_with_a_welcome_and_with_the_node() {
    let mut bench = Bench::new();
    let mut agent = machine();
    let mut link = bench.join(&mut agent);
    let copy = Machine { boot: "boot-2", ..agent.clone() };
    for _ in 0..10 {
        bench.dial(&copy, vec![]);
        bench.pass_heard(link, 1_000);
    }
    let alarm = Alarm::AgentCopied(bench.no());
    assert!(bench.world.live.alarms.contains_key(&alarm));
    bench.world.event(Event::LinkClosed { link });
    link = bench.join(&mut agent);
    assert!(bench.world.live.alarms.is_empty(), "it came back, and nobody else is there");
    let stale = Machine { number: 12_345, ..agent };
    bench.dial(&stale, vec![]);
    assert!(bench.world.live.alarms.contains_key(&alarm) && bench.is_copied());
    bench.world.event(Event::LinkClosed { link });
    bench.world.pass_ms(120_000);
    let agents = vec![registration(1, vec![]).id];
    bench.world.command(Command::Loss(LossCommand::Forget { agents })).unwrap();
    assert!(bench.world.live.alarms.is_empty(), "nobody could forgive a node that is gone");
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
fn no_agent_is_a_copy_for_naming_what_a_journal_that_went_back_has_lost() {
    let mut bench = Bench::new();
    let mut agent = machine();
    bench.join(&mut agent);
    let backup = bench.world.state.clone();
    bench.join(&mut agent);
    bench.join(&mut agent);
    // The snapshot of an earlier hour, led on as if nothing were.
    (bench.world.state, bench.world.twin) = (backup.clone(), backup);
    bench.world.elect(2);
    bench.world.take();
    assert!(bench.dial(&agent, vec![]).is_none() && bench.is_copied());
    let claim = Registration { cluster_id: "c1".into(), epoch_seen: Epoch(9), ..registration(2, vec![]) };
    let held = vec![super::world::report(TaskId(0), dawn_proto::TaskState::Running, Reason::None)];
    let claim = Registration { tasks: held, ..claim };
    bench.world.event(Event::Registered { link: LinkId(7), registration: Box::new(claim) });
    bench.world.command(Command::RaiseEpoch).unwrap();
    bench.world.take();
    let link = bench.join(&mut agent);
    assert!(!bench.is_copied() && bench.beat(link, agent.number));
    bench.pass_heard(link, 250);
    assert!(!bench.world.live.alarms.contains_key(&Alarm::AgentCopied(bench.no())));
}

#[test]
fn a_nodes_new_record_begins_without_a_number() {
    let mut bench = Bench::new();
    let agent = Machine { number: 77, ..machine() };
    bench.dial(&agent, vec![]).expect("whatever an unknown agent names");
}
