//! Instances that are started and not healthy yet, as far as the job's health check explains it. Pure.

use dawn_proto::amounts::duration;
use dawn_proto::v1::{self, JobSpec, TaskState};

/// Why an instance that starts is not healthy yet; none: it does not start, or has no health check.
pub fn describe(spec: Option<&JobSpec>, task: &v1::Task, now_ms: i64) -> Option<String> {
    let health = spec?.task.as_ref()?.health.as_ref().filter(|_| task.state() == TaskState::Starting)?;
    // A task that goes on starting may say again and again why.
    let began_ms = task.history.iter().find(|step| step.state() == TaskState::Starting)?.at_ms;
    let age_ms = u64::try_from(now_ms - began_ms).unwrap_or(0);
    Some(match age_ms < health.initial_delay_ms {
        true => format!("not checked yet: initial_delay is {}", duration(health.initial_delay_ms)),
        false => match task.history.last().map_or("", |last| &last.message) {
            "" => "its health check has not succeeded yet".to_string(),
            said => said.to_string(),
        },
    })
}

/// The same of a whole job whose deadline for progress is over: what its first instance that starts waits for.
pub fn describe_late(status: &v1::JobStatus, progress_deadline_ms: u64, now_ms: i64) -> Option<String> {
    let spec = status.spec.as_ref();
    let said = status.tasks.iter().find_map(|task| describe(spec, task, now_ms))?;
    let delay_ms = spec?.task.as_ref()?.health.as_ref()?.initial_delay_ms;
    match said.starts_with("not checked") && delay_ms >= progress_deadline_ms {
        true => Some(format!(
            "not checked yet: initial_delay {} is not shorter than progress_deadline {}",
            duration(delay_ms),
            duration(progress_deadline_ms)
        )),
        false => Some(said),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_checked_yet_says_how_long_its_first_check_is_put_off() {
        let health = v1::HealthCheck { initial_delay_ms: 60_000, ..Default::default() };
        let task = Some(v1::TaskSpec { health: Some(health), ..Default::default() });
        let spec = JobSpec { task, ..Default::default() };
        let state = TaskState::Starting.into();
        let step = v1::Transition { state, at_ms: 1_000, ..Default::default() };
        let starting = v1::Task { state, history: vec![step], ..Default::default() };
        let said = |now_ms| describe(Some(&spec), &starting, now_ms).unwrap();
        assert_eq!(said(11_000), "not checked yet: initial_delay is 1m");
        assert_eq!(said(61_000), "its health check has not succeeded yet");
        let status = v1::JobStatus { spec: Some(spec.clone()), tasks: vec![starting.clone()], ..Default::default() };
        assert_eq!(
            describe_late(&status, 5_000, 6_000).unwrap(),
            "not checked yet: initial_delay 1m is not shorter than progress_deadline 5s"
        );
        assert_eq!(describe_late(&status, 90_000, 91_000).unwrap(), "its health check has not succeeded yet");
        let said = v1::Transition {
            state: TaskState::Starting.into(),
            at_ms: 95_000,
            message: "health check failed 3 times in a row: `x` failed with exit code 1: no".into(),
            ..Default::default()
        };
        let unwell = v1::Task { history: [starting.history.clone(), vec![said.clone()]].concat(), ..starting.clone() };
        assert_eq!(describe(Some(&spec), &unwell, 96_000).unwrap(), said.message);
        let running = v1::Task { state: TaskState::Running.into(), ..starting.clone() };
        assert_eq!(describe(Some(&spec), &running, 11_000), None);
        assert_eq!(describe(Some(&JobSpec::default()), &starting, 11_000), None, "it has no health check");
    }
}
