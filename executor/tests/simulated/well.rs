//! Health verdicts by the clock.

use dawn_executor::model::{Effect, Health, Input, Plan, Probe};
use dawn_proto::v1::{Reason, TaskState};

use crate::sim::{Sim, plan, process};

fn begin(max_failures: u32, min_successes: u32) -> Sim {
    let health = Health {
        probe: Probe::Tcp { port: 80 },
        initial_delay_ms: 50,
        interval_ms: 10,
        timeout_ms: 5,
        max_failures,
        min_successes,
    };
    Sim::begin(Plan { health: Some(health), ..plan(vec![process("web")]) })
}

/// Passes the interval, expects one probe, answers it.
fn probe(sim: &mut Sim, wait_ms: i64, healthy: bool, snoozed: bool) {
    sim.pass_ms(wait_ms - 1);
    assert_eq!(sim.take_effects(), []);
    sim.pass_ms(1);
    assert_eq!(sim.take_effects(), [Effect::Probe]);
    sim.pass_ms(1_000);
    assert_eq!(sim.take_effects(), [], "one probe at a time");
    sim.feed(Input::Probed { healthy, snoozed, detail: "no".into() });
}

#[test]
fn running_comes_with_enough_successes_in_a_row() {
    let mut sim = begin(9, 2);
    let answers = [(50, true), (10, false), (10, true)];
    for (wait_ms, healthy) in answers {
        probe(&mut sim, wait_ms, healthy, false);
        assert_eq!(sim.states(), [TaskState::Starting]);
    }
    probe(&mut sim, 10, true, false);
    assert_eq!(sim.states(), [TaskState::Starting, TaskState::Running]);
}

#[test]
fn enough_failures_in_a_row_end_the_task() {
    let mut sim = begin(2, 1);
    for (wait_ms, healthy) in [(50, true), (10, false), (10, true), (10, false)] {
        probe(&mut sim, wait_ms, healthy, false);
        assert_eq!(sim.take_effects(), []);
    }
    sim.pass_ms(10);
    assert_eq!(sim.take_effects(), [Effect::Probe]);
    sim.feed(Input::Probed { healthy: false, snoozed: false, detail: "no".into() });
    assert_eq!(sim.take_effects(), [Effect::Terminate]);
    // The checks end with the task.
    sim.pass_ms(999);
    assert_eq!(sim.take_effects(), []);
    sim.pass_ms(1);
    sim.swept();
    let message = "health check failed twice in a row: no".to_string();
    assert_eq!(sim.end(), (TaskState::Failed, Reason::HealthCheck, message));
}

#[test]
fn a_snoozed_failure_is_none() {
    let mut sim = begin(2, 1);
    probe(&mut sim, 50, false, false);
    for _ in 0..5 {
        probe(&mut sim, 10, false, true);
    }
    probe(&mut sim, 10, false, false);
    assert_eq!((sim.take_effects(), sim.states()), (vec![], vec![TaskState::Starting]));
    probe(&mut sim, 10, false, false);
    assert_eq!(sim.take_effects(), [Effect::Terminate]);
}

#[test]
fn an_answer_nobody_waits_for_is_ignored() {
    let mut sim = begin(1, 1);
    sim.feed(Input::Probed { healthy: false, snoozed: false, detail: "no".into() });
    assert_eq!(sim.take_effects(), []);
    assert_eq!(sim.states(), [TaskState::Starting]);
}
