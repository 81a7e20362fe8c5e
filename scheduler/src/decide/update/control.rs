//! What people say to an update that is under way.

use dawn_proto::JobKey;
use dawn_proto::v1::{UpdateAction, UpdateKind, UpdateState};

use super::footing::back_to;
use super::remain::{keep_one_life, spare_untouched};
use super::table::{Cause, next};
use crate::decide::step::Step;
use crate::model::{Answer, Job, Mutation, Refusal, Update, UpdateChange, UpdateMutation, answers};

pub(crate) fn control(
    step: &mut Step,
    key: &JobKey,
    action: UpdateAction,
    (author, message): (&str, &str),
) -> Result<Answer, Refusal> {
    let job = step.state.job(key).ok_or_else(|| Refusal::NoSuchJob { key: key.clone() })?;
    let update = job.changes.active().ok_or_else(|| Refusal::NotUpdating { key: key.clone() })?;
    let refused = |what: &'static str| Refusal::UpdateState {
        key: key.clone(),
        number: update.number,
        state: update.state,
        what,
    };
    let cause = match action {
        UpdateAction::Pause => Cause::Pause,
        UpdateAction::Resume => Cause::Resume,
        UpdateAction::Abort => Cause::Abort,
        UpdateAction::Rollback if update.kind == UpdateKind::Restart => {
            return Err(refused(
                "rolled back: a restart has no version to go back to; `dawn update abort` gives it up",
            ));
        }
        UpdateAction::Rollback => Cause::Rollback,
        UpdateAction::Pulse if update.policy.pulse_interval_ms.is_none() => return Err(refused("pulsed")),
        UpdateAction::Pulse => {
            push(step, job, UpdateChange::Pulsed);
            match next(update.state, Cause::Pulse) {
                Some(_) => Cause::Pulse,
                None => return Ok(Answer::UpdateTold(answers::UpdateTold { number: update.number })),
            }
        }
        UpdateAction::Promote => {
            if update.is_back() || update.promoted {
                return Err(refused("promoted"));
            }
            push(step, job, UpdateChange::Promoted);
            match next(update.state, Cause::Promote) {
                Some(_) => Cause::Promote,
                None => return Ok(Answer::UpdateTold(answers::UpdateTold { number: update.number })),
            }
        }
        UpdateAction::Unspecified => return Err(refused("told that")),
    };
    let Some(to) = next(update.state, cause) else {
        return Err(refused(match cause {
            Cause::Pause => "paused",
            Cause::Resume => "resumed",
            Cause::Rollback => "rolled back",
            _ => "told that",
        }));
    };
    let back = (action == UpdateAction::Rollback).then(|| back_to(step.state, job, update, step.now.wall));
    let parts = [back.as_deref().unwrap_or_default(), message];
    let message = parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("; ");
    match cause {
        Cause::Abort => keep_one_life(step, job, update),
        Cause::Rollback => spare_untouched(step, job, update),
        _ => {}
    }
    move_to(step, job, to, author, &message);
    Ok(Answer::UpdateTold(answers::UpdateTold { number: update.number }))
}

pub(super) fn push(step: &mut Step, job: &Job, what: UpdateChange) {
    step.mutations.push(Mutation::Update(UpdateMutation { job: job.id, what }));
}

pub(super) fn move_to(step: &mut Step, job: &Job, to: UpdateState, author: &str, message: &str) {
    push(step, job, UpdateChange::Moved { to, author: author.into(), message: message.into() });
}

/// Moves it by itself, if the table has it.
pub(super) fn moved(step: &mut Step, job: &Job, update: &Update, cause: Cause, why: &str) {
    if let Some(to) = next(update.state, cause) {
        move_to(step, job, to, "", why);
    }
}
