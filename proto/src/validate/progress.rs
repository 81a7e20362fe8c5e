//! Whether an instance can be healthy before its job is given up on. A warning: such a job is not wrong, only hopeless.

use crate::amounts::duration;
use crate::fields::update_policy::{PROGRESS_DEADLINE_MS, WATCH_MS};
use crate::v1::{HealthCheck, JobKind, JobSpec};

/// For people: why no instance of the service can be healthy within `update.progress_deadline`.
pub fn cannot_make_it(spec: &JobSpec) -> Option<String> {
    if !matches!(spec.kind(), JobKind::Service | JobKind::Daemon) {
        return None;
    }
    let update = spec.update.clone().unwrap_or_default();
    let deadline_ms = match update.progress_deadline_ms {
        0 => PROGRESS_DEADLINE_MS.default_number().unsigned_abs(),
        deadline_ms => deadline_ms,
    };
    let watch_ms = update.watch_ms.unwrap_or(WATCH_MS.default_number().unsigned_abs());
    let health = spec.task.as_ref().and_then(|task| task.health.as_ref());
    let (delay_ms, checks_ms) = health.map_or((0, 0), |health| (health.initial_delay_ms, further_checks_ms(health)));
    if delay_ms.saturating_add(checks_ms).saturating_add(watch_ms) < deadline_ms {
        return None;
    }
    let mut needs = Vec::new();
    if delay_ms > 0 {
        needs.push(format!("its first health check comes after {} (health.initial_delay)", duration(delay_ms)));
    }
    if checks_ms > 0 {
        needs.push(format!("further checks take {} (health.min_successes)", duration(checks_ms)));
    }
    if watch_ms > 0 {
        needs.push(format!("it must stay healthy for {} (update.watch)", duration(watch_ms)));
    }
    let deadline = duration(deadline_ms);
    Some(format!("no instance can be healthy within {deadline} (update.progress_deadline): {}", needs.join(", and ")))
}

/// What passes between the first success and the last one that is needed.
fn further_checks_ms(health: &HealthCheck) -> u64 {
    u64::from(health.min_successes.saturating_sub(1)).saturating_mul(health.interval_ms)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::v1::{TaskSpec, UpdatePolicy};

    fn spec(delay_ms: u64, min_successes: u32, watch_ms: Option<u64>, progress_deadline_ms: u64) -> JobSpec {
        let interval_ms = 1_000;
        let health = HealthCheck { initial_delay_ms: delay_ms, min_successes, interval_ms, ..Default::default() };
        JobSpec {
            kind: JobKind::Service.into(),
            task: Some(TaskSpec { health: Some(health), ..Default::default() }),
            update: Some(UpdatePolicy { watch_ms, progress_deadline_ms, ..Default::default() }),
            ..Default::default()
        }
    }

    #[test]
    fn what_takes_longer_than_the_deadline_is_named() {
        let said = |spec: &JobSpec| cannot_make_it(spec).unwrap_or_default();
        assert_eq!(
            said(&spec(60_000, 1, Some(0), 5_000)),
            "no instance can be healthy within 5s (update.progress_deadline): its first health check comes after 1m \
             (health.initial_delay)"
        );
        assert_eq!(
            said(&spec(1_000, 3, None, 5_000)),
            "no instance can be healthy within 5s (update.progress_deadline): its first health check comes after 1s \
             (health.initial_delay), and further checks take 2s (health.min_successes), and it must stay healthy for 10s \
             (update.watch)"
        );
        for fits in [spec(60_000, 1, None, 0), spec(1_000, 3, Some(1_000), 5_000)] {
            assert_eq!(cannot_make_it(&fits), None);
        }
        let batch = JobSpec { kind: JobKind::Batch.into(), ..spec(60_000, 1, Some(0), 5_000) };
        assert_eq!(cannot_make_it(&batch), None, "nobody waits for a batch job to become healthy");
    }
}
