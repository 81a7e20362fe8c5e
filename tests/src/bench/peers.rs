//! What else starts a process in a group of its own, where it is installed; and what a log costs beside `cat`.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use dawn_proto::v1::TaskState;

use super::Figure;
use super::live::{at_ms, big, small};
use crate::cluster::{Cluster, Patience, batch};

fn is_installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

fn run(program: &str, arguments: &[&str], folder: &Path) -> bool {
    let mut command = Command::new(program);
    command.args(arguments).current_dir(folder).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// `systemd-run --scope`, one after the other; none where systemd does not run.
pub fn systemd(count: usize) -> Option<Figure> {
    if !is_installed("systemd-run") || !Path::new("/run/systemd/system").exists() {
        return None;
    }
    let begun = Instant::now();
    let all = (0..count).all(|_| run("systemd-run", &["--scope", "--quiet", "/bin/true"], Path::new("/")));
    all.then(|| Figure::rate("systemd-run --scope /bin/true", count, begun.elapsed()))
}

/// `runc run`, one after the other, on the machine's own file system; none where runc is not installed.
pub fn runc(count: usize) -> Option<Figure> {
    if !is_installed("runc") {
        return None;
    }
    let bundle = tempfile::tempdir().ok()?;
    let group = format!("/dawn-bench-runc-{}", std::process::id());
    let mounts = ["/bin", "/lib", "/lib64", "/usr"].iter().filter(|path| Path::new(path).exists()).map(
        |path| serde_json::json!({ "destination": path, "source": path, "type": "bind", "options": ["rbind", "ro"] }),
    );
    // It looks at its own descriptors there.
    let proc = serde_json::json!({ "destination": "/proc", "source": "proc", "type": "proc" });
    let config = serde_json::json!({
        "ociVersion": "1.0.2",
        "process": { "args": ["/bin/true"], "cwd": "/", "user": { "uid": 0, "gid": 0 }, "env": ["PATH=/usr/bin:/bin"] },
        "root": { "path": "rootfs" },
        "mounts": mounts.chain([proc]).collect::<Vec<_>>(),
        "linux": {
            "cgroupsPath": group,
            "resources": { "memory": { "limit": 33554432 }, "cpu": { "shares": 102 }, "pids": { "limit": 1024 } },
            "namespaces": [{ "type": "pid" }, { "type": "mount" }, { "type": "ipc" }, { "type": "uts" }],
        },
    });
    std::fs::create_dir(bundle.path().join("rootfs")).ok()?;
    std::fs::write(bundle.path().join("config.json"), config.to_string()).ok()?;
    let begun = Instant::now();
    let all = (0..count).all(|number| run("runc", &["run", &format!("dawn-bench-{number}")], bundle.path()));
    all.then(|| Figure::rate("runc run /bin/true", count, begun.elapsed()))
}

/// A task that writes so much, rotated; beside `cat` writing the same to a file.
pub fn logs(bytes: u64) -> Option<Vec<Figure>> {
    let cluster = Cluster::start(big())?;
    let text = format!("head -c {bytes} /dev/zero | tr '\\0' 'x' | fold -w 127");
    let file = cluster.folder().join("plain");
    let begun = Instant::now();
    let plain = run("sh", &["-c", &format!("{text} | cat > {}", file.display())], cluster.folder());
    let took = begun.elapsed();
    let job = small(batch("logs").shell(&text)).cpu_milli(4_000).with(|job| {
        let task = job.task.as_mut().expect("it has one");
        task.logs = Some(dawn_proto::v1::LogPolicy { file_size_bytes: 10 << 20, files: 3 });
    });
    let job = cluster.submit(job);
    let task = cluster.tasks_in(&job, TaskState::Finished, 1, Patience::minutes(10)).remove(0);
    let ms = at_ms(&task, TaskState::Finished)? - at_ms(&task, TaskState::Running)?;
    cluster.end();
    let rate = |what: &str, took: Duration| Figure {
        what: format!("{what} {} MiB of lines", bytes >> 20),
        value: format!("{:.0} MB/s", bytes as f64 / 1e6 / took.as_secs_f64().max(1e-3)),
    };
    let logged = rate("a task's log, rotated at 10 MiB:", Duration::from_millis(u64::try_from(ms).ok()?));
    Some(plain.then(|| rate("`cat` to a file:", took)).into_iter().chain([logged]).collect())
}
