//! Alerts: Prometheus' own tool takes them and shows each firing; each has its section in the runbook, with what it tells to look
//! at.

use std::process::Command;

use super::{root, text_of};

/// (name, what to look at) of each.
pub fn alerts() -> Vec<(String, String)> {
    let text = text_of("deploy/prometheus/alerts.yaml");
    let each = text.split("- alert: ").skip(1).map(|alert| {
        let name = alert.lines().next().unwrap_or_default().to_string();
        let look = alert.split("look: ").nth(1).unwrap_or_default();
        (name, look.split_whitespace().filter(|word| *word != "|").collect::<Vec<_>>().join(" "))
    });
    each.collect()
}

#[test]
fn prometheus_takes_them_and_each_fires() {
    if Command::new("promtool").arg("--version").output().is_err() {
        dawn_tests::skip::skip("needs promtool; install prometheus");
        return;
    }
    for words in [
        ["check", "rules", "alerts.yaml"],
        ["check", "config", "prometheus.yaml"],
        ["test", "rules", "alerts_test.yaml"],
    ] {
        let run = Command::new("promtool").args(words).current_dir(root().join("deploy/prometheus")).output();
        let run = run.expect("it was there a moment ago");
        let said = format!("{}{}", String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr));
        assert!(run.status.success(), "promtool {words:?}: {said}");
    }
}

#[test]
fn each_is_expected_to_fire_by_its_test() {
    let (alerts, tests) = (alerts(), text_of("deploy/prometheus/alerts_test.yaml"));
    // All of them but the one that fires where nothing is.
    let count = format!("exp_samples: [{{ value: {} }}]", alerts.len() - 1);
    assert!(tests.contains(&count), "there are {} alerts: {tests}", alerts.len());
}

#[test]
fn each_says_what_to_look_at() {
    for (name, look) in alerts() {
        assert!(name.starts_with("Dawn") && !look.is_empty(), "{name}: {look:?}");
    }
}
