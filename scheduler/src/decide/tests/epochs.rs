//! Agents that have obeyed a higher epoch: no number that anyone names ends a leader or moves a task.

use dawn_proto::v1::Reason;
use dawn_proto::{Epoch, TaskId, TaskState::*};

use super::specs::service;
use super::world::{World, registration, report};
use crate::model::*;

/// What a leader does with a registration, and whether it was let in.
fn register(world: &mut World, registration: Registration) -> Vec<Effect> {
    world.event(Event::Registered { link: LinkId(90), registration: Box::new(registration) });
    world.take()
}

fn claims(world: &World, agent: u64, epoch: u64, tasks: Vec<Report>) -> Registration {
    let cluster_id = world.state.cluster_id.clone();
    Registration { cluster_id, epoch_seen: Epoch(epoch), ..registration(agent, tasks) }
}

fn looks(effects: &[Effect]) -> usize {
    effects.iter().filter(|effect| **effect == Effect::LookAtOwnKey).count()
}

fn is_refused_slowly(effects: &[Effect]) -> bool {
    effects.iter().any(|effect| matches!(effect, Effect::Refuse { slowly: true, .. }))
}

/// A cluster of one running service on the first of two agents.
fn cluster() -> (World, TaskId) {
    let mut world = World::new();
    let (_, _, tasks) = world.running(&service("web", 1));
    world.agent(2);
    (world, tasks[0])
}

#[test]
fn no_number_ends_a_leader_whose_key_is_there() {
    let (mut world, task) = cluster();
    let index = world.state.index;
    for epoch in [2, 1 << 40, 1 << 61, 1 << 62, 1 << 63, u64::MAX] {
        for agent in [2, 77] {
            let claim = claims(&world, agent, epoch, vec![]);
            let told = register(&mut world, claim);
            assert!(is_refused_slowly(&told), "{told:?}");
            world.event(Event::OwnKeySeen { is_there: true });
            assert!(!told.iter().chain(&world.take()).any(|effect| matches!(effect, Effect::StepDown { .. })));
        }
    }
    assert_eq!((world.state.index, world.state_of(task)), (index, Running), "nothing was decided");
}

#[test]
fn the_own_key_is_looked_at_once_a_second_however_many_claim_a_higher_epoch() {
    let (mut world, _) = cluster();
    let mut looked = 0;
    for claim in 0..500 {
        let claim = claims(&world, 100 + claim, 9, vec![]);
        looked += looks(&register(&mut world, claim));
        world.skip_ms(10);
    }
    assert_eq!(looked, 5);
}

#[test]
fn a_leader_whose_key_is_gone_steps_down() {
    let (mut world, _) = cluster();
    let claim = claims(&world, 2, 9, vec![]);
    assert_eq!(looks(&register(&mut world, claim)), 1);
    world.event(Event::OwnKeySeen { is_there: false });
    let told = world.take();
    assert!(matches!(&told[..], [Effect::StepDown { reason }] if reason.contains("key is gone")), "{told:?}");
}

#[test]
fn an_agent_that_is_ahead_is_named_in_an_alarm_until_it_is_not() {
    let (mut world, _) = cluster();
    let agent = world.state.agent(&registration(2, vec![]).id).unwrap().no;
    let claim = claims(&world, 2, 9, vec![]);
    register(&mut world, claim);
    let words = &world.live.alarms[&Alarm::EpochAhead(agent)];
    assert!(words.contains("node-2") && words.contains("epoch 9"), "{words}");
    assert!(!world.live.alarms.contains_key(&Alarm::JournalBehind), "it holds no task");
    register(&mut world, registration(2, vec![]));
    assert!(world.live.alarms.is_empty());
    // One that never comes again is forgotten.
    let claim = claims(&world, 2, 9, vec![]);
    register(&mut world, claim);
    world.pass_ms(Live::AHEAD_KEPT_MS + 1_000);
    assert!(world.live.alarms.is_empty() && world.live.ahead.is_empty());
}

#[test]
fn while_agents_with_tasks_are_ahead_nothing_is_given_up_and_an_operator_is_told() {
    let (mut world, task) = cluster();
    world.event(Event::LinkClosed { link: LinkId(1) });
    let held = vec![report(TaskId(0), Running, Reason::None)];
    let until_ms = world.now.mono_ms + 300_000;
    while world.now.mono_ms < until_ms {
        let claim = claims(&world, 1, 9, held.clone());
        register(&mut world, claim);
        assert!(world.live.is_behind(world.now.mono_ms));
        world.pass_heard_ms(30_000, &[LinkId(2)]);
    }
    let words = &world.live.alarms[&Alarm::JournalBehind];
    assert!(words.contains("went back in time") && words.contains("dawn admin epoch raise"), "{words}");
    assert_eq!(world.tasks("web"), [(0, 1, Partitioned)], "not replaced");
    // It is gone for good: the cluster goes on.
    world.pass_heard_ms(Live::AHEAD_KEPT_MS + 60_000, &[LinkId(2)]);
    assert_eq!(world.state_of(task), Lost);
    assert!(!world.live.alarms.contains_key(&Alarm::JournalBehind));
}

#[test]
fn an_operator_raises_the_epoch_above_what_agents_show_and_they_are_asked_what_they_hold() {
    let (mut world, _) = cluster();
    let nothing = world.command(Command::RaiseEpoch);
    assert_eq!(nothing, Err(Refusal::NothingAhead { epoch: Epoch(1) }));
    world.event(Event::LinkClosed { link: LinkId(1) });
    let lost = TaskId(world.state.next_task.0 + 3);
    let claim = claims(&world, 1, 9, vec![report(lost, Running, Reason::None)]);
    register(&mut world, claim.clone());
    let raised = world.command(Command::RaiseEpoch);
    assert_eq!(raised, Ok(Answer::EpochRaised { epoch: Epoch(10), agents: 1 }));
    assert_eq!((world.state.epoch, world.state.restores.epoch_floor), (Epoch(10), Epoch(9)));
    assert!(world.state.restores.waiting && world.state.next_task > lost);
    let told = register(&mut world, claim);
    assert!(told.iter().any(|effect| matches!(effect, Effect::Welcome { epoch: Epoch(10), .. })), "{told:?}");
    let asked = told.iter().any(|effect| matches!(effect, Effect::Describe { tasks, .. } if tasks.contains(&lost)));
    assert!(asked, "{told:?}");
    world.pass_ms(250);
    assert!(!world.live.is_behind(world.now.mono_ms) && world.live.alarms.is_empty());
    // Every leader after this one stays above it, whatever its home counts.
    assert_eq!(world.state.epoch_of(3), Epoch(11));
    assert_eq!(world.state.epoch_of(50), Epoch(50));
}

#[test]
fn a_claim_in_the_name_of_an_agent_that_is_heard_halts_nothing() {
    let (mut world, _) = cluster();
    let claim = claims(&world, 1, 9, vec![report(TaskId(0), Running, Reason::None)]);
    register(&mut world, claim);
    assert!(!world.live.is_behind(world.now.mono_ms) && world.live.ahead.is_empty());
    assert!(world.live.links.contains_key(&LinkId(1)), "nor does it cost the agent its link");
}

#[test]
fn a_claim_that_can_not_be_true_leaves_room_to_raise_the_epoch() {
    let (mut world, _) = cluster();
    let claim = claims(&world, 1, u64::MAX, vec![report(TaskId(0), Running, Reason::None)]);
    register(&mut world, claim);
    world.event(Event::LinkClosed { link: LinkId(1) });
    let claim = claims(&world, 1, u64::MAX, vec![report(TaskId(0), Running, Reason::None)]);
    register(&mut world, claim);
    assert!(!world.live.is_behind(world.now.mono_ms), "it halts nothing");
    let claim = claims(&world, 1, 1 << 61, vec![report(TaskId(0), Running, Reason::None)]);
    register(&mut world, claim.clone());
    world.command(Command::RaiseEpoch).unwrap();
    let told = register(&mut world, claim);
    assert!(told.iter().any(|effect| matches!(effect, Effect::Welcome { .. })), "{told:?}");
}
