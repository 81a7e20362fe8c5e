//! A journal that went back in time under a leader: what is submitted then gets no number of what agents hold.

use dawn_proto::v1::{JobKind, Reason, UpdateState};
use dawn_proto::{Epoch, TaskId, TaskState::*};

use super::restore::described;
use super::specs::{encoded, service, spec};
use super::world::{World, registration, report};
use crate::model::*;

/// A cluster whose journal went back: the world of its future, the world that goes on from its past, and two tasks of
/// `lost` that an agent of the future runs.
fn gone_back() -> (World, World, Vec<TaskId>) {
    let mut future = World::new();
    let (link, agent) = future.agent(1);
    future.submit(&service("web", 1)).unwrap();
    let past = future.state.clone();
    future.submit(&service("lost", 2)).unwrap();
    let tasks: Vec<TaskId> =
        future.state.indexes().pending.iter().copied().filter(|task| *task >= past.next_task).collect();
    future.place_all(agent);
    tasks.iter().for_each(|task| future.report(link, *task, Running, Reason::None));
    let mut world = World::new();
    (world.state, world.twin) = (past.clone(), past);
    world.elect(2);
    (future, world, tasks)
}

fn claim(world: &World, tasks: &[TaskId]) -> Registration {
    let tasks = tasks.iter().map(|task| report(*task, Running, Reason::None)).collect();
    Registration { cluster_id: world.state.cluster_id.clone(), epoch_seen: Epoch(9), ..registration(1, tasks) }
}

/// The agent dials until it is taken in, which takes an operator's word, and says what it holds.
fn raise(world: &mut World, future: &World, tasks: &[TaskId]) {
    world.command(Command::RaiseEpoch).unwrap();
    let (link, registration) = (LinkId(91), Box::new(claim(world, tasks)));
    world.event(Event::Registered { link, registration });
    let told = world.take();
    let is_asked = |task: &TaskId| {
        told.iter().any(|effect| matches!(effect, Effect::Describe { tasks, .. } if tasks.contains(task)))
    };
    assert!(tasks.iter().all(is_asked), "{told:?}");
    tasks.iter().for_each(|task| world.describe(link, described(future, *task, Running)));
    let told = world.take();
    assert!(!told.iter().any(|effect| matches!(effect, Effect::Kill { .. })), "{told:?}");
}

fn are_kept(world: &World, tasks: &[TaskId], new: &str) {
    for task in tasks {
        let task = &world.state.tasks[task];
        assert_eq!((world.state.spec_of(task).job.key.name(), task.state()), ("lost", Running));
    }
    let job = world.job(new);
    let open: Vec<_> = world
        .state
        .tasks_of(job.id)
        .ids
        .iter()
        .map(|task| (world.state.tasks[task].instance, world.state_of(*task)))
        .collect();
    assert_eq!(open, [(0, Pending), (1, Pending)], "each instance of it has one life, which is still to come");
    assert!(world.state.tasks_of(job.id).ids.iter().all(|task| !tasks.contains(task)));
}

#[test]
fn what_is_submitted_while_the_journal_is_behind_gets_numbers_that_no_agent_holds() {
    let (future, mut world, tasks) = gone_back();
    let registration = Box::new(claim(&world, &tasks));
    world.event(Event::Registered { link: LinkId(90), registration });
    assert!(world.state.restores.behind);
    world.submit(&spec("new", JobKind::Batch, 2)).unwrap();
    let made: Vec<TaskId> = world.tasks_of("new").ids.iter().copied().collect();
    assert!(made.iter().all(|task| !tasks.contains(task)), "{made:?} are those of {tasks:?}");
    raise(&mut world, &future, &tasks);
    are_kept(&world, &tasks, "new");
}

#[test]
fn a_task_that_got_a_number_that_an_agent_holds_gets_another_one() {
    let (future, mut world, tasks) = gone_back();
    world.submit(&spec("new", JobKind::Batch, 2)).unwrap();
    let made: Vec<TaskId> = world.tasks_of("new").ids.iter().copied().collect();
    assert_eq!(made, tasks, "nobody has said yet that they are given out");
    let registration = Box::new(claim(&world, &tasks));
    world.event(Event::Registered { link: LinkId(90), registration });
    raise(&mut world, &future, &tasks);
    are_kept(&world, &tasks, "new");
}

#[test]
fn a_node_that_shows_what_the_journal_lost_is_neither_given_up_nor_forgotten() {
    let (_, mut world, tasks) = gone_back();
    let registration = Box::new(claim(&world, &tasks));
    world.event(Event::Registered { link: LinkId(90), registration });
    let agent = super::world::registration(1, vec![]).id;
    let agents = vec![agent.clone()];
    let author = "ann".to_string();
    let down = LossCommand::DeclareDown { agents: agents.clone(), author: author.clone(), is_preview: false };
    let forget = LossCommand::Forget { agents };
    let release = LossCommand::ReleaseBrake { for_ms: 60_000, author, is_preview: false };
    for command in [down.clone(), forget] {
        let refused = world.command(Command::Loss(command)).unwrap_err();
        assert_eq!(refused, LossRefusal::KnowsMore { agent: agent.clone(), shown_ago_ms: 0 }.into());
    }
    let refused = world.command(Command::Loss(release)).unwrap_err();
    assert_eq!(refused, LossRefusal::JournalBehind.into());
    assert!(refused.to_string().contains("before its agents were asked"), "{refused}");
    // Once it dials no more it may be gone.
    world.pass_ms(Ahead::KEPT_MS);
    world.command(Command::Loss(down)).unwrap();
}

#[test]
fn time_in_which_the_journal_is_behind_counts_against_no_update() {
    let mut world = World::new();
    let with = |priority| {
        let mut web = service("web", 1);
        (web.priority, web.update.progress_deadline_ms) = (priority, 120_000);
        encoded(web)
    };
    let (link, _, _) = world.running(&with(0));
    world.pass_heard_ms(10_000, &[link]);
    world.submit(&with(1)).unwrap();
    let is_under_way = |world: &World| world.job("web").changes.active().is_some();
    // A stranger that holds tasks shows for five minutes that the journal has lost them.
    let stranger = vec![report(TaskId(0), Running, Reason::None)];
    let registration = Registration { epoch_seen: Epoch(9), ..registration(77, stranger) };
    let registration = Registration { cluster_id: world.state.cluster_id.clone(), ..registration };
    for _ in 0..5 {
        world.event(Event::Registered { link: LinkId(90), registration: Box::new(registration.clone()) });
        world.pass_heard_ms(60_000, &[link]);
    }
    assert!(world.state.restores.behind && is_under_way(&world));
    world.pass_heard_ms(Ahead::KEPT_MS, &[link]);
    assert!(!world.state.restores.behind && is_under_way(&world));
    world.pass_heard_ms(60_000, &[link]);
    assert!(is_under_way(&world), "its deadline begins anew");
    // Nothing is placed here, so that it fails in the end.
    world.pass_heard_ms(120_000, &[link]);
    let update = world.job("web").changes.updates.back().unwrap();
    assert_eq!(update.state, UpdateState::RollingBack, "{:?}", update.events);
}
