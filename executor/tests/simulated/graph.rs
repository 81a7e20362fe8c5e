//! Order, failures, daemons, ephemerals, finals: stories with every effect accounted for.

use std::collections::BTreeSet;

use dawn_executor::model::{Effect, ExitKind, Plan, Process};
use dawn_proto::v1::{Reason, TaskState};

use crate::sim::{Sim, code, plan, process};

fn after(mut process: Process, deps: &[usize]) -> Process {
    process.after = deps.to_vec();
    process
}

fn daemon(name: &str) -> Process {
    Process { daemon: true, ..process(name) }
}

fn ephemeral(name: &str) -> Process {
    Process { ephemeral: true, ..process(name) }
}

fn last(name: &str) -> Process {
    Process { is_final: true, ..process(name) }
}

fn finished() -> (TaskState, Reason, String) {
    (TaskState::Finished, Reason::None, String::new())
}

fn finished_although(words: &str) -> (TaskState, Reason, String) {
    (TaskState::Finished, Reason::None, words.to_string())
}

fn failed(message: &str) -> (TaskState, Reason, String) {
    (TaskState::Failed, Reason::Exited, message.to_string())
}

#[test]
fn a_diamond_starts_level_by_level() {
    let mut sim = Sim::begin(plan(vec![
        process("a"),
        after(process("b"), &[0]),
        after(process("c"), &[0]),
        after(process("d"), &[1, 2]),
    ]));
    assert_eq!(sim.take_starts(), [0]);
    assert_eq!(sim.states(), [TaskState::Starting, TaskState::Running]);
    sim.exit(0, code(0));
    assert_eq!(sim.take_starts(), [1, 2]);
    sim.exit(2, code(0));
    assert_eq!(sim.take_starts(), []);
    sim.exit(1, code(0));
    assert_eq!(sim.take_starts(), [3]);
    assert_eq!(sim.take_effects(), []);
    sim.exit(3, code(0));
    assert_eq!(sim.take_effects(), [Effect::Sweep]);
    sim.swept();
    assert_eq!(sim.take_effects(), [Effect::Leave]);
    assert_eq!(sim.end(), finished());
}

#[test]
fn concurrency_lets_the_next_in_when_one_ends() {
    let mut sim = Sim::begin(Plan { max_concurrency: 2, ..plan(vec![process("a"), process("b"), process("c")]) });
    assert_eq!(sim.take_starts(), [0, 1]);
    // Waiting for room does not hold up RUNNING.
    assert_eq!(sim.states(), [TaskState::Starting, TaskState::Running]);
    sim.exit(1, code(0));
    assert_eq!(sim.take_starts(), [2]);
}

#[test]
fn a_failing_process_is_tried_again_after_its_min_duration_and_then_given_up() {
    let flaky = Process { max_failures: 2, min_duration_ms: 100, ..process("flaky") };
    let mut sim = Sim::begin(plan(vec![flaky]));
    sim.pass_ms(30);
    sim.exit(0, code(1));
    assert_eq!(sim.take_starts(), [0]);
    sim.pass_ms(69);
    assert_eq!(sim.take_starts(), []);
    sim.pass_ms(1);
    assert_eq!(sim.take_starts(), [0]);
    sim.exit(0, ExitKind::Signal(11));
    sim.swept();
    assert_eq!(sim.end(), (TaskState::Failed, Reason::Signaled, "process flaky was killed by SIGSEGV".into()));
}

#[test]
fn failures_within_the_limit_are_borne_and_the_dependants_count_with_them() {
    let processes = || vec![process("a"), after(process("b"), &[0]), process("c")];
    let mut sim = Sim::begin(Plan { max_failed_processes: 3, ..plan(processes()) });
    sim.exit(0, code(4));
    assert_eq!(sim.take_effects(), []);
    sim.exit(2, code(0));
    sim.swept();
    assert_eq!(sim.end(), finished_although("process a ended with exit code 4"));

    let mut sim = Sim::begin(Plan { max_failed_processes: 2, ..plan(processes()) });
    sim.exit(0, code(4));
    assert_eq!(sim.take_effects(), [Effect::Terminate]);
    sim.exit(2, ExitKind::Signal(15));
    sim.swept();
    assert_eq!(sim.end(), failed("process a ended with exit code 4"));
    assert_eq!(sim.take_starts(), [0, 2]);
}

#[test]
fn a_daemon_is_started_again_and_ends_with_the_work() {
    let mut sim = Sim::begin(plan(vec![process("work"), daemon("daemon")]));
    assert_eq!(sim.take_starts(), [0, 1]);
    sim.pass_ms(10);
    sim.exit(1, code(0));
    assert_eq!(sim.take_starts(), [1]);
    sim.exit(0, code(0));
    assert_eq!(sim.take_effects(), [Effect::Terminate]);
    // Its end by our own signal is no failure of the task.
    sim.exit(1, ExitKind::Signal(15));
    assert_eq!(sim.take_effects(), [Effect::Sweep]);
    sim.swept();
    assert_eq!(sim.end(), finished());
}

#[test]
fn a_daemon_fails_for_good_when_it_has_failed_as_often_as_it_may_and_then_counts_as_any_process() {
    let tolerant = Process { max_failures: 3, ..daemon("daemon") };
    let mut sim = Sim::begin(plan(vec![process("work"), tolerant]));
    assert_eq!(sim.take_starts(), [0, 1]);
    for exit in [1, 0, 1] {
        sim.pass_ms(10);
        sim.exit(1, code(exit));
        assert_eq!(sim.take_starts(), [1], "it is started again");
    }
    sim.pass_ms(10);
    sim.exit(1, code(1));
    assert_eq!(sim.take_effects(), [Effect::Terminate], "by max_failed_processes the task has failed");
    sim.exit(0, ExitKind::Signal(15));
    sim.swept();
    assert_eq!(sim.end(), failed("process daemon ended with exit code 1"));
}

#[test]
fn daemons_alone_never_succeed_but_can_fail() {
    let mut sim = Sim::begin(plan(vec![daemon("daemon")]));
    for _ in 0..5 {
        sim.pass_ms(10);
        sim.exit(0, code(0));
    }
    assert_eq!(sim.take_starts().len(), 6);
    assert_eq!(sim.take_effects(), []);
    sim.exit(0, code(1));
    sim.swept();
    assert_eq!(sim.end(), failed("process daemon ended with exit code 1"));

    // Also when the failures are borne: nothing is left that could run.
    let mut sim = Sim::begin(Plan { max_failed_processes: 5, ..plan(vec![daemon("x"), daemon("y")]) });
    sim.exit(0, code(1));
    assert_eq!(sim.take_effects(), []);
    sim.exit(1, code(2));
    sim.swept();
    assert_eq!(sim.end(), failed("process y ended with exit code 2"));
}

#[test]
fn an_ephemeral_neither_keeps_the_task_nor_fails_it() {
    let mut sim = Sim::begin(plan(vec![process("work"), ephemeral("e"), ephemeral("f")]));
    sim.exit(1, code(1));
    assert_eq!(sim.take_effects(), []);
    sim.exit(0, code(0));
    assert_eq!(sim.take_effects(), [Effect::Terminate]);
    // It does not obey: the grace passes.
    sim.pass_ms(999);
    assert_eq!(sim.take_effects(), []);
    sim.pass_ms(1);
    assert_eq!(sim.take_effects(), [Effect::Sweep]);
    sim.swept();
    let deaf = "what was left of it did not stop within 1s of SIGTERM: ended by SIGKILL";
    assert_eq!(sim.end(), finished_although(&format!("ephemeral process e ended with exit code 1; {deaf}")));
}

#[test]
fn finals_run_in_order_after_everything_has_ended() {
    let mut sim = Sim::begin(plan(vec![last("f"), process("work"), after(last("g"), &[0])]));
    assert_eq!(sim.take_starts(), [1]);
    sim.exit(1, code(3));
    assert_eq!(sim.take_starts(), []);
    sim.swept();
    assert_eq!(sim.take_starts(), [0]);
    sim.exit(0, code(0));
    assert_eq!(sim.take_starts(), [2]);
    sim.exit(2, code(0));
    sim.swept();
    assert_eq!(sim.take_effects(), [Effect::Sweep, Effect::Sweep, Effect::Leave]);
    assert_eq!(sim.end(), failed("process work ended with exit code 3"));
}

#[test]
fn finals_share_one_wait_and_their_failure_counts() {
    let mut sim = Sim::begin(plan(vec![last("f"), process("work")]));
    sim.exit(1, code(0));
    sim.swept();
    sim.take_effects();
    sim.pass_ms(4_999);
    assert_eq!(sim.take_effects(), []);
    sim.pass_ms(1);
    assert_eq!(sim.take_effects(), [Effect::Sweep]);
    sim.swept();
    assert_eq!(
        sim.end(),
        (
            TaskState::Failed,
            Reason::Signaled,
            "process f was out of time (finalization_wait 5s) and was killed by SIGKILL".into()
        )
    );
}

#[test]
fn failures_that_a_task_bears_are_told_when_it_has_finished() {
    let mut sim = Sim::begin(Plan {
        max_failed_processes: 2,
        ..plan(vec![process("work"), process("extra"), ephemeral("shipper"), process("good")])
    });
    sim.exit(1, code(3));
    sim.exit(2, ExitKind::Signal(11));
    sim.exit(3, code(0));
    sim.exit(0, code(0));
    sim.swept();
    let told = "process extra ended with exit code 3; ephemeral process shipper was killed by SIGSEGV";
    assert_eq!(sim.end(), (TaskState::Finished, Reason::None, told.to_string()));
}

#[test]
fn a_final_process_that_fails_is_told_and_leaves_every_other_end_as_it_is() {
    let plan = || Plan { max_failed_processes: 2, ..plan(vec![last("f"), process("work"), after(last("g"), &[0])]) };
    let told = "final process f ended with exit code 7; final process g never ran";
    let end = |mut sim: Sim| {
        sim.swept();
        sim.exit(0, code(7));
        sim.swept();
        sim.end()
    };
    let mut sim = Sim::begin(plan());
    sim.exit(1, code(0));
    assert_eq!(end(sim), (TaskState::Finished, Reason::None, told.to_string()));
    let mut sim = Sim::begin(Plan { max_failed_processes: 1, ..plan() });
    sim.exit(1, code(3));
    assert_eq!(end(sim), failed(&format!("process work ended with exit code 3; {told}")));
    let mut sim = Sim::begin(plan());
    sim.kill(Reason::UserRequest, None);
    sim.exit(1, ExitKind::Signal(15));
    assert_eq!(end(sim), (TaskState::Killed, Reason::UserRequest, told.to_string()));
}

#[test]
fn what_is_missing_fails_before_running_is_reported() {
    let mut sim = Sim::begin(plan(vec![]));
    sim.swept();
    let mut machine = crate::sim::Machine { missing: BTreeSet::from([0]), ..Default::default() };
    std::mem::swap(&mut sim.machine, &mut machine);
    sim.drive = dawn_executor::drive::Drive::new(plan(vec![process("a")]));
    sim.feed(dawn_executor::model::Input::Began { pid: 1, start_ticks: 1, living: BTreeSet::new() });
    sim.swept();
    assert_eq!(sim.states(), [TaskState::Starting, TaskState::Failed]);
    assert_eq!(
        sim.end(),
        (TaskState::Failed, Reason::ExecFailed, "process a was not started: exec x: not there".into())
    );
}

#[test]
fn a_full_disk_holds_effects_back_until_it_has_room() {
    let mut sim = Sim::begin(plan(vec![process("a"), after(process("b"), &[0])]));
    sim.take_starts();
    sim.machine.is_full = true;
    sim.exit(0, code(0));
    sim.pass_ms(5_000);
    assert_eq!(sim.take_starts(), []);
    let before = sim.machine.log.len();
    sim.machine.is_full = false;
    sim.feed(dawn_executor::model::Input::Tick);
    assert_eq!(sim.take_starts(), [1]);
    let sequences: Vec<u64> = sim.machine.log[before - 1..].iter().map(|stamped| stamped.sequence).collect();
    assert_eq!(sequences, (before as u64..=before as u64 + 2).collect::<Vec<_>>());
}
