//! Fewer instances of a service, and more, as a user asks for them: what runs healthily lives on.

use dawn_proto::{JobKey, v1};
use dawn_tests::cluster::{Cluster, Patience, Plan};

const NAME: &str = "nobody/test/web";

/// A service of which instance 1 fails as soon as it starts.
fn file(cluster: &Cluster, instances: u32) -> String {
    let text = format!(
        "job: {NAME}\nkind: service\nuser: nobody\ninstances: {instances}\ngrace_period: 1s\n\
         resources: {{ cpu: 0.05, memory: 32MiB, disk: 16MiB }}\nrestart: {{ backoff: 500ms, max_backoff: 1s }}\n\
         run: if [ $DAWN_INSTANCE = 1 ]; then exit 3; fi; exec sleep 100000\n"
    );
    let path = cluster.folder().join(format!("{instances}.yaml"));
    std::fs::write(&path, text).expect("it can be written");
    path.to_string_lossy().into_owned()
}

/// (instance, task, attempt) of every instance that runs, ascending.
fn running(cluster: &Cluster, web: &JobKey, count: usize) -> Vec<(u32, u64, u32)> {
    let tasks = cluster.tasks_in(web, v1::TaskState::Running, count, Patience::STEP);
    let mut running: Vec<_> = tasks.iter().map(|task| (task.instance, task.id, task.attempt)).collect();
    running.sort_unstable();
    running
}

#[test]
fn fewer_instances_end_the_one_that_fails_and_the_healthy_ones_live_on() {
    let Some(cluster) = Cluster::start(Plan::of(1)) else { return };
    let web: JobKey = NAME.parse().expect("a key");
    let (four, three) = (file(&cluster, 4), file(&cluster, 3));
    cluster.dawn(&["job", "run", "--detach", &four]).succeeded();
    cluster.eventually("instance 1 has failed", Patience::STEP, || {
        let failed = cluster.job(&web).tasks.iter().any(|task| task.instance == 1 && task.attempt > 2);
        if failed { Ok(()) } else { Err("it has not".to_string()) }
    });
    let before: Vec<_> = running(&cluster, &web, 3);
    assert!(before.iter().all(|(instance, ..)| *instance != 1), "{before:?}");

    let plan = cluster.dawn(&["job", "plan", &three]).succeeded();
    assert!(plan.stdout.contains("stops 1 instance: 1"), "{plan:?}");
    let diff = cluster.dawn(&["job", "diff", NAME, &three]).succeeded();
    assert!(diff.stdout.contains("removed: 1 instance (1)"), "{diff:?}");
    cluster.dawn(&["job", "scale", NAME, "-1"]).succeeded();
    cluster.eventually("instance 1 is gone", Patience::STEP, || {
        let status = cluster.job(&web);
        let left: Vec<u32> = status.tasks.iter().map(|task| task.instance).collect();
        if left == [0, 2, 3] { Ok(()) } else { Err(format!("{left:?}")) }
    });
    assert_eq!(running(&cluster, &web, 3), before, "the same tasks");
    let again = cluster.dawn(&["job", "plan", &three]).succeeded();
    assert!(again.stdout.contains("unchanged"), "the file says what there is: {again:?}");

    // What is not there is named, with what is.
    let gone = cluster.dawn(&["job", "kill", "nobody/test/web/1", "--yes"]);
    assert!(gone.stderr.contains("has no instance 1; it has 3: 0, 2-3"), "{gone:?}");
    let gone = cluster.dawn(&["job", "status", "nobody/test/web/1"]);
    assert!(gone.stderr.contains("has no instance 1; it has 3: 0, 2-3"), "{gone:?}");

    // More fill the gap first, and touch nothing else.
    cluster.dawn(&["job", "scale", NAME, "+1"]).succeeded();
    cluster.eventually("instance 1 is tried again", Patience::STEP, || {
        let tried = cluster.job(&web).tasks.iter().any(|task| task.instance == 1);
        if tried { Ok(()) } else { Err("it is not".to_string()) }
    });
    assert_eq!(running(&cluster, &web, 3), before, "the same tasks");
    cluster.end();
}
