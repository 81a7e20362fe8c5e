//! Reaching into tasks: commands, files, ports and usage, through the scheduler alone.

use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use dawn_tests::cluster::{self, Cluster, Patience, Plan, batch, marked, processes, service};

const NAME: &str = "nobody/test/box";
const FAILED: Option<i32> = Some(1);

/// A cluster with one task that lives, and does nothing.
fn boxed() -> Option<(Cluster, dawn_proto::JobKey)> {
    let cluster = Cluster::start(Plan::of(1))?;
    let spec = service("box").port("http", 0).shell("echo hi > hello; mkdir sub; exec sleep 100000");
    // Room for what is copied into it.
    let job = cluster.submit(spec.with(|job| {
        job.task.get_or_insert_default().resources.get_or_insert_default().disk_bytes = 256 << 20;
    }));
    cluster.running(&job, 1);
    cluster.eventually("its file is there", Patience::STEP, || {
        let files = cluster.files_named("hello");
        if files == ["hi\n"] { Ok(()) } else { Err(format!("{files:?}")) }
    });
    Some((cluster, job))
}

/// `dawn` beside the test, with pipes.
fn beside(cluster: &Cluster, args: &[&str]) -> Child {
    let mut command = Command::new(cluster::path());
    command.args(["--scheduler", &cluster.address().to_string()]).args(args).env("NO_COLOR", "1");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().expect("dawn starts")
}

#[test]
fn a_command_runs_in_the_tasks_cgroup_as_its_user_with_its_variables_and_exit_code() {
    let Some((cluster, job)) = boxed() else { return };
    let task = cluster.processes_of(&job, 1).remove(0);
    let script = "id -un; pwd; echo $DAWN_JOB; cat hello; cat /proc/self/cgroup; echo oops >&2; exit 7";
    let output = cluster.dawn(&["task", "exec", NAME, "--", "sh", "-c", script]);
    assert_eq!((output.code, output.stderr.as_str()), (Some(7), "oops\n"), "{output:?}");
    let lines: Vec<&str> = output.stdout.lines().collect();
    assert_eq!((lines[0], lines[2], lines[3]), ("nobody", NAME, "hi"), "{output:?}");
    assert!(lines[1].ends_with("/sandbox"), "{output:?}");
    let groups = std::fs::read_to_string(format!("/proc/{}/cgroup", task.pid)).expect("it lives");
    for group in groups.lines() {
        let inside = lines.iter().any(|line| *line == group || line.starts_with(&format!("{group}/exec-")));
        assert!(inside, "not in {group}: {output:?}");
    }
    let output = cluster.dawn(&["task", "exec", NAME, "--", "/no/such/program"]);
    assert!(output.code == FAILED && output.stderr.contains("/no/such/program"), "{output:?}");
    let output = cluster.dawn(&["task", "exec", NAME, "--", "sh", "-c", "kill -9 $$"]);
    assert_eq!(output.code, Some(137), "{output:?}");
    cluster.end();
}

#[test]
fn a_command_in_a_root_task_keeps_to_the_rules_of_its_processes() {
    let Some(cluster) = Cluster::start(Plan::of(1)) else { return };
    let rules = "grep -E '^(CapBnd|CapEff|Seccomp|NoNewPrivs):' /proc/self/status; ulimit -c; ulimit -n";
    let spec = service("box").shell(&format!("{{ {rules}; }} > rules; exec sleep 100000"));
    let job = cluster.submit(spec.with(|job| {
        let task = job.task.as_mut().expect("it has one");
        task.user = "root".into();
        let limits = [("nofile".to_string(), 123), ("core".to_string(), u64::MAX)];
        task.isolation.get_or_insert_default().rlimits.extend(limits);
    }));
    cluster.running(&job, 1);
    let own = cluster.eventually("its processes say their rules", Patience::STEP, || {
        let files = cluster.files_named("rules");
        files.into_iter().find(|text| text.ends_with("123\n")).ok_or("not yet".to_string())
    });
    assert!(own.contains("Seccomp:\t2") && own.contains("NoNewPrivs:\t1") && own.contains("unlimited\n"), "{own}");
    let output = cluster.dawn(&["task", "exec", NAME, "--", "sh", "-c", rules]).succeeded();
    assert_eq!(output.stdout, own);
    cluster.end();
}

#[test]
fn what_goes_in_comes_out_whole_and_nothing_a_command_started_outlives_it() {
    let Some((cluster, job)) = boxed() else { return };
    let mut cat = beside(&cluster, &["task", "exec", NAME, "--", "cat"]);
    let mut stdin = cat.stdin.take().expect("a pipe");
    // Many times what is allowed to be under way.
    let data: Vec<u8> = (0..4_000_000u32).map(|n| (n * 7 % 251) as u8).collect();
    let sent = data.clone();
    let writer = std::thread::spawn(move || stdin.write_all(&sent));
    let mut back = Vec::new();
    cat.stdout.take().expect("a pipe").read_to_end(&mut back).expect("it can be read");
    writer.join().expect("no panic").expect("all was taken");
    assert!(back == data, "{} of {} bytes came back", back.len(), data.len());
    assert!(cat.wait().expect("it ends").success());

    // A grandchild in a session of its own, whose parent has gone.
    let script = "setsid sleep 54321 >/dev/null 2>&1 </dev/null & exit 0";
    cluster.dawn(&["task", "exec", NAME, "--", "sh", "-c", script]).succeeded();
    cluster.processes_of(&job, 1);
    cluster.end();
}

#[test]
fn a_client_that_vanishes_leaves_no_process() {
    let Some((cluster, job)) = boxed() else { return };
    let mut client = beside(&cluster, &["task", "exec", NAME, "--", "sh", "-c", "sleep 65432 & cat; sleep 65432"]);
    cluster.eventually("the command runs", Patience::STEP, || {
        let count = marked(&cluster.mark(&job)).len();
        if count >= 4 { Ok(()) } else { Err(format!("{count} processes")) }
    });
    client.kill().expect("it can be killed");
    client.wait().expect("it was killed");
    cluster.processes_of(&job, 1);
    // An agent that is killed in the middle leaves none either, and the task runs on.
    let mut client = beside(&cluster, &["task", "exec", NAME, "--", "sleep", "76543"]);
    cluster.processes_of(&job, 2);
    cluster.agents[0].kill_9();
    cluster.processes_of(&job, 1);
    client.wait().expect("it ends with its session");
    cluster.agents[0].start();
    cluster.agents_are_up(1);
    assert_eq!(cluster.running(&job, 1)[0].attempt, 1, "the task was left alone");
    cluster.end();
}

/// A terminal with `dawn` on it: the master, to be read and written.
fn on_terminal(cluster: &Cluster, args: &[&str]) -> (std::fs::File, Child) {
    let size = nix::pty::Winsize { ws_row: 33, ws_col: 77, ws_xpixel: 0, ws_ypixel: 0 };
    let pty = nix::pty::openpty(Some(&size), None).expect("a terminal");
    let mut command = Command::new(cluster::path());
    command.args(["--scheduler", &cluster.address().to_string()]).args(args).env("TERM", "vt100");
    let slave = |fd: &OwnedFd| Stdio::from(fd.as_fd().try_clone_to_owned().expect("another handle"));
    command.stdin(slave(&pty.slave)).stdout(slave(&pty.slave)).stderr(slave(&pty.slave));
    // SAFETY: system calls only.
    unsafe {
        command.pre_exec(|| {
            nix::unistd::setsid()?;
            if nix::libc::ioctl(0, nix::libc::TIOCSCTTY as _, 0) < 0 {
                return Err(std::io::Error::last_os_error());
            }
            Ok(())
        });
    }
    let child = command.spawn().expect("dawn starts");
    (std::fs::File::from(pty.master), child)
}

/// Reads until `wanted` was seen.
fn expect(terminal: &mut std::fs::File, wanted: &str) -> String {
    let mut seen = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let text = String::from_utf8_lossy(&seen).into_owned();
        if text.contains(wanted) {
            return text;
        }
        let mut ready = [nix::poll::PollFd::new(terminal.as_fd(), nix::poll::PollFlags::POLLIN)];
        let polled = nix::poll::poll(&mut ready, 20_000u16).expect("it can be polled");
        assert!(polled > 0, "{wanted:?} does not come: {text:?}");
        let got = terminal.read(&mut buffer).unwrap_or(0);
        assert!(got > 0, "the terminal ended before {wanted:?}: {text:?}");
        seen.extend_from_slice(&buffer[..got]);
    }
}

#[test]
fn a_terminal_has_its_size_its_signals_and_is_put_back() {
    let Some((cluster, job)) = boxed() else { return };
    let (mut terminal, mut client) = on_terminal(&cluster, &["task", "exec", "--terminal", NAME]);
    let before = nix::sys::termios::tcgetattr(terminal.as_fd());
    terminal.write_all(b"echo size=$(stty size) term=$TERM tty=$(tty)\n").expect("it takes keys");
    let seen = expect(&mut terminal, "tty=/dev/pts/");
    assert!(seen.contains("size=33 77 term=vt100"), "{seen:?}");
    let size = nix::libc::winsize { ws_row: 11, ws_col: 22, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: an open terminal and a valid structure.
    let told = unsafe { nix::libc::ioctl(std::os::fd::AsRawFd::as_raw_fd(&terminal), nix::libc::TIOCSWINSZ, &size) };
    assert_eq!(told, 0);
    // The new size is on its way beside the keys.
    terminal.write_all(b"until [ \"$(stty size)\" = '11 22' ]; do :; done; echo re''sized\n").expect("it takes keys");
    expect(&mut terminal, "resized");
    terminal.write_all(b"sleep 43210\n").expect("it takes keys");
    cluster.eventually("the sleep runs", Patience::STEP, || {
        let found = processes().into_iter().any(|process| process.command == "sleep 43210");
        if found { Ok(()) } else { Err("no sleep".to_string()) }
    });
    terminal.write_all(b"\x03").expect("it takes keys");
    terminal.write_all(b"echo code=$?\n").expect("it takes keys");
    expect(&mut terminal, "code=130");
    terminal.write_all(b"exit 5\n").expect("it takes keys");
    assert_eq!(client.wait().expect("it ends").code(), Some(5));
    let after = nix::sys::termios::tcgetattr(terminal.as_fd());
    assert!(before.is_ok() == after.is_ok());
    if let Ok(after) = after {
        assert!(after.local_flags.contains(nix::sys::termios::LocalFlags::ECHO), "raw mode was left on");
    }
    cluster.processes_of(&job, 1);
    cluster.end();
}

#[test]
fn files_are_listed_printed_and_copied_and_no_path_leaves_the_sandbox() {
    let Some((cluster, _job)) = boxed() else { return };
    let exec = |script: &str| cluster.dawn(&["task", "exec", NAME, "--", "sh", "-c", script]).succeeded();
    exec(
        "ln -s /etc/passwd out; ln -s ../../../../../../../etc up; ln -s /hello in; mkfifo pipe; echo deep > sub/deep",
    );
    let list = cluster.dawn(&["--json", "task", "ls", NAME]).succeeded().json();
    let names: Vec<&str> = list["files"].as_array().expect("files").iter().filter_map(|f| f["name"].as_str()).collect();
    assert_eq!(names, ["hello", "in", "out", "pipe", "sub", "up"]);
    assert!(cluster.dawn(&["task", "ls", NAME]).succeeded().stdout.contains("out -> /etc/passwd"));
    assert_eq!(cluster.dawn(&["task", "cat", NAME, "hello"]).succeeded().stdout, "hi\n");
    assert_eq!(cluster.dawn(&["task", "cat", NAME, "/in"]).succeeded().stdout, "hi\n", "an absolute link stays inside");
    assert_eq!(cluster.dawn(&["task", "cat", NAME, "../../../sub/../hello"]).succeeded().stdout, "hi\n");
    for path in ["out", "up/passwd", "/etc/passwd", "../plan", "../../../../../etc/passwd", "pipe", "sub", "none"] {
        let output = cluster.dawn(&["task", "cat", NAME, path]);
        assert!(output.code == FAILED && output.stdout.is_empty(), "{path}: {output:?}");
    }
    let folder = tempfile::tempdir().expect("a temporary directory");
    let here = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    // Bigger than everything on the way together may hold.
    let big: Vec<u8> = (0..20_000_000u32).map(|n| (n * 31 % 253) as u8).collect();
    std::fs::write(here("big"), &big).expect("it can be written");
    cluster.dawn(&["task", "cp", &here("big"), &format!("{NAME}:sub/")]).succeeded();
    assert_eq!(exec("stat -c '%U %s' sub/big").stdout, "nobody 20000000\n");
    cluster.dawn(&["task", "cp", &format!("{NAME}:sub/big"), &here("back")]).succeeded();
    assert!(std::fs::read(here("back")).expect("it was copied") == big);
    cluster.dawn(&["task", "cp", "-r", &format!("{NAME}:/sub"), &here("tree")]).succeeded();
    assert_eq!(std::fs::read_to_string(here("tree/deep")).expect("it was copied"), "deep\n");
    cluster.dawn(&["task", "cp", "-r", &here("tree"), &format!("{NAME}:copy")]).succeeded();
    assert_eq!(exec("cat copy/deep").stdout, "deep\n");
    // A link in the way is replaced, not written through.
    exec("ln -s hello way");
    cluster.dawn(&["task", "cp", &here("tree/deep"), &format!("{NAME}:way")]).succeeded();
    assert_eq!(exec("cat hello way; ls -A | grep -c dawn || true").stdout, "hi\ndeep\n0\n");
    cluster.end();
}

#[test]
fn a_dead_task_and_a_vanished_sandbox_are_told_in_words() {
    let Some(cluster) = Cluster::start(Plan::of(1)) else { return };
    let job = cluster.submit(batch("done").shell("echo result > file"));
    let task = cluster.tasks_in(&job, dawn_proto::v1::TaskState::Finished, 1, Patience::STEP).remove(0);
    let id = format!("t{}", task.id);
    let output = cluster.dawn(&["task", "exec", &id, "--", "true"]);
    assert!(output.code == FAILED && output.stderr.contains("has ended"), "{output:?}");
    assert_eq!(cluster.dawn(&["task", "cat", &id, "file"]).succeeded().stdout, "result\n", "files stay readable");
    let sandbox = cluster.folder().join(format!("node0/tasks/{id}/sandbox"));
    std::fs::remove_dir_all(&sandbox).expect("it is there");
    for command in [["task", "ls", &id, "/"], ["task", "cat", &id, "file"]] {
        let output = cluster.dawn(&command);
        assert!(output.code == FAILED && output.stderr.contains("is gone"), "{output:?}");
    }
    let output = cluster.dawn(&["task", "ls", "t999"]);
    assert!(output.code == Some(3) && output.stderr.contains("t999"), "{output:?}");
    cluster.end();
}

#[test]
fn a_port_is_forwarded_and_usage_is_seen() {
    let Some(cluster) = Cluster::start(Plan::of(1)) else { return };
    // Answers each connection with what it was sent, turned around.
    let server = "use IO::Socket::INET; $s = IO::Socket::INET->new(LocalAddr => '127.0.0.1', \
                  LocalPort => $ENV{DAWN_PORT_HTTP}, Listen => 5, ReuseAddr => 1) or die; \
                  while ($c = $s->accept) { while (<$c>) { chomp; print $c scalar reverse($_), \"\\n\" } close $c }";
    let job = cluster.submit(service("box").port("http", 0).argv(&["perl", "-e", server]));
    cluster.running(&job, 1);
    let mut forward = beside(&cluster, &["--json", "task", "port-forward", NAME, "http"]);
    let mut text = String::new();
    let stdout = forward.stdout.as_mut().expect("a pipe");
    while !text.trim_end().ends_with('}') {
        let mut byte = [0];
        assert_eq!(stdout.read(&mut byte).expect("it can be read"), 1, "{text}");
        text.push(byte[0].into());
    }
    let said: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let address = said["listen"].as_str().expect("an address").to_string();
    let answer = cluster.eventually("an answer comes through", Patience::STEP, || {
        let mut stream = std::net::TcpStream::connect(&address).map_err(|error| error.to_string())?;
        stream.write_all(b"dawn\nrises\n").map_err(|error| error.to_string())?;
        stream.shutdown(std::net::Shutdown::Write).map_err(|error| error.to_string())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).map_err(|error| error.to_string())?;
        if answer.is_empty() { Err("nothing".to_string()) } else { Ok(answer) }
    });
    assert_eq!(answer, "nwad\nsesir\n");
    forward.kill().expect("it runs");
    forward.wait().expect("it was killed");

    cluster.dawn(&["task", "exec", NAME, "--", "sh", "-c", "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done"]);
    let stats = cluster.dawn(&["--json", "task", "stats", NAME]).succeeded().json();
    let usage = &stats["usage"];
    assert!(usage["cpu_usec"].as_u64().is_some_and(|usec| usec > 10_000), "{usage}");
    let memory = usage["memory_bytes"].as_u64().expect("counted");
    assert!(memory > 0 && usage["memory_peak_bytes"].as_u64().is_none_or(|peak| peak >= memory), "{usage}");
    assert_eq!((usage["memory_limit_bytes"].as_u64(), usage["job"].as_str()), (Some(32 << 20), Some(NAME)), "{usage}");
    assert!(usage["pids"].as_u64().is_some_and(|pids| pids >= 1), "{usage}");
    let shown = cluster.dawn(&["task", "stats", NAME]).succeeded().stdout;
    let disk = usage["disk_bytes"].as_u64().expect("looked at");
    let limit = usage["disk_limit_bytes"].as_u64().expect("limited");
    assert!(disk < limit && usage["disk_cut"] == false, "{usage}");
    let taken = cluster.dawn(&["task", "exec", NAME, "--", "sh", "-c", "head -c 4194304 /dev/zero > taken"]);
    taken.succeeded();
    cluster.eventually("what was written is seen", Patience::STEP, || {
        let stats = cluster.dawn(&["--json", "task", "stats", NAME]).succeeded().json();
        let now = stats["usage"]["disk_bytes"].as_u64().unwrap_or_default();
        (now >= disk + (4 << 20)).then_some(()).ok_or(stats.to_string())
    });
    assert!(shown.lines().any(|line| line.starts_with("disk ") && line.contains(" of ")), "{shown}");
    let processes = shown.lines().find(|line| line.starts_with("processes")).unwrap_or_default();
    assert!(processes.ends_with(" of 1024"), "the limit stands beside the number: {shown}");
    let top = cluster.dawn(&["--json", "top", "--once"]).succeeded().json();
    assert_eq!((top["answering"].as_u64(), top["usage"][0]["job"].as_str()), (Some(1), Some(NAME)), "{top}");
    let node = cluster.dawn(&["--json", "node", "status", "node0"]).succeeded().json();
    assert!(node["keeping"]["sandbox_limit_bytes"].as_u64().is_some_and(|bytes| bytes > 0), "{node}");
    cluster.end();
}
