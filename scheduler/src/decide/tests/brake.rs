//! The brake: what counts for it, that it holds, that an operator releases it for a while, and that it is back by itself.

use dawn_proto::TaskState::*;
use dawn_proto::v1::{NodeState, Reason};

use super::promises::replay_equals_live;
use super::specs::{batch, service};
use super::world::{World, registration};
use crate::decide::brake;
use crate::model::*;

/// Agents with a task each on links of their numbers, from 1 on, and then some without.
fn cluster(with_tasks: u64, without: u64) -> World {
    let mut world = World::new();
    for agent in 1..=with_tasks {
        let (link, no) = world.agent(agent);
        world.submit(&service(&format!("web{agent}"), 1)).unwrap();
        let task = *world.state.indexes().pending.first().unwrap();
        world.place_all(no);
        world.report(link, task, Running, Reason::None);
        world.take();
    }
    for agent in 1..=without {
        world.agent(with_tasks + agent);
    }
    world.take();
    world
}

fn links(agents: impl IntoIterator<Item = u64>) -> Vec<LinkId> {
    agents.into_iter().map(LinkId).collect()
}

fn silent_of(world: &World) -> Option<(usize, usize)> {
    brake(&world.state, &world.settings).map(|brake| (brake.silent, brake.counted))
}

/// How many tasks of each kind there are: given up, and waiting for a place.
fn lost_and_pending(world: &World) -> (usize, usize) {
    let lost = world.state.tasks.values().filter(|task| task.state() == Lost).count();
    (lost, world.state.indexes().pending.len())
}

fn release(world: &mut World, for_ms: u64, is_preview: bool) -> Result<Answer, Refusal> {
    world.command(Command::Loss(LossCommand::ReleaseBrake { for_ms, author: "ann".into(), is_preview }))
}

#[test]
fn losing_most_nodes_with_tasks_at_once_gives_none_of_them_up() {
    let mut world = cluster(3, 0);
    world.pass_heard_ms(600_000, &links([1]));
    let states: Vec<NodeState> = world.state.agents.values().map(|agent| agent.state).collect();
    assert_eq!(states, [NodeState::Up, NodeState::Unreachable, NodeState::Unreachable]);
    assert_eq!((silent_of(&world), lost_and_pending(&world)), (Some((2, 3)), (0, 0)));
    let words = brake(&world.state, &world.settings).unwrap().to_string();
    assert!(words.starts_with("the brake is on: 2 of 3 nodes are silent, more than 50 %"), "{words}");
    assert!(words.contains("their 2 tasks") && words.contains("`dawn node down NODE…`"), "{words}");
    assert!(words.contains("`dawn admin brake release --for 30m`"), "{words}");
    assert!(world.take().iter().all(|effect| matches!(effect, Effect::Reconcile { .. })));
    // One is back: what is still missing is replaced after all.
    world.register(3, vec![]);
    world.pass_heard_ms(1_000, &links([1, 3]));
    assert_eq!((silent_of(&world), lost_and_pending(&world)), (None, (1, 1)));
}

#[test]
fn nodes_that_never_ran_anything_count_only_while_they_are_heard() {
    // Two hundred that vanished without a task hold up nothing.
    let mut world = cluster(4, 200);
    world.pass_heard_ms(300_000, &links([1, 2]));
    assert_eq!((silent_of(&world), lost_and_pending(&world)), (None, (2, 2)), "2 of 4 are not more than half");
    // And those that are heard count with the others.
    let mut world = cluster(4, 200);
    world.pass_heard_ms(300_000, &links(5..=204));
    assert_eq!((silent_of(&world), lost_and_pending(&world)), (None, (4, 4)));
}

#[test]
fn nodes_given_up_before_count_until_their_tasks_are_settled_or_an_operator_says_that_they_are_gone() {
    let mut world = cluster(9, 0);
    world.submit(&JobSpec { partition_wait: true, ..service("db", 1) }).unwrap();
    world.place_all(AgentNo(0));
    world.pass_heard_ms(120_000, &links(4..=9));
    let down = world.state.agents.values().filter(|agent| agent.state == NodeState::Down).count();
    assert_eq!((down, lost_and_pending(&world).0), (3, 3));
    assert!(world.state.indexes().tasks_on.contains_key(&AgentNo(0)), "what waits for its node is there yet");
    world.pass_heard_ms(120_000, &links(7..=9));
    assert_eq!((silent_of(&world), lost_and_pending(&world).0), (Some((4, 7)), 3), "one of before, and three");
    let agents = vec![registration(1, vec![]).id];
    world.command(Command::Loss(LossCommand::DeclareDown { agents, author: "ann".into(), is_preview: false })).unwrap();
    world.pass_heard_ms(120_000, &links(7..=9));
    assert_eq!((silent_of(&world), lost_and_pending(&world).0), (None, 7), "3 of 6");
    world.pass_heard_ms(120_000, &links([9]));
    assert_eq!((silent_of(&world), lost_and_pending(&world).0), (Some((2, 3)), 7));
}

#[test]
fn a_new_leader_takes_every_node_that_was_up_for_heard_at_its_election() {
    let mut world = cluster(4, 0);
    world.pass_heard_ms(60_000, &links([1]));
    assert_eq!(silent_of(&world), Some((3, 4)));
    world.elect(2);
    world.register(1, vec![]);
    world.register(2, vec![]);
    world.take();
    // For a lease it does not know better of the silent ones and gives up nothing; then they are half of all.
    world.pass_heard_ms(15_000, &links([1, 2]));
    assert_eq!(lost_and_pending(&world), (0, 0));
    world.pass_heard_ms(1_000, &links([1, 2]));
    assert_eq!((silent_of(&world), lost_and_pending(&world)), (None, (2, 2)));
    // One under which nobody comes back counts those that were up until their lease is over, and then has the brake on.
    let mut world = cluster(4, 0);
    world.elect(2);
    world.pass_ms(15_000);
    assert_eq!(silent_of(&world), None);
    world.pass_ms(300_000);
    assert_eq!((silent_of(&world), lost_and_pending(&world)), (Some((4, 4)), (0, 0)));
}

#[test]
fn a_released_brake_replaces_what_is_silent_and_is_back_by_itself() {
    let mut world = cluster(6, 0);
    assert_eq!(release(&mut world, 60_000, false), Err(LossRefusal::BrakeIsOff.into()));
    world.submit(&JobSpec { partition_wait: true, ..service("db", 1) }).unwrap();
    world.place_all(AgentNo(5));
    world.pass_heard_ms(60_000, &links([1]));
    assert_eq!((silent_of(&world), lost_and_pending(&world)), (Some((5, 6)), (0, 0)));
    let until = world.now.wall.plus_ms(30_000);
    let tasks = Replaced { tasks: 5, waiting: 0, wait_ms: 0 };
    let answer = Ok(Answer::Released(answers::Released { replaced: tasks, until }));
    // A preview tells the same and does nothing; a job that waits for its node is not among them.
    let index = world.state.index;
    assert_eq!(release(&mut world, 30_000, true), answer);
    assert_eq!((world.state.index, silent_of(&world)), (index, Some((5, 6))));
    assert_eq!(release(&mut world, 30_000, false), answer);
    let noted = BrakeRelease { until, for_ms: 30_000, by: "ann".into() };
    assert_eq!((world.state.brake_release.as_ref(), silent_of(&world)), (Some(&noted), None));
    world.pass_heard_ms(1_000, &links([1]));
    assert_eq!(lost_and_pending(&world), (5, 5));
    // While it lasts more are replaced; when it is over none.
    let replaced: Vec<_> = world.state.indexes().pending.iter().copied().collect();
    world.place_all(AgentNo(0));
    replaced.iter().for_each(|task| world.report(LinkId(1), *task, Running, Reason::None));
    for agent in 2..=4 {
        world.register(agent, vec![]);
        world.submit(&service(&format!("more{agent}"), 1)).unwrap();
        world.place_all(AgentNo(agent as u32 - 1));
    }
    world.pass_heard_ms(28_500, &links([1]));
    assert!(world.state.brake_release.is_some());
    world.pass_heard_ms(1_000, &links([1]));
    assert_eq!(world.state.brake_release, None);
    assert_eq!(silent_of(&world), Some((4, 5)), "with the one whose job waits for it");
    world.pass_heard_ms(300_000, &links([1]));
    assert_eq!(lost_and_pending(&world), (5, 0));
    replay_equals_live(&world);
}

#[test]
fn a_new_leader_goes_on_with_the_release_for_what_is_left_of_it_whatever_its_clock_says() {
    let released = |skip_ms: u64, wall_ms: i64| {
        let mut world = cluster(4, 0);
        world.pass_heard_ms(60_000, &links([1]));
        release(&mut world, 60_000, false).unwrap();
        world.skip_ms(skip_ms);
        world.now.wall.0 += wall_ms;
        world.elect(2);
        let carried = world.state.brake_release.as_ref().map(|release| (release.for_ms, release.by.clone()));
        let began_ms = world.now.mono_ms;
        while world.state.brake_release.is_some() && world.now.mono_ms < began_ms + 600_000 {
            world.pass_ms(250);
        }
        replay_equals_live(&world);
        (carried.map(|(for_ms, by)| (for_ms, by == "ann")), world.now.mono_ms - began_ms)
    };
    assert_eq!(released(20_000, 0), (Some((40_000, true)), 40_000));
    // Its clock is behind: no longer than was asked for.
    assert_eq!(released(20_000, -3_600_000), (Some((60_000, true)), 60_000));
    assert_eq!(released(20_000, 3_600_000), (None, 0));
    // A step of the clock under one leader changes nothing.
    let mut world = cluster(4, 0);
    world.pass_heard_ms(60_000, &links([1]));
    release(&mut world, 60_000, false).unwrap();
    world.now.wall.0 -= 3_600_000;
    world.pass_ms(59_750);
    assert!(world.state.brake_release.is_some());
    world.pass_ms(250);
    assert_eq!(world.state.brake_release, None);
}

#[test]
fn an_idle_node_says_nothing_however_the_share_is_set() {
    let mut world = cluster(2, 1);
    world.settings.mass_loss_percent = 100;
    world.submit(&batch("sum", 1)).unwrap();
    world.place_all(AgentNo(0));
    world.pass_ms(120_000);
    assert_eq!((silent_of(&world), lost_and_pending(&world).0), (None, 3), "100 turns it off");
}
