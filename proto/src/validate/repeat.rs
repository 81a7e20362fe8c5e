//! Rules for how a job is repeated: restarts, cron, what happens when an agent is out of reach.

use super::{Errors, text};
use crate::amounts;
use crate::v1::{CronPolicy, JobKind, JobSpec, Misfire, Overlap, RestartOn, RestartPolicy};

pub(super) fn check(spec: &mut JobSpec, kind: Option<JobKind>, errors: &mut Errors) {
    restart(spec.restart.get_or_insert_default(), kind, errors);
    match (&mut spec.cron, kind) {
        (Some(cron), Some(JobKind::Cron)) => self::cron(cron, errors),
        (None, Some(JobKind::Cron)) => errors.at("cron", "a cron job needs its schedule"),
        (Some(_), Some(_)) => errors.at("cron", "only for jobs of kind cron"),
        (_, None) | (None, _) => {}
    }
    let beside = spec.cron.as_ref().is_some_and(|cron| cron.overlap() == Overlap::Allow);
    if spec.at_most_one && beside {
        errors.at("at_most_one", "contradiction: `cron.overlap` allows runs beside each other");
    }
    let partition = spec.partition.get_or_insert_default();
    if partition.wait && partition.delay_ms > 0 {
        errors.at("partition.delay_ms", "there is no delay before a replacement when `wait` says that there is none");
    }
    if spec.max_run_time_ms > 0 && kind.is_some_and(JobKind::runs_for_ever) {
        errors.at("max_run_time_ms", "only for batch and cron; a service or daemon job runs for ever");
    }
}

fn restart(restart: &mut RestartPolicy, kind: Option<JobKind>, errors: &mut Errors) {
    let service = kind.is_some_and(JobKind::runs_for_ever);
    if restart.on() == RestartOn::AnyExit && !service && kind.is_some() {
        errors.at("restart.on", "a batch or cron job restarted after success would never end; failure or never");
    }
    if service && restart.max_failures > 0 {
        errors.at("restart.max_failures", "only for batch and cron; a service is never given up");
    } else if restart.on() == RestartOn::Never && restart.max_failures > 1 {
        errors.at("restart.max_failures", "contradiction: `on` says never");
    }
    let (initial, max) = (restart.initial_backoff_ms, restart.max_backoff_ms);
    if max < initial {
        errors.at(
            "restart.max_backoff_ms",
            format!("{} is below the first backoff of {}", amounts::duration(max), amounts::duration(initial)),
        );
    }
}

/// Names a schedule may have instead of five fields.
const NICKNAMES: [&str; 7] = ["@hourly", "@daily", "@midnight", "@weekly", "@monthly", "@yearly", "@annually"];

fn cron(cron: &mut CronPolicy, errors: &mut Errors) {
    let schedule = cron.schedule.trim();
    let fields = schedule.split_whitespace().count();
    if schedule.is_empty() {
        errors.at("cron.schedule", "missing: five fields (minute hour day month weekday) or @hourly and the like");
    } else if errors.refuses("cron.schedule") {
        // Too long to be looked at.
    } else if schedule.starts_with('@') && !NICKNAMES.contains(&schedule) {
        errors.at("cron.schedule", format!("{} is none of {}", text::shown(schedule), NICKNAMES.join(", ")));
    } else if !schedule.starts_with('@') && fields != 5 {
        let message = format!("{fields} fields instead of five: minute hour day month weekday");
        errors.at("cron.schedule", message);
    }
    // As Aurora's files have them: a comma at a list's end.
    let fields = schedule.split_whitespace().map(|field| field.trim_end_matches(','));
    cron.schedule = match schedule {
        "@midnight" => "@daily".to_string(),
        _ => fields.collect::<Vec<_>>().join(" "),
    };
    let zone = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '+' | '-' | '/');
    if cron.time_zone.len() > 64 || !cron.time_zone.chars().all(zone) {
        let message = format!("{} is no IANA name such as Europe/Berlin", text::shown(&cron.time_zone));
        errors.at("cron.time_zone", message);
    }
    if cron.misfire() != Misfire::All && cron.misfire_limit > 0 {
        errors.at("cron.misfire_limit", "only with misfire: all");
    }
}
