//! Updates, SLA and announcement as a job file has them.

use dawn_proto::v1;
use serde_json::Value;

use super::{Fields, Out, show_duration, word};
use crate::spec::changing as words;

pub fn write(f: &mut Fields, spec: &v1::JobSpec) {
    if let Some(policy) = &spec.update {
        let mut update = Fields::default();
        update.text("strategy", word(&words::STRATEGIES, policy.strategy()));
        let sizes: Vec<Value> = policy.group_sizes.iter().map(|size| Value::Number((*size).into())).collect();
        if !sizes.is_empty() {
            update.0.push(("groups", Out::Row(sizes)));
        }
        update.number("canaries", policy.canaries);
        update.text("promote", if policy.manual_promotion { "manual" } else { "" });
        update.flag("pause_between", policy.pause_between);
        update.text("watch", policy.watch_ms.map(show_duration).unwrap_or_default());
        update.number("max_instance_failures", policy.max_instance_failures);
        update.number("max_failed_instances", policy.max_failed_instances);
        if policy.no_rollback {
            update.0.push(("rollback", Out::One(Value::Bool(false))));
        }
        update.shown("progress_deadline", policy.progress_deadline_ms, show_duration);
        update.shown("pulse_interval", policy.pulse_interval_ms, show_duration);
        update.flag("sla_aware", policy.sla_aware);
        update.number("surge", policy.surge);
        update.flag("sticky", policy.sticky);
        f.map("update", update);
    }
    if let Some(policy) = &spec.sla {
        use v1::sla_policy::Policy;
        let mut sla = Fields::default();
        match &policy.policy {
            Some(Policy::Count(count)) => sla.0.push(("count", Out::One(Value::Number((*count).into())))),
            Some(Policy::Percentage(percent)) => sla.0.push(("percentage", Out::One(Value::Number((*percent).into())))),
            Some(Policy::Coordinator(asked)) => {
                let mut coordinator = Fields::default();
                coordinator.text("url", asked.url.as_str());
                coordinator.text("status_key", asked.status_key.as_str());
                sla.map("coordinator", coordinator);
            }
            None => {}
        }
        sla.shown("duration", policy.duration_ms, show_duration);
        f.map("sla", sla);
    }
    if let Some(announce) = &spec.announce {
        let mut inner = Fields::default();
        inner.text("primary_port", announce.primary_port.as_str());
        inner.texts("aliases", &announce.aliases);
        // Without fields it still says something.
        f.0.push(("announce", Out::Map(inner)));
    }
}
