//! The kill ladder by the clock: rungs, second kills, restarts.

use dawn_executor::model::{Effect, ExitKind, Input, Lifecycle, LifecycleStep, Plan, Process, Record};
use dawn_proto::v1::{Reason, TaskState};

use crate::sim::{Sim, code, plan, process};

fn with_endpoints() -> Plan {
    let lifecycle = Lifecycle {
        port: 80,
        graceful_path: "/quit".into(),
        graceful_wait_ms: 100,
        shutdown_path: "/abort".into(),
        shutdown_wait_ms: 200,
    };
    Plan { lifecycle: Some(lifecycle), ..plan(vec![process("web")]) }
}

fn killed(reason: Reason) -> (TaskState, Reason, String) {
    (TaskState::Killed, reason, String::new())
}

fn forced(reason: Reason, grace_ms: u64) -> (TaskState, Reason, String) {
    (
        TaskState::Killed,
        reason,
        format!("did not stop within {} of SIGTERM: ended by SIGKILL", dawn_proto::amounts::duration(grace_ms)),
    )
}

#[test]
fn every_rung_has_its_time() {
    let mut sim = Sim::begin(with_endpoints());
    sim.kill(Reason::Preempted, None);
    assert_eq!(sim.take_effects(), [Effect::Post(LifecycleStep::Graceful)]);
    let rungs = [(100, Effect::Post(LifecycleStep::Shutdown)), (200, Effect::Terminate), (1_000, Effect::Sweep)];
    for (wait_ms, effect) in rungs {
        sim.pass_ms(wait_ms - 1);
        assert_eq!(sim.take_effects(), []);
        sim.pass_ms(1);
        assert_eq!(sim.take_effects(), [effect]);
    }
    sim.swept();
    assert_eq!(sim.end(), forced(Reason::Preempted, 1_000));
}

#[test]
fn a_process_that_stops_on_any_rung_skips_the_rest() {
    for (wait_ms, rungs) in [(0, 1), (100, 2), (300, 3)] {
        let mut sim = Sim::begin(with_endpoints());
        sim.kill(Reason::UserRequest, None);
        sim.pass_ms(wait_ms);
        assert_eq!(sim.take_effects().len(), rungs);
        sim.exit(0, code(1));
        assert_eq!(sim.take_effects(), [Effect::Sweep]);
        sim.swept();
        assert_eq!(sim.end(), killed(Reason::UserRequest));
    }
}

#[test]
fn an_endpoint_that_failed_is_told_where_it_did_not_end_the_task() {
    let end = |exits_on_post: bool| {
        let mut sim = Sim::begin(with_endpoints());
        sim.kill(Reason::Updated, None);
        sim.feed(Input::PostFailed { why: "POST /quit on port 80: Connection refused".into() });
        sim.pass_ms(100);
        sim.feed(Input::PostFailed { why: "POST /abort on port 80: status 500, expected 2xx or 3xx".into() });
        if !exits_on_post {
            sim.pass_ms(200);
        }
        sim.exit(0, ExitKind::Signal(15));
        sim.swept();
        sim.end()
    };
    let told = "lifecycle endpoint failed: POST /quit on port 80: Connection refused; \
                lifecycle endpoint failed: POST /abort on port 80: status 500, expected 2xx or 3xx";
    assert_eq!(end(false), (TaskState::Killed, Reason::Updated, told.into()));
    assert_eq!(end(true), killed(Reason::Updated), "it ended, though it closed the connection without an answer");
}

#[test]
fn whatever_did_not_stop_when_asked_is_told_however_the_task_ends() {
    let of = |name, daemon| Process { daemon, ..process(name) };
    let deaf = "what was left of it did not stop within 1s of SIGTERM: ended by SIGKILL";
    for (end, said) in [(0, deaf.to_string()), (3, format!("process main ended with exit code 3; {deaf}"))] {
        let mut sim = Sim::begin(plan(vec![of("main", false), of("side", true)]));
        sim.exit(0, code(end));
        sim.pass_ms(1_000);
        sim.swept();
        assert_eq!(sim.end().2, said);
    }
    let mut sim = Sim::begin(Plan { max_files: 10, ..plan(vec![process("main")]) });
    sim.feed(Input::Measured { bytes: 0, files: 11 });
    sim.pass_ms(1_000);
    sim.swept();
    let said = "too many files: 11, 10 allowed (max_files); did not stop within 1s of SIGTERM: ended by SIGKILL";
    assert_eq!(sim.end(), (TaskState::Failed, Reason::DiskLimit, said.into()));
    let mut sim = Sim::begin(Plan { grace_period_ms: 0, ..plan(vec![of("main", false), of("side", true)]) });
    sim.exit(0, code(0));
    sim.swept();
    assert_eq!(sim.end().2, "what was left of it was ended by SIGKILL");
}

#[test]
fn a_process_that_is_started_again_is_told_with_its_end_and_less_and_less_often() {
    let main = Process { max_failures: 9, min_duration_ms: 0, ..process("main") };
    let side = Process { daemon: true, min_duration_ms: 0, ..process("side") };
    let mut sim = Sim::begin(plan(vec![main, side]));
    let told = |sim: &Sim| -> Vec<String> {
        let records = sim.machine.log.iter().map(|stamped| &stamped.record);
        let messages = records.filter_map(|record| match record {
            Record::TaskChanged { state: TaskState::Running, message, .. } if !message.is_empty() => {
                Some(message.clone())
            }
            _ => None,
        });
        messages.collect()
    };
    for _ in 0..8 {
        sim.exit(0, code(3));
        sim.pass_ms(1);
    }
    let said =
        |times| format!("process main ended with exit code 3 and is started again (failure {times} of at most 9)");
    assert_eq!(told(&sim), [1, 2, 4, 8].map(said));
    sim.exit(1, code(0));
    sim.pass_ms(1);
    assert_eq!(told(&sim)[4], "process side ended with exit code 0 and is started again (run 1)");
    sim.exit(0, code(3));
    assert_eq!(told(&sim).len(), 5, "the last failure is the task's own end");
}

#[test]
fn a_second_kill_wins_only_with_a_shorter_grace() {
    let mut sim = Sim::begin(with_endpoints());
    sim.kill(Reason::Preempted, None);
    sim.take_effects();
    let before = sim.machine.log.len();
    for grace_ms in [None, Some(1_000), Some(5_000)] {
        sim.kill(Reason::UserRequest, grace_ms);
    }
    assert_eq!((sim.machine.log.len(), sim.take_effects()), (before, vec![]));
    // Shorter: no more asking.
    sim.kill(Reason::UserRequest, Some(500));
    assert_eq!(sim.take_effects(), [Effect::Terminate]);
    sim.pass_ms(400);
    // It would end later than the present deadline: that one stays.
    sim.kill(Reason::UserRequest, Some(499));
    sim.pass_ms(99);
    assert_eq!(sim.take_effects(), []);
    sim.pass_ms(1);
    assert_eq!(sim.take_effects(), [Effect::Sweep]);
    sim.swept();
    assert_eq!(sim.end(), forced(Reason::Preempted, 499));
}

#[test]
fn the_reason_of_a_kill_is_said_before_how_it_ended() {
    let end = |reason, grace_ms, is_deaf: bool| {
        let mut sim = Sim::begin(plan(vec![process("sum")]));
        sim.kill(reason, Some(grace_ms));
        if is_deaf {
            sim.pass_ms(grace_ms.cast_signed());
        } else {
            sim.exit(0, ExitKind::Signal(15));
        }
        sim.swept();
        sim.end().2
    };
    assert_eq!(end(Reason::MaxRunTime, 1_000, false), "ran longer than allowed (max_run_time)");
    let both = "ran longer than allowed (max_run_time); did not stop within 1s of SIGTERM: ended by SIGKILL";
    assert_eq!(end(Reason::MaxRunTime, 1_000, true), both);
    assert_eq!(end(Reason::MaxRunTime, 0, true), "ran longer than allowed (max_run_time); ended by SIGKILL");
    assert!(
        end(Reason::Deadline, 2_000, true).starts_with("was not done by the job's deadline; did not stop within 2s")
    );
    assert!(end(Reason::AgentLost, 2_000, true).contains("out of reach of the scheduler for too long; did not stop"));
}

#[test]
fn no_grace_goes_from_sigterm_to_sigkill_at_once() {
    let mut sim = Sim::begin(plan(vec![process("web")]));
    sim.kill(Reason::UserRequest, Some(0));
    assert_eq!(sim.take_effects(), [Effect::Terminate, Effect::Sweep]);
}

#[test]
fn a_kill_that_comes_too_late_changes_nothing_but_the_haste() {
    let last = Process { is_final: true, ..process("last") };
    let mut sim = Sim::begin(plan(vec![process("web"), last]));
    sim.exit(0, code(0));
    sim.swept();
    sim.take_effects();
    sim.kill(Reason::UserRequest, Some(300));
    sim.pass_ms(299);
    assert_eq!(sim.take_effects(), []);
    sim.exit(1, code(0));
    assert_eq!(sim.take_effects(), [Effect::Sweep]);
    sim.swept();
    assert_eq!(sim.end(), (TaskState::Finished, Reason::None, String::new()));
}

#[test]
fn the_final_processes_of_a_killed_task_run() {
    let last = Process { is_final: true, ..process("last") };
    let mut sim = Sim::begin(plan(vec![process("web"), last]));
    sim.kill(Reason::NodeDrain, None);
    sim.exit(0, ExitKind::Signal(15));
    sim.swept();
    assert_eq!(sim.take_starts(), [0, 1]);
    sim.exit(1, code(1));
    sim.swept();
    let told = "final process last ended with exit code 1".to_string();
    assert_eq!(sim.end(), (TaskState::Killed, Reason::NodeDrain, told));
}

#[test]
fn after_a_restart_the_grace_counts_from_the_kill() {
    let mut sim = Sim::begin(with_endpoints());
    sim.kill(Reason::Preempted, None);
    sim.pass_ms(300);
    let mut sim = sim.crash(|_| true);
    assert_eq!(sim.take_effects(), [Effect::Terminate]);
    sim.pass_ms(699);
    assert_eq!(sim.take_effects(), []);
    sim.pass_ms(1);
    assert_eq!(sim.take_effects(), [Effect::Sweep]);
}

#[test]
fn a_restarted_executor_starts_nothing_and_tells_what_it_cannot_know() {
    let begin = || {
        let then = Process { after: vec![0], ..process("b") };
        let mut sim = Sim::begin(plan(vec![process("a"), then, process("c")]));
        assert_eq!(sim.take_starts(), [0, 2]);
        sim
    };
    // All live: it watches. One exit code is known to nobody, so the task is lost and the other one ended.
    let mut sim = begin().crash(|_| true);
    sim.pass_ms(10_000);
    assert_eq!((sim.take_effects(), sim.take_starts()), (vec![], vec![]));
    sim.machine.alive.retain(|(process, _)| *process != 0);
    sim.feed(dawn_executor::model::Input::Vanished { process: 0 });
    assert_eq!(sim.take_effects(), [Effect::Terminate]);
    sim.machine.alive.clear();
    sim.feed(dawn_executor::model::Input::Vanished { process: 2 });
    sim.swept();
    let (state, reason, message) = sim.end();
    assert_eq!((state, reason), (TaskState::Lost, Reason::ExecutorLost));
    assert_eq!(message, "process a ended after its executor had died, so its exit code is not known");
    assert_eq!(sim.take_starts(), []);

    // None live.
    let mut sim = begin().crash(|_| false);
    sim.swept();
    assert_eq!(sim.end().0, TaskState::Lost);

    // A kill was asked for before: then it is a kill, whatever the exit codes were.
    let mut sim = begin();
    sim.kill(Reason::UserRequest, None);
    let mut sim = sim.crash(|_| false);
    sim.swept();
    assert_eq!(sim.end(), killed(Reason::UserRequest));
}

#[test]
fn an_end_that_is_recorded_survives_a_restart() {
    let mut sim = Sim::begin(plan(vec![process("a")]));
    sim.exit(0, code(0));
    // The executor dies before it could report.
    let mut sim = sim.crash(|_| false);
    sim.swept();
    assert_eq!(sim.end().0, TaskState::Finished);
    // And with the report made, another one only leaves.
    let length = sim.machine.log.len();
    let sim = sim.crash(|_| false);
    assert_eq!((sim.machine.log.len(), sim.machine.is_left), (length, true));
}

#[test]
fn finals_that_a_death_kept_from_running_are_not_passed_over() {
    let last = Process { is_final: true, ..process("last") };
    let mut sim = Sim::begin(plan(vec![process("web"), last]));
    sim.exit(0, code(0));
    let mut sim = sim.crash(|_| false);
    sim.swept();
    let (state, _, message) = sim.end();
    assert_eq!((state, message.as_str()), (TaskState::Lost, "the executor died before final process last was done"));
}
