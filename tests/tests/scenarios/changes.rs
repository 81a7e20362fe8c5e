//! Each command that steers an update or changes a service's size, typed while an update really is under way.

use dawn_tests::cluster::{Cluster, Output, Patience, Plan};

const FAILED: Option<i32> = Some(1);
const REFUSED: Option<i32> = Some(4);
const NAME: &str = "nobody/test/web";

/// A file of the service: this version of it, updated by this policy.
fn file(cluster: &Cluster, version: &str, update: &str) -> String {
    let text = format!(
        "job: {NAME}\nkind: service\nuser: nobody\ninstances: 2\nresources: {{ cpu: 0.05, memory: 32MiB, disk: 16MiB }}\n\
         grace_period: 1s\nenv: {{ VERSION: {version} }}\nrun: exec sleep 100000\nupdate: {{ {update} }}\n"
    );
    let path = cluster.folder().join(format!("{version}.yaml"));
    std::fs::write(&path, text).expect("it can be written");
    path.to_string_lossy().into_owned()
}

/// Waits until the latest update's state is this one.
fn stands(cluster: &Cluster, state: &str) {
    cluster.eventually(&format!("the update is {state}"), Patience::STEP, || {
        let update = cluster.dawn(&["--json", "update", "status", NAME]).succeeded().json();
        if update["update"]["state"] == state { Ok(()) } else { Err(update.to_string()) }
    });
}

fn says(output: Output, words: &str) -> String {
    let output = output.succeeded();
    assert!(output.stdout.contains(words), "{words:?} is not in {output:?}");
    output.stdout
}

/// What nothing can be told that is not under way.
fn refused(cluster: &Cluster, args: &[&str]) {
    let output = cluster.dawn(args);
    assert!(output.code == REFUSED && output.stderr.contains(NAME), "{args:?}: {output:?}");
}

#[test]
fn an_update_is_paused_resumed_aborted_and_rolled_back_by_hand() {
    let Some(cluster) = Cluster::start(Plan::of(1)) else { return };
    let dawn = |args: &[&str]| cluster.dawn(args);
    let slow = "watch: 10m, progress_deadline: 1h";
    let [one, two, three] =
        [("one", "watch: 1s"), ("two", slow), ("three", slow)].map(|(version, update)| file(&cluster, version, update));
    dawn(&["--timeout", "60s", "job", "run", &one]).succeeded();
    says(dawn(&["update", "list"]), "no updates");
    refused(&cluster, &["update", "pause", NAME]);

    says(dawn(&["update", "start", NAME, &two, "--detach", "-m", "second"]), "update 1 to version 2");
    says(dawn(&["update", "pause", NAME, "-m", "lunch"]), "roll forward paused");
    says(dawn(&["update", "status", NAME]), "lunch");
    says(dawn(&["update", "resume", NAME, "-m", "fed"]), "rolling forward");
    let listed = says(dawn(&["update", "list"]), "rolling forward");
    assert!(listed.contains("second"), "{listed}");
    says(dawn(&["update", "abort", NAME, "-m", "enough"]), "aborted");
    assert_eq!(dawn(&["update", "wait", NAME]).code, FAILED);
    says(dawn(&["job", "status", NAME]), "update     1 to version 2 aborted");
    says(dawn(&["job", "why", NAME]), "update 1 to version 2 aborted");
    says(dawn(&["update", "list"]), "no updates");
    refused(&cluster, &["update", "resume", NAME]);

    says(dawn(&["update", "start", NAME, &three, "--detach"]), "update 2 to version 3");
    let planned = dawn(&["job", "plan", &two]);
    assert_eq!(planned.code, REFUSED, "{planned:?}");
    for words in [
        "would be refused: update 2 of nobody/test/web",
        "  were it not refused: updating (version 4)\n",
        "  changes env.VERSION: three -> two\n",
        "  updates 2 instances: 0-1\n",
        "  places instances 0-1 on node0\n",
    ] {
        assert!(planned.stdout.contains(words), "{words:?} is not in {}", planned.stdout);
    }
    let back = says(dawn(&["update", "rollback", NAME, "-m", "too bold"]), "rolling back");
    assert!(back.contains("\n  goes back to version") && back.ends_with("; too bold\n"), "{back}");
    cluster.dawn(&["--timeout", "5s", "update", "wait", NAME]);
    let all = says(dawn(&["update", "list", NAME]), "aborted");
    assert_eq!(all.lines().count(), 3, "a head and two updates: {all}");
    let first = says(dawn(&["update", "status", NAME, "--number", "1"]), "enough");
    assert!(first.contains("fed") && !first.contains("too bold"), "{first}");
    cluster.end();
}

#[test]
fn a_canary_waits_for_its_promotion_and_the_way_back_does_not() {
    let Some(cluster) = Cluster::start(Plan::of(1)) else { return };
    let dawn = |args: &[&str]| cluster.dawn(args);
    let careful = "strategy: canary, promote: manual, watch: 1s";
    let [one, two] = ["one", "two"].map(|version| file(&cluster, version, careful));
    dawn(&["--timeout", "60s", "job", "run", &one]).succeeded();
    says(dawn(&["update", "start", NAME, &two, "--detach"]), "update 1 to version 2");
    stands(&cluster, "awaiting_promotion");
    says(dawn(&["job", "status", NAME]), "awaiting promotion");
    says(dawn(&["update", "promote", NAME, "-m", "looks well"]), "rolling forward");
    says(dawn(&["--timeout", "60s", "update", "wait", NAME]), "rolled forward");
    refused(&cluster, &["update", "promote", NAME]);

    // Version 1 was promoted once: nobody is asked again in an emergency.
    let back = dawn(&["--timeout", "60s", "job", "revert", NAME, "-m", "it burns"]).succeeded();
    assert!(back.stdout.contains("update 2 to version 3"), "{back:?}");
    let update = dawn(&["--json", "update", "status", NAME]).succeeded().json();
    assert_eq!(update["update"]["state"], "rolled_forward", "{update}");
    let passed = update["update"]["events"].to_string();
    assert!(!passed.contains("awaiting_promotion"), "{update}");
    let status = dawn(&["job", "inspect", NAME]).succeeded().stdout;
    assert!(status.contains("VERSION: one") && status.contains("promote: manual"), "{status}");
    let history = says(dawn(&["job", "history", NAME, "--limit", "1"]), "it burns");
    assert!(history.contains("older tasks left out"), "{history}");
    says(dawn(&["job", "history", NAME, "--failed"]), "no task that is kept has failed");
    let diff = says(dawn(&["job", "diff", NAME, "--from", "1", "--to", "2"]), "VERSION: two");
    assert!(diff.contains("VERSION: one"), "{diff}");
    cluster.end();
}

#[test]
fn an_update_beside_others_that_fails_is_told_when_it_ends() {
    let Some(cluster) = Cluster::start(Plan::of(1)) else { return };
    let both = |version: &str, run: &str| {
        let of = |name: &str, run: &str, watch: &str| {
            format!(
                "job: nobody/test/{name}\nkind: service\nuser: nobody\nresources: {{ cpu: 0.05, memory: 32MiB, disk: 16MiB }}\n\
                 grace_period: 1s\nenv: {{ VERSION: {version} }}\nrun: {run}\nupdate: {{ watch: {watch} }}\n"
            )
        };
        let path = cluster.folder().join(format!("both-{version}.yaml"));
        let text = [of("fast", run, "1s"), of("slow", "exec sleep 100000", "12s")].join("---\n");
        std::fs::write(&path, text).expect("it can be written");
        path.to_string_lossy().into_owned()
    };
    let sleeps = "exec sleep 100000";
    cluster.dawn(&["--timeout", "90s", "job", "run", &both("one", sleeps)]).succeeded();
    let ran = cluster.dawn(&["--timeout", "90s", "job", "run", &both("two", "echo no config >&2; exit 3")]);
    assert_eq!(ran.code, FAILED, "{ran:?}");
    let at = |words: &str| ran.stdout.find(words).unwrap_or_else(|| panic!("{words:?} is not in {}", ran.stdout));
    assert!(at("fast: update 1 rolled back") < at("\n    | no config\n"), "{}", ran.stdout);
    assert!(
        at("  look:  dawn update status nobody/test/fast\n") < at("slow: update 1 rolled forward"),
        "{}",
        ran.stdout
    );
    cluster.end();
}

#[test]
fn an_update_that_needs_pulses_stands_still_without() {
    let Some(cluster) = Cluster::start(Plan::of(1)) else { return };
    let dawn = |args: &[&str]| cluster.dawn(args);
    let [one, two] = [("one", "watch: 1s"), ("two", "watch: 5s, pulse_interval: 2s")]
        .map(|(version, update)| file(&cluster, version, update));
    dawn(&["--timeout", "60s", "job", "run", &one]).succeeded();
    says(dawn(&["update", "start", NAME, &two, "--detach"]), "update 1 to version 2");
    stands(&cluster, "roll_forward_awaiting_pulse");
    says(dawn(&["update", "pulse", NAME, "-m", "all is well"]), "rolling forward");
    stands(&cluster, "roll_forward_awaiting_pulse");
    cluster.eventually("it goes on while it hears of it", Patience::STEP, || {
        let told = dawn(&["update", "pulse", NAME]);
        match told.code {
            REFUSED => Ok(()),
            _ => Err(format!("{told:?}")),
        }
    });
    stands(&cluster, "rolled_forward");
    cluster.end();
}

#[test]
fn a_service_grows_shrinks_and_is_restarted_with_a_word_for_its_history() {
    let Some(cluster) = Cluster::start(Plan::of(1)) else { return };
    let dawn = |args: &[&str]| cluster.dawn(args);
    let web = NAME.parse().expect("a key");
    dawn(&["--timeout", "60s", "job", "run", &file(&cluster, "one", "watch: 1s")]).succeeded();
    assert_eq!(
        says(dawn(&["job", "add", NAME, "2", "-m", "a rush"]), "4 inst"),
        format!("{NAME}: 4 instances (version 2)\n")
    );
    cluster.running(&web, 4);
    says(dawn(&["job", "scale", NAME, "1", "-m", "quiet"]), "1 instance (version 3)");
    cluster.running(&web, 1);
    let none = dawn(&["job", "scale", NAME, "-1"]);
    assert!(none.code == REFUSED && none.stderr.contains("dawn job kill"), "{none:?}");
    says(dawn(&["job", "restart", NAME, "--detach", "-m", "new keys"]), "update 1");
    says(dawn(&["--timeout", "60s", "update", "wait", NAME]), "rolled forward");
    let history = says(dawn(&["job", "history", NAME]), "a rush");
    assert!(history.contains("quiet"), "{history}");
    says(dawn(&["update", "list", NAME]), "new keys");

    let sla = says(dawn(&["job", "sla", "--role", "nobody", "--window", "1h"]), NAME);
    assert!(sla.contains("1/1"), "{sla}");
    says(dawn(&["job", "sla", "--role", "www"]), "no jobs");
    says(dawn(&["job", "kill", NAME, "--yes", "--detach", "-m", "the end"]), "kill");
    let listed = cluster.eventually("it has ended", Patience::STEP, || {
        let now = dawn(&["job", "list"]).succeeded().stdout;
        if now.contains(NAME) { Err(now) } else { Ok(dawn(&["job", "list", "--all", "nobody/test"])) }
    });
    says(listed, NAME);
    cluster.end();
}
