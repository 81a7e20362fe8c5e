//! How an update goes from one version to the next, in words.

use dawn_proto::v1::{UpdatePolicy, UpdateStrategy};

use crate::render::count;

/// "one at a time", "the first 2 as canaries; …"
pub fn of(policy: &UpdatePolicy) -> String {
    let promoted = match policy.manual_promotion {
        true => "when they are healthy and `dawn update promote` was typed",
        false => "when they are healthy",
    };
    let size = policy.group_sizes.first().copied().unwrap_or(1).max(1);
    let so_many = match size {
        1 => "one at a time".to_string(),
        size => format!("{size} at a time"),
    };
    let way = match policy.strategy() {
        UpdateStrategy::BlueGreen => {
            return format!("a whole new set is started beside the old one, which goes {promoted}");
        }
        UpdateStrategy::Canary => {
            let first = count(policy.canaries.max(1), "instance");
            format!("{first} first, as canaries; {promoted}, the others follow, {so_many}")
        }
        UpdateStrategy::Batches => {
            let sizes: Vec<String> = policy.group_sizes.iter().map(ToString::to_string).collect();
            let pause = if policy.pause_between { ", with a pause after each until `dawn update resume`" } else { "" };
            match sizes.is_empty() {
                true => format!("in groups of 1{pause}"),
                false => format!("in groups of {}{pause}", sizes.join(", then ")),
            }
        }
        UpdateStrategy::RollingQueue | UpdateStrategy::Unspecified => so_many,
    };
    match policy.surge {
        0 => way,
        1 => format!("{way}; a new one is started beside its old one, which goes when the new one is healthy"),
        surge => format!(
            "{way}; new ones are started beside their old ones, at most {surge} at once, which go when the new ones are healthy"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_strategy_is_told_as_what_it_does() {
        let policy = |strategy: UpdateStrategy| UpdatePolicy { strategy: strategy.into(), ..Default::default() };
        let manual = |strategy| UpdatePolicy { manual_promotion: true, canaries: 2, ..policy(strategy) };
        assert_eq!(of(&UpdatePolicy::default()), "one at a time");
        assert_eq!(
            of(&manual(UpdateStrategy::BlueGreen)),
            "a whole new set is started beside the old one, which goes when they are healthy and `dawn update promote` was typed"
        );
        assert_eq!(
            of(&policy(UpdateStrategy::Canary)),
            "1 instance first, as canaries; when they are healthy, the others follow, one at a time"
        );
        let groups = UpdatePolicy { group_sizes: vec![1, 5], pause_between: true, ..policy(UpdateStrategy::Batches) };
        assert_eq!(of(&groups), "in groups of 1, then 5, with a pause after each until `dawn update resume`");
        let surge = UpdatePolicy { surge: 1, group_sizes: vec![3], ..policy(UpdateStrategy::RollingQueue) };
        assert_eq!(
            of(&surge),
            "3 at a time; a new one is started beside its old one, which goes when the new one is healthy"
        );
    }
}
