//! A cluster that goes on from a backup: what was started since is taken in as it runs.

use std::path::Path;

use dawn_tests::cluster::{Cluster, Patience, Plan, batch, dawn, service};

fn text(path: &Path) -> &str {
    path.to_str().expect("the folder has a plain name")
}

#[test]
fn tasks_newer_than_a_restored_backup_run_on_and_are_known_again() {
    let Some(cluster) = Cluster::start(Plan::of(2).agent_lease("2s")) else { return };
    let old = cluster.submit(service("old").instances(2));
    cluster.running(&old, 2);
    let old_pids = cluster.processes_of(&old, 2);
    let file = cluster.folder().join("backup");
    let made = cluster.dawn(&["--json", "admin", "backup", text(&file)]).succeeded().json();
    assert_eq!((made["jobs"].as_u64(), made["tasks"].as_u64()), (Some(1), Some(2)), "{made}");

    // Since then: a job came, another was done.
    let new = cluster.submit(service("new").instances(3));
    let before = cluster.running(&new, 3);
    let new_pids = cluster.processes_of(&new, 3);
    let work = cluster.submit(batch("work").shell("true"));
    cluster.tasks_in(&work, dawn_proto::v1::TaskState::Finished, 1, Patience::STEP);
    cluster.scheduler.terminate();

    let data = cluster.data_dir();
    let home = ["--data-dir", text(&data)];
    let refused = dawn(&[&["admin", "restore", text(&file)], &home[..]].concat());
    assert!(refused.code == Some(1) && refused.stderr.contains("--replace"), "{refused:?}");
    let restored = dawn(&[&["--json", "admin", "restore", text(&file), "--replace"], &home[..]].concat());
    let restored = restored.succeeded().json();
    assert!(restored["aside"].as_str().is_some_and(|aside| Path::new(aside).join("journal").is_dir()), "{restored}");
    cluster.scheduler.start();
    cluster.scheduler_answers();
    cluster.agents_are_up(2);

    let after = cluster.running(&new, 3);
    assert!(before.iter().zip(&after).all(|(before, after)| before.id == after.id), "{before:#?} {after:#?}");
    // After this job's tasks run, placing goes on: everything that was to be made beside them would be there.
    let third = cluster.submit(service("third"));
    cluster.tasks_in(&third, dawn_proto::v1::TaskState::Running, 1, Patience::LONG);
    assert_eq!(cluster.processes_of(&new, 3), new_pids, "nothing was started or stopped");
    assert_eq!(cluster.processes_of(&old, 2), old_pids, "nothing was started or stopped");
    cluster.running(&old, 2);
    cluster.tasks_in(&work, dawn_proto::v1::TaskState::Finished, 1, Patience::STEP);

    let lines = cluster.dawn(&["admin", "journal", "--job", &new.to_string()]).succeeded().stdout;
    assert_eq!(lines.lines().filter(|line| line.contains(" restore.task_adopted ")).count(), 3, "{lines}");
    let whole = cluster.dawn(&["--json", "admin", "journal"]).succeeded().stdout;
    let first: serde_json::Value = serde_json::from_str(whole.lines().next().expect("a line")).expect("JSON");
    assert_eq!(first["kind"], "restore.restored");
    let verified = cluster.dawn(&["--json", "admin", "verify"]).succeeded().json();
    assert_eq!((verified["violations"].as_u64(), verified["nodes"].as_u64()), (Some(0), Some(2)), "{verified:#}");
    let checked = |id: &str| {
        let all = verified["promises"].as_array().expect("a list");
        all.iter().find(|one| one["promise"] == id).and_then(|one| one["checked"].as_u64())
    };
    assert_eq!((checked("agents"), checked("S4"), checked("S11")), (Some(6), Some(6), Some(2)), "{verified:#}");
    cluster.end();
}

#[test]
fn verify_is_clean_and_says_whom_it_could_not_ask_and_a_plan_names_what_would_wait() {
    let Some(cluster) = Cluster::start(Plan::of(1)) else { return };
    let job = cluster.submit(service("web"));
    cluster.running(&job, 1);
    let clean = cluster.dawn(&["admin", "verify"]);
    assert!(clean.code == Some(0) && clean.stdout.contains("every promise that can be checked holds"), "{clean:?}");
    cluster.agents[0].pause();
    let unasked = cluster.dawn(&["admin", "verify"]);
    assert!(unasked.stdout.contains("not asked: "), "{unasked:?}");
    cluster.agents[0].resume();

    let file = cluster.folder().join("large.yaml");
    let text = "job: www/test/large\nkind: service\ninstances: 6\nresources: { cpu: 1, memory: 16MiB, disk: 1MiB }\nprocesses:\n  - { name: main, run: sleep 1000 }\n";
    std::fs::write(&file, text).expect("it can be written");
    let name = file.to_str().expect("the folder has a plain name");
    cluster.agents_are_up(1);
    // Until the agent's link is there again, all would wait.
    cluster.eventually("some would wait and some not", Patience::STEP, || {
        let plan = cluster.dawn(&["--json", "job", "plan", name]);
        assert_eq!(plan.code, Some(7), "{plan:?}");
        let plan = plan.json();
        assert_eq!(plan["jobs"][0]["created"].as_array().map(Vec::len), Some(6), "{plan:#}");
        let waiting = plan["jobs"][0]["pending"][0]["instances"].as_array().map_or(0, Vec::len);
        (1..6).contains(&waiting).then_some(()).ok_or(format!("{plan:#}"))
    });
    assert_eq!(cluster.api.jobs().expect("listed").len(), 1, "nothing was submitted");
    cluster.end();
}

#[test]
fn a_scheduler_leaves_when_asked_and_its_journal_is_read_without_it() {
    let Some(cluster) = Cluster::start(Plan::of(1)) else { return };
    let job = cluster.submit(service("web"));
    let task = cluster.running(&job, 1).remove(0);
    let left = cluster.dawn(&["scheduler", "leave"]).succeeded();
    assert!(left.stdout.contains("nobody leads until it is started again"), "{left:?}");
    assert_eq!(cluster.scheduler.exit_code(Patience::STEP), Some(0));
    let data = cluster.data_dir();
    let id = format!("t{}", task.id);
    let read = dawn(&["admin", "journal", "--data-dir", text(&data), "--task", &id]).succeeded().stdout;
    let kinds: Vec<&str> = read.lines().filter_map(|line| line.split(' ').nth(3)).collect();
    assert_eq!(kinds.first(), Some(&"task_made"), "{read}");
    assert!(kinds.iter().filter(|kind| **kind == "task_moved").count() >= 2, "{read}");
    assert!(read.lines().all(|line| line.contains(&job.to_string())), "{read}");
    let none = dawn(&["admin", "journal", "--data-dir", "/nonexistent"]);
    assert!(none.code == Some(3) && none.stderr.contains("holds no journal"), "{none:?}");
    cluster.scheduler.start();
    cluster.scheduler_answers();
    cluster.end();
}
