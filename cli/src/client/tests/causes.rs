//! Why a job does not run, as `job run`, `job status`, `job why` and `job list` say it of what a scheduler answers.

use super::*;

const SERVICE: &str =
    "job: www/prod/web\nkind: service\nuser: www\nrun: x\nupdate: { watch: 1s, progress_deadline: 2s }\n";

fn failing(state: TaskState, failures: u32) -> JobStatus {
    let failed = TaskFailure {
        task_id: 40 + u64::from(failures),
        attempt: failures,
        hostname: "node-1".into(),
        reason: Reason::Exited.into(),
        message: "process web ended with exit code 3".into(),
        exit_code: Some(3),
        ..Default::default()
    };
    let task = Task {
        id: 41 + u64::from(failures),
        attempt: failures + 1,
        version: 1,
        state: state.into(),
        failures,
        restarts: failures,
        last_failure: Some(failed),
        ..Default::default()
    };
    let summary = JobSummary {
        key: Some(key("web")),
        kind: JobKind::Service.into(),
        instances: 1,
        pending: 1,
        failing: 1,
        restarts: failures,
        version: 1,
        ..Default::default()
    };
    JobStatus { summary: Some(summary), tasks: vec![task], index: 9, ..Default::default() }
}

fn words(task_id: u64) -> Result<GetLastWordsResponse, Status> {
    let data = b"starting\nconfig missing\n".to_vec();
    Ok(GetLastWordsResponse { tasks: vec![LastWords { task_id, data }] })
}

fn file(dir: &tempfile::TempDir, text: &str) -> String {
    let path = dir.path().join("job.yaml");
    std::fs::write(&path, text).unwrap();
    path.display().to_string()
}

fn created() -> Script {
    let response =
        SubmitJobResponse { version: 1, outcome: SubmitOutcome::Created.into(), index: 7, ..Default::default() };
    Script { submit: answers([Ok(response)]), ..Default::default() }
}

#[tokio::test]
async fn a_service_that_fails_twice_for_one_reason_ends_the_run_with_the_cause() {
    let dir = tempfile::tempdir().unwrap();
    let watch = answers([Ok(vec![failing(TaskState::Throttled, 2)])]);
    let fake = Fake::start(Script { watch, last_words: answers([words(42)]), ..created() }).await;
    let (mut context, memory) = fake.context(false);
    let line = format!("dawn job run {}", file(&dir, SERVICE));
    assert_eq!(dawn(&mut context, &line).await.unwrap(), Exit::Failed);
    let expected = "\
www/prod/web: created (version 1, service, 1 instance)
www/prod/web  0 of 1 running, 1 pending (1 failing, 2 restarts)
www/prod/web: failed: its instance failed twice for the same reason: process web ended with exit code 3
  instance 0: process web ended with exit code 3; attempt 2 on node-1; 2 failures in a row
    | starting
    | config missing
  The job goes on trying, and nothing was stopped; `dawn job run` with a corrected file replaces it.
  look:  dawn job logs www/prod/web
";
    assert_eq!(text(&memory), expected);
    assert!(fake.asked().iter().all(|asked| !asked.starts_with("kill")), "{:?}", fake.asked());
}

/// A job of one instance that stays pending, and why it does.
fn pending_for_ever(summary: &str) -> Script {
    let mut pending = failing(TaskState::Pending, 0);
    pending.tasks[0].last_failure = None;
    let state = TaskState::Pending.into();
    let class = PendingClass { instances: vec![0], state, summary: summary.into(), ..Default::default() };
    let why = answers([Ok(WhyResponse { classes: vec![class], index: 9 })]);
    Script { watch: answers([Ok(vec![pending])]), why, ..created() }
}

#[tokio::test]
async fn a_service_that_never_becomes_healthy_ends_the_run_at_its_deadline() {
    let dir = tempfile::tempdir().unwrap();
    let fake = Fake::start(pending_for_ever("fits no node")).await;
    let (mut context, memory) = fake.context(false);
    let line = format!("dawn job run {}", file(&dir, SERVICE));
    assert_eq!(dawn(&mut context, &line).await.unwrap(), Exit::Failed);
    let said = text(&memory);
    assert!(said.contains("www/prod/web: failed: its instance did not become healthy within 2s\n"), "{said}");
    assert!(said.contains("  instance 0: fits no node\n"), "{said}");
    assert!(said.ends_with("  look:  dawn job why www/prod/web\n"), "{said}");
}

#[tokio::test]
async fn status_and_why_show_the_last_failure_with_its_last_words() {
    let script = || Script {
        job: answers([Ok(failing(TaskState::Running, 3))]),
        why: answers([Ok(WhyResponse::default())]),
        last_words: answers([words(43)]),
        ..Default::default()
    };
    let cause = "\
last failures
instance 0: process web ended with exit code 3; attempt 3 on node-1; 3 failures in a row
    | starting
    | config missing
";
    let fake = Fake::start(script()).await;
    let (mut context, memory) = fake.context(false);
    assert_eq!(dawn(&mut context, "dawn job status www/prod/web/0").await.unwrap(), Exit::Done);
    let said = text(&memory);
    assert!(said.ends_with(cause), "{said}");
    assert!(said.contains("instances  1: 1 pending (1 failing, 3 restarts)\n"), "{said}");
    assert!(said.contains("\nINSTANCE  VERSION  TASK  STATE    RESTARTS  DETAIL\n"), "{said}");

    let (mut context, memory) = fake.context(true);
    assert_eq!(dawn(&mut context, "dawn job status www/prod/web").await.unwrap(), Exit::Done);
    let value: serde_json::Value = serde_json::from_str(&text(&memory)).unwrap();
    let failed = &value["tasks"][0]["last_failure"];
    assert_eq!((&failed["exit_code"], &failed["signal"]), (&3.into(), &serde_json::Value::Null));
    assert_eq!(failed["last_words"], "starting\nconfig missing\n");

    let fake = Fake::start(script()).await;
    let (mut context, memory) = fake.context(false);
    assert_eq!(dawn(&mut context, "dawn job why www/prod/web").await.unwrap(), Exit::Done);
    let expected = format!(
        "www/prod/web: nothing is pending, but instances have failed; instances 1: 1 pending (1 failing, 3 restarts)\n{cause}"
    );
    assert_eq!(text(&memory), expected);
}

#[tokio::test]
async fn what_keeps_a_whole_job_back_is_said_though_no_instance_is_named() {
    let class = PendingClass {
        state: TaskState::Pending.into(),
        summary: "waits for the end of data/prod/first (success)".into(),
        ..Default::default()
    };
    let mut status = failing(TaskState::Pending, 0);
    status.tasks.clear();
    let why = answers([Ok(WhyResponse { classes: vec![class], index: 9 })]);
    let fake = Fake::start(Script { why, job: answers([Ok(status)]), ..Default::default() }).await;
    for line in ["dawn job why www/prod/web", "dawn job why www/prod/web/0"] {
        let (mut context, memory) = fake.context(false);
        assert_eq!(dawn(&mut context, line).await.unwrap(), Exit::Done);
        let said = text(&memory);
        assert!(said.contains("waits for the end of data/prod/first (success)"), "{said}");
        assert!(!said.contains("nothing is pending"), "{said}");
    }
}

#[tokio::test]
async fn a_paused_cron_job_says_who_paused_it() {
    let cron = CronStatus { paused_ms: 1, paused_by: "root".into(), ..Default::default() };
    let summary = JobSummary { key: Some(key("web")), kind: JobKind::Cron.into(), ..Default::default() };
    let status = JobStatus { summary: Some(summary), cron: Some(cron), ..Default::default() };
    let script =
        Script { job: answers([Ok(status)]), why: answers([Ok(WhyResponse::default())]), ..Default::default() };
    let fake = Fake::start(script).await;
    let (mut context, memory) = fake.context(false);
    assert_eq!(dawn(&mut context, "dawn job why www/prod/web").await.unwrap(), Exit::Done);
    let said = text(&memory);
    assert!(said.contains(" by root, so it starts no run until `dawn cron resume www/prod/web`"), "{said}");
}

#[tokio::test]
async fn a_run_of_a_paused_cron_job_says_that_it_is_paused() {
    let dir = tempfile::tempdir().unwrap();
    let cron = CronStatus { key: Some(key("web")), paused_ms: 1, paused_by: "ann".into(), ..Default::default() };
    let kind = JobKind::Cron.into();
    let summary = JobSummary { key: Some(key("web")), kind, paused: true, version: 1, ..Default::default() };
    let status = JobStatus { summary: Some(summary), cron: Some(cron), index: 9, ..Default::default() };
    let fake = Fake::start(Script { watch: answers([Ok(vec![status])]), ..created() }).await;
    let (mut context, memory) = fake.context(false);
    let text_of_file = "job: www/prod/web\nkind: cron\nuser: www\ncron: { schedule: \"0 3 * * *\" }\nrun: x\n";
    let line = format!("dawn job run {}", file(&dir, text_of_file));
    assert_eq!(dawn(&mut context, &line).await.unwrap(), Exit::Done);
    let said = text(&memory);
    assert!(said.contains("www/prod/web  paused\n"), "{said}");
    assert!(said.contains(" ago by ann, so it starts no run until `dawn cron resume www/prod/web`\n"), "{said}");
    assert!(!said.contains("scheduled") && !said.contains("next run"), "{said}");
}

#[tokio::test]
async fn why_instances_wait_is_said_soon() {
    let dir = tempfile::tempdir().unwrap();
    let fake = Fake::start(pending_for_ever("the 3 instances start together or not at all")).await;
    let (mut context, memory) = fake.context(false);
    // Who gives up after a few seconds has heard it.
    context.timeout = Some(Duration::from_secs(4));
    let line = format!("dawn job run {}", file(&dir, "job: www/prod/web\nkind: service\nuser: www\nrun: x\n"));
    assert_eq!(dawn(&mut context, &line).await.unwrap(), Exit::Waited);
    let said = text(&memory);
    assert!(said.contains("  www/prod/web: instance 0: the 3 instances start together or not at all\n"), "{said}");
}

#[tokio::test]
async fn a_branch_for_failures_that_did_not_come_is_a_success() {
    let dir = tempfile::tempdir().unwrap();
    let summary = JobSummary {
        kind: JobKind::Batch.into(),
        instances: 1,
        ended: true,
        result: "not_needed".into(),
        ..Default::default()
    };
    let status = JobStatus { summary: Some(summary), index: 9, ..Default::default() };
    let fake = Fake::start(Script { watch: answers([Ok(vec![status])]), ..created() }).await;
    let (mut context, memory) = fake.context(false);
    let line = format!("dawn job run {}", file(&dir, "job: www/prod/web\nkind: batch\nuser: www\nrun: x\n"));
    assert_eq!(dawn(&mut context, &line).await.unwrap(), Exit::Done);
    assert!(text(&memory).contains("not needed: it was to follow a failure, and there was none"), "{}", text(&memory));
}
