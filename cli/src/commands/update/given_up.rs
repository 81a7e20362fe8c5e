//! The last update of a job, where it did not go through and no other version came since.

use dawn_proto::v1::{self, JobKind, UpdateKind, UpdateState};

use super::{get, show};
use crate::args::Context;
use crate::render::{safe, time};

/// The last update of a job; None: it went through or is under way, or another version came since.
pub async fn given_up(context: &mut Context, status: &v1::JobStatus) -> Option<v1::UpdateInfo> {
    let summary = status.summary.as_ref()?;
    let is_updated = matches!(summary.kind(), JobKind::Service | JobKind::Daemon);
    if status.update > 0 || summary.ended || !is_updated {
        return None;
    }
    let last = get(context, summary.key.as_ref()?, 0).await.ok()?;
    let newest = status.versions.iter().map(|version| version.version).max()?;
    Some(last).filter(|last| last.to_version == newest && is_given_up(last.state()))
}

fn is_given_up(state: UpdateState) -> bool {
    use UpdateState::*;
    matches!(state, RolledBack | Aborted | Failed | Error)
}

/// "1 to version 2 rolled back 3s ago: instance 0 failed: exit code 9"; None: it was not given up.
pub fn describe_given_up(update: &v1::UpdateInfo, now_ms: i64) -> Option<String> {
    use UpdateState::*;
    let end = update.events.last().filter(|_| is_given_up(update.state()))?;
    let turned = update.events.iter().rfind(|event| event.state() == RollingBack);
    // Why it went back; where that failed too, why that did.
    let told = [turned, Some(end)].into_iter().flatten().filter_map(|event| {
        let by = if event.author.is_empty() { String::new() } else { format!("by {}", safe(&event.author)) };
        let parts: Vec<String> = [by, safe(&event.message)].into_iter().filter(|part| !part.is_empty()).collect();
        (!parts.is_empty()).then(|| parts.join(": "))
    });
    let mut told: Vec<String> = told.collect();
    told.dedup();
    let what = match update.kind() {
        UpdateKind::Restart => format!("{} (a restart)", update.number),
        _ => format!("{} to version {}", update.number, update.to_version),
    };
    let mut text = format!("{what} {} {}", show::state(update.state()), time::relative(end.at_ms, now_ms));
    if !told.is_empty() {
        text += &format!(": {}", told.join("; then: "));
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_update_that_did_not_go_through_is_told_with_its_version_its_cause_and_when() {
        let event = |state: UpdateState, author: &str, message: &str| v1::UpdateEvent {
            state: state.into(),
            at_ms: 1_000,
            author: author.into(),
            message: message.into(),
        };
        let ended = |state: UpdateState, events| v1::UpdateInfo {
            number: 1,
            kind: UpdateKind::Change.into(),
            to_version: 2,
            state: state.into(),
            events,
            ..Default::default()
        };
        let begun = || event(UpdateState::RollingForward, "root", "");
        let back = event(UpdateState::RollingBack, "", "instance 0 failed: exit code 9");
        let update =
            ended(UpdateState::RolledBack, vec![begun(), back.clone(), event(UpdateState::RolledBack, "", "")]);
        let said = describe_given_up(&update, 4_000).unwrap();
        assert_eq!(said, "1 to version 2 rolled back 3s ago: instance 0 failed: exit code 9");
        let late = event(UpdateState::Error, "", "no instance became healthy for 10s");
        let said = describe_given_up(&ended(UpdateState::Error, vec![begun(), back, late]), 4_000).unwrap();
        let expected = "1 to version 2 rollback failed 3s ago: instance 0 failed: exit code 9; then: no instance became healthy \
                        for 10s";
        assert_eq!(said, expected);
        let given_up = event(UpdateState::Aborted, "ann", "enough");
        let said = describe_given_up(&ended(UpdateState::Aborted, vec![begun(), given_up]), 4_000).unwrap();
        assert_eq!(said, "1 to version 2 aborted 3s ago: by ann: enough");
        assert_eq!(describe_given_up(&ended(UpdateState::RolledForward, vec![begun()]), 4_000), None);
    }
}
