//! Registrations: who is let in, and how state and agent are compared.

use dawn_proto::v1::{NodeState, PortHolder, Reason};
use dawn_proto::{Epoch, TaskId, TaskState::*};

use super::specs::{batch, service};
use super::world::{World, ack, kill_effect, registration, report, welcome};
use crate::model::{
    AgentSeen, Effect, Event, LinkId, Mutation, Offer, Registration, TakenPorts, WelcomeMutation, bounds,
};

fn register(world: &mut World, link: u64, registration: Registration) -> Vec<Effect> {
    world.event(Event::Registered { link: LinkId(link), registration: Box::new(registration) });
    world.take()
}

#[test]
fn a_new_agent_gets_a_number_and_is_welcome() {
    let mut world = World::new();
    let (link, agent) = world.agent(1);
    assert_eq!(world.live.links.get(&link), Some(&agent));
    let known = &world.state.agents[&agent];
    assert_eq!((known.id.as_str(), known.state, known.offer_epoch), ("node-1", NodeState::Up, 1));
    // Again on another link, unchanged: nothing to record but the number it is given.
    let index = world.state.index;
    let told = register(&mut world, 77, registration(1, vec![]));
    assert_eq!(told, [welcome(LinkId(77), agent)]);
    assert_eq!((world.state.index, world.live.links.len()), (index + 1, 1));
    let recorded = &world.journal.last().unwrap().mutations[..];
    assert!(matches!(recorded, [Mutation::Welcome(WelcomeMutation::Issued { .. })]), "{recorded:?}");
}

#[test]
fn what_changed_is_recorded() {
    let mut world = World::new();
    let (link, agent) = world.agent(1);
    let mut offer = registration(1, vec![]).offer;
    offer.total.cpu_milli = 1_000;
    let taken_ports = TakenPorts::from([(31_000, PortHolder::Listener)]);
    world.event(Event::Offered { link, offer: Offer { taken_ports: taken_ports.clone(), ..offer.clone() } });
    assert_eq!(world.state.agents[&agent].taken_ports, taken_ports);
    world.event(Event::Offered { link, offer: Offer { epoch: 2, ..offer.clone() } });
    assert_eq!(world.state.agents[&agent].total.cpu_milli, 1_000);
    let index = world.state.index;
    world.event(Event::Offered { link, offer: Offer { epoch: 2, ..offer } });
    assert_eq!((world.state.index, world.take()), (index, vec![]));
}

#[test]
fn who_does_not_belong_here_is_refused_and_not_bound() {
    let mut world = World::new();
    world.agent(1);
    let index = world.state.index;
    let other_cluster = Registration { cluster_id: "c2".into(), ..registration(2, vec![]) };
    let stranger = Registration { cluster_id: String::new(), epoch_seen: Epoch(2), ..registration(2, vec![]) };
    let same_id = Registration { hostname: "elsewhere".into(), ..registration(1, vec![]) };
    let from_the_future = registration(2, vec![report(TaskId(7), Running, Reason::None)]);
    let of_no_cluster = from_the_future.clone();
    let from_the_future = Registration { cluster_id: "c1".into(), ..from_the_future };
    for (registration, slowly_wanted, says) in [
        (stranger, true, "seen epoch 2"),
        (other_cluster, true, "belongs to cluster c2, this is cluster c1"),
        (same_id, true, "in use by host-1"),
        (of_no_cluster, true, "holds t7 of no cluster that it can name"),
        (from_the_future, true, "holds t7, newer than any task of this journal (next t0)"),
    ] {
        let told = register(&mut world, 9, registration);
        let refused = told.iter().find_map(|effect| match effect {
            Effect::Refuse { link: LinkId(9), reason, slowly } => Some((reason, *slowly)),
            _ => None,
        });
        let (reason, slowly) = refused.unwrap_or_else(|| panic!("{told:?}"));
        assert!(reason.contains(says) && slowly == slowly_wanted, "{reason}");
        assert!(!told.iter().any(|effect| matches!(effect, Effect::StepDown { .. } | Effect::Welcome { .. })));
    }
    // The one from the future holds a task of this cluster: that is written down.
    assert_eq!((world.state.index, world.live.links.len()), (index + 1, 1));
    world.live.ahead.clear();
    world.live.alarms.clear();
    // The host that had the id is silent: another one may take over the work directory.
    world.pass_ms(16_000);
    let told = register(&mut world, 9, Registration { hostname: "elsewhere".into(), ..registration(1, vec![]) });
    assert!(matches!(told[..], [Effect::Welcome { .. }]), "{told:?}");
}

#[test]
fn an_agent_that_is_back_is_compared_with_the_state_both_ways() {
    let mut world = World::new();
    let (_, agent, tasks) = world.running(&batch("sum", 5));
    let [runs, ended, unnamed, stopping, orphan] = tasks[..] else { panic!("{tasks:?}") };
    world.kill("sum", &[(3, 3)]).unwrap();
    world.report(LinkId(1), orphan, Finished, Reason::None);
    world.submit(&service("web", 1)).unwrap();
    world.place_all(agent);
    let assigned = TaskId(5);
    world.take();
    let named = vec![
        report(runs, Running, Reason::None),
        report(ended, Finished, Reason::None),
        report(orphan, Running, Reason::None),
    ];
    let link = LinkId(2);
    let told = register(&mut world, 2, registration(1, named));
    let wanted = [
        welcome(link, agent),
        ack(link, runs, Running),
        ack(link, ended, Finished),
        kill_effect(agent, orphan, Reason::Orphan),
        ack(link, orphan, Running),
        kill_effect(agent, stopping, Reason::UserRequest),
        Effect::Launch { agent, task: assigned },
        Effect::Reconcile { agent, tasks: vec![unnamed, stopping] },
    ];
    assert_eq!(told, wanted);
    // Not being named ended nothing.
    assert_eq!(
        [runs, ended, unnamed, stopping].map(|task| world.state_of(task)),
        [Running, Finished, Running, Killing]
    );
    world.report(link, unnamed, Lost, Reason::NotOnAgent);
    world.report(link, stopping, Lost, Reason::NotOnAgent);
    assert_eq!(world.tasks("sum")[4..], [(4, 1, Finished), (2, 2, Pending)]);
    assert_eq!(world.take(), [ack(link, unnamed, Lost), ack(link, stopping, Lost)]);
}

#[test]
fn another_boot_is_evidence_for_what_is_not_named() {
    let mut world = World::new();
    let (_, agent, tasks) = world.running(&service("web", 3));
    world.kill("web", &[(2, 2)]).unwrap();
    world.submit(&batch("sum", 1)).unwrap();
    world.place_all(agent);
    world.take();
    world.event(Event::LinkClosed { link: LinkId(1) });
    // Its own word about one of them goes first.
    let named = vec![report(tasks[0], Failed, Reason::AgentRebooted)];
    let told = register(&mut world, 2, Registration { boot_id: "boot-2".into(), ..registration(1, named) });
    let link = LinkId(2);
    let wanted = [
        Effect::Welcome { link, agent, epoch: Epoch(1), number: 1, leased: true, is_doubted: true, wait_ms: None },
        ack(link, tasks[0], Failed),
        Effect::Launch { agent, task: TaskId(3) },
    ];
    assert_eq!(told, wanted);
    assert_eq!(world.state.tasks[&tasks[1]].history.last().unwrap().reason, Reason::AgentRebooted);
    let web = world.tasks("web");
    assert_eq!(web, [(0, 1, Failed), (1, 1, Lost), (2, 1, Lost), (0, 2, Throttled), (1, 2, Pending)]);
    assert_eq!(world.tasks("sum"), [(0, 1, Assigned)]);
}

#[test]
fn a_digest_that_matches_is_enough_and_one_that_differs_is_asked_for() {
    let mut world = World::new();
    let (_, agent, tasks) = world.running(&service("web", 2));
    world.take();
    let short = |held: &[(TaskId, dawn_proto::TaskState)]| Registration {
        held: Some(held.iter().copied().collect()),
        ..registration(1, vec![])
    };
    let (link, index) = (LinkId(2), world.state.index);
    let told = register(&mut world, 2, short(&[(tasks[1], Running), (tasks[0], Running)]));
    assert_eq!((told, world.state.index), (vec![welcome(link, agent)], index + 1));

    // One is not there any more.
    let link = LinkId(3);
    let index = world.state.index + 1;
    let told = register(&mut world, 3, short(&[(tasks[0], Running)]));
    assert_eq!(told, [welcome(link, agent), Effect::TellTasks { link }]);
    assert_eq!(world.state.index, index, "a digest changes nothing");
    let named = vec![report(tasks[0], Running, Reason::None)];
    world.event(Event::TasksTold { link, tasks: named });
    let asked = Effect::Reconcile { agent, tasks: vec![tasks[1]] };
    assert_eq!(world.take(), [ack(link, tasks[0], Running), asked]);
    assert_eq!(world.state_of(tasks[1]), Running, "not being named ended nothing");
}

#[test]
fn a_digest_or_list_from_a_later_journal_is_refused() {
    let mut world = World::new();
    let (_, _, tasks) = world.running(&service("web", 1));
    let next = world.state.next_task;
    world.take();
    let held = Some([(tasks[0], Running), (next, Running)].into_iter().collect());
    let told = register(&mut world, 2, Registration { held, cluster_id: "c1".into(), ..registration(1, vec![]) });
    assert!(told.iter().any(|effect| matches!(effect, Effect::Refuse { slowly: true, .. })), "{told:?}");
    let told = register(&mut world, 3, Registration { held: Some(Default::default()), ..registration(1, vec![]) });
    assert!(matches!(&told[..], [Effect::Alarm { .. }, Effect::Welcome { .. }, Effect::TellTasks { .. }]), "{told:?}");
    world.event(Event::TasksTold { link: LinkId(3), tasks: vec![report(next, Running, Reason::None)] });
    let told = world.take();
    assert!(matches!(&told[..], [Effect::Refuse { slowly: true, .. }]), "{told:?}");
    // Nor is a stranger's list taken.
    world.event(Event::TasksTold { link: LinkId(9), tasks: vec![report(tasks[0], Failed, Reason::None)] });
    let told = world.take();
    assert!(matches!(&told[..], [Effect::Refuse { slowly: false, .. }]), "{told:?}");
    assert_eq!(world.state_of(tasks[0]), Running);
}

#[test]
fn heartbeats_are_answered() {
    let mut world = World::new();
    let (link, _) = world.agent(1);
    let index = world.state.index;
    world.event(Event::Heartbeat { link, sequence: 5, welcome: 0, wall: Default::default() });
    assert_eq!(world.take(), [Effect::HeartbeatAck { link, sequence: 5 }]);
    world.event(Event::LinkClosed { link });
    assert_eq!((world.take(), world.state.index), (vec![], index));
    assert!(world.live.links.is_empty());
}

fn refusal(effects: &[Effect]) -> &str {
    match effects {
        [Effect::Refuse { reason, slowly: true, .. }] => reason,
        other => panic!("expected a refusal, got {other:?}"),
    }
}

#[test]
fn a_cluster_takes_so_many_agents_and_those_that_are_known_come_back() {
    let mut world = World::new();
    world.agent(1);
    let seen = |world: &mut World, number: u64| {
        let Registration { id, hostname, version, isolation, boot_id, offer, .. } = registration(number, vec![]);
        let Offer { epoch: offer_epoch, total, attributes, ports, max_tasks, taken_ports } = offer;
        let agent = world.state.next_agent;
        let seen = Mutation::AgentSeen(Box::new(AgentSeen {
            agent,
            id,
            hostname,
            version,
            isolation,
            boot_id,
            total,
            attributes,
            ports,
            max_tasks,
            taken_ports,
            offer_epoch,
        }));
        let at = world.state.at;
        world.state.apply_one(&seen, at);
        world.twin.apply_one(&seen, at);
    };
    (2..=bounds::AGENTS as u64).for_each(|number| seen(&mut world, number));
    let told = register(&mut world, 9, registration(bounds::AGENTS as u64 + 1, vec![]));
    assert!(refusal(&told).contains("has 100000 agents and takes at most 100000; `dawn node forget`"), "{told:?}");
    assert_eq!(world.state.agents.len(), bounds::AGENTS);
    let told = register(&mut world, 10, registration(5, vec![]));
    assert!(matches!(&told[..], [Effect::Welcome { link: LinkId(10), .. }]), "{told:?}");
    let changed = Registration { version: "2".into(), ..registration(6, vec![]) };
    let told = register(&mut world, 11, changed);
    assert!(matches!(&told[..], [Effect::Welcome { link: LinkId(11), .. }]), "{told:?}");
}

#[test]
fn what_all_agents_offer_is_bounded_in_bytes() {
    let mut world = World::new();
    let (link, agent) = world.agent(1);
    let own = world.state.agents[&agent].offered_bytes();
    assert_eq!(world.state.indexes().offered_bytes, own);
    for state in [&mut world.state, &mut world.twin] {
        state.indexes_mut().offered_bytes = bounds::OFFERED_BYTES;
    }
    let told = register(&mut world, 9, registration(2, vec![]));
    assert!(refusal(&told).contains("at most 268435456 are kept"), "{told:?}");
    let mut offer = Offer { epoch: 2, ..registration(1, vec![]).offer };
    offer.ports = vec![(31_000, 31_005)];
    world.event(Event::Offered { link, offer: offer.clone() });
    assert_eq!(world.take(), [], "no more than before");
    offer.epoch = 3;
    offer.attributes.insert("rack".into(), vec!["r".repeat(100)]);
    world.event(Event::Offered { link, offer });
    let told = world.take();
    assert!(refusal(&told).contains("what agent node-1 offers"), "{told:?}");
}
