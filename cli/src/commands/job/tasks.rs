//! Tasks as several commands ask for and show them.

use dawn_proto::{TaskId, TaskState, v1};

use super::meanwhile::{self, killed_by};
use super::unchecked;
use crate::args::Context;
use crate::client::Repeat;
use crate::commands::select::Selection;
use crate::exit::Failure;
use crate::render::{self, Table, time};

/// The tasks of a selection, oldest first; `all` also those that have ended.
pub async fn list(context: &mut Context, selection: &Selection, all: bool) -> Result<Vec<v1::Task>, Failure> {
    let mut tasks = Vec::new();
    let mut request = v1::ListTasksRequest {
        job: Some((&selection.key).into()),
        instances: selection.instances.clone(),
        all,
        ..Default::default()
    };
    loop {
        let call = async |client: &mut crate::client::Client, request| client.tasks().list_tasks(request).await;
        let page = context.scheduler.call(request.clone(), Repeat::Harmless, call).await?;
        tasks.extend(page.tasks);
        if page.next_page_token.is_empty() {
            tasks.sort_by_key(|task| task.id);
            return Ok(tasks);
        }
        request.page_token = page.next_page_token;
    }
}

/// A task by its id, if it is kept.
pub async fn by_id(context: &mut Context, id: TaskId) -> Result<Option<v1::Task>, Failure> {
    // The page after the id before it.
    let page_token = if id.0 > 0 { TaskId(id.0 - 1).to_string() } else { String::new() };
    let request = v1::ListTasksRequest { all: true, page_token, page_size: 1, ..Default::default() };
    let call = async |client: &mut crate::client::Client, request| client.tasks().list_tasks(request).await;
    let page = context.scheduler.call(request, Repeat::Harmless, call).await?;
    Ok(page.tasks.into_iter().find(|task| task.id == id.0))
}

/// The newest task of each instance (of each run, for cron), and every other one that lives.
pub fn newest(tasks: &[v1::Task]) -> Vec<&v1::Task> {
    let key = |task: &v1::Task| (task.run_at_ms, task.instance);
    let mut newest: std::collections::BTreeMap<(i64, u32), u64> = std::collections::BTreeMap::new();
    for task in tasks {
        let id = newest.entry(key(task)).or_default();
        *id = task.id.max(*id);
    }
    let mut shown: Vec<&v1::Task> =
        tasks.iter().filter(|task| newest.get(&key(task)) == Some(&task.id) || !task.state().is_terminal()).collect();
    shown.sort_by_key(|task| (task.run_at_ms, task.instance, task.id));
    shown
}

fn since_ms(task: &v1::Task) -> i64 {
    task.history.last().map_or(0, |last| last.at_ms)
}

/// When a task started, and when it ended or last changed; zeros when it never ran.
fn life(task: &v1::Task) -> (i64, i64) {
    let ran = |step: &&v1::Transition| matches!(step.state(), TaskState::Starting | TaskState::Running);
    task.history.iter().find(ran).map_or((0, 0), |started| (started.at_ms, since_ms(task)))
}

/// When the first of the tasks started and the last of them ended.
pub fn ran(tasks: &[v1::Task]) -> (i64, i64) {
    let lives: Vec<(i64, i64)> = tasks.iter().map(life).filter(|(started, _)| *started > 0).collect();
    let started = lives.iter().map(|(started, _)| *started).min().unwrap_or(0);
    (started, lives.iter().map(|(_, ended)| *ended).max().unwrap_or(0))
}

/// What is known of a job beside its tasks: what pending ones wait for, its spec, and by whom it was ended.
pub struct Beside<'a> {
    pub why: &'a v1::WhyResponse,
    pub spec: Option<&'a v1::JobSpec>,
    pub ended_by: &'a str,
}

/// "tries again in 12s", or at once.
pub fn tries_again(ready_at_ms: i64, now_ms: i64) -> String {
    match ready_at_ms - now_ms {
        1_000.. => format!("tries again {}", time::relative(ready_at_ms, now_ms)),
        _ => "tries again now".to_string(),
    }
}

/// What people want to know beside the state: why, how often, until when.
fn detail(task: &v1::Task, beside: &Beside, now_ms: i64) -> String {
    let last = task.history.last().cloned().unwrap_or_default();
    let mut parts = Vec::new();
    let (started, ended) = life(task);
    if task.state().is_terminal() && started > 0 {
        parts.push(format!("ran for {}", time::span(ended - started)));
    }
    if task.state() == TaskState::Throttled {
        parts.push(tries_again(task.ready_at_ms, now_ms));
    }
    if task.failures > 0 {
        let after = if task.state() == TaskState::Running { "after " } else { "" };
        parts.push(format!("{after}{} in a row", render::count(task.failures, "failure")));
    }
    match (last.message.as_str(), render::reason(last.reason())) {
        ("", reason) if reason.is_empty() || reason == "backoff" => {}
        ("", _) if last.reason() == v1::Reason::UserRequest => {
            parts.push(killed_by(meanwhile::asked(task).unwrap_or(&last), beside.ended_by));
        }
        ("", reason) => parts.push(reason),
        (message, _) => parts.push(message.to_string()),
    }
    if task.state() == TaskState::Pending {
        let class = beside
            .why
            .classes
            .iter()
            .find(|class| class.state() == TaskState::Pending && class.instances.contains(&task.instance));
        parts.extend(class.map(|class| class.summary.clone()).filter(|summary| !parts.contains(summary)));
    }
    parts.extend(unchecked::describe(beside.spec, task, now_ms).filter(|said| !parts.contains(said)));
    parts.join("; ")
}

/// How often the instance was started anew.
fn restarts(task: &v1::Task) -> String {
    match task.restarts {
        0 => String::new(),
        restarts => restarts.to_string(),
    }
}

/// A row for each task; `zone` is the time zone (by its IANA name) of a cron job's ticks.
pub fn table(tasks: &[&v1::Task], beside: &Beside, zone: &str, now_ms: i64) -> Table {
    let cron = tasks.iter().any(|task| task.run_at_ms > 0);
    let names = [">INSTANCE", ">VERSION", "TASK", "STATE", ">SINCE", ">RESTARTS", "NODE", "PORTS", "DETAIL"];
    let mut table = Table::new(&[&[if cron { "RUN" } else { "" }], &names[..]].concat());
    for task in tasks {
        let node = if task.hostname.is_empty() { &task.agent_id } else { &task.hostname };
        table.row(vec![
            if task.run_at_ms > 0 { time::in_named_zone(task.run_at_ms, zone) } else { String::new() },
            task.instance.to_string(),
            if task.version > 0 { task.version.to_string() } else { String::new() },
            TaskId(task.id).to_string(),
            render::state(task.state()),
            if since_ms(task) > 0 { time::span(now_ms - since_ms(task)) } else { String::new() },
            restarts(task),
            node.clone(),
            render::ports(&task.ports),
            detail(task, beside, now_ms),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(id: u64, instance: u32, state: TaskState) -> v1::Task {
        v1::Task { id, instance, state: state.into(), ..Default::default() }
    }

    #[test]
    fn the_newest_of_each_instance_and_all_living_are_shown() {
        let tasks = [
            task(1, 0, TaskState::Failed),
            task(2, 1, TaskState::Killing),
            task(3, 0, TaskState::Running),
            task(4, 1, TaskState::Pending),
        ];
        let shown: Vec<u64> = newest(&tasks).iter().map(|task| task.id).collect();
        assert_eq!(shown, [3, 2, 4]);
    }

    #[test]
    fn the_table_says_where_each_instance_stands() {
        let now_ms = 1_000_000;
        let mut running = task(3, 0, TaskState::Running);
        running.hostname = "node-1".into();
        running.ports = vec![v1::AssignedPort { name: "http".into(), port: 31000 }];
        running.history =
            vec![v1::Transition { state: TaskState::Running.into(), at_ms: 800_000, ..Default::default() }];
        let mut throttled = task(4, 1, TaskState::Throttled);
        (throttled.ready_at_ms, throttled.failures) = (now_ms + 8_000, 4);
        let mut pending = task(5, 2, TaskState::Pending);
        pending.history =
            vec![v1::Transition { message: "never \u{1b}fits".into(), at_ms: 999_000, ..Default::default() }];
        (pending.version, pending.attempt, pending.restarts, running.version) = (2, 5, 2, 1);
        let class = v1::PendingClass {
            instances: vec![2],
            state: TaskState::Pending.into(),
            summary: "fits no node".into(),
            ..Default::default()
        };
        let why = v1::WhyResponse { classes: vec![class], index: 1 };
        let expected = "\
INSTANCE  VERSION  TASK  STATE      SINCE  RESTARTS  NODE    PORTS       DETAIL
       0        1  t3    running    3m20s            node-1  http=31000
       1           t4    throttled                                       tries again in 8s; 4 failures in a row
       2        2  t5    pending       1s         2                      never \\u{1b}fits; fits no node
";
        let beside = Beside { why: &why, spec: None, ended_by: "" };
        assert_eq!(table(&[&running, &throttled, &pending], &beside, "", now_ms).text(), expected);
    }

    #[test]
    fn what_was_killed_names_who_killed_it_and_what_waits_no_longer_is_tried_now() {
        let end = v1::Transition { reason: v1::Reason::UserRequest.into(), ..Default::default() };
        let killed = v1::Task { history: vec![end], ..task(1, 0, TaskState::Killed) };
        let why = v1::WhyResponse::default();
        let said = |ended_by: &str| detail(&killed, &Beside { why: &why, spec: None, ended_by }, 1_000);
        assert_eq!((said("root").as_str(), said("").as_str()), ("killed by root", "killed by a user"));
        assert_eq!(
            (tries_again(1_300, 1_000).as_str(), tries_again(4_000, 1_000).as_str()),
            ("tries again now", "tries again in 3s")
        );
    }

    #[test]
    fn a_run_of_a_cron_job_is_named_by_its_tick_in_the_time_zone_of_the_job() {
        let tick_ms = 1_763_812_800_000;
        let run = v1::Task { run_at_ms: tick_ms, ..task(1, 0, TaskState::Finished) };
        let text = table(
            &[&run],
            &Beside { why: &v1::WhyResponse::default(), spec: None, ended_by: "" },
            "Asia/Kolkata",
            tick_ms,
        )
        .text();
        assert!(text.contains("2025-11-22 17:30:00 +05:30"), "{text}");
    }
}
