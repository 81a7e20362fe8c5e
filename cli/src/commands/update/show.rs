//! An update as people read it.

use dawn_proto::v1::{self, UpdateKind, UpdateState};

use crate::args::Context;
use crate::client::{Client, Repeat};
use crate::commands::select::Selection;
use crate::exit::{Exit, Failure};
use crate::render::{self, Table, json, time};

/// "rolling forward"
pub fn state(state: UpdateState) -> String {
    if state == UpdateState::Error {
        return "rollback failed".to_string();
    }
    dawn_proto::words::of(state.plain_name())
}

pub fn ranges(ranges: &[v1::InstanceRange]) -> String {
    let one = |range: &v1::InstanceRange| match range.first == range.last {
        true => range.first.to_string(),
        false => format!("{}-{}", range.first, range.last),
    };
    ranges.iter().map(one).collect::<Vec<_>>().join(",")
}

/// "instance 0", so that a number is not taken for a count; empty for none.
fn named(ranges: &[v1::InstanceRange]) -> String {
    match count(ranges) {
        0 => String::new(),
        1 => format!("instance {}", self::ranges(ranges)),
        _ => format!("instances {}", self::ranges(ranges)),
    }
}

pub fn count(ranges: &[v1::InstanceRange]) -> u64 {
    ranges.iter().map(|range| u64::from(range.last.saturating_sub(range.first)) + 1).sum()
}

/// One line: "www/prod/web: update 3 rolling forward, 2 of 5 instances".
pub fn short(update: &v1::UpdateInfo) -> String {
    format!("{}: update {}", render::key(update.key.as_ref()), stands(update))
}

/// "3 rolling forward, 2 of 5 instances"
pub fn stands(update: &v1::UpdateInfo) -> String {
    let number = update.number;
    let (done, all) = (count(&update.done), count(&update.instances));
    let failed = match count(&update.failed) {
        0 => String::new(),
        failed => format!(", {failed} failed"),
    };
    let state_of = state(update.state());
    if update.state() == UpdateState::RolledBack {
        return match all {
            0 => format!("{number} {state_of}; no instance had been changed"),
            1 => format!("{number} {state_of}; 1 instance was changed back{failed}"),
            all => format!("{number} {state_of}; {all} instances were changed back{failed}"),
        };
    }
    match all {
        0 => format!("{number} {state_of}"),
        all => format!("{number} {state_of}, {done} of {}{failed}", render::count(all, "instance")),
    }
}

pub fn text(update: &v1::UpdateInfo) -> String {
    let now_ms = time::now_ms();
    let mut table = Table::bare(2);
    let mut row = |name: &str, value: String| {
        if !value.is_empty() {
            table.row(vec![name.to_string(), value]);
        }
    };
    row("update", format!("{} of {}", update.number, render::key(update.key.as_ref())));
    row("state", state(update.state()));
    row(
        "versions",
        match update.kind() {
            UpdateKind::Restart => format!("restart of version {}", update.to_version),
            _ => format!("{} to {}", update.from_version, update.to_version),
        },
    );
    row("began", format!("{} by {}", time::relative(update.began_ms, now_ms), render::safe(&update.author)));
    row("message", render::safe(&update.message));
    row("instances", named(&update.instances));
    row("done", named(&update.done));
    row("changing", named(&update.active));
    row("failed", named(&update.failed));
    row("waits for", update.waits.clone());
    let mut events = Table::new(&["WHEN", "STATE", "BY", "WHY"]);
    for event in &update.events {
        let (at, author) = (time::local(event.at_ms), render::safe(&event.author));
        events.row(vec![at, state(event.state()), author, render::safe(&event.message)]);
    }
    format!("{}\n{}", table.text(), events.text())
}

pub async fn list(job: Option<Selection>, context: &mut Context) -> Result<Exit, Failure> {
    let key = job.map(|job| (&job.key).into());
    let request = v1::ListUpdatesRequest { key, ..Default::default() };
    let call = async |client: &mut Client, request| client.updates().list_updates(request).await;
    let answer = context.scheduler.call(request, Repeat::Harmless, call).await?;
    if context.out.json {
        let updates: Vec<_> = answer.updates.iter().map(json::update).collect();
        context.out.value(&json::object(serde_json::json!({ "updates": updates, "index": answer.index })));
    } else if answer.updates.is_empty() {
        context.out.line("no updates");
    } else {
        context.out.table(&table(&answer.updates, time::now_ms()));
    }
    Ok(Exit::Done)
}

fn table(updates: &[v1::UpdateInfo], now_ms: i64) -> Table {
    let mut table =
        Table::new(&["JOB", ">UPDATE", ">FROM", ">TO", "STATE", ">DONE", ">FAILED", "BEGAN", "BY", "MESSAGE"]);
    for update in updates {
        table.row(vec![
            render::key(update.key.as_ref()),
            update.number.to_string(),
            update.from_version.to_string(),
            update.to_version.to_string(),
            state(update.state()),
            done(update),
            failed(update),
            time::relative(update.began_ms, now_ms),
            render::safe(&update.author),
            render::safe(&update.message),
        ]);
    }
    table
}

/// "2/5"; of one that goes back, of those that it had changed: "1/1 back".
fn done(update: &v1::UpdateInfo) -> String {
    let back = if is_back(update.state()) { " back" } else { "" };
    format!("{}/{}{back}", count(&update.done), count(&update.instances))
}

/// Those that failed on the way forward are not counted any more once it goes back.
fn failed(update: &v1::UpdateInfo) -> String {
    match (count(&update.failed), is_back(update.state())) {
        (0, true) => "-".to_string(),
        (failed, _) => failed.to_string(),
    }
}

fn is_back(state: UpdateState) -> bool {
    use UpdateState::*;
    matches!(state, RollingBack | RollBackPaused | RollBackAwaitingPulse | RolledBack | Error)
}

/// What an update does: one line for each kind of change.
pub fn changes(diff: &v1::UpdateDiff) -> Vec<String> {
    let kinds = [
        ("changed", &diff.changed),
        ("added", &diff.added),
        ("removed", &diff.removed),
        ("unchanged", &diff.unchanged),
    ];
    let kinds = kinds.into_iter().filter(|(_, of)| !of.is_empty());
    kinds.map(|(name, of)| format!("{name}: {} ({})", render::count(count(of), "instance"), ranges(of))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_update_is_a_line_and_a_page() {
        let range = |first, last| v1::InstanceRange { first, last };
        let update = v1::UpdateInfo {
            key: Some(v1::JobKey { role: "www".into(), env: "prod".into(), name: "web".into() }),
            number: 3,
            state: UpdateState::Failed.into(),
            kind: UpdateKind::Change.into(),
            from_version: 1,
            to_version: 2,
            instances: vec![range(0, 4)],
            done: vec![range(0, 1)],
            failed: vec![range(2, 2)],
            ..Default::default()
        };
        assert_eq!(short(&update), "www/prod/web: update 3 failed, 2 of 5 instances, 1 failed");
        let page = text(&update);
        assert!(
            page.contains("versions   1 to 2\n") && page.contains("done       instances 0-1\nfailed     instance 2\n"),
            "{page}"
        );
        let back = |instances, state: UpdateState| {
            short(&v1::UpdateInfo { state: state.into(), instances, done: vec![], failed: vec![], ..update.clone() })
        };
        let said = back(vec![range(0, 0)], UpdateState::RolledBack);
        assert_eq!(said, "www/prod/web: update 3 rolled back; 1 instance was changed back");
        let said = back(vec![], UpdateState::RolledBack);
        assert_eq!(said, "www/prod/web: update 3 rolled back; no instance had been changed");
        assert_eq!(back(vec![], UpdateState::RollingBack), "www/prod/web: update 3 rolling back");
        let said = back(vec![range(0, 0)], UpdateState::Error);
        assert_eq!(said, "www/prod/web: update 3 rollback failed, 0 of 1 instance");
        let diff = v1::UpdateDiff { changed: vec![range(0, 0), range(2, 3)], ..Default::default() };
        assert_eq!(changes(&diff), ["changed: 3 instances (0,2-3)"]);
    }
}
