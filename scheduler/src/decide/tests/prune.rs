//! Forgetting: what is over and nobody asks for.

use dawn_proto::TaskState::*;
use dawn_proto::v1::Reason;

use super::specs::{batch, key, service};
use super::world::World;
use crate::model::AgentNo;

#[test]
fn an_ended_job_is_forgotten_after_its_time_in_slices_and_nothing_else_is() {
    let mut world = World::new();
    (world.settings.ended_job_kept_ms, world.settings.slice) = (60_000, 4);
    world.submit(&service("web", 2)).unwrap();
    world.submit(&batch("sum", 10)).unwrap();
    world.pass_ms(5_000);
    world.kill("sum", &[]).unwrap();
    world.pass_ms(59_000);
    assert_eq!(world.tasks("sum"), (0..10).map(|instance| (instance, 1, Killed)).collect::<Vec<_>>());
    world.pass_ms(5_000);
    assert!(world.state.job(&key("sum")).is_none());
    assert_eq!((world.state.tasks.len(), world.state.specs.len(), world.state.jobs.len()), (2, 1, 1));
    assert!(world.journal.iter().all(|batch| batch.mutations.len() <= 6));
    assert_eq!(world.take(), []);
}

#[test]
fn a_job_that_still_stops_is_kept() {
    let mut world = World::new();
    world.settings.ended_job_kept_ms = 1_000;
    let (link, _, tasks) = world.running(&service("web", 1));
    world.kill("web", &[]).unwrap();
    world.pass_heard_ms(5_000, &[link]);
    assert_eq!(world.tasks("web"), [(0, 1, Killing)]);
    world.report(link, tasks[0], Killed, Reason::None);
    world.pass_heard_ms(500, &[link]);
    assert!(world.state.jobs.is_empty() && world.state.tasks.is_empty());
}

#[test]
fn an_agent_given_up_long_ago_is_forgotten_and_gets_a_new_number_when_it_is_back() {
    let mut world = World::new();
    world.settings.down_agent_kept_ms = 300_000;
    world.running(&batch("sum", 1));
    let heard = [2, 3].map(|agent| world.agent(agent).0);
    world.event(crate::model::Event::LinkClosed { link: crate::model::LinkId(1) });
    world.pass_heard_ms(300_000, &heard);
    assert_eq!(world.state.agents.len(), 3);
    world.pass_heard_ms(62_000, &heard);
    assert_eq!(world.state.agents.keys().copied().collect::<Vec<_>>(), [AgentNo(1), AgentNo(2)]);
    assert!(!world.live.agents.contains_key(&AgentNo(0)));
    world.take();
    assert_eq!(world.agent(1).1, AgentNo(3));
}
