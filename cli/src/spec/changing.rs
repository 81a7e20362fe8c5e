//! The fields that say how a service may be changed and disturbed: update, sla.

use dawn_proto::v1::{self, UpdateStrategy, sla_policy::Policy};

use super::decode::{Fields, Reader, whole};
use super::units::duration;

pub const UPDATE: &[&str] = &[
    "strategy",
    "groups",
    "canaries",
    "promote",
    "pause_between",
    "watch",
    "max_instance_failures",
    "max_failed_instances",
    "rollback",
    "progress_deadline",
    "pulse_interval",
    "sla_aware",
    "surge",
    "sticky",
];
pub const SLA: &[&str] = &["count", "percentage", "coordinator", "duration"];
pub const COORDINATOR: &[&str] = &["url", "status_key"];

pub const STRATEGIES: [(&str, UpdateStrategy); 4] = [
    ("queue", UpdateStrategy::RollingQueue),
    ("batch", UpdateStrategy::Batches),
    ("canary", UpdateStrategy::Canary),
    ("blue_green", UpdateStrategy::BlueGreen),
];
const PROMOTE: [(&str, bool); 2] = [("auto", false), ("manual", true)];

pub fn update(r: &mut Reader, f: &Fields) -> Option<v1::UpdatePolicy> {
    let f = f.fields(r, "update", "update", UPDATE)?;
    Some(v1::UpdatePolicy {
        strategy: f.choice(r, "strategy", &STRATEGIES).map_or(0, Into::into),
        group_sizes: groups(r, &f),
        canaries: f.above_zero(r, ("canaries", "canaries"), whole),
        manual_promotion: f.choice_of(r, ("promote", "manual_promotion"), &PROMOTE).unwrap_or(false),
        pause_between: f.flag(r, "pause_between", "pause_between"),
        watch_ms: f.parsed(r, ("watch", "watch_ms"), duration),
        max_instance_failures: f.parsed(r, ("max_instance_failures", "max_instance_failures"), whole).unwrap_or(0),
        max_failed_instances: f.parsed(r, ("max_failed_instances", "max_failed_instances"), whole).unwrap_or(0),
        no_rollback: f.has("rollback") && !f.flag(r, "rollback", "no_rollback"),
        progress_deadline_ms: f.above_zero(r, ("progress_deadline", "progress_deadline_ms"), duration),
        pulse_interval_ms: f.above_zero(r, ("pulse_interval", "pulse_interval_ms"), duration),
        sla_aware: f.flag(r, "sla_aware", "sla_aware"),
        surge: f.parsed(r, ("surge", "surge"), whole).unwrap_or(0),
        sticky: f.flag(r, "sticky", "sticky"),
    })
}

/// A number, or a list of them.
fn groups(r: &mut Reader, f: &Fields) -> Vec<u32> {
    let Some((node, place)) = f.take(r, "groups", "group_sizes") else { return Vec::new() };
    let mut sizes = Vec::new();
    for (i, text) in r.texts(node, &place).iter().enumerate() {
        match whole(text) {
            Ok(0) => r.wrong(node.at, &place.item(i).file, "a group of none would never end"),
            Ok(size) => sizes.push(size),
            Err(message) => r.wrong(node.at, &place.item(i).file, format!("`{}` {message}", crate::render::safe(text))),
        }
    }
    sizes
}

pub fn sla(r: &mut Reader, f: &Fields) -> Option<v1::SlaPolicy> {
    let (node, place) = f.take(r, "sla", "sla")?;
    let f = r.fields(node, place.clone(), SLA)?;
    let given: Vec<&str> = ["count", "percentage", "coordinator"].into_iter().filter(|name| f.has(name)).collect();
    if given.len() > 1 {
        r.wrong(node.at, &place.file, format!("says `{}` and `{}`; one is enough", given[0], given[1]));
    }
    let count = f.parsed(r, ("count", "count"), whole).map(Policy::Count);
    let percentage = f.parsed(r, ("percentage", "percentage"), whole).map(Policy::Percentage);
    let coordinator = f.fields(r, "coordinator", "coordinator", COORDINATOR);
    let coordinator = coordinator.map(|f| {
        Policy::Coordinator(v1::Coordinator {
            url: f.text(r, "url", "url").unwrap_or_default(),
            status_key: f.text(r, "status_key", "status_key").unwrap_or_default(),
        })
    });
    let duration_ms = f.parsed(r, ("duration", "duration_ms"), duration).unwrap_or(0);
    Some(v1::SlaPolicy { policy: count.or(percentage).or(coordinator), duration_ms })
}

#[cfg(test)]
mod tests {
    use crate::spec::{parse, to_json, to_yaml};

    const JOB: &str = "job: a/b/c\nkind: service\ninstances: 4\nrun: x\n";

    #[test]
    fn policies_read_and_write_as_they_are() {
        let file = format!(
            "{JOB}update:\n  strategy: batch\n  groups: [1, 2]\n  pause_between: true\n  watch: 0s\n  rollback: false\n  \
             max_failed_instances: 1\n  surge: 2\n  sticky: true\nsla:\n  percentage: 75\n  duration: 30s\n"
        );
        let specs = parse("x", &file, 0).unwrap();
        let update = specs[0].update.as_ref().unwrap();
        assert_eq!((update.group_sizes.as_slice(), update.watch_ms, update.no_rollback), (&[1, 2][..], Some(0), true));
        assert_eq!(parse("again", &to_yaml(&specs[0]), 0).unwrap(), specs);
        assert_eq!(parse("again", &to_json(&specs[0]), 0).unwrap(), specs);
        let asked = format!("{JOB}sla:\n  coordinator:\n    url: http://host/ask\n");
        let specs = parse("x", &asked, 0).unwrap();
        assert_eq!(parse("again", &to_yaml(&specs[0]), 0).unwrap(), specs);
    }

    #[test]
    fn what_is_wrong_is_named_where_it_stands() {
        for (text, part) in [
            ("update: { strategy: quue }", "queue"),
            ("update: { groups: 0 }", "never end"),
            ("update: { groups: x }", "`x`"),
            ("update: { promote: maybe }", "auto"),
            ("update: { canaries: 2 }", "canary"),
            ("update: { promote: manual }", "x:5:20: update.promote: only for the strategies canary and blue_green"),
            ("update: { surge: 1 }\nat_most_one: true", "at_most_one"),
            ("update: { watch: 10s, progress_deadline: 5s }", "5s is over before an instance can be healthy for 10s"),
            ("sla: { count: 2, percentage: 5 }", "one is enough"),
            ("sla: { count: 5 }", "5"),
            ("sla: {}", "count, percentage or coordinator"),
            ("sla: { coordinator: { url: ftp://x } }", "http://"),
        ] {
            let error = crate::exit::chain(&parse("x", &format!("{JOB}{text}\n"), 0).unwrap_err());
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
