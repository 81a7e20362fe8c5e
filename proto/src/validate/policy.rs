//! Rules for update and SLA policies. Absent ones stay absent: their defaults are the scheduler's.

use super::bounds::{At, Bounded};
use super::{Errors, FieldError, text};
use crate::amounts::duration;
use crate::v1::{JobKind, JobSpec, SlaPolicy, UpdatePolicy, UpdateStrategy, sla_policy::Policy};

pub(super) fn check(spec: &JobSpec, kind: Option<JobKind>, errors: &mut Errors) {
    let is_service = kind.is_none_or(|kind| kind == JobKind::Service);
    if let Some(policy) = &spec.update {
        if kind.is_some_and(|kind| !kind.runs_for_ever()) {
            errors.at("update", "only services and daemon jobs are updated instance by instance");
        }
        update("update", policy, errors);
        let beside = policy.surge > 0 || policy.strategy() == UpdateStrategy::BlueGreen;
        if spec.at_most_one && beside {
            let field = if policy.surge > 0 { "update.surge" } else { "update.strategy" };
            errors.at(field, "contradiction: `at_most_one` lets no instance live twice");
        }
    }
    if let Some(policy) = &spec.sla {
        if !is_service {
            errors.at("sla", "only services have an SLA policy");
        }
        sla(policy, spec.instances, errors);
    }
}

/// Checks an update policy that comes without a job.
///
/// # Errors
/// Everything that is wrong, by field.
pub fn update_policy(policy: &UpdatePolicy) -> Result<(), Vec<FieldError>> {
    let mut errors = Errors(Vec::new());
    policy.clone().bound(At::root("policy"), &mut errors);
    update("policy", policy, &mut errors);
    if errors.0.is_empty() { Ok(()) } else { Err(errors.0) }
}

fn update(path: &str, policy: &UpdatePolicy, errors: &mut Errors) {
    let Ok(strategy) = UpdateStrategy::try_from(policy.strategy) else { return };
    if policy.group_sizes.len() > 1 && strategy != UpdateStrategy::Batches {
        errors.at(format!("{path}.group_sizes"), "several sizes are for the strategy batch");
    }
    if policy.canaries > 0 && strategy != UpdateStrategy::Canary {
        errors.at(format!("{path}.canaries"), "only for the strategy canary");
    }
    if policy.manual_promotion && !matches!(strategy, UpdateStrategy::Canary | UpdateStrategy::BlueGreen) {
        errors.at(format!("{path}.manual_promotion"), "only for the strategies canary and blue_green");
    }
    if policy.pause_between && strategy != UpdateStrategy::Batches {
        errors.at(format!("{path}.pause_between"), "only for the strategy batch");
    }
    if policy.surge > 0 && strategy == UpdateStrategy::BlueGreen {
        errors.at(
            format!("{path}.surge"),
            "not with the strategy blue_green, which starts all of the new beside the old",
        );
    }
    let (watch_ms, deadline_ms) = (policy.watch_ms.unwrap_or(0), policy.progress_deadline_ms);
    if deadline_ms > 0 && deadline_ms <= watch_ms {
        let message =
            format!("{} is over before an instance can be healthy for {}", duration(deadline_ms), duration(watch_ms));
        errors.at(format!("{path}.progress_deadline_ms"), message);
    }
}

fn sla(policy: &SlaPolicy, instances: u32, errors: &mut Errors) {
    match &policy.policy {
        None => errors.at("sla", "says nothing; give count, percentage or coordinator"),
        Some(Policy::Count(count)) if *count > instances => {
            errors.at("sla.count", format!("{count} is not between 0 and {instances}"));
        }
        Some(Policy::Count(_) | Policy::Percentage(_)) => {}
        Some(Policy::Coordinator(coordinator)) => {
            let url = &coordinator.url;
            let rest = url.strip_prefix("http://").filter(|rest| !rest.is_empty() && !rest.starts_with('/'));
            if rest.is_none() || url.chars().any(|c| c.is_whitespace() || c.is_control()) {
                let message = format!("{} is no url such as http://host:8080/drain", text::shown(url));
                errors.at("sla.coordinator.url", message);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::v1::Coordinator;

    fn wrong(policy: &UpdatePolicy) -> Vec<String> {
        update_policy(policy).err().unwrap_or_default().into_iter().map(|error| error.path).collect()
    }

    #[test]
    fn an_update_policy_names_each_field_that_contradicts() {
        let queue = UpdatePolicy { group_sizes: vec![3], surge: 2, ..Default::default() };
        assert!(wrong(&queue).is_empty());
        assert_eq!(wrong(&UpdatePolicy { strategy: 77, ..Default::default() }), ["policy.strategy"]);
        let policy = UpdatePolicy { canaries: 1, manual_promotion: true, pause_between: true, ..queue.clone() };
        assert_eq!(wrong(&policy), ["policy.canaries", "policy.manual_promotion", "policy.pause_between"]);
        assert_eq!(wrong(&UpdatePolicy { group_sizes: vec![1, 2], ..queue.clone() }), ["policy.group_sizes"]);
        assert_eq!(wrong(&UpdatePolicy { group_sizes: vec![0], ..queue.clone() }), ["policy.group_sizes[0]"]);
        let double = UpdatePolicy { strategy: UpdateStrategy::BlueGreen.into(), ..queue.clone() };
        assert_eq!(wrong(&double), ["policy.surge"]);
        let late = UpdatePolicy { watch_ms: Some(5_000), progress_deadline_ms: 5_000, ..queue };
        assert_eq!(wrong(&late), ["policy.progress_deadline_ms"]);
    }

    #[test]
    fn an_sla_policy_can_be_kept_and_its_coordinator_asked() {
        let wrong = |policy: Option<Policy>| {
            let mut errors = Errors(Vec::new());
            let mut policy = SlaPolicy { policy, duration_ms: 0 };
            policy.bound(At::root("sla"), &mut errors);
            sla(&policy, 4, &mut errors);
            errors.0.into_iter().map(|error| error.path).collect::<Vec<_>>()
        };
        let url = |url: &str| Some(Policy::Coordinator(Coordinator { url: url.into(), status_key: String::new() }));
        for good in [Some(Policy::Count(4)), Some(Policy::Percentage(100)), url("http://host:80/x")] {
            assert!(wrong(good).is_empty());
        }
        assert_eq!(wrong(None), ["sla"]);
        assert_eq!(wrong(Some(Policy::Count(5))), ["sla.count"]);
        assert_eq!(wrong(Some(Policy::Percentage(101))), ["sla.percentage"]);
        for bad in ["", "http://", "https://host", "http:///x", "http://a b"] {
            assert_eq!(wrong(url(bad)), ["sla.coordinator.url"], "{bad}");
        }
    }
}
