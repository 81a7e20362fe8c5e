//! What commands say of updates, of what a scheduler answers.

use super::*;

/// A service of three instances at version 2, of which one fails again and again.
fn at_version_2() -> JobStatus {
    let failed = TaskFailure {
        task_id: 8,
        attempt: 3,
        version: 2,
        hostname: "node-1".into(),
        reason: Reason::Exited.into(),
        message: "process main ended with exit code 8".into(),
        exit_code: Some(8),
        ..Default::default()
    };
    let task = |instance: u32| Task {
        id: 10 + u64::from(instance),
        instance,
        attempt: 4,
        version: 2,
        state: TaskState::Running.into(),
        history: vec![Transition { state: TaskState::Running.into(), at_ms: i64::MAX, ..Default::default() }],
        ..Default::default()
    };
    let flapping = Task { failures: 3, restarts: 3, last_failure: Some(failed), ..task(1) };
    let summary = JobSummary {
        key: Some(key("web")),
        kind: JobKind::Service.into(),
        instances: 3,
        running: 3,
        failing: 1,
        restarts: 3,
        version: 2,
        ..Default::default()
    };
    JobStatus { summary: Some(summary), tasks: vec![task(0), flapping, task(2)], index: 9, ..Default::default() }
}

fn update(state: UpdateState, message: &str) -> UpdateInfo {
    let range = |first, last| InstanceRange { first, last };
    let event = |state: UpdateState, message: &str| UpdateEvent {
        state: state.into(),
        at_ms: 1_000,
        message: message.into(),
        ..Default::default()
    };
    UpdateInfo {
        key: Some(key("web")),
        number: 1,
        kind: UpdateKind::Change.into(),
        state: state.into(),
        from_version: 1,
        to_version: 2,
        instances: vec![range(0, 2)],
        done: vec![range(0, 0), range(2, 2)],
        failed: vec![range(1, 1)],
        events: vec![event(UpdateState::RollingForward, ""), event(state, message)],
        ..Default::default()
    }
}

fn words() -> Result<GetLastWordsResponse, Status> {
    Ok(GetLastWordsResponse { tasks: vec![LastWords { task_id: 8, data: b"one died\n".to_vec() }] })
}

#[tokio::test]
async fn an_update_that_ends_well_names_the_instances_that_fail_all_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("job.yaml");
    std::fs::write(&path, "job: www/prod/web\nkind: service\nuser: www\ninstances: 3\nrun: x\n").unwrap();
    let submitted = SubmitJobResponse {
        version: 2,
        outcome: SubmitOutcome::Updating.into(),
        update: 1,
        index: 7,
        ..Default::default()
    };
    let allowed = "1 instance failed, which max_failed_instances allows";
    let script = || Script {
        submit: answers([Ok(submitted.clone())]),
        update: answers([Ok(update(UpdateState::RolledForward, allowed))]),
        job: answers([Ok(at_version_2())]),
        watch: answers([Ok(vec![at_version_2()])]),
        last_words: answers([words()]),
        ..Default::default()
    };
    let told = "\
www/prod/web: update 1 rolled forward, 2 of 3 instances, 1 failed: 1 instance failed, which max_failed_instances allows
  instance 1: process main ended with exit code 8; attempt 3 on node-1; 3 failures in a row
    | one died
";
    let fake = Fake::start(script()).await;
    let (mut context, memory) = fake.context(false);
    assert_eq!(dawn(&mut context, &format!("dawn job run {}", path.display())).await.unwrap(), Exit::Done);
    let said = text(&memory);
    assert!(said.contains(told), "{said}");
    assert_eq!(said.matches("| one died").count(), 1, "the last words are told once: {said}");
    let end = "www/prod/web: instance 1 failed so far: process main ended with exit code 8\n  look:  dawn job status www/prod/web\n";
    assert!(said.ends_with(end), "{said}");

    let fake = Fake::start(script()).await;
    let (mut context, memory) = fake.context(false);
    assert_eq!(dawn(&mut context, "dawn update wait www/prod/web").await.unwrap(), Exit::Done);
    assert_eq!(text(&memory), told);
}

#[tokio::test]
async fn a_run_of_an_unchanged_job_names_the_instances_that_fail_all_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("job.yaml");
    let file = "job: www/prod/web\nkind: service\nuser: www\ninstances: 3\nupdate: { watch: 0s }\nrun: x\n";
    std::fs::write(&path, file).unwrap();
    let response =
        SubmitJobResponse { version: 2, outcome: SubmitOutcome::Unchanged.into(), index: 7, ..Default::default() };
    let script = Script {
        submit: answers([Ok(response)]),
        watch: answers([Ok(vec![at_version_2()])]),
        last_words: answers([words()]),
        ..Default::default()
    };
    let fake = Fake::start(script).await;
    let (mut context, memory) = fake.context(false);
    assert_eq!(dawn(&mut context, &format!("dawn job run {}", path.display())).await.unwrap(), Exit::Done);
    let said = text(&memory);
    assert!(said.contains("  instance 1: process main ended with exit code 8; attempt 3 on node-1; "), "{said}");
    assert!(said.contains("    | one died\n"), "{said}");
}

#[tokio::test]
async fn a_file_that_is_run_again_while_its_update_is_under_way_ends_as_the_update_does() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("job.yaml");
    std::fs::write(&path, "job: www/prod/web\nkind: service\nuser: www\ninstances: 3\nrun: x\n").unwrap();
    let response = SubmitJobResponse {
        version: 2,
        outcome: SubmitOutcome::Unchanged.into(),
        update: 1,
        index: 7,
        ..Default::default()
    };
    let script = Script {
        submit: answers([Ok(response)]),
        update: answers([Ok(update(UpdateState::RolledBack, "instance 1 failed: exit code 8"))]),
        job: answers([Ok(at_version_2())]),
        last_words: answers([words()]),
        ..Default::default()
    };
    let fake = Fake::start(script).await;
    let (mut context, memory) = fake.context(false);
    assert_eq!(dawn(&mut context, &format!("dawn job run {}", path.display())).await.unwrap(), Exit::Failed);
    let said = text(&memory);
    assert!(said.contains("  update 1 to it is under way; see `dawn update status www/prod/web`\n"), "{said}");
    assert!(said.contains("update 1 rolled back"), "{said}");
    assert!(!said.contains("healthy"), "{said}");
}

#[tokio::test]
async fn an_update_that_nobody_waits_for_any_more_names_what_has_failed_so_far() {
    let script = Script {
        update: answers([Ok(update(UpdateState::RollingForward, ""))]),
        job: answers([Ok(at_version_2())]),
        ..Default::default()
    };
    let fake = Fake::start(script).await;
    let (mut context, _) = fake.context(false);
    context.timeout = Some(Duration::from_millis(1));
    assert_eq!(dawn(&mut context, "dawn update wait www/prod/web").await.unwrap(), Exit::Waited);
    assert!(fake.asked().contains(&"job www/prod/web".to_string()), "{:?}", fake.asked());
    let failing = crate::commands::job::cause::failing(&at_version_2());
    let said = crate::commands::job::cause::failed_so_far("www/prod/web", &failing);
    let expected = "  www/prod/web: instance 1 failed so far: process main ended with exit code 8";
    assert_eq!(said.as_deref(), Some(expected));
}

#[tokio::test]
async fn programs_read_the_last_update_that_failed_until_another_version_comes() {
    let versions = |last: u32| {
        let version = |version| JobVersion { version, current: version == 1, ..Default::default() };
        (1..=last).map(version).collect::<Vec<_>>()
    };
    let mut status = at_version_2();
    status.summary.as_mut().unwrap().version = 1;
    for (last, state, told) in [
        (2, UpdateState::RolledBack, serde_json::json!("rolled_back")),
        (2, UpdateState::RolledForward, serde_json::Value::Null),
        (3, UpdateState::RolledBack, serde_json::Value::Null),
    ] {
        let script = Script {
            job: answers([Ok(JobStatus { versions: versions(last), ..status.clone() })]),
            update: answers([Ok(update(state, "instance 1 failed: exit code 8"))]),
            why: answers([Ok(WhyResponse::default())]),
            last_words: answers([words()]),
            ..Default::default()
        };
        let fake = Fake::start(script).await;
        for line in ["dawn job status www/prod/web", "dawn job why www/prod/web"] {
            let (mut context, memory) = fake.context(true);
            assert_eq!(dawn(&mut context, line).await.unwrap(), Exit::Done);
            let value: serde_json::Value = serde_json::from_str(&text(&memory)).unwrap();
            let failed = value.get("failed_update").unwrap_or_else(|| panic!("{line}: {value}"));
            assert_eq!(failed["state"], told, "{line}");
            if !told.is_null() {
                assert_eq!((&failed["number"], &failed["to_version"]), (&1.into(), &2.into()), "{line}");
                assert_eq!(failed["events"][1]["message"], "instance 1 failed: exit code 8", "{line}");
                assert_eq!(failed["failed"], serde_json::json!([[1, 1]]), "{line}");
            }
        }
    }
}
