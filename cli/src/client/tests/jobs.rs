//! `dawn job …` against a scheduler that answers as told.

use std::path::PathBuf;

use super::*;

fn file(dir: &tempfile::TempDir, text: &str) -> PathBuf {
    let path = dir.path().join("job.yaml");
    std::fs::write(&path, text).unwrap();
    path
}

const SERVICE: &str = "job: www/prod/web\nkind: service\nuser: www\ninstances: 2\nrun: x\nupdate: { watch: 0s }\n";

fn status(kind: JobKind, index: u64, counts: [u32; 4]) -> JobStatus {
    let [pending, running, finished, failed] = counts;
    let summary = JobSummary {
        key: Some(key("web")),
        kind: kind.into(),
        instances: 2,
        pending,
        running,
        finished,
        failed,
        ..Default::default()
    };
    JobStatus { summary: Some(summary), index, ..Default::default() }
}

fn submitted() -> super::super::fake::Script {
    let response =
        SubmitJobResponse { version: 1, outcome: SubmitOutcome::Created.into(), index: 7, ..Default::default() };
    Script { submit: answers([Ok(response)]), ..Default::default() }
}

#[tokio::test]
async fn run_waits_until_every_instance_of_a_service_runs() {
    let dir = tempfile::tempdir().unwrap();
    let mut last = status(JobKind::Service, 9, [0, 2, 0, 0]);
    let ports = vec![AssignedPort { name: "http".into(), port: 31000 }];
    let running = |instance: u32| Task {
        id: u64::from(instance) + 1,
        instance,
        state: TaskState::Running.into(),
        hostname: "node-1".into(),
        ..Default::default()
    };
    last.tasks = vec![Task { ports, ..running(0) }, running(1)];
    // The first state is older than the submission and says nothing about it; the stream breaks once.
    let old = status(JobKind::Service, 6, [0, 2, 0, 0]);
    let watch = answers([Ok(vec![old, status(JobKind::Service, 8, [1, 1, 0, 0])]), Ok(vec![last])]);
    let fake = Fake::start(Script { watch, ..submitted() }).await;
    let (mut context, memory) = fake.context(false);
    let line = format!("dawn job run {}", file(&dir, SERVICE).display());
    assert_eq!(dawn(&mut context, &line).await.unwrap(), Exit::Done);
    let expected = "\
www/prod/web: created (version 1, service, 2 instances)
www/prod/web  1 of 2 running, 1 pending
www/prod/web  2 of 2 running
www/prod/web/0: node-1 http=31000
  look:  dawn job status www/prod/web
";
    assert_eq!(text(&memory), expected);
    assert_eq!(fake.asked(), ["submit www/prod/web", "watch www/prod/web", "watch www/prod/web"]);
    let spec = fake.script.submitted.lock().unwrap().remove(0);
    assert_eq!(spec.task.unwrap().user, "www", "defaults are filled in before it is sent");
}

#[tokio::test]
async fn run_ends_with_the_verdict_on_a_batch_job() {
    let dir = tempfile::tempdir().unwrap();
    let text_of = "job: www/prod/web\nkind: batch\ninstances: 2\nrun: x\n";
    for (counts, exit) in [([0, 0, 2, 0], Exit::Done), ([0, 0, 1, 1], Exit::Failed)] {
        let watch = answers([Ok(vec![status(JobKind::Batch, 8, counts)])]);
        let fake = Fake::start(Script { watch, ..submitted() }).await;
        let (mut context, memory) = fake.context(true);
        let line = format!("dawn job run {} --json", file(&dir, text_of).display());
        assert_eq!(dawn(&mut context, &line).await.unwrap(), exit);
        let value: serde_json::Value = serde_json::from_str(&text(&memory)).unwrap();
        assert_eq!(value["exit"], exit as i32);
        assert_eq!(value["jobs"][0]["status"]["summary"]["finished"], counts[2]);
    }
}

#[tokio::test]
async fn run_says_why_a_job_stays_pending_and_gives_up_in_time() {
    let dir = tempfile::tempdir().unwrap();
    let state = TaskState::Pending.into();
    let class = PendingClass { state, summary: "fits no node: lacks 512 MiB".into(), ..Default::default() };
    let script = Script {
        watch: answers([Ok(vec![status(JobKind::Service, 8, [2, 0, 0, 0])])]),
        why: answers([Ok(WhyResponse { classes: vec![class], index: 8 })]),
        ..submitted()
    };
    let fake = Fake::start(script).await;
    let (mut context, memory) = fake.context(false);
    context.timeout = Some(Duration::from_secs(7));
    let line = format!("dawn job run {}", file(&dir, SERVICE).display());
    assert_eq!(dawn(&mut context, &line).await.unwrap(), Exit::Waited);
    let said = text(&memory);
    assert_eq!(said.matches("fits no node: lacks 512 MiB").count(), 1, "{said}");
    assert_eq!(fake.asked().iter().filter(|asked| asked.starts_with("kill")).count(), 0);
}

#[tokio::test]
async fn nothing_is_submitted_when_a_file_is_wrong() {
    let dir = tempfile::tempdir().unwrap();
    let good = file(&dir, SERVICE);
    let bad = dir.path().join("bad.yaml");
    std::fs::write(&bad, "job: a/b/c\nkind: batch\nrun: x\ncolor: red\n").unwrap();
    let fake = Fake::start(submitted()).await;
    let (mut context, memory) = fake.context(false);
    let line = format!("dawn job run {} {}", good.display(), bad.display());
    let (exit, message) = refusal(&mut context, &line).await;
    assert_eq!(exit, Exit::Usage);
    assert!(message.contains("bad.yaml:4:1: color: unknown field `color`"), "{message}");
    let line = format!("dawn job run {0} {0}", good.display());
    assert!(refusal(&mut context, &line).await.1.contains("www/prod/web is in"), "the same key in two files");
    assert_eq!((fake.asked(), text(&memory)), (vec![], String::new()));
}

#[tokio::test]
async fn detached_runs_don_t_wait() {
    let dir = tempfile::tempdir().unwrap();
    let fake = Fake::start(submitted()).await;
    let (mut context, _) = fake.context(false);
    let line = format!("dawn job run --detach {}", file(&dir, SERVICE).display());
    assert_eq!(dawn(&mut context, &line).await.unwrap(), Exit::Done);
    assert_eq!(fake.asked(), ["submit www/prod/web"]);
}

#[tokio::test]
async fn kill_waits_until_the_tasks_are_gone() {
    let task = |id: u64| Task { id, state: TaskState::Running.into(), ..Default::default() };
    let page = |tasks: Vec<Task>| Ok(ListTasksResponse { tasks, ..Default::default() });
    // A task that was started after the kill is none of those that must go.
    let script = Script {
        tasks: answers([page(vec![task(1), task(2)]), page(vec![task(2)]), page(vec![task(3)])]),
        kill: answers([Ok(KillJobResponse { tasks: 2, index: 9 })]),
        job: answers([Ok(status(JobKind::Service, 9, [0, 2, 0, 0]))]),
        ..Default::default()
    };
    let fake = Fake::start(script).await;
    let (mut context, memory) = fake.context(false);
    assert_eq!(dawn(&mut context, "dawn job kill www/prod/web/0-1,7 --yes").await.unwrap(), Exit::Done);
    let expected = "www/prod/web: stopping 1 task\nwww/prod/web: killed 2 tasks\n\
        www/prod/web: killed instances stay stopped until the job is submitted or scaled: `dawn job run FILE` starts them, also \
        with the same file\n";
    assert_eq!(text(&memory), expected);
    let tasks = "tasks www/prod/web all=false";
    assert_eq!(fake.asked(), [tasks, "kill www/prod/web 0-1 7-7", tasks, tasks, "job www/prod/web"]);
}

#[tokio::test]
async fn a_job_that_has_ended_is_as_good_as_killed() {
    let mut ended = status(JobKind::Batch, 8, [0, 0, 2, 0]);
    ended.summary.as_mut().unwrap().ended = true;
    let refused = || Err(Status::failed_precondition("www/prod/web has ended; run it again with `dawn job run`"));
    let living = |tasks: Vec<Task>| Ok(ListTasksResponse { tasks, ..Default::default() });
    // It had ended before, or ends while it is killed.
    for (tasks, asks) in [(vec![], 0), (vec![Task { id: 1, ..Default::default() }], 1)] {
        let script = Script {
            tasks: answers([living(tasks)]),
            job: answers([Ok(ended.clone())]),
            kill: answers([refused()]),
            ..Default::default()
        };
        let fake = Fake::start(script).await;
        let (mut context, memory) = fake.context(false);
        assert_eq!(dawn(&mut context, "dawn job kill www/prod/web --yes").await.unwrap(), Exit::Done);
        assert_eq!(text(&memory), "www/prod/web: has ended already; nothing was to be killed\n");
        assert_eq!(fake.asked().iter().filter(|asked| asked.starts_with("kill")).count(), asks);
    }
}

#[tokio::test]
async fn kill_gives_up_waiting_when_told_to() {
    let task = Task { id: 1, state: TaskState::Killing.into(), ..Default::default() };
    let script = Script {
        tasks: answers([Ok(ListTasksResponse { tasks: vec![task], ..Default::default() })]),
        kill: answers([Ok(KillJobResponse { tasks: 1, index: 9 })]),
        ..Default::default()
    };
    let fake = Fake::start(script).await;
    let (mut context, _) = fake.context(false);
    context.timeout = Some(Duration::from_millis(300));
    assert_eq!(dawn(&mut context, "dawn job kill www/prod/web --yes").await.unwrap(), Exit::Waited);
}

#[tokio::test]
async fn history_shows_as_many_tasks_as_asked_for_and_only_failed_ones() {
    let ended = |id: u64, state: TaskState| {
        let step = Transition { state: state.into(), ..Default::default() };
        Task { history: vec![step], ..placed(id, 0, state) }
    };
    let tasks = [(1, TaskState::Failed), (2, TaskState::Finished), (3, TaskState::Lost), (4, TaskState::Running)];
    let script = Script {
        job: answers([Ok(JobStatus::default())]),
        tasks: answers([page(tasks.map(|(id, state)| ended(id, state)).to_vec())]),
        ..Default::default()
    };
    let fake = Fake::start(script).await;
    for (flags, shown, left_out) in [
        ("", &["t1", "t2", "t3", "t4"][..], false),
        (" --limit 1", &["t4"], true),
        (" --failed", &["t1", "t3"], false),
        (" --failed --limit 1", &["t3"], true),
    ] {
        let (mut context, memory) = fake.context(false);
        let line = format!("dawn job history www/prod/web{flags}");
        assert_eq!(dawn(&mut context, &line).await.unwrap(), Exit::Done);
        let text = text(&memory);
        let all = ["t1", "t2", "t3", "t4"];
        let found: Vec<&str> = all.into_iter().filter(|id| text.contains(&format!("\n{id} "))).collect();
        assert_eq!((found.as_slice(), text.contains("older tasks left out")), (shown, left_out), "{flags}: {text}");
    }
}

#[tokio::test]
async fn inspect_prints_a_submitted_job_as_a_file() {
    let spec = crate::spec::parse("x", SERVICE, 0).unwrap().remove(0);
    let status = JobStatus { spec: Some(spec.clone()), ..Default::default() };
    let fake = Fake::start(Script { job: answers([Ok(status)]), ..Default::default() }).await;
    for format in ["yaml", "json"] {
        let (mut context, memory) = fake.context(false);
        let line = format!("dawn job inspect www/prod/web --as {format}");
        assert_eq!(dawn(&mut context, &line).await.unwrap(), Exit::Done);
        assert_eq!(crate::spec::parse("again", &text(&memory), 0).unwrap(), std::slice::from_ref(&spec));
    }
}

#[tokio::test]
async fn run_fails_and_says_why_when_somebody_replaces_or_kills_what_it_waits_for() {
    let dir = tempfile::tempdir().unwrap();
    let version = |version, author: &str| JobVersion { version, author: author.into(), ..Default::default() };
    let of_version = |number: u32| {
        let mut status = status(JobKind::Service, 8 + u64::from(number), [1, 1, 0, 0]);
        status.summary.as_mut().unwrap().version = number;
        status.versions = [version(1, "root"), version(2, "ann")].into_iter().take(number as usize).collect();
        status
    };
    let replaced = of_version(2);
    let mut killed = of_version(1);
    let asked =
        Transition { reason: Reason::UserRequest.into(), message: "killed by ann".into(), ..Default::default() };
    let one = Task { id: 4, instance: 1, state: TaskState::Killed.into(), history: vec![asked], ..Default::default() };
    (killed.tasks, killed.index) = (vec![one], 9);
    let mut ended = of_version(1);
    (ended.ended_by, ended.index) = ("ann".into(), 9);
    (ended.summary.as_mut().unwrap().ended, ended.summary.as_mut().unwrap().result) = (true, "killed".into());
    for (last, words) in [
        (replaced, "www/prod/web: version 1 was replaced by version 2 of ann before it was known to be good\n"),
        (killed, "www/prod/web: instance 1 was killed by ann\n"),
        (ended, "www/prod/web: killed by ann\n"),
    ] {
        let watch = answers([Ok(vec![of_version(1), last])]);
        let fake = Fake::start(Script { watch, ..submitted() }).await;
        let (mut context, memory) = fake.context(false);
        let line = format!("dawn job run {}", file(&dir, SERVICE).display());
        assert_eq!(dawn(&mut context, &line).await.unwrap(), Exit::Failed);
        assert!(text(&memory).contains(words), "{}", text(&memory));
    }
}
