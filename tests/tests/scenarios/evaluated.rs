//! Files that are evaluated, with what they may see: every command that reads job files hands it to them.

use dawn_tests::cluster::{Cluster, Output, Patience, Plan};

const BAD_INPUT: Option<i32> = Some(2);
const NAME: &str = "nobody/test/seen";

/// A service that says in its environment what its file saw: a bound word, a variable, and a file beside it.
fn file(cluster: &Cluster) -> String {
    let text = "import os\n\
        with open('beside.txt') as beside:\n  words = beside.read().strip()\n\
        main = Process(name = 'main', cmdline = 'echo {{word}} ' + os.environ['HOME'] + ' ' + words + '; exec sleep 100000')\n\
        jobs = [Service(role = 'nobody', cluster = 'any', environment = 'test', name = 'seen', instances = 1,\n  \
        task = Task(name = 'seen', processes = [main], resources = Resources(cpu = 0.1, ram = 32*MB, disk = 16*MB)))]\n";
    std::fs::write(cluster.folder().join("beside.txt"), "a file\n").expect("it can be written");
    let path = cluster.folder().join("seen.aurora");
    std::fs::write(&path, text).expect("it can be written");
    path.to_string_lossy().into_owned()
}

#[test]
fn evaluated_files_see_what_each_command_lets_them_see() {
    let Some(cluster) = Cluster::start(Plan::of(1)) else { return };
    let file = file(&cluster);
    let blind = |output: Output| {
        assert!(output.code == BAD_INPUT && output.stderr.contains("--allow-"), "{output:?}");
    };
    blind(cluster.dawn(&["config", "check", &file, "--bind", "word=hi"]));
    blind(cluster.dawn(&["config", "check", &file, "--bind", "word=hi", "--allow-env"]));
    blind(cluster.dawn(&["job", "run", &file, "--bind", "word=hi", "--allow-read"]));
    cluster.dawn(&["config", "check", &file, "--bind", "word=hi", "--allow-env", "--allow-read"]).succeeded();
    let home = std::env::var("HOME").unwrap_or_default();
    let shown =
        cluster.dawn(&["job", "inspect", &file, "--bind", "word=hi", "--allow-env", "--allow-read"]).succeeded();
    assert!(shown.stdout.contains(&format!("echo hi {home} a file")), "{shown:?}");
    let plan = cluster.dawn(&["job", "plan", &file, "--bind", "word=hi", "--allow-env", "--allow-read"]).succeeded();
    assert!(plan.stdout.contains("created") && plan.stdout.contains("nothing was done"), "{plan:?}");
    cluster
        .dawn(&["--timeout", "90s", "job", "run", &file, "--bind", "word=hi", "--allow-env", "--allow-read"])
        .succeeded();
    cluster.eventually("it says what it was given", Patience::STEP, || {
        let logs = cluster.dawn(&["job", "logs", "--stdout", NAME]).stdout;
        if logs == format!("hi {home} a file\n") { Ok(()) } else { Err(logs) }
    });
    let diff =
        cluster.dawn(&["job", "diff", NAME, &file, "--bind", "word=bye", "--allow-env", "--allow-read"]).succeeded();
    assert!(diff.stdout.contains("echo bye") && diff.stdout.contains("echo hi"), "{diff:?}");
    let update = ["update", "start", NAME, &file, "--bind", "word=bye", "--allow-env", "--allow-read", "--detach"];
    let started = cluster.dawn(&update).succeeded();
    assert!(started.stdout.contains("update 1 to version 2"), "{started:?}");
    cluster.dawn(&["job", "kill", NAME, "--yes"]).succeeded();
    cluster.end();
}
