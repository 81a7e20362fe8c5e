//! Aurora's update config and SLA policy. Not here: partition policy, restarts.

use dawn_proto::v1::{self, UpdateStrategy, sla_policy::Policy};
use serde_json::Value;

use super::Found;
use super::fields::Fields;

/// Only a service has one in Dawn; Aurora gives every job a default, which says nothing.
pub fn update(fields: &Fields, kind: v1::JobKind, found: &mut Found) -> Option<v1::UpdatePolicy> {
    let config = fields.inner("update_config");
    if kind != v1::JobKind::Service || !config.is_set() {
        return None;
    }
    let chosen = config.inner("update_strategy");
    let (strategy, group_sizes, pause_between) = match () {
        () if !chosen.is_set() && config.boolean("wait_for_batch_completion") => {
            (UpdateStrategy::Batches, vec![found.unsigned(&config, "batch_size")], false)
        }
        () if !chosen.is_set() => (UpdateStrategy::RollingQueue, vec![found.unsigned(&config, "batch_size")], false),
        () if chosen.has("batch_sizes") => {
            let sizes = chosen.get("batch_sizes").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
            let size = |size: &Value| size.as_u64().and_then(|size| u32::try_from(size).ok()).unwrap_or(0);
            (UpdateStrategy::Batches, sizes.iter().map(size).collect(), chosen.boolean("autopause_after_batch"))
        }
        () if chosen.has("autopause_after_batch") => {
            let sizes = vec![found.unsigned(&chosen, "batch_size")];
            (UpdateStrategy::Batches, sizes, chosen.boolean("autopause_after_batch"))
        }
        () => (UpdateStrategy::RollingQueue, vec![found.unsigned(&chosen, "batch_size")], false),
    };
    let several = group_sizes.len() > 1;
    let strategy = if several { UpdateStrategy::Batches } else { strategy };
    Some(v1::UpdatePolicy {
        strategy: strategy.into(),
        group_sizes,
        pause_between,
        watch_ms: Some(found.seconds(&config, "watch_secs")),
        max_instance_failures: found.unsigned(&config, "max_per_shard_failures"),
        max_failed_instances: found.unsigned(&config, "max_total_failures"),
        no_rollback: !config.boolean("rollback_on_failure"),
        pulse_interval_ms: if config.has("pulse_interval_secs") {
            found.seconds(&config, "pulse_interval_secs")
        } else {
            0
        },
        sla_aware: config.boolean("sla_aware"),
        ..v1::UpdatePolicy::default()
    })
}

pub fn sla(fields: &Fields, kind: v1::JobKind, found: &mut Found) -> Option<v1::SlaPolicy> {
    let policy = fields.inner("sla_policy");
    if !policy.is_set() {
        return None;
    }
    if kind != v1::JobKind::Service {
        found.warn("sla_policy", "only services have one in Dawn; drains don't heed this one");
        return None;
    }
    let what = if policy.has("coordinator_url") {
        let (url, status_key) = (policy.text("coordinator_url").into(), policy.text("status_key").into());
        Policy::Coordinator(v1::Coordinator { url, status_key })
    } else if policy.has("percentage") {
        // Rounded up: the promise is kept.
        Policy::Percentage(policy.float("percentage").clamp(0.0, 1000.0).ceil() as u32)
    } else {
        Policy::Count(found.unsigned(&policy, "count"))
    };
    let duration_ms = if policy.has("duration_secs") { found.seconds(&policy, "duration_secs") } else { 0 };
    Some(v1::SlaPolicy { policy: Some(what), duration_ms })
}
