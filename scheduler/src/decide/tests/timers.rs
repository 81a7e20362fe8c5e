//! What is due by the clock: answers that don't come, and turns to be asked.

use dawn_proto::v1::Reason;
use dawn_proto::{TaskId, TaskState::*};

use super::specs::service;
use super::world::{World, kill_effect};
use crate::model::Effect;

#[test]
fn a_launch_without_an_answer_is_sent_again_and_at_last_given_up() {
    let mut world = World::new();
    let (link, agent) = world.agent(1);
    world.submit(&service("web", 1)).unwrap();
    world.place_all(agent);
    world.take();
    let again = vec![Effect::Launch { agent, task: TaskId(0) }, Effect::Reconcile { agent, tasks: vec![TaskId(0)] }];
    for _ in 0..6 {
        world.pass_heard_ms(9_750, &[link]);
        assert_eq!(world.take(), []);
        world.pass_heard_ms(250, &[link]);
        assert_eq!(world.take(), again);
    }
    world.pass_heard_ms(250, &[link]);
    assert_eq!(world.take(), [kill_effect(agent, TaskId(0), Reason::AgentLost)]);
    assert_eq!(world.tasks("web"), [(0, 1, Lost), (0, 2, Pending)]);
}

#[test]
fn a_launch_that_the_leader_before_left_unanswered_gets_its_time_again() {
    let mut world = World::new();
    let (_, agent) = world.agent(1);
    world.submit(&service("web", 1)).unwrap();
    world.place_all(agent);
    world.skip_ms(300_000);
    world.elect(2);
    world.take();
    let link = world.register(1, vec![]);
    assert_eq!(world.take()[1..], [Effect::Launch { agent, task: TaskId(0) }]);
    world.pass_heard_ms(60_000, &[link]);
    assert_eq!(world.tasks("web"), [(0, 1, Assigned)]);
    world.report(link, TaskId(0), Running, Reason::None);
    assert_eq!(world.tasks("web"), [(0, 1, Running)]);
}

#[test]
fn a_kill_without_an_answer_is_sent_again_for_ever() {
    let mut world = World::new();
    world.settings.reconcile_interval_ms = u64::MAX;
    let (link, agent, tasks) = world.running(&service("web", 1));
    world.kill("web", &[]).unwrap();
    world.take();
    let kill = kill_effect(agent, tasks[0], Reason::UserRequest);
    let again = [kill, Effect::Reconcile { agent, tasks: tasks.clone() }];
    for _ in 0..20 {
        world.pass_heard_ms(10_000, &[link]);
        assert_eq!(world.take(), again);
    }
    // To nobody when nobody is there; the agent's registration has it sent.
    world.event(crate::model::Event::LinkClosed { link });
    world.pass_ms(12_000);
    assert_eq!((world.state_of(tasks[0]), world.take()), (Killing, vec![]));
}

#[test]
fn every_agent_is_asked_for_all_its_tasks_in_its_turn() {
    let mut world = World::new();
    let (link, agent, tasks) = world.running(&service("web", 3));
    let (other, _) = world.agent(2);
    world.settings.reconcile_interval_ms = 20_000;
    world.pass_heard_ms(100_000, &[link, other]);
    let asked = world.take();
    assert_eq!(asked, vec![Effect::Reconcile { agent, tasks }; 5]);
}

#[test]
fn a_backoff_ends_once_and_in_its_time_whichever_way_the_clock_is_shifted() {
    for by_ms in [-3_600_000, 3 * 86_400_000] {
        let mut world = World::new();
        let (link, _, tasks) = world.running(&service("web", 1));
        world.report(link, tasks[0], Failed, Reason::Exited);
        world.take();
        world.shift_clock(by_ms);
        world.pass_heard_ms(750, &[link]);
        assert_eq!(world.tasks("web"), [(0, 1, Failed), (0, 2, Throttled)]);
        world.pass_heard_ms(250, &[link]);
        assert_eq!((world.tasks("web")[1], world.take()), ((0, 2, Pending), vec![]));
        world.shift_clock(-by_ms);
        world.pass_heard_ms(10_000, &[link]);
        assert_eq!((world.tasks("web").len(), world.take()), (2, vec![]));
    }
}

#[test]
fn a_task_runs_as_long_as_its_job_lets_it_whichever_way_the_clock_is_shifted() {
    for by_ms in [-3_600_000, 3 * 86_400_000] {
        let mut world = World::new();
        let mut spec = service("web", 1);
        spec.max_run_time_ms = Some(600_000);
        let (link, _, tasks) = world.running(&spec);
        world.pass_heard_ms(300_000, &[link]);
        world.shift_clock(by_ms);
        world.pass_heard_ms(299_000, &[link]);
        assert_eq!(world.state_of(tasks[0]), Running);
        world.pass_heard_ms(1_000, &[link]);
        assert_eq!(world.state_of(tasks[0]), Killing);
    }
}

#[test]
fn a_lost_task_is_replaced_in_its_time_whichever_way_the_clock_is_shifted() {
    for by_ms in [-3_600_000, 3 * 86_400_000] {
        let mut world = World::new();
        let (_, _, tasks) = world.running(&service("web", 1));
        let others: Vec<_> = (2..6).map(|agent| world.agent(agent).0).collect();
        world.pass_heard_ms(20_000, &others);
        assert_eq!(world.state_of(tasks[0]), Partitioned);
        world.shift_clock(by_ms);
        let delay_ms = world.state.spec_of(&world.state.tasks[&tasks[0]]).job.partition_delay_ms;
        world.pass_heard_ms(delay_ms - 10_000, &others);
        assert_eq!(world.state_of(tasks[0]), Partitioned);
        world.pass_heard_ms(15_000, &others);
        assert_eq!(world.state_of(tasks[0]), Lost);
    }
}
