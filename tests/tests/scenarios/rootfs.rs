//! A task with a root file system of its own: what it sees, and that people reach into it as into any other.

use std::path::Path;
use std::process::Command;

use dawn_proto::v1::{Reason, RootFs, TaskState, root_fs::Source};
use dawn_tests::cluster::{Cluster, Patience, Plan, batch, service};

const NAME: &str = "nobody/test/box";

/// A directory with a shell, three programs and what they are linked to.
fn small_root(root: &Path) {
    let copy = |from: &str| {
        let to = root.join(from.trim_start_matches('/'));
        std::fs::create_dir_all(to.parent().expect("a folder")).expect("it can be made");
        std::fs::copy(from, to).unwrap_or_else(|error| panic!("copying {from}: {error}"));
    };
    for program in ["/bin/sh", "/bin/cat", "/bin/sleep", "/bin/touch"] {
        copy(program);
        let linked = Command::new("ldd").arg(program).output().expect("ldd runs").stdout;
        let linked = String::from_utf8_lossy(&linked);
        linked.split_whitespace().filter(|word| word.starts_with('/')).for_each(copy);
    }
    std::fs::create_dir_all(root.join("etc")).expect("it can be made");
    std::fs::write(root.join("etc/motd"), "of the image\n").expect("it can be written");
}

#[test]
fn a_task_in_its_own_root_is_reached_into_like_any_other() {
    let Some(cluster) = Cluster::start(Plan::of(1)) else { return };
    // Every user may look into it.
    let root = tempfile::Builder::new().permissions(std::os::unix::fs::PermissionsExt::from_mode(0o755)).tempdir();
    let root = root.expect("a temporary directory");
    small_root(root.path());
    let source = Some(Source::Directory(root.path().to_string_lossy().into_owned()));
    let script = "echo hi > hello; cat /etc/motd > seen; exec sleep 100000";
    let job = service("box").shell(script).with(|spec| {
        spec.task.as_mut().expect("a task").root_fs = Some(RootFs { source, tag: String::new() });
    });
    let job = cluster.submit(job);
    cluster.running(&job, 1);
    cluster.eventually("it sees its own root", Patience::STEP, || {
        let seen = cluster.files_named("seen");
        if seen == ["of the image\n"] { Ok(()) } else { Err(format!("{seen:?}")) }
    });
    let exec = |script: &str| cluster.dawn(&["task", "exec", NAME, "--", "sh", "-c", script]);
    // A command is in the same root and the same directory as the task's processes.
    let output = exec("cat /etc/motd hello; echo \"$DAWN_JOB\"").succeeded();
    assert_eq!(output.stdout, format!("of the image\nhi\n{NAME}\n"));
    let output = exec("cat /etc/passwd");
    assert!(output.code == Some(1) && output.stderr.contains("No such file"), "{output:?}");
    // The sandbox is its own, the root is shared and stays as it was.
    exec("touch made; echo more >> hello").succeeded();
    let output = exec("echo changed > /etc/motd");
    assert_ne!(output.code, Some(0), "{output:?}");
    let list = cluster.dawn(&["--json", "task", "ls", NAME]).succeeded().json();
    let names: Vec<&str> = list["files"].as_array().expect("files").iter().filter_map(|f| f["name"].as_str()).collect();
    assert_eq!(names, ["hello", "made", "seen"]);
    assert_eq!(cluster.dawn(&["task", "cat", NAME, "hello"]).succeeded().stdout, "hi\nmore\n");
    let folder = tempfile::tempdir().expect("a temporary directory");
    let here = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    std::fs::write(here("in"), "brought\n").expect("it can be written");
    cluster.dawn(&["task", "cp", &here("in"), &format!("{NAME}:in")]).succeeded();
    assert_eq!(exec("cat in").succeeded().stdout, "brought\n");
    cluster.dawn(&["task", "cp", &format!("{NAME}:hello"), &here("back")]).succeeded();
    assert_eq!(std::fs::read_to_string(here("back")).expect("it was copied"), "hi\nmore\n");
    assert_eq!(std::fs::read_to_string(root.path().join("etc/motd")).expect("it is there"), "of the image\n");
    cluster.end();
}

/// As many as an agent takes steps of launches at once.
const STEPS_AT_ONCE: u32 = 8;
const INSTANCES: u32 = 2 * STEPS_AT_ONCE;

#[test]
fn a_root_that_never_ends_is_the_jobs_fault_and_keeps_nobody_from_starting() {
    let Some(cluster) = Cluster::start(Plan::of(2)) else { return };
    let folder = tempfile::tempdir().expect("a temporary directory");
    let pipe = folder.path().join("pipe");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).expect("it can be made");
    let layout = folder.path().join("layout");
    std::fs::create_dir(&layout).expect("it can be made");
    std::os::unix::fs::symlink(&pipe, layout.join("index.json")).expect("it can be made");
    let text = |path: &Path| path.to_string_lossy().into_owned();
    let sources = [
        ("zero", Source::Tarball("/dev/zero".into())),
        ("pipe", Source::Tarball(text(&pipe))),
        ("memory", Source::Tarball("/proc/self/mem".into())),
        ("layout", Source::OciLayout(text(&layout))),
    ];
    let jobs = sources.map(|(name, source)| {
        let job = batch(name).instances(INSTANCES).cpu_milli(1).memory_mib(4).argv(&["true"]);
        cluster.submit(job.with(|spec| {
            let task = spec.task.get_or_insert_default();
            task.root_fs = Some(RootFs { source: Some(source), tag: String::new() });
        }))
    });
    let victim = cluster.submit(batch("victim").instances(4).argv(&["true"]));
    cluster.tasks_in(&victim, TaskState::Finished, 4, Patience::STEP);
    for job in jobs {
        let failed = cluster.tasks_in(&job, TaskState::Failed, INSTANCES as usize, Patience::STEP);
        let last = failed[0].history.last().expect("a history");
        assert_eq!(last.reason(), Reason::RootFsFailed, "{last:?}");
        assert!(last.message.contains("it is no regular file") || last.message.contains("is empty"), "{last:?}");
    }
    let nodes = cluster.api.nodes().expect("nodes");
    assert!(nodes.iter().all(|node| node.avoided_until_ms == 0), "{nodes:?}");
    cluster.end();
}
