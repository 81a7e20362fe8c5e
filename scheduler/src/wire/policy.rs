//! Update and SLA policies, with their defaults. What is out of range was refused at the door (`dawn_proto::validate`).

use dawn_proto::v1::{self, UpdateStrategy, sla_policy::Policy};

use crate::model::{Sla, SlaPolicy, UpdatePolicy};

/// The policy in the form decisions use; None: all defaults.
pub fn update_policy(wire: Option<&v1::UpdatePolicy>) -> UpdatePolicy {
    let none = v1::UpdatePolicy::default();
    let wire = wire.unwrap_or(&none);
    let strategy = match wire.strategy() {
        UpdateStrategy::Unspecified => UpdateStrategy::RollingQueue,
        strategy => strategy,
    };
    let sizes: Vec<u32> = wire.group_sizes.iter().map(|size| (*size).max(1)).collect();
    UpdatePolicy {
        strategy,
        group_sizes: if sizes.is_empty() { vec![1] } else { sizes },
        canaries: wire.canaries.max(1),
        manual_promotion: wire.manual_promotion,
        pause_between: wire.pause_between,
        watch_ms: wire.watch_ms.unwrap_or(UpdatePolicy::WATCH_MS),
        max_instance_failures: wire.max_instance_failures,
        max_failed_instances: wire.max_failed_instances,
        no_rollback: wire.no_rollback,
        progress_deadline_ms: match wire.progress_deadline_ms {
            0 => UpdatePolicy::PROGRESS_DEADLINE_MS,
            given_ms => given_ms,
        },
        pulse_interval_ms: (wire.pulse_interval_ms > 0).then_some(wire.pulse_interval_ms),
        sla_aware: wire.sla_aware,
        surge: match (strategy, wire.surge) {
            (UpdateStrategy::BlueGreen, 0) => u32::MAX,
            (_, surge) => surge,
        },
        sticky: wire.sticky,
    }
}

pub(super) fn update_policy_to_wire(policy: &UpdatePolicy) -> v1::UpdatePolicy {
    v1::UpdatePolicy {
        strategy: policy.strategy.into(),
        group_sizes: policy.group_sizes.clone(),
        canaries: policy.canaries,
        manual_promotion: policy.manual_promotion,
        pause_between: policy.pause_between,
        watch_ms: Some(policy.watch_ms),
        max_instance_failures: policy.max_instance_failures,
        max_failed_instances: policy.max_failed_instances,
        no_rollback: policy.no_rollback,
        progress_deadline_ms: policy.progress_deadline_ms,
        pulse_interval_ms: policy.pulse_interval_ms.unwrap_or(0),
        sla_aware: policy.sla_aware,
        surge: policy.surge,
        sticky: policy.sticky,
    }
}

/// None: it says nothing.
pub(super) fn sla_policy(wire: &v1::SlaPolicy) -> Option<SlaPolicy> {
    let what = match wire.policy.as_ref()? {
        Policy::Count(count) => Sla::Count(*count),
        Policy::Percentage(percent) => Sla::Percentage(*percent),
        Policy::Coordinator(coordinator) => {
            let key = if coordinator.status_key.is_empty() { "drain" } else { &coordinator.status_key };
            Sla::Coordinator { url: coordinator.url.clone(), status_key: key.into() }
        }
    };
    Some(SlaPolicy { what, duration_ms: wire.duration_ms })
}
