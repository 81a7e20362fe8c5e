//! Health verdicts by the clock.

use dawn_executor::model::{Effect, Health, Input, Plan, Probe, Record};
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
    let message =
        "health check failed twice in a row: no; did not stop within 1s of SIGTERM: ended by SIGKILL".to_string();
    assert_eq!(sim.end(), (TaskState::Failed, Reason::HealthCheck, message));
}

#[test]
fn a_task_with_patience_that_never_was_healthy_says_what_its_checks_said() {
    let mut sim = begin(100, 1);
    for (nth, wait_ms) in (1..=13).zip([50].into_iter().chain(std::iter::repeat(10))) {
        probe(&mut sim, wait_ms, false, false);
        let told = match nth {
            ..3 => 0,
            3..6 => 1,
            6..12 => 2,
            _ => 3,
        };
        assert_eq!(sim.states(), vec![TaskState::Starting; 1 + told], "after check {nth}");
    }
    let message = "health check failed 12 times in a row: no; the task goes on until 100 in a row have failed";
    assert_eq!(sim.changes().pop().unwrap().2, message);
    probe(&mut sim, 10, true, false);
    assert_eq!(sim.changes().pop().unwrap().0, TaskState::Running);
    for _ in 0..6 {
        probe(&mut sim, 10, false, false);
    }
    assert_eq!(sim.changes().pop().unwrap().0, TaskState::Running, "its failures are told with its end");
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

#[test]
fn one_failure_is_told_as_one() {
    let mut sim = begin(1, 1);
    probe(&mut sim, 50, false, false);
    sim.pass_ms(1_000);
    sim.swept();
    assert_eq!(sim.end().2, "health check failed once: no; did not stop within 1s of SIGTERM: ended by SIGKILL");
}

/// What was said of a task that goes on.
fn told(sim: &Sim) -> Vec<String> {
    let messages = sim.machine.log.iter().filter_map(|stamped| match &stamped.record {
        Record::TaskChanged { state: TaskState::Running, message, .. } if !message.is_empty() => Some(message.clone()),
        _ => None,
    });
    messages.collect()
}

#[test]
fn processes_killed_for_memory_are_told_while_the_task_goes_on_and_ever_more_seldom() {
    let plan = Plan { memory_limit_bytes: 64 << 20, ..plan(vec![process("web")]) };
    let mut sim = Sim::begin(plan);
    for processes in [1, 1, 2, 3, 3, 5] {
        sim.feed(Input::KilledForMemory { processes });
    }
    let expected = [
        "a process was killed for memory (limit 64 MiB); the task goes on",
        "2 processes were killed for memory (limit 64 MiB); the task goes on",
        "5 processes were killed for memory (limit 64 MiB); the task goes on",
    ];
    assert_eq!(told(&sim), expected);
    sim.kill(Reason::UserRequest, None);
    sim.feed(Input::KilledForMemory { processes: 100 });
    assert_eq!(told(&sim).len(), 3, "a task that ends does not go on");
}

#[test]
fn refused_processes_are_told_while_the_task_goes_on_and_ever_more_seldom() {
    let mut sim = Sim::begin(plan(vec![process("web")]));
    for times in [1, 1, 2, 3, 3, 5] {
        sim.feed(Input::ForksRefused { times, max_pids: 40 });
    }
    let reached = "the task reached its limit of 40 processes and threads (raise `max_pids`), and one more was refused";
    let expected = ["", " 2 times", " 5 times"].map(|times| format!("{reached}{times}; the task goes on"));
    assert_eq!(told(&sim), expected);
    sim.kill(Reason::UserRequest, None);
    sim.feed(Input::ForksRefused { times: 100, max_pids: 40 });
    assert_eq!(told(&sim).len(), 3, "a task that ends does not go on");
}
