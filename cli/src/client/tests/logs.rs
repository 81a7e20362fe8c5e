//! `dawn job logs` and `dawn task logs` against a scheduler that answers as told.

use super::*;

fn chunk(data: &str, end: bool) -> LogChunk {
    LogChunk { data: data.into(), offset: 0, end, ..Default::default() }
}

#[tokio::test]
async fn logs_of_several_instances_are_told_apart() {
    let tasks =
        vec![placed(1, 0, TaskState::Failed), placed(2, 1, TaskState::Running), placed(3, 0, TaskState::Running)];
    let script = Script {
        tasks: answers([page(tasks)]),
        job: answers([Ok(one_instance())]),
        log: answers([Ok(vec![chunk("on", false), chunk("e\ntw", false), chunk("o", true)])]),
        ..Default::default()
    };
    let fake = Fake::start(script).await;
    let (mut context, memory) = fake.context(false);
    let line = "dawn job logs www/prod/web --process p --stderr --tail 5";
    assert_eq!(dawn(&mut context, line).await.unwrap(), Exit::Done);
    let mut lines: Vec<String> = text(&memory).lines().map(str::to_string).collect();
    lines.sort();
    assert_eq!(lines, ["0 | one", "0 | two", "1 | one", "1 | two"]);
    let mut asked = fake.asked();
    asked.sort();
    assert_eq!(
        asked,
        ["job www/prod/web", "log t2 p:stderr tail 5", "log t3 p:stderr tail 5", "tasks www/prod/web all=true"]
    );
}

#[tokio::test]
async fn without_a_process_all_of_a_task_are_read() {
    let spec = "job: www/prod/web\nkind: batch\nprocesses:\n- {name: a, run: x}\n- {name: b, run: x}\n";
    let spec = Some(crate::spec::parse("x", spec, 0).unwrap().remove(0));
    let script = Script {
        tasks: answers([page(vec![placed(1, 0, TaskState::Finished)])]),
        job: answers([Ok(JobStatus { spec, ..Default::default() })]),
        log: answers([Ok(vec![chunk("said\n", true)])]),
        ..Default::default()
    };
    let fake = Fake::start(script).await;
    let (mut context, memory) = fake.context(false);
    assert_eq!(dawn(&mut context, "dawn job logs www/prod/web").await.unwrap(), Exit::Done);
    let mut lines: Vec<String> = text(&memory).lines().map(str::to_string).collect();
    lines.sort();
    assert_eq!(lines, ["a out | said", "b out | said"]);
}

#[tokio::test]
async fn following_goes_on_with_the_next_life_of_the_instance() {
    let first = vec![placed(1, 0, TaskState::Running)];
    let pending = Task { agent_id: String::new(), ..placed(2, 0, TaskState::Pending) };
    let waiting = vec![placed(1, 0, TaskState::Failed), pending];
    let second = vec![placed(1, 0, TaskState::Failed), placed(2, 0, TaskState::Running)];
    let ended = JobStatus { summary: Some(JobSummary { ended: true, ..Default::default() }), ..Default::default() };
    let script = Script {
        tasks: answers([page(first), page(waiting), page(second)]),
        log: answers([Ok(vec![chunk("life 1\n", true)]), Ok(vec![chunk("life 2\n", true)])]),
        job: answers([Ok(ended)]),
        ..Default::default()
    };
    let fake = Fake::start(script).await;
    let (mut context, memory) = fake.context(false);
    assert_eq!(
        dawn(&mut context, "dawn job logs -f www/prod/web/0 --stdout --tail 10 -p p").await.unwrap(),
        Exit::Done
    );
    assert_eq!(text(&memory), "life 1\nlife 2\n");
    let logs: Vec<String> = fake.asked().into_iter().filter(|asked| asked.starts_with("log")).collect();
    assert_eq!(logs, ["log t1 p:stdout tail 10 follow", "log t2 p:stdout follow"]);
}

#[tokio::test]
async fn following_goes_on_where_the_stream_broke_off() {
    let task = vec![placed(1, 0, TaskState::Running)];
    let ended = JobStatus { summary: Some(JobSummary { ended: true, ..Default::default() }), ..Default::default() };
    let script = Script {
        tasks: answers([page(task)]),
        log: answers([Ok(vec![]), Ok(vec![chunk("first\n", false)]), Ok(vec![chunk("second\n", true)])]),
        job: answers([Ok(ended)]),
        ..Default::default()
    };
    let fake = Fake::start(script).await;
    let (mut context, memory) = fake.context(false);
    assert_eq!(
        dawn(&mut context, "dawn job logs -f www/prod/web/0 --stdout --tail 10 -p p").await.unwrap(),
        Exit::Done
    );
    assert_eq!(text(&memory), "first\nsecond\n");
    let logs: Vec<String> = fake.asked().into_iter().filter(|asked| asked.starts_with("log")).collect();
    let from_the_tail = "log t1 p:stdout tail 10 follow";
    assert_eq!(logs, [from_the_tail, from_the_tail, "log t1 p:stdout from 6 follow"]);
}

fn step(state: TaskState) -> Transition {
    Transition { state: state.into(), ..Default::default() }
}

/// A task that was tried on a node and not started, since the node has no such user.
fn refused(id: u64) -> Task {
    let end = Transition {
        reason: Reason::UnknownUser.into(),
        message: "there is no user ghost".into(),
        ..step(TaskState::Failed)
    };
    Task { job: Some(key("web")), history: vec![step(TaskState::Assigned), end], ..placed(id, 0, TaskState::Failed) }
}

/// A task whose files could not be fetched, so that no process was started.
fn unfetched(id: u64) -> Task {
    let reason = Reason::ArtifactFailed.into();
    let end = Transition { reason, message: "artifact 1 of 1 is not there".into(), ..step(TaskState::Failed) };
    Task { history: vec![step(TaskState::Assigned), step(TaskState::Starting), end], ..refused(id) }
}

fn waiting(id: u64) -> Task {
    Task { agent_id: String::new(), job: Some(key("web")), ..placed(id, 0, TaskState::Throttled) }
}

fn one_instance() -> JobStatus {
    let summary = JobSummary { key: Some(key("web")), instances: 1, ..Default::default() };
    JobStatus { summary: Some(summary), ..Default::default() }
}

#[tokio::test]
async fn a_job_that_never_started_says_why_instead_of_its_logs() {
    for (tasks, said) in [
        (
            vec![Task { agent_id: String::new(), job: Some(key("web")), ..placed(1, 0, TaskState::Pending) }],
            "www/prod/web/0: t1 is not started yet (pending)",
        ),
        (vec![refused(1), waiting(2)], "www/prod/web/0: t2 is not started yet (throttled)"),
        (vec![refused(1)], "www/prod/web/0: t1 was not started: there is no user ghost"),
        (vec![unfetched(1)], "www/prod/web/0: t1 was not started: artifact 1 of 1 is not there"),
        (vec![], "no task of www/prod/web was started yet"),
    ] {
        let newest = tasks.last().map_or(1, |task| task.id);
        let script = || {
            let (tasks, job) = (answers([page(tasks.clone())]), answers([Ok(one_instance())]));
            Script { tasks, job, ..Default::default() }
        };
        let lines =
            ["job logs www/prod/web", "task logs www/prod/web", "task ls www/prod/web", "task exec www/prod/web -- id"];
        let by_id = ["logs", "ls", "stats"].map(|command| format!("task {command} t{newest}"));
        let by_id = by_id.into_iter().filter(|_| !tasks.is_empty());
        for line in lines.map(str::to_string).into_iter().chain(by_id) {
            let fake = Fake::start(script()).await;
            let (mut context, _) = fake.context(false);
            let (exit, message) = refusal(&mut context, &format!("dawn {line}")).await;
            assert_eq!(exit, Exit::Failed, "{line}: {message}");
            assert!(message.starts_with(said) && message.contains("\n  see `dawn job "), "{line}: {message}");
        }
    }
}

#[tokio::test]
async fn of_a_job_that_keeps_failing_the_newest_attempt_that_ran_is_shown() {
    let tasks = || vec![placed(1, 0, TaskState::Failed), placed(2, 0, TaskState::Failed), waiting(3)];
    for (line, task) in [("", "t2"), (" --previous", "t1"), (" --attempt 7", "t2")] {
        let mut tasks = tasks();
        tasks[1].attempt = 7;
        let log = answers([Ok(vec![LogChunk { stderr: true, ..chunk("boom\n", true) }])]);
        let script =
            Script { tasks: answers([page(tasks)]), job: answers([Ok(one_instance())]), log, ..Default::default() };
        let fake = Fake::start(script).await;
        let (mut context, memory) = fake.context(false);
        assert_eq!(dawn(&mut context, &format!("dawn job logs www/prod/web{line}")).await.unwrap(), Exit::Done);
        assert_eq!(text(&memory), "err | boom\n");
        assert!(fake.asked().iter().any(|asked| *asked == format!("log {task} :both")), "{line}: {:?}", fake.asked());
    }
    let script = Script { tasks: answers([page(tasks())]), job: answers([Ok(one_instance())]), ..Default::default() };
    let fake = Fake::start(script).await;
    let (mut context, _) = fake.context(false);
    let (_, message) = refusal(&mut context, "dawn job logs www/prod/web --attempt 9").await;
    assert!(message.contains("no attempt 9 is kept"), "{message}");
}

#[tokio::test]
async fn the_first_task_of_a_cluster_has_a_log_as_any_other() {
    let script = Script {
        tasks: answers([page(vec![placed(0, 0, TaskState::Running)])]),
        job: answers([Ok(one_instance())]),
        log: answers([Ok(vec![chunk("hello\n", false)])]),
        ..Default::default()
    };
    let fake = Fake::start(script).await;
    let (mut context, memory) = fake.context(false);
    assert_eq!(dawn(&mut context, "dawn job logs www/prod/web -p p").await.unwrap(), Exit::Done);
    assert_eq!(text(&memory), "out | hello\n");
}

#[tokio::test]
async fn following_waits_for_the_first_start() {
    let ended = JobStatus { summary: Some(JobSummary { ended: true, ..Default::default() }), ..Default::default() };
    let script = Script {
        tasks: answers([page(vec![waiting(1)]), page(vec![waiting(1)]), page(vec![placed(1, 0, TaskState::Running)])]),
        log: answers([Ok(vec![chunk("life 1\n", true)])]),
        job: answers([Ok(ended)]),
        ..Default::default()
    };
    let fake = Fake::start(script).await;
    let (mut context, memory) = fake.context(false);
    assert_eq!(dawn(&mut context, "dawn job logs -f www/prod/web/0 -p p").await.unwrap(), Exit::Done);
    assert_eq!(text(&memory), "out | life 1\n");
}

#[tokio::test]
async fn following_ends_when_nobody_waits_any_more() {
    let script =
        Script { tasks: answers([page(vec![waiting(1)])]), job: answers([Ok(one_instance())]), ..Default::default() };
    let fake = Fake::start(script).await;
    let (mut context, _) = fake.context(false);
    context.timeout = Some(Duration::from_millis(300));
    let (exit, message) = refusal(&mut context, "dawn job logs -f www/prod/web/0 -p p").await;
    assert_eq!(exit, Exit::Waited, "{message}");
}

#[tokio::test]
async fn streams_that_break_go_on_where_each_of_them_was() {
    let err = |data: &str| LogChunk { stderr: true, ..chunk(data, false) };
    let ended = JobStatus { summary: Some(JobSummary { ended: true, ..Default::default() }), ..Default::default() };
    let script = Script {
        tasks: answers([page(vec![placed(1, 0, TaskState::Running)])]),
        log: answers([Ok(vec![chunk("one\n", false), err("oops\n")]), Ok(vec![chunk("two\n", true)])]),
        job: answers([Ok(ended)]),
        ..Default::default()
    };
    let fake = Fake::start(script).await;
    let (mut context, memory) = fake.context(false);
    assert_eq!(dawn(&mut context, "dawn job logs -f www/prod/web/0 -p p --tail 9").await.unwrap(), Exit::Done);
    assert_eq!(text(&memory), "out | one\nerr | oops\nout | two\n");
    let logs: Vec<String> = fake.asked().into_iter().filter(|asked| asked.starts_with("log")).collect();
    assert_eq!(logs, ["log t1 p:both tail 9 follow", "log t1 p:both from 4 err 5 follow"]);
}

#[tokio::test]
async fn a_node_out_of_reach_is_no_scheduler_that_does_not_answer() {
    let away = || {
        let refused = RefusedRequest::new(ErrorReason::NodeOutOfReach, "the agent of node n2 is not connected");
        Status::from(refused.with("node", "n2"))
    };
    let script = Script {
        tasks: answers([page(vec![placed(1, 0, TaskState::Running)])]),
        job: answers([Ok(one_instance())]),
        log: answers([Err(away())]),
        ..Default::default()
    };
    let fake = Fake::start(script).await;
    for line in ["dawn job logs www/prod/web -p p", "dawn task logs t1"] {
        let (mut context, _) = fake.context(false);
        let (exit, message) = refusal(&mut context, line).await;
        assert_eq!(exit, Exit::Failed);
        assert_eq!(message, "the agent of node n2 is not connected\n  see `dawn node status n2`", "{line}");
    }
}

#[tokio::test]
async fn a_task_that_never_started_says_why() {
    let fake = Fake::start(Script { tasks: answers([page(vec![refused(170)])]), ..Default::default() }).await;
    let (mut context, _) = fake.context(false);
    let (exit, message) = refusal(&mut context, "dawn task logs t170").await;
    assert_eq!(exit, Exit::Failed);
    let expected =
        "www/prod/web/0: t170 was not started: there is no user ghost\n  see `dawn job status www/prod/web/0`";
    assert_eq!(message, expected);
    let (exit, message) = refusal(&mut context, "dawn task logs t171").await;
    assert_eq!(exit, Exit::NotFound, "{message}");
    assert!(message.starts_with("there is no task t171\n"), "{message}");
}

#[tokio::test]
async fn an_instance_that_does_not_exist_is_named() {
    for line in
        ["dawn job logs www/prod/web/9", "dawn task logs www/prod/web/9", "dawn task exec www/prod/web/9 -- true"]
    {
        let script =
            Script { tasks: answers([page(vec![])]), job: answers([Ok(one_instance())]), ..Default::default() };
        let fake = Fake::start(script).await;
        let (mut context, _) = fake.context(false);
        let (exit, message) = refusal(&mut context, line).await;
        assert_eq!(exit, Exit::NotFound, "{line}");
        assert!(
            message.starts_with("www/prod/web has no instance 9; it has 1, numbered from 0\n"),
            "{line}: {message}"
        );
    }
}
