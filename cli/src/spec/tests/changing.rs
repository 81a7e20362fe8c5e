//! Update and SLA policies of job files.

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
