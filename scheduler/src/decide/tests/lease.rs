//! Jobs that must not live twice: nothing is given up before its agent must have killed it.

use dawn_proto::TaskState::*;
use dawn_proto::v1::Reason;
use dawn_proto::{TaskId, TaskState};

use super::specs::service;
use super::world::{World, report};
use crate::decide::lease::gone_after_ms;
use crate::model::{AgentNo, JobSpec, LinkId};

/// Lease 15 s, ladder 1 s, grace 10 s, force 15 s; a hundredth and a second for the clocks.
const GONE_AFTER_MS: u64 = 41_000 + 410 + 1_000;

fn only_one() -> JobSpec {
    JobSpec { at_most_one: true, ladder_ms: 1_000, partition_delay_ms: 0, ..service("db", 1) }
}

/// One instance on the first of three agents; the links of the others.
fn three_agents() -> (World, TaskId, [LinkId; 2]) {
    let mut world = World::new();
    let (_, _, tasks) = world.running(&only_one());
    let links = [2, 3].map(|agent| world.agent(agent).0);
    (world, tasks[0], links)
}

#[test]
fn a_task_is_replaced_only_after_lease_kill_and_drift() {
    let (mut world, _, heard) = three_agents();
    assert_eq!(gone_after_ms(&world.settings, &only_one()), GONE_AFTER_MS);
    world.pass_heard_ms(GONE_AFTER_MS, &heard);
    assert_eq!(world.tasks("db"), [(0, 1, Partitioned)]);
    world.pass_heard_ms(500, &heard);
    assert_eq!(world.tasks("db"), [(0, 1, Lost), (0, 2, Pending)]);
}

#[test]
fn a_new_leader_counts_from_its_own_election() {
    let (mut world, _, _) = three_agents();
    world.pass_ms(GONE_AFTER_MS - 1_000);
    world.elect(2);
    let heard = [2, 3].map(|agent| world.register(agent, vec![]));
    world.pass_heard_ms(GONE_AFTER_MS, &heard);
    assert_eq!(world.tasks("db"), [(0, 1, Partitioned)]);
    world.pass_heard_ms(500, &heard);
    assert_eq!(world.tasks("db"), [(0, 1, Lost), (0, 2, Pending)]);
}

#[test]
fn a_stopping_task_out_of_reach_is_gone_no_sooner() {
    let (mut world, _, heard) = three_agents();
    world.settings.down_after_ms = 20_000;
    world.pass_heard_ms(10_000, &heard);
    world.kill("db", &[]).unwrap();
    world.pass_heard_ms(GONE_AFTER_MS - 10_000, &heard);
    assert_eq!(world.tasks("db"), [(0, 1, Killing)]);
    world.pass_heard_ms(500, &heard);
    assert_eq!(world.tasks("db"), [(0, 1, Lost)]);
}

#[test]
fn an_unanswered_launch_is_sent_again_for_ever_while_its_agent_is_heard() {
    let mut world = World::new();
    let (link, _) = world.agent(1);
    world.submit(&only_one()).unwrap();
    world.place_all(AgentNo(0));
    world.pass_heard_ms(600_000, &[link]);
    assert_eq!(world.tasks("db"), [(0, 1, Assigned)]);
}

#[test]
fn the_agents_own_kill_makes_room_at_once() {
    let (mut world, task, heard) = three_agents();
    world.pass_heard_ms(20_000, &heard);
    assert_eq!(world.tasks("db"), [(0, 1, Partitioned)]);
    let link = world.register(1, vec![report(task, Running, Reason::None)]);
    world.report(link, task, TaskState::Killed, Reason::AgentLost);
    assert_eq!(world.tasks("db"), [(0, 1, Killed), (0, 2, Pending)]);
}
