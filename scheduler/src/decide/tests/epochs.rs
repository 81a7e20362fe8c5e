//! Agents that have obeyed a higher epoch: no number that anyone names ends a leader or moves a task.

use dawn_proto::v1::Reason;
use dawn_proto::{Epoch, TaskId, TaskState::*};

use super::specs::service;
use super::world::{World, registration, report};
use crate::model::*;

/// What a leader does with a registration, and whether it was let in.
pub(super) fn register(world: &mut World, registration: Registration) -> Vec<Effect> {
    world.event(Event::Registered { link: LinkId(90), registration: Box::new(registration) });
    world.take()
}

pub(super) fn claims(world: &World, agent: u64, epoch: u64, tasks: Vec<Report>) -> Registration {
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
    world.pass_ms(Ahead::KEPT_MS + 1_000);
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
    world.pass_heard_ms(Ahead::KEPT_MS + 60_000, &[LinkId(2)]);
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
    assert_eq!(raised, Ok(Answer::EpochRaised(answers::EpochRaised { epoch: Epoch(10), agents: 1 })));
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

/// Whether a pending service is placed: what the pulse asks.
fn is_frozen(world: &World) -> bool {
    crate::decide::is_behind(&world.state, &world.live, world.now)
}

pub(super) fn forget(world: &mut World, agent: u64) -> Result<Answer, Refusal> {
    let agents = vec![registration(agent, vec![]).id];
    world.command(Command::Loss(LossCommand::Forget { agents }))
}

#[test]
fn a_claim_of_no_cluster_or_of_a_task_that_can_not_be_halts_nothing() {
    let (mut world, _) = cluster();
    for (task, cluster_id) in [(1 << 40, ""), (1 << 53, "c1"), (u64::MAX, "c1")] {
        let tasks = vec![report(TaskId(task), Running, Reason::None)];
        let claim = Registration { cluster_id: cluster_id.into(), ..registration(77, tasks) };
        let told = register(&mut world, claim);
        assert!(is_refused_slowly(&told), "{told:?}");
        assert!(!is_frozen(&world) && !world.state.restores.behind, "t{task} of {cluster_id:?}");
    }
    assert_eq!(world.command(Command::RaiseEpoch), Err(Refusal::NothingAhead { epoch: Epoch(1) }));
}

#[test]
fn after_a_raise_no_task_that_was_claimed_halts_anything_again() {
    let (mut world, _) = cluster();
    for agent in [77, 78] {
        let claim = claims(&world, agent, 0, vec![report(TaskId(1 << 52), Running, Reason::None)]);
        register(&mut world, claim.clone());
        if agent == 77 {
            assert!(is_frozen(&world));
            world.command(Command::RaiseEpoch).unwrap();
            assert!(world.state.next_task > TaskId(1 << 52));
            register(&mut world, claim);
        }
    }
    world.pass_ms(250);
    assert!(!is_frozen(&world), "the second one is asked what it holds");
}

#[test]
fn an_operator_dismisses_a_claim_and_it_stays_dismissed_while_it_is_made() {
    let (mut world, _) = cluster();
    let claim = claims(&world, 77, 9, vec![report(TaskId(0), Running, Reason::None)]);
    register(&mut world, claim.clone());
    world.pass_ms(2 * Ahead::KEPT_MS / 3);
    register(&mut world, claim.clone());
    world.pass_ms(Ahead::KEPT_MS / 2);
    assert!(is_frozen(&world));
    let words = &world.live.alarms[&Alarm::JournalBehind];
    assert!(words.contains("`dawn node forget node-77`"), "{words}");
    assert_eq!(forget(&mut world, 77), Ok(Answer::Forgotten(answers::Forgotten)));
    for _ in 0..5 {
        world.pass_ms(60_000);
        register(&mut world, claim.clone());
        assert!(!is_frozen(&world) && !world.state.restores.behind);
        assert!(world.live.alarms.is_empty() || world.live.alarms.contains_key(&Alarm::StrangerAhead));
    }
    assert_eq!(world.command(Command::RaiseEpoch), Err(Refusal::NothingAhead { epoch: Epoch(1) }));
    assert_eq!(forget(&mut world, 78), Err(Refusal::NoSuchAgent { agent: "node-78".into() }));
}

#[test]
fn a_node_that_is_declared_down_halts_nothing() {
    let (mut world, task) = cluster();
    world.event(Event::LinkClosed { link: LinkId(1) });
    let claim = claims(&world, 1, 9, vec![report(task, Running, Reason::None)]);
    register(&mut world, claim);
    // Long enough under this leader for both to be heard, and the freeze with it.
    for _ in 0..3 {
        world.pass_heard_ms(60_000, &[LinkId(2)]);
        let claim = claims(&world, 1, 9, vec![report(task, Running, Reason::None)]);
        register(&mut world, claim);
    }
    assert!(is_frozen(&world));
    // Once its agent dials no more; until then it is there, and is asked.
    world.pass_heard_ms(Ahead::KEPT_MS, &[LinkId(2)]);
    let agents = vec![registration(1, vec![]).id];
    world.command(Command::Loss(LossCommand::DeclareDown { agents, author: "ann".into(), is_preview: false })).unwrap();
    world.pass_heard_ms(1_000, &[LinkId(2)]);
    assert_eq!(world.state_of(task), Lost);
    assert!(!world.live.alarms.contains_key(&Alarm::JournalBehind));
}

#[test]
fn the_freeze_is_kept_over_an_election_until_agents_had_time_to_come() {
    let (mut world, task) = cluster();
    world.event(Event::LinkClosed { link: LinkId(1) });
    let claim = claims(&world, 1, 9, vec![report(task, Running, Reason::None)]);
    register(&mut world, claim.clone());
    assert!(world.state.restores.behind);
    world.elect(2);
    assert!(is_frozen(&world), "before anybody has come");
    let words = &world.live.alarms[&Alarm::JournalBehind];
    assert!(words.contains("dawn admin epoch raise"), "{words}");
    let link = world.register(2, vec![]);
    // It dials after a minute, and is seen; then it is gone for good.
    world.pass_heard_ms(60_000, &[link]);
    assert!(is_frozen(&world));
    register(&mut world, claim);
    world.pass_heard_ms(Ahead::KEPT_MS - 1_000, &[link]);
    assert!(is_frozen(&world) && world.state_of(task) == Partitioned);
    world.pass_heard_ms(62_000, &[link]);
    assert!(!is_frozen(&world) && !world.state.restores.behind && world.state_of(task) == Lost);
    assert!(!world.live.alarms.contains_key(&Alarm::JournalBehind));
    // One that begins after that waits for nobody.
    world.elect(3);
    assert!(!is_frozen(&world));
}

#[test]
fn a_freeze_that_several_agents_gave_cause_for_lasts_until_the_last_of_them_is_content() {
    let (mut world, _) = cluster();
    for agent in [77, 78] {
        let claim = claims(&world, agent, 9, vec![report(TaskId(0), Running, Reason::None)]);
        register(&mut world, claim);
    }
    world.pass_ms(Ahead::KEPT_MS / 2);
    register(&mut world, registration(77, vec![]));
    assert!(is_frozen(&world));
    world.pass_ms(Ahead::KEPT_MS / 4);
    let claim = claims(&world, 78, 9, vec![report(TaskId(0), Running, Reason::None)]);
    register(&mut world, claim);
    world.pass_ms(Ahead::KEPT_MS - 1_000);
    assert!(is_frozen(&world));
    world.pass_ms(2_000);
    assert!(!is_frozen(&world));
}

#[test]
fn what_can_not_be_true_or_comes_from_strangers_without_tasks_raises_nothing() {
    let (mut world, task) = cluster();
    world.event(Event::LinkClosed { link: LinkId(1) });
    for (agent, epoch, tasks) in [
        (77, u64::MAX, vec![report(task, Running, Reason::None)]),
        (78, 1 << 60, vec![]),
        (79, (1 << 61) + 1, vec![report(task, Running, Reason::None)]),
        (1, 9, vec![report(task, Running, Reason::None)]),
    ] {
        let claim = claims(&world, agent, epoch, tasks);
        register(&mut world, claim);
    }
    assert_eq!(
        world.command(Command::RaiseEpoch),
        Ok(Answer::EpochRaised(answers::EpochRaised { epoch: Epoch(10), agents: 1 }))
    );
    // A stranger with tasks is believed up to a bound; agents that the journal knows are believed beyond it, after that.
    let claim = claims(&world, 77, 1 << 61, vec![report(task, Running, Reason::None)]);
    register(&mut world, claim);
    world.command(Command::RaiseEpoch).unwrap();
    assert_eq!(world.state.epoch, Epoch((1 << 61) + 1));
    world.elect((1 << 61) + 2);
    let mut before = cluster().0;
    before.event(Event::LinkClosed { link: LinkId(1) });
    let claim = claims(&before, 1, world.state.epoch.0, vec![report(task, Running, Reason::None)]);
    register(&mut before, claim);
    assert!(is_frozen(&before));
    before.command(Command::RaiseEpoch).unwrap();
    assert!(before.state.epoch > world.state.epoch);
}

#[test]
fn a_number_that_was_given_out_again_shows_that_the_journal_went_back_in_time() {
    let (before, _) = cluster();
    // An agent that holds two tasks that the journal lost, of the same numbers as two that were made since.
    for (placed_on, digest) in [(None, false), (Some(1), false), (Some(1), true), (None, true)] {
        let mut world = World::new();
        (world.state, world.twin) = (before.state.clone(), before.state.clone());
        world.elect(2);
        let link = world.register(1, vec![report(TaskId(0), Running, Reason::None)]);
        world.submit(&service("new", 2)).unwrap();
        let lost = *world.state.indexes().pending.last().unwrap();
        if placed_on.is_some() {
            let no = world.state.agent(&registration(1, vec![]).id).unwrap().no;
            world.place_all(no);
        }
        world.take();
        let held = digest.then(|| [(lost, Running)].into_iter().collect());
        let tasks = if digest { vec![] } else { vec![report(lost, Running, Reason::None)] };
        let claim = Registration { held, ..claims(&world, 2, 0, tasks) };
        let told = register(&mut world, claim.clone());
        assert!(is_refused_slowly(&told) && is_frozen(&world), "{told:?}");
        let words = &world.live.alarms[&Alarm::JournalBehind];
        assert!(words.contains("never placed there"), "{words}");
        // Goes on as after a restore; the number is the new task's.
        world.command(Command::RaiseEpoch).unwrap();
        let told = register(&mut world, claim);
        assert!(told.iter().any(|effect| matches!(effect, Effect::Welcome { .. })), "{told:?}");
        world.pass_heard_ms(250, &[link]);
        assert!(!is_frozen(&world));
    }
    // A task that is over here says nothing: its agent was given up, and comes back.
    let (mut world, task) = cluster();
    world.pass_heard_ms(600_000, &[LinkId(2)]);
    world
        .command(Command::Loss(LossCommand::DeclareDown {
            agents: vec![registration(1, vec![]).id],
            author: "ann".into(),
            is_preview: false,
        }))
        .unwrap();
    world.pass_heard_ms(1_000, &[LinkId(2)]);
    assert_eq!(world.state_of(task), Lost);
    world.register(1, vec![report(task, Running, Reason::None)]);
    assert!(!is_frozen(&world));
}

#[test]
fn a_stranger_without_tasks_that_is_ahead_is_named_in_an_alarm() {
    let (mut world, _) = cluster();
    let claim = claims(&world, 77, 9, vec![]);
    register(&mut world, claim);
    let words = &world.live.alarms[&Alarm::StrangerAhead];
    assert!(words.contains("node-77") && words.contains("does not know this agent"), "{words}");
    // Others add no words of their own.
    let claim = claims(&world, 78, 9, vec![]);
    assert!(!register(&mut world, claim).iter().any(|effect| matches!(effect, Effect::Alarm { .. })));
    world.pass_ms(Ahead::KEPT_MS + 250);
    assert!(world.live.alarms.is_empty());
}
