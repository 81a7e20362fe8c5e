//! The dead man's switch: a task whose lease nobody renews is gone in bounded time, whatever it was doing.

use dawn_executor::model::{Effect, Input, Plan};
use dawn_proto::v1::{Reason, TaskState};

use crate::sim::{Sim, code, plan, process};

/// As [`Sim::begin`] starts its clock.
const START_MS: i64 = 1_000_000;
const LAPSED: &str = "stopped because its agent was out of reach of the scheduler for too long";

fn leased(until_ms: i64) -> Plan {
    Plan { lease_until_ms: Some(START_MS + until_ms), ..plan(vec![process("web")]) }
}

fn renew(sim: &mut Sim, until_ms: i64) {
    sim.feed(Input::Renewed { until_ms: START_MS + until_ms });
}

#[test]
fn without_a_renewal_the_task_is_killed_by_its_own_ladder() {
    let mut sim = Sim::begin(leased(5_000));
    sim.pass_ms(4_999);
    assert_eq!(sim.take_effects(), []);
    sim.pass_ms(1);
    assert_eq!(sim.take_effects(), [Effect::Terminate]);
    sim.exit(0, code(0));
    sim.swept();
    assert_eq!(sim.end(), (TaskState::Killed, Reason::AgentLost, LAPSED.to_string()));
}

#[test]
fn each_renewal_counts_and_an_earlier_time_changes_nothing() {
    let mut sim = Sim::begin(leased(5_000));
    renew(&mut sim, 8_000);
    renew(&mut sim, 6_000);
    sim.pass_ms(7_999);
    assert_eq!(sim.take_effects(), []);
    sim.pass_ms(1);
    assert_eq!(sim.take_effects(), [Effect::Terminate]);
    // Too late: what has begun goes on, or the scheduler's count would be wrong.
    renew(&mut sim, 60_000);
    sim.pass_ms(1_000);
    assert_eq!(sim.take_effects(), [Effect::Sweep]);
}

#[test]
fn a_lease_that_ran_out_before_the_start_starts_nothing() {
    let mut sim = Sim::begin(leased(-1));
    assert_eq!(sim.take_starts(), []);
    sim.swept();
    assert_eq!(sim.end().1, Reason::AgentLost);
}

#[test]
fn a_kill_with_a_longer_grace_is_cut_short_and_one_with_a_shorter_is_left_alone() {
    for (grace_ms, ends_after_ms) in [(60_000, 5_000 + 1_000), (100, 4_000 + 100)] {
        let mut sim = Sim::begin(leased(5_000));
        sim.pass_ms(4_000);
        sim.kill(Reason::UserRequest, Some(grace_ms));
        sim.pass_ms(ends_after_ms - 4_000 - 1);
        assert!(!sim.machine.is_sweeping, "{grace_ms}");
        sim.pass_ms(1);
        assert!(sim.machine.is_sweeping, "{grace_ms}");
        sim.swept();
        assert_eq!(sim.end().1, Reason::UserRequest, "the first kill decides the reason");
    }
}

#[test]
fn another_executor_counts_from_the_plan_alone() {
    let mut sim = Sim::begin(leased(5_000));
    renew(&mut sim, 60_000);
    sim.pass_ms(10_000);
    let mut sim = sim.crash(|_| true);
    assert_eq!(sim.take_effects(), [Effect::Terminate], "what the first was told is not known to be true");
}

#[test]
fn a_task_without_a_lease_needs_nobody() {
    let mut sim = Sim::begin(plan(vec![process("web")]));
    renew(&mut sim, -1);
    sim.pass_ms(1_000_000);
    assert_eq!(sim.take_effects(), []);
}
