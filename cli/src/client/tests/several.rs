//! `dawn job run` of several jobs, of which some fail.

use super::*;

const FILE: &str =
    "job: www/prod/bad\nkind: batch\nuser: www\nrun: x\n---\njob: www/prod/long\nkind: batch\nuser: www\nrun: x\n";

fn file(dir: &tempfile::TempDir) -> String {
    let path = dir.path().join("jobs.yaml");
    std::fs::write(&path, FILE).unwrap();
    path.display().to_string()
}

fn failure(id: u64, code: i32) -> Option<TaskFailure> {
    Some(TaskFailure {
        task_id: id,
        attempt: 1,
        reason: Reason::Exited.into(),
        message: format!("process web ended with exit code {code}"),
        exit_code: Some(code),
        ..Default::default()
    })
}

/// A batch job whose instances have ended with these exit codes; without any it goes on.
fn status(name: &str, codes: &[i32]) -> JobStatus {
    let task = |(i, code): (usize, &i32)| Task {
        id: i as u64 + 1,
        instance: i as u32,
        state: TaskState::Failed.into(),
        last_failure: failure(i as u64 + 1, *code),
        ..Default::default()
    };
    let (instances, failed) = (codes.len().max(1) as u32, codes.len() as u32);
    let running = u32::from(codes.is_empty());
    let (key, kind) = (Some(key(name)), JobKind::Batch.into());
    let summary = JobSummary { key, kind, instances, failed, running, ended: running == 0, ..Default::default() };
    let tasks = codes.iter().enumerate().map(task).collect();
    JobStatus { summary: Some(summary), tasks, index: 9, ..Default::default() }
}

fn script(bad: &[i32]) -> Script {
    let created = SubmitOutcome::Created.into();
    let response = SubmitJobResponse { version: 1, outcome: created, index: 7, ..Default::default() };
    let words = LastWords { task_id: 1, data: b"config missing\n".to_vec() };
    Script {
        submit: answers([Ok(response)]),
        watch_of: [("bad", bad), ("long", &[])]
            .map(|(name, codes)| (format!("www/prod/{name}"), vec![status(name, codes)]))
            .into(),
        last_words: answers([Ok(GetLastWordsResponse { tasks: vec![words] })]),
        ..Default::default()
    }
}

#[tokio::test]
async fn a_failure_is_told_when_it_comes_and_makes_a_wait_that_is_given_up_a_failure() {
    let dir = tempfile::tempdir().unwrap();
    let fake = Fake::start(script(&[1])).await;
    let (mut context, memory) = fake.context(false);
    context.timeout = Some(Duration::from_secs(2));
    let line = format!("dawn job run {}", file(&dir));
    assert_eq!(dawn(&mut context, &line).await.unwrap(), Exit::Failed, "the other one goes on");
    let told = "\
www/prod/bad: failed: its instance failed: process web ended with exit code 1
  instance 0: process web ended with exit code 1; attempt 1
    | config missing
  look:  dawn job logs www/prod/bad
";
    assert!(text(&memory).contains(told), "{}", text(&memory));
}

#[tokio::test]
async fn a_wait_that_is_given_up_before_anything_failed_is_no_failure() {
    let fake = Fake::start(Script { watch: answers([Ok(vec![status("bad", &[])])]), ..script(&[]) }).await;
    let (mut context, _) = fake.context(false);
    context.timeout = Some(Duration::from_millis(300));
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(dawn(&mut context, &format!("dawn job run {}", file(&dir))).await.unwrap(), Exit::Waited);
}

#[tokio::test]
async fn instances_that_failed_for_several_reasons_are_told_by_reason() {
    let dir = tempfile::tempdir().unwrap();
    let fake = Fake::start(script(&[2, 3, 2, 4, 2, 3])).await;
    let (mut context, memory) = fake.context(false);
    context.timeout = Some(Duration::from_secs(2));
    _ = dawn(&mut context, &format!("dawn job run {}", file(&dir))).await.unwrap();
    let told = "\
www/prod/bad: failed: 6 of 6 instances failed, for 3 reasons:
  instances 0, 2, 4: process web ended with exit code 2; the last was instance 4, attempt 1
  instances 1, 5: process web ended with exit code 3; the last was instance 5, attempt 1
  instance 3: process web ended with exit code 4; attempt 1
  look:  dawn job logs www/prod/bad
";
    assert!(text(&memory).contains(told), "{}", text(&memory));
}
