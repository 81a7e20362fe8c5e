//! Reports: moves, repeats, old news, and tasks that should not be there.

use dawn_proto::v1::Reason;
use dawn_proto::{TaskId, TaskState, TaskState::*};

use super::specs::{batch, service};
use super::world::{World, ack, kill_effect, report};
use crate::model::{AgentNo, Effect, End, Event, LinkId, Status};

#[test]
fn a_life_is_reported_step_by_step_and_each_step_acknowledged() {
    let mut world = World::new();
    let (link, agent) = world.agent(1);
    world.submit(&batch("sum", 1)).unwrap();
    world.place_all(agent);
    assert_eq!(world.take(), [Effect::Launch { agent, task: TaskId(0) }]);
    for state in [Starting, Running, Finished] {
        world.report(link, TaskId(0), state, Reason::None);
        assert_eq!(world.state_of(TaskId(0)), state);
        assert_eq!(world.take(), [ack(link, TaskId(0), state)]);
    }
    let ended = world.job("sum").ended.clone().unwrap();
    assert_eq!((&*ended.by, &*ended.message), ("", ""));
}

#[test]
fn repeats_and_old_news_are_acknowledged_and_change_nothing() {
    let mut world = World::new();
    let (link, _, tasks) = world.running(&service("web", 1));
    let index = world.state.index;
    for state in [Running, Starting, Assigned, Killing, Pending, Partitioned, Draining] {
        world.report(link, tasks[0], state, Reason::None);
        assert_eq!(world.take(), [ack(link, tasks[0], state)]);
    }
    assert_eq!(world.state.index, index);
}

#[test]
fn a_terminal_state_is_final_and_what_still_lives_is_killed() {
    let mut world = World::new();
    let (link, agent, tasks) = world.running(&batch("sum", 2));
    let task = tasks[0];
    world.report(link, task, Finished, Reason::None);
    world.take();
    let index = world.state.index;
    for state in [Finished, Failed, Killed, Lost] {
        world.report(link, task, state, Reason::Exited);
        assert_eq!(world.take(), [ack(link, task, state)]);
    }
    for state in [Assigned, Starting, Running] {
        world.report(link, task, state, Reason::None);
        assert_eq!(world.take(), [kill_effect(agent, task, Reason::Orphan), ack(link, task, state)]);
    }
    assert_eq!((world.state.index, world.state_of(task)), (index, Finished));
}

#[test]
fn a_task_that_runs_on_though_told_to_stop_is_told_again() {
    let mut world = World::new();
    let (link, agent, tasks) = world.running(&service("web", 1));
    world.kill("web", &[]).unwrap();
    world.take();
    world.report(link, tasks[0], Running, Reason::None);
    assert_eq!(world.take(), [kill_effect(agent, tasks[0], Reason::UserRequest), ack(link, tasks[0], Running)]);
    assert_eq!(world.state_of(tasks[0]), Killing);
}

#[test]
fn an_assigned_task_that_the_agent_has_not_got_is_launched_again_not_replaced() {
    let mut world = World::new();
    let (link, agent) = world.agent(1);
    world.submit(&service("web", 1)).unwrap();
    world.place_all(agent);
    world.take();
    world.report(link, TaskId(0), Lost, Reason::NotOnAgent);
    assert_eq!(world.take(), [Effect::Launch { agent, task: TaskId(0) }, ack(link, TaskId(0), Lost)]);
    assert_eq!(world.tasks("web"), [(0, 1, Assigned)]);
    // One that has started and is not there any more is lost.
    world.report(link, TaskId(0), Running, Reason::None);
    world.report(link, TaskId(0), Lost, Reason::NotOnAgent);
    assert_eq!(world.state_of(TaskId(0)), Lost);
}

#[test]
fn a_task_of_another_agent_is_nobodys_there() {
    let mut world = World::new();
    let (_, _, tasks) = world.running(&service("web", 1));
    let (other, other_no) = world.agent(2);
    world.report(other, tasks[0], Running, Reason::None);
    assert_eq!(world.take(), [kill_effect(other_no, tasks[0], Reason::Orphan), ack(other, tasks[0], Running)]);
    // Nor does its end there end the one that runs where it was placed.
    world.report(other, tasks[0], Failed, Reason::Exited);
    assert_eq!(world.take(), [ack(other, tasks[0], Failed)]);
    assert_eq!(world.state_of(tasks[0]), Running);
}

#[test]
fn a_task_that_was_forgotten_is_killed_if_it_lives() {
    let mut world = World::new();
    let (link, agent, tasks) = world.running(&batch("sum", 1));
    world.report(link, tasks[0], Finished, Reason::None);
    world.settings.ended_job_kept_ms = 1_000;
    world.pass_heard_ms(2_000, &[link]);
    assert!(world.state.tasks.is_empty());
    world.take();
    world.report(link, tasks[0], Running, Reason::None);
    assert_eq!(world.take(), [kill_effect(agent, tasks[0], Reason::Orphan), ack(link, tasks[0], Running)]);
    world.report(link, tasks[0], Finished, Reason::None);
    assert_eq!(world.take(), [ack(link, tasks[0], Finished)]);
}

#[test]
fn a_link_that_is_not_the_agents_is_not_listened_to() {
    let mut world = World::new();
    let (_, _, tasks) = world.running(&service("web", 1));
    let index = world.state.index;
    world.report(LinkId(99), tasks[0], Failed, Reason::Exited);
    world.event(Event::Heartbeat { link: LinkId(99), sequence: 1, welcome: 0, wall: Default::default() });
    let told = world.take();
    let refused = |effect: &Effect| matches!(effect, Effect::Refuse { link: LinkId(99), slowly: false, .. });
    assert!(told.len() == 2 && told.iter().all(refused), "{told:?}");
    assert_eq!(world.state.index, index);
}

#[test]
fn an_agent_that_refuses_a_launch_is_not_avoided_and_the_task_waits_a_little() {
    let mut world = World::new();
    let (link, agent) = world.agent(1);
    world.submit(&service("web", 1)).unwrap();
    world.place_all(agent);
    world.report(link, TaskId(0), Lost, Reason::LaunchRefused);
    assert_eq!(world.state.agents[&agent].avoided, None);
    assert_eq!(world.tasks("web"), [(0, 1, Lost), (0, 2, Throttled)]);
    assert_eq!(world.state.tasks[&TaskId(1)].failures, 0);
    world.take();
    world.pass_heard_ms(1_250, &[link]);
    assert_eq!(world.tasks("web"), [(0, 1, Lost), (0, 2, Pending)]);
    assert_eq!(world.take(), []);
}

/// The leader that never saw a task's first report learns of it all at once.
#[test]
fn reports_may_skip_states_but_placement_is_never_taken_from_them() {
    let mut world = World::new();
    let (link, agent) = world.agent(1);
    world.submit(&batch("sum", 2)).unwrap();
    world.report(link, TaskId(0), Running, Reason::None);
    assert_eq!(world.state_of(TaskId(0)), Pending);
    world.place_all(agent);
    world.report(link, TaskId(1), Finished, Reason::None);
    assert_eq!(world.state_of(TaskId(1)), Finished);
    assert!(
        matches!(&world.state.tasks[&TaskId(1)].status, Status::Ended(End::Finished, Some(place)) if place.agent == AgentNo(0))
    );
}

#[test]
fn what_a_running_task_is_warned_of_is_in_its_history_once() {
    let mut world = World::new();
    let (link, _, tasks) = world.running(&batch("sum", 1));
    let before = world.state.tasks[&tasks[0]].history.len();
    let message = "600000 files of at most 1000000".to_string();
    for _ in 0..2 {
        let warned = crate::model::Report { message: message.clone(), ..report(tasks[0], Running, Reason::None) };
        world.event(Event::Reported { link, report: warned });
    }
    let history = &world.state.tasks[&tasks[0]].history;
    assert_eq!((history.len(), &*history.last().unwrap().message), (before + 1, message.as_str()));
    assert_eq!(world.state_of(tasks[0]), Running);
}

#[test]
fn a_long_message_is_cut_at_a_character() {
    let mut world = World::new();
    let (link, _, tasks) = world.running(&batch("sum", 1));
    let message = "é".repeat(400);
    world.event(Event::Reported {
        link,
        report: crate::model::Report { message, ..report(tasks[0], Failed, Reason::Exited) },
    });
    assert_eq!(world.state.tasks[&tasks[0]].history.last().unwrap().message.len(), 512);
    let _: TaskState = Failed;
}
