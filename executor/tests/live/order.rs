//! The process graph on real processes: ordering, daemons, ephemeral and final ones, failures, concurrency.

use dawn_proto::v1::{self, Reason, TaskState};

use crate::rig::{Rig, shell, until};

fn names(rig: &Rig) -> Vec<String> {
    rig.starts().into_iter().map(|(name, _)| name).collect()
}

fn after(spec: v1::ProcessSpec, names: &[&str]) -> v1::ProcessSpec {
    v1::ProcessSpec { after: names.iter().map(ToString::to_string).collect(), ..spec }
}

#[test]
fn a_process_starts_when_those_before_it_have_succeeded() {
    let say = |name: &str| shell(name, &format!("echo {name} >> order"));
    let c = after(say("c"), &["b"]);
    let mut rig = Rig::new(vec![c, after(say("b"), &["a"]), say("a")]);
    rig.start();
    assert_eq!(rig.ends().state(), TaskState::Finished);
    assert_eq!(rig.read_sandbox("order"), "a\nb\nc\n");
    assert_eq!(rig.states(), [TaskState::Starting, TaskState::Running, TaskState::Finished]);
}

#[test]
fn what_follows_a_failure_never_runs() {
    let mut rig = Rig::new(vec![shell("a", "exit 9"), after(shell("b", "touch ran"), &["a"])]);
    rig.start();
    let end = rig.ends();
    assert_eq!((end.state(), end.reason(), end.exit_code), (TaskState::Failed, Reason::Exited, Some(9)));
    assert_eq!(names(&rig), ["a"]);
}

#[test]
fn a_failing_process_is_tried_again_up_to_its_limit() {
    let mut flaky = shell("flaky", "echo x >> tries; test $(wc -l < tries) -ge 3");
    (flaky.max_failures, flaky.min_duration_ms) = (3, 1);
    let mut rig = Rig::new(vec![flaky]);
    rig.start();
    assert_eq!(rig.ends().state(), TaskState::Finished);
    assert_eq!(rig.starts(), [1, 2, 3].map(|run| ("flaky".to_string(), run)));
    assert_eq!(rig.exits().iter().map(|exit| exit.exit_code.unwrap()).collect::<Vec<_>>(), [1, 1, 0]);
}

#[test]
fn daemons_and_ephemerals_end_with_the_work_and_finals_come_last() {
    let mut daemon = shell("daemon", "echo d >> daemon; test $(wc -l < daemon) -lt 2 || exec sleep 1000");
    (daemon.daemon, daemon.min_duration_ms) = (true, 1);
    let mut ephemeral = shell("ephemeral", "exec sleep 1000");
    ephemeral.ephemeral = true;
    let mut last = shell("last", "cp work seen");
    last.r#final = true;
    let work = shell("work", "until test \"$(cat daemon)\" = \"d\nd\"; do sleep 0.01; done; echo done > work");
    let mut rig = Rig::new(vec![last, daemon, ephemeral, work]);
    rig.start();
    let end = rig.ends();
    assert_eq!((end.state(), end.message.as_str()), (TaskState::Finished, ""));
    assert_eq!(rig.read_sandbox("seen"), "done\n");
    assert_eq!(names(&rig), ["daemon", "ephemeral", "work", "daemon", "last"]);
    assert_eq!(rig.exit_of("ephemeral").signal, Some(15));
}

#[test]
fn a_final_process_out_of_time_is_ended_and_fails_the_task() {
    let mut last = shell("last", "exec sleep 1000");
    last.r#final = true;
    let mut rig = Rig::new(vec![shell("work", "true"), last]);
    rig.task().finalization_wait_ms = 50;
    rig.start();
    let end = rig.ends();
    assert_eq!(
        (end.state(), end.message.as_str()),
        (TaskState::Failed, "process last was out of time (finalization_wait 50ms) and was killed by SIGKILL")
    );
}

#[test]
fn a_final_process_that_fails_is_told_with_the_last_line_that_it_wrote() {
    let mut last = shell("clean", "echo first >&2; echo 'bucket: no such host' >&2; exit 4");
    last.r#final = true;
    let mut rig = Rig::new(vec![shell("work", "echo broken >&2; exit 3"), last]);
    rig.start();
    let end = rig.ends();
    let words = "process work ended with exit code 3; final process clean ended with exit code 4: bucket: no such host";
    assert_eq!((end.state(), end.message.as_str(), end.exit_code), (TaskState::Failed, words, Some(3)));
    assert_eq!(end.last_words, b"broken\n", "those of the process that decided the end");
}

#[test]
fn no_more_run_at_once_than_allowed() {
    let line = |name: &str| format!("echo + >> order; until test -e {name}.go; do sleep 0.01; done; echo - >> order");
    let mut rig = Rig::new(vec![shell("a", &line("a")), shell("b", &line("b"))]);
    rig.task().max_concurrency = 1;
    rig.start();
    rig.until_state(TaskState::Running);
    std::fs::write(rig.sandbox("b.go"), "").unwrap();
    std::fs::write(rig.sandbox("a.go"), "").unwrap();
    assert_eq!(rig.ends().state(), TaskState::Finished);
    assert_eq!(rig.read_sandbox("order"), "+\n-\n+\n-\n");
}

#[test]
fn a_daemon_that_ends_at_once_is_not_started_in_a_hot_loop() {
    let mut daemon = shell("daemon", "echo x >> runs");
    daemon.daemon = true;
    let mut rig = Rig::new(vec![daemon]);
    rig.start();
    until("it ran twice", || rig.starts().len() >= 2);
    let times: Vec<i64> = rig
        .events()
        .iter()
        .filter(|event| matches!(event.event, Some(v1::executor_event::Event::ProcessStarted(_))))
        .map(|event| event.at_ms)
        .collect();
    assert!(times[1] - times[0] >= 900, "{times:?}");
    rig.kill(Reason::UserRequest, Some(0));
    assert_eq!(rig.ends().state(), TaskState::Killed);
}
