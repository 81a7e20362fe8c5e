//! What time brings to the updates under way: instances are judged, the next ones advanced, the end declared.

use dawn_proto::amounts;
use dawn_proto::v1::{UpdateKind, UpdateState};

use super::control::{moved, push};
use super::footing::why_not_back;
use super::judge::{self, Verdict};
use super::plan;
use super::remain::{keep_one_life, spare_untouched};
use super::table::Cause;
use super::waits::{held_by_sla, words_of_held};
use crate::decide::step::Step;
use crate::model::{Instances, Job, State, Update, UpdateChange, failure_words};

pub(crate) fn tick(step: &mut Step) {
    for id in &step.state.indexes().updating {
        if step.is_full() {
            return;
        }
        let Some(job) = step.state.jobs.get(id) else { continue };
        // A job that is still being made is `settle`'s until it is.
        if step.is_ended(job) || step.state.indexes().unsettled.contains(id) {
            continue;
        }
        if let Some(update) = job.changes.active() {
            go_on(step, job, update);
        }
    }
}

fn go_on(step: &mut Step, job: &Job, update: &Update) {
    match update.state {
        UpdateState::AwaitingPromotion if update.promoted => {
            return moved(step, job, update, Cause::Promote, "promoted");
        }
        // The way back waits for nobody; a scheduler of a version before had it wait.
        UpdateState::RollBackAwaitingPulse => {
            return moved(step, job, update, Cause::Pulse, "the way back needs no pulse");
        }
        UpdateState::RollingForward | UpdateState::RollingBack => {}
        _ => return,
    }
    let silent_ms = step.now.wall.since_ms(update.pulsed);
    if let Some(interval_ms) = update.policy.pulse_interval_ms
        && silent_ms > interval_ms
        && !update.is_back()
    {
        let [silent, interval] = [silent_ms, interval_ms].map(dawn_proto::amounts::duration);
        let why = format!("no pulse for {silent}; it must come every {interval}");
        return moved(step, job, update, Cause::Silence, &why);
    }
    let (mut passed, mut gave_up, mut healthy, mut waiting) = (Vec::new(), Vec::new(), 0, Vec::new());
    for instance in update.in_progress() {
        match judge::look(step, job, update, instance) {
            Verdict::Passed => passed.push(instance),
            Verdict::GaveUp => gave_up.push(instance),
            verdict => {
                healthy += usize::from(verdict == Verdict::Healthy);
                waiting.push(instance);
            }
        }
    }
    note(step, job, UpdateChange::Passed, &passed);
    note(step, job, UpdateChange::GaveUp, &gave_up);
    let failed = update.gave_up.len() + gave_up.len();
    if failed > update.policy.max_failed_instances as usize {
        return fail(step, job, update, &why_failed(step, job, update, &gave_up, failed));
    }
    let given_up: Vec<u32> = update.gave_up.iter().chain(gave_up.iter().copied()).collect();
    let twice = given_up.iter().filter(|at| judge::lives_twice(step, job, **at)).count();
    given_up.iter().for_each(|instance| judge::let_go(step, job, update, *instance));
    let judged = update.passed.len() + passed.len() + failed;
    if judged == update.instances.len() && twice > 0 {
        return;
    }
    if judged == update.instances.len() {
        return complete(step, job, update);
    }
    let stuck_ms = step.now.wall.since_ms(update.progress);
    if passed.is_empty() && stuck_ms > update.policy.progress_deadline_ms {
        let stuck = format!("no instance became healthy for {}", amounts::duration(stuck_ms / 1000 * 1000));
        let held = held_by_sla(step.state, job, step.now.wall).map(|(instance, why)| words_of_held(instance, &why));
        let failed = || waiting.iter().find_map(|instance| cause_of(step.state, job, *instance));
        let cause = held.or_else(failed);
        return fail(step, job, update, &[stuck].into_iter().chain(cause).collect::<Vec<_>>().join("; "));
    }
    let Some(switch) = may_switch(step, job, update, &waiting, healthy, judged) else { return };
    for instance in &waiting {
        if step.is_full() {
            return;
        }
        judge::push_on(step, job, update, *instance, switch);
    }
    plan::advance(step, job, update, waiting.len() + twice);
}

/// Whether what is old may go; None: a person must speak first.
fn may_switch(
    step: &mut Step,
    job: &Job,
    update: &Update,
    waiting: &[u32],
    healthy: usize,
    judged: usize,
) -> Option<bool> {
    if plan::is_back_or_rolls(update) {
        return Some(true);
    }
    // Instances that only go away wait for the switch as well.
    let leaving = waiting.iter().filter(|at| judge::goal(step, job, update, **at).is_none()).count();
    let all = healthy + leaving + judged == update.instances.len();
    if all && update.policy.manual_promotion && !update.promoted {
        let why = format!("the new set is healthy; waits for `dawn update promote {}`", job.key);
        moved(step, job, update, Cause::Healthy, &why);
        return None;
    }
    Some(all)
}

fn note(step: &mut Step, job: &Job, change: impl Fn(Instances) -> UpdateChange, instances: &[u32]) {
    if !instances.is_empty() {
        push(step, job, change(instances.iter().copied().collect()));
    }
}

fn why_failed(step: &Step, job: &Job, update: &Update, gave_up: &[u32], failed: usize) -> String {
    let most = format!("max_failed_instances is {}", update.policy.max_failed_instances);
    let all: Vec<u32> = update.gave_up.iter().chain(gave_up.iter().copied()).collect();
    let which: Vec<String> = all.iter().take(5).map(u32::to_string).collect();
    let more = if all.len() > 5 { ", …" } else { "" };
    // The latest is most like what is to come.
    let cause =
        gave_up.iter().chain(&all).find_map(|instance| Some((*instance, how_failed(step.state, job, *instance)?)));
    let cause = cause.map(|(instance, how)| format!("instance {instance} failed: {how}"));
    match (failed, cause) {
        (1, Some(cause)) => format!("{cause}; {most}"),
        (1, None) => format!("instance {} failed; {most}", which.join(", ")),
        (_, cause) => {
            let count = format!("{failed} instances failed ({}{more}); {most}", which.join(", "));
            [Some(count), cause].into_iter().flatten().collect::<Vec<_>>().join("; ")
        }
    }
}

/// "instance 0: health check: the body lacks ok", of an instance that failed since the job was last submitted.
pub fn cause_of(state: &State, job: &Job, instance: u32) -> Option<String> {
    how_failed(state, job, instance).map(|how| format!("instance {instance}: {how}"))
}

fn how_failed(state: &State, job: &Job, instance: u32) -> Option<String> {
    let newest = state.tasks_of(job.id).newest(Default::default(), instance).and_then(|id| state.tasks.get(&id))?;
    let (_, end) = state.last_failure(newest)?;
    Some(failure_words(end))
}

fn fail(step: &mut Step, job: &Job, update: &Update, why: &str) {
    let for_good = update.policy.no_rollback || update.kind == UpdateKind::Restart;
    let own = step.state.specs.get(&update.to).is_some_and(|spec| spec.job.update.no_rollback);
    // Where the job's policy would have it go back, it is said why it does not.
    let stays = (for_good && !own && update.kind == UpdateKind::Change)
        .then(|| why_not_back(step.state, job, update.from_version, step.now.wall));
    let why = [Some(why.to_string()), stays.flatten()].into_iter().flatten().collect::<Vec<_>>().join("; ");
    match for_good || update.is_back() {
        true => keep_one_life(step, job, update),
        false => spare_untouched(step, job, update),
    }
    moved(step, job, update, if for_good { Cause::FailForGood } else { Cause::Fail }, &why);
}

fn complete(step: &mut Step, job: &Job, update: &Update) {
    let why = match update.gave_up.len() {
        0 => String::new(),
        1 => "1 instance failed, which max_failed_instances allows".to_string(),
        failed => format!("{failed} instances failed, which max_failed_instances allows"),
    };
    moved(step, job, update, Cause::Complete, &why);
}
