//! What the agent answers to one thing after the other: bounds, fences, ports, silence, a deaf executor, space.

use dawn_proto::v1::{PortHolder, Reason};
use dawn_proto::{Epoch, SpecId, TaskId, TaskState, Timestamp};

use super::world::{World, deeds, spec, welcome};
use crate::model::{
    Effect, Event, ExecutorEvent, Kill, Launch, LinkEvent, MAX_WAITING_LAUNCHES, MachineEvent, Message, Port, Spec,
    Welcomed,
};

pub(super) fn connected() -> World {
    let mut world = World::new();
    world.connect();
    world.settle();
    world
}

pub(super) fn launch(epoch: u64, task: u64, spec: u64, ports: &[u16]) -> Event {
    let ports = ports.iter().map(|number| Port { name: "http".into(), number: *number }).collect();
    Event::Link(LinkEvent::Launch(Launch {
        epoch: Epoch(epoch),
        task: TaskId(task),
        spec: SpecId(spec),
        instance: 0,
        attempt: 1,
        ports,
        gpus: Vec::new(),
        run_at_ms: 0,
    }))
}

/// The effects of one event alone.
pub(super) fn effects(world: &mut World, event: Event) -> Vec<Effect> {
    assert!(world.pending.is_empty());
    deeds(world.agent.step(event, world.now))
}

#[test]
fn a_launch_asks_for_its_spec_once_and_goes_on_when_it_comes() {
    let mut world = connected();
    let first = effects(&mut world, launch(1, 1, 9, &[]));
    let [Effect::Send { message: Message::NeedSpec { spec: SpecId(9), task: TaskId(1) }, .. }] = &first[..] else {
        panic!("{first:?}")
    };
    assert_eq!(effects(&mut world, launch(1, 1, 9, &[])), []);
    let vet = effects(&mut world, Event::Link(LinkEvent::Spec(spec(9))));
    assert_eq!(vet, [Effect::Vet { task: TaskId(1), user: "r".into(), ports: Vec::new() }]);
    assert_eq!(effects(&mut world, Event::Link(LinkEvent::Spec(spec(9)))), []);
}

#[test]
fn launches_that_wait_for_specs_are_bounded_and_refused_beyond() {
    let mut world = connected();
    let most = MAX_WAITING_LAUNCHES as u64;
    for task in 1..=most {
        world.agent.step(launch(1, task, 1_000_000 + task, &[]), world.now);
    }
    let refused = effects(&mut world, launch(1, most + 1, 7, &[]));
    let [Effect::Send { message: Message::Report(report), .. }] = &refused[..] else { panic!("{refused:?}") };
    assert_eq!((report.task, report.state, report.reason), (TaskId(most + 1), TaskState::Lost, Reason::NoRoom));
}

#[test]
fn a_third_task_does_not_fit_and_fits_once_another_has_ended() {
    let mut world = connected();
    (1..=3).for_each(|task| world.launch(task));
    world.settle();
    assert_eq!(world.state(3), Some(TaskState::Lost));
    let report = world.told[&TaskId(3)].last().unwrap().clone();
    assert_eq!(report.reason, Reason::NoRoom);
    assert_eq!(report.message, "no room on this node: cpu: needs 0.5, has 0");
    assert!(!world.dirs.contains_key(&TaskId(3)));
    world.kill(1);
    world.settle();
    world.launch(4);
    world.settle();
    assert_eq!(world.state(4), Some(TaskState::Running));
}

#[test]
fn a_late_repeat_of_a_refused_and_forgotten_launch_starts_nothing() {
    let mut world = connected();
    (1..=3).for_each(|task| world.launch(task));
    world.settle();
    world.kill(1);
    world.settle();
    let again = effects(&mut world, launch(1, 3, 1, &[]));
    let [Effect::Send { message: Message::Report(report), .. }] = &again[..] else { panic!("{again:?}") };
    assert_eq!((report.state, report.reason), (TaskState::Lost, Reason::NotOnAgent));
}

#[test]
fn an_agent_offers_how_many_tasks_it_takes_and_refuses_one_more_as_nobodys_fault() {
    let mut world = connected();
    world.agent.state.offer.max_tasks = 1;
    world.agent.state.offer.total.cpu_milli = 64_000;
    assert_eq!(world.agent.state.offer.offer().max_tasks, 1);
    (1..=2).for_each(|task| world.launch(task));
    world.settle();
    let report = world.told[&TaskId(2)].last().unwrap();
    assert_eq!((report.state, report.reason), (TaskState::Lost, Reason::NoRoom));
    assert_eq!(report.message, "the agent runs 1 task; 1 is the most");
    world.kill(1);
    world.settle();
    world.launch(3);
    world.settle();
    assert_eq!(world.state(3), Some(TaskState::Running));
}

#[test]
fn a_stale_order_of_any_kind_does_nothing_but_drop_the_link() {
    let kill = Kill { epoch: Epoch(1), task: TaskId(1), reason: Reason::UserRequest, grace_period_ms: Some(0) };
    let registered = welcome(Epoch(1), "c", 0);
    let orders = [
        launch(1, 2, 1, &[]),
        Event::Link(LinkEvent::Kill(kill)),
        Event::Link(LinkEvent::Reconcile { epoch: Epoch(1), tasks: vec![TaskId(1)] }),
        Event::Link(LinkEvent::HeartbeatAck { sequence: 1, epoch: Epoch(1), without_lease: false }),
        Event::Link(registered),
    ];
    for order in orders {
        let mut world = connected();
        world.launch(1);
        world.settle();
        world.link(LinkEvent::HeartbeatAck { sequence: 1, epoch: Epoch(2), without_lease: false });
        world.settle();
        assert_eq!(world.memory.epoch_seen, Epoch(2), "durable before anything else");
        let case = format!("{order:?}");
        assert_eq!(effects(&mut world, order), [Effect::Hangup { session: 1, next: None, slowly: false }], "{case}");
        assert_eq!(world.agent.state.tasks.len(), 1, "{case}");
        assert!(world.dirs[&TaskId(1)].process, "{case}");
    }
}

#[test]
fn a_newer_epoch_is_durable_before_its_order_is_carried_out() {
    let mut world = connected();
    world.link(LinkEvent::Spec(spec(1)));
    let effects = effects(&mut world, launch(7, 1, 1, &[]));
    assert!(
        matches!(&effects[..], [Effect::Remember(memory), Effect::Vet { .. }] if memory.epoch_seen == Epoch(7)),
        "{effects:?}"
    );
}

#[test]
fn a_busy_port_is_left_out_of_the_offer_for_a_minute() {
    let mut world = connected();
    world.busy_ports = vec![105];
    world.link(LinkEvent::Spec(spec(1)));
    world.wanted.insert(TaskId(1), true);
    world.step(launch(1, 1, 1, &[105]));
    let epoch = world.agent.state.offer.epoch;
    world.settle();
    let report = world.told[&TaskId(1)].last().unwrap();
    assert_eq!((report.state, report.reason), (TaskState::Lost, Reason::PortClash));
    let offer = world.agent.state.offer.offer();
    assert_eq!((offer.epoch, offer.ports.len()), (epoch + 1, 2));
    assert_eq!(offer.taken_ports, [(105, PortHolder::Listener)]);
    world.pass(59_000);
    assert_eq!(world.agent.state.offer.offer().ports.len(), 2);
    world.pass(2_000);
    let offer = world.agent.state.offer.offer();
    assert_eq!((offer.epoch, offer.ports.len(), offer.taken_ports), (epoch + 2, 1, vec![]));
}

#[test]
fn a_port_of_a_living_task_is_refused_without_asking_the_kernel() {
    let mut world = connected();
    world.link(LinkEvent::Spec(spec(1)));
    world.step(launch(1, 1, 1, &[101]));
    world.settle();
    let refused = effects(&mut world, launch(1, 2, 1, &[101]));
    let [Effect::Send { message: Message::Report(report), .. }] = &refused[..] else { panic!("{refused:?}") };
    assert_eq!((report.reason, report.message.as_str()), (Reason::NoRoom, "port 101 (http) is held by task t1"));
}

#[test]
fn an_unacknowledged_report_is_repeated_and_an_acknowledged_one_is_not() {
    let mut world = connected();
    world.acks = false;
    world.launch(1);
    world.settle();
    let sends = |effects: Vec<Effect>| {
        let reports = effects.into_iter().filter_map(|effect| match effect {
            Effect::Send { message: Message::Report(report), .. } => Some(report.sequence),
            _ => None,
        });
        reports.collect::<Vec<_>>()
    };
    world.now.mono_ms += 6_000;
    let repeated = effects(&mut world, Event::Tick);
    assert_eq!(sends(repeated), [2, 3]);
    world.link(LinkEvent::Ack { task: TaskId(1), sequence: 2 });
    world.now.mono_ms += 6_000;
    let repeated = effects(&mut world, Event::Tick);
    assert_eq!(sends(repeated), [3]);
    world.link(LinkEvent::Ack { task: TaskId(1), sequence: 3 });
    world.now.mono_ms += 6_000;
    let repeated = effects(&mut world, Event::Tick);
    assert_eq!(sends(repeated), [] as [u64; 0]);
}

#[test]
fn an_executor_that_does_not_end_its_task_is_overruled() {
    let mut world = connected();
    world.launch(1);
    world.settle();
    let kill = Kill { epoch: Epoch(1), task: TaskId(1), reason: Reason::Preempted, grace_period_ms: None };
    let told = effects(&mut world, Event::Link(LinkEvent::Kill(kill)));
    assert_eq!(told, [Effect::TellKill { task: TaskId(1), reason: Reason::Preempted, grace_period_ms: None }]);
    // The executor hears nothing: these effects are not carried out.
    world.now.mono_ms += 11_000;
    let forced = effects(&mut world, Event::Tick);
    assert!(forced.contains(&Effect::ForceKill { task: TaskId(1), processes: Vec::new() }), "{forced:?}");
    world.now.mono_ms += 5_000;
    let last = effects(&mut world, Event::Tick);
    assert!(last.contains(&Effect::KillExecutor { task: TaskId(1) }), "{last:?}");
    world.dir(TaskId(1)).executor = false;
    world.settle();
    let report = world.told[&TaskId(1)].last().unwrap();
    assert_eq!((report.state, report.reason), (TaskState::Killed, Reason::Preempted));
}

#[test]
fn tasks_run_on_however_long_the_link_is_down_and_a_silent_scheduler_is_left() {
    let mut world = connected();
    world.launch(1);
    world.settle();
    world.now.mono_ms += 60_000;
    let mut silent = effects(&mut world, Event::Tick);
    silent.retain(|effect| !matches!(effect, Effect::Observe(_)));
    assert_eq!(silent, [Effect::Hangup { session: 1, next: None, slowly: false }]);
    for _ in 0..100 {
        world.now.mono_ms += 3_600_000;
        assert_eq!(effects(&mut world, Event::Tick), []);
    }
    assert!(world.dirs[&TaskId(1)].process);
}

#[test]
fn nothing_that_a_scheduler_says_ends_an_agent_or_a_task() {
    let refused =
        |address: &str, slowly| LinkEvent::Refused { reason: "no".into(), leader_address: address.into(), slowly };
    let hangup = |next: Option<&str>, slowly| Effect::Hangup { session: 1, next: next.map(Into::into), slowly };
    for (said, wanted) in [
        (refused("b:1", false), hangup(Some("b:1"), false)),
        (refused("", true), hangup(None, true)),
        (welcome(Epoch(1), "another", 0), hangup(None, true)),
        (welcome(Epoch(u64::MAX), "c", 0), hangup(None, true)),
        (
            LinkEvent::HeartbeatAck { sequence: u64::MAX, epoch: Epoch(u64::MAX), without_lease: false },
            hangup(None, true),
        ),
    ] {
        let mut world = connected();
        world.launch(1);
        world.settle();
        let case = format!("{said:?}");
        assert_eq!(effects(&mut world, Event::Link(said)), [wanted], "{case}");
        assert_eq!(world.agent.state.memory.epoch_seen, Epoch(1), "{case}");
        assert!(world.dirs[&TaskId(1)].process, "{case}");
    }
}

#[test]
fn absurd_times_of_a_leader_make_no_agent_that_is_never_heard() {
    for (interval_ms, lease_ms) in [(u64::MAX, u64::MAX), (u64::MAX, 0), (0, u64::MAX)] {
        let mut world = connected();
        let welcomed = Welcomed {
            epoch: Epoch(1),
            cluster_id: "c".into(),
            heartbeat_interval_ms: interval_ms,
            lease_ms,
            ..Default::default()
        };
        world.link(LinkEvent::Registered(welcomed));
        world.settle();
        let beats = (0..40_000).filter(|_| {
            world.now.mono_ms += 200;
            let sent = effects(&mut world, Event::Tick);
            sent.iter().any(|effect| matches!(effect, Effect::Send { message: Message::Heartbeat { .. }, .. }))
        });
        assert!(beats.take(2).count() >= 1, "every {interval_ms} ms, lease {lease_ms} ms");
    }
}

#[test]
fn a_welcomes_number_is_durable_before_it_is_named() {
    let mut world = connected();
    let told = effects(&mut world, Event::Link(welcome(Epoch(2), "c", 77)));
    let remembered: Vec<_> = told.iter().filter(|effect| matches!(effect, Effect::Remember(_))).collect();
    let [Effect::Remember(memory)] = &remembered[..] else { panic!("{told:?}") };
    assert_eq!((memory.welcome, memory.epoch_seen), (77, Epoch(2)), "one write for both");
    world.now.mono_ms += 2_000;
    let beat = effects(&mut world, Event::Tick);
    assert!(
        beat.iter()
            .any(|effect| matches!(effect, Effect::Send { message: Message::Heartbeat { welcome: 77, .. }, .. }))
    );
    // A leader that gives none leaves the old one.
    effects(&mut world, Event::Link(welcome(Epoch(2), "c", 0)));
    let up = effects(&mut world, Event::Link(LinkEvent::Up { session: 2 }));
    let [Effect::Send { message: Message::Register(register), .. }] = &up[..] else { panic!("{up:?}") };
    assert_eq!(register.welcome, 77);
}

#[test]
fn what_an_executor_says_out_of_order_twice_or_after_the_end_changes_nothing() {
    let mut world = connected();
    world.launch(1);
    world.settle();
    world.kill(1);
    world.settle();
    for sequence in [1, 3, 4, 99] {
        let event = ExecutorEvent::Changed {
            sequence,
            at: Timestamp(0),
            state: TaskState::Running,
            reason: Reason::None,
            message: String::new(),
            ended: None,
        };
        let said = Event::Machine(MachineEvent::Heard { task: TaskId(1), event });
        assert_eq!(effects(&mut world, said), [], "sequence {sequence}");
    }
    assert_eq!(world.state(1), Some(TaskState::Killed));
}

#[test]
fn an_ended_task_is_kept_for_its_log_and_deleted_by_age() {
    let mut world = connected();
    world.launch(1);
    world.settle();
    world.kill(1);
    world.settle();
    world.pass(20_000);
    assert!(world.dirs[&TaskId(1)].released);
    // A wall clock that is set makes nothing older.
    world.now.wall = world.now.wall.plus_ms(3 * 86_400_000);
    world.pass(20_000);
    assert!(world.dirs[&TaskId(1)].released);
    world.now.mono_ms += 3_700_000;
    world.pass(20_000);
    assert!(world.dirs.is_empty());
    assert!(world.agent.state.tasks.is_empty());
}

#[test]
fn specs_are_kept_within_a_bound_in_bytes_and_asked_for_again_beyond_it() {
    let mut world = connected();
    for id in 100..140 {
        let large = Spec { payload: vec![7; 1 << 20], ..Spec::clone(&spec(id)) };
        world.agent.step(Event::Link(LinkEvent::Spec(large.into())), world.now);
    }
    let mut lacks = |id: u64| {
        let effects = effects(&mut world, launch(1, id, id, &[]));
        effects.iter().any(|effect| matches!(effect, Effect::Send { message: Message::NeedSpec { .. }, .. }))
    };
    assert!(lacks(100) && lacks(123));
    assert!(!lacks(124) && !lacks(139), "the newest 16 MiB are there");
}
