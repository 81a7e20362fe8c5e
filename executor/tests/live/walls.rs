//! What keeps a task to itself: namespaces, mounts, filters, limits. As root; others have fewer walls, which is said.

use std::fs;
use std::path::Path;

use dawn_proto::v1::{self, NamespaceUse, Reason, TaskState};

use crate::groups::Use;
use crate::rig::{Rig, lives, shell, until};
use crate::skip::skip;

pub fn is_root() -> bool {
    let is_root = nix::unistd::geteuid().is_root();
    if !is_root {
        skip("namespaces need root");
    }
    is_root
}

/// Runs `line` as `uid`; what it said on standard output, and the end.
fn run(line: &str, uid: u32, change: impl FnOnce(&mut v1::Isolation)) -> (String, v1::TaskChanged) {
    run_in(Rig::new(vec![shell("main", line)]), uid, change)
}

/// As above, a rig that is there already.
pub fn run_in(mut rig: Rig, uid: u32, change: impl FnOnce(&mut v1::Isolation)) -> (String, v1::TaskChanged) {
    let mut isolation = v1::Isolation { namespaces: NamespaceUse::Required.into(), ..Default::default() };
    change(&mut isolation);
    rig.task().isolation = Some(isolation);
    rig.belongs_to(uid);
    rig.start();
    let end = rig.ends();
    let said = rig.read_log("main.stdout");
    assert!(end.state() == TaskState::Finished || end.reason() != Reason::ExecFailed, "{end:?} {}", rig.notes());
    (said + &rig.read_log("main.stderr"), end)
}

#[test]
fn a_task_sees_only_its_own_processes_and_directories() {
    if !is_root() {
        return;
    }
    let outside = tempfile::NamedTempFile::new_in("/tmp").unwrap();
    let line = format!(
        "ls /proc | grep -c '^[0-9]'; test -e {} || echo hidden; echo x > /tmp/mine; echo y > /var/tmp/mine; \
         echo z > /dev/shm/mine; pwd; hostname changed 2> /dev/null || echo kept; ls -d /tmp /dev/shm",
        outside.path().display()
    );
    let (said, end) = run(&line, 0, |_| {});
    assert_eq!(end.state(), TaskState::Finished, "{said}");
    let lines: Vec<&str> = said.lines().collect();
    assert!(lines[0].parse::<u32>().unwrap() <= 5, "{said}");
    assert_eq!((lines[1], lines[3]), ("hidden", "kept"), "{said}");
    for place in ["/tmp/mine", "/var/tmp/mine", "/dev/shm/mine"] {
        assert!(!Path::new(place).exists(), "{place}");
    }
}

/// Not every small kernel has it.
fn has_seccomp() -> bool {
    fs::read_to_string("/proc/self/status").unwrap().contains("\nSeccomp:")
}

#[test]
fn system_settings_and_groups_are_out_of_reach_even_for_root() {
    if !is_root() {
        return;
    }
    let line = "for f in /proc/sys/kernel/hostname /proc/sysrq-trigger /sys/kernel/mm/ksm/run; do \
                test -e $f || continue; echo x 2> /dev/null > $f && echo wrote $f; done; \
                mount -t tmpfs x /mnt 2> /dev/null && echo mounted; unshare -m true 2> /dev/null && echo unshared; \
                for d in /sys/fs/cgroup/*/; do mkdir $d/dawn-escape 2> /dev/null && echo made $d; done; \
                grep CapEff /proc/self/status; grep -E 'NoNewPrivs|^Seccomp:' /proc/self/status";
    let (said, _) = run(line, 0, |_| {});
    let filter = if has_seccomp() { "Seccomp:\t2\n" } else { "" };
    assert_eq!(said, format!("CapEff:\t00000000000404fb\nNoNewPrivs:\t1\n{filter}"));
    let (said, _) = run("grep -E 'CapEff|^Seccomp:' /proc/self/status", 0, |isolation| {
        (isolation.no_seccomp, isolation.keep_capabilities) = (true, true);
    });
    assert!(!said.contains("404fb") && !said.contains("Seccomp:\t2"), "{said}");
}

#[test]
fn a_file_can_not_be_taken_out_of_the_quota_that_holds_its_task() {
    // FS_IOC_FSSETXATTR, FS_IOC_SETFLAGS, file_setattr; and what only asks: FS_IOC_GETFLAGS.
    let line = "perl -e 'open(F, \"<\", \".\"); my $b = \"\\0\" x 32; \
                for my $r (0x401c5820, 0x40086602) { print ioctl(F, $r, $b) ? \"done \" : ($!+0).\" \" } \
                print syscall(469, -1, $b, $b, 24, 0) == -1 ? ($!+0).\" \" : \"done \"; \
                print ioctl(F, 0x80086601, $b) || $! != 1 ? \"asked\" : \"refused\"'";
    let (said, end) = run(line, 54_321, |_| {});
    if has_seccomp() {
        assert_eq!(said, "1 1 1 asked", "{end:?}");
    }
    let (said, end) = run(line, 54_321, |isolation| isolation.no_seccomp = true);
    assert!(said.ends_with("asked") && !said.starts_with("1 1 1"), "{said} {end:?}");
}

#[test]
fn another_user_has_no_capabilities_and_none_of_the_agents_groups() {
    if !is_root() {
        return;
    }
    let (said, end) = run("id -u; id -G; grep CapEff /proc/self/status; touch here && stat -c %u here", 54_321, |_| {});
    assert_eq!(said, "54321\n54321\nCapEff:\t0000000000000000\n54321\n", "{end:?}");
}

#[test]
fn a_read_only_system_leaves_the_sandbox_and_temporary_directories() {
    if !is_root() {
        return;
    }
    let line = "for d in . /tmp /var/tmp /dev/shm /etc /usr /var /root; do touch $d/dawn-test 2> /dev/null && echo $d; done; true";
    let (said, _) = run(line, 0, |isolation| isolation.read_only_system = true);
    assert_eq!(said, ".\n/tmp\n/var/tmp\n/dev/shm\n");
}

#[test]
fn limits_of_processes_are_set_and_bad_ones_are_told() {
    let mut rig = Rig::new(vec![shell("main", "ulimit -n; ulimit -c")]);
    rig.task().isolation = Some(v1::Isolation { rlimits: [("nofile".to_string(), 77)].into(), ..Default::default() });
    rig.start();
    assert_eq!(rig.ends().state(), TaskState::Finished);
    assert_eq!(rig.read_log("main.stdout"), "77\n0\n");
    let mut rig = Rig::new(vec![shell("main", "true")]);
    let rlimits = [("nofile".to_string(), u64::MAX - 1)].into();
    rig.task().isolation = Some(v1::Isolation { rlimits, ..Default::default() });
    rig.start();
    let end = rig.ends();
    let expected = "process main was not started: set rlimit nofile to 18446744073709551614: Operation not permitted";
    assert_eq!((end.reason(), end.message.as_str()), (Reason::ExecFailed, expected));
}

#[test]
fn only_the_tasks_own_ports_can_be_bound() {
    let free = || std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let (own, other) = (free(), free());
    let bind = |port: u16| {
        format!(
            "perl -MIO::Socket::INET -e 'exit !IO::Socket::INET->new(Listen => 1, LocalAddr => \"127.0.0.1:{port}\")' \
             && echo bound"
        )
    };
    let mut rig = Rig::new(vec![shell("main", &format!("{}; {}; {}; true", bind(own), bind(other), bind(0)))]);
    rig.plan.ports = vec![v1::AssignedPort { name: "http".into(), port: own.into() }];
    rig.task().isolation = Some(v1::Isolation { enforce_ports: true, ..Default::default() });
    rig.start();
    let end = rig.ends();
    if end.reason() == Reason::ExecFailed {
        assert!(end.message.contains("enforce ports"), "{}", end.message);
        return skip("this kernel has no way to enforce ports");
    }
    assert_eq!(rig.read_log("main.stdout"), "bound\nbound\n");
}

#[test]
fn whoever_forks_twice_and_leaves_its_session_ends_with_the_task() {
    for grouped in [true, false] {
        // Orphans of the namespace go to its first process, which buries them.
        let line = "(setsid sh -c 'sleep 1000 & echo $! > inside; sleep 0.01' &) ; \
                    i=0; while test $i -lt 50; do (true &); i=$((i+1)); done; touch up; exec sleep 1000";
        let processes = vec![shell("main", line)];
        let mut rig = match grouped {
            true => match Rig::grouped(processes, Use::Usual, 0, 0) {
                Some(rig) => rig,
                None => return,
            },
            false => Rig::new(processes),
        };
        rig.start();
        until("it is up", || rig.sandbox("up").exists() && rig.read_sandbox("inside").ends_with('\n'));
        let pids = sleepers(&rig.plan.sandbox);
        assert!(pids.len() >= 2, "{pids:?}");
        until("orphans are buried", || zombies_below(&pids) == 0);
        rig.kill(Reason::UserRequest, Some(100));
        assert_eq!(rig.ends().state(), TaskState::Killed);
        assert!(pids.iter().all(|pid| !lives(*pid)), "{pids:?}");
    }
}

/// What moves the process that runs it into the groups above its own, as far as it is let.
fn leave(dirs: &[std::path::PathBuf]) -> String {
    let tries = dirs.iter().map(|dir| dir.parent().unwrap().join("cgroup.procs"));
    let tries = tries.map(|file| format!("(echo $$ > {}) 2> /dev/null && echo left; ", file.display()));
    tries.collect()
}

#[test]
fn nobody_leaves_the_groups_of_its_task() {
    if !is_root() {
        return;
    }
    let Some(mut rig) = Rig::grouped(Vec::new(), Use::Usual, 0, 0) else { return };
    let groups = rig.groups.as_ref().unwrap();
    let line = format!("{} cat /proc/self/cgroup > groups; touch up; exec sleep 1000", leave(&groups.dirs));
    let (count, name) = (groups.dirs.len(), groups.dirs[0].file_name().unwrap().to_str().unwrap().to_string());
    rig.task().processes = vec![shell("main", &line)];
    rig.start();
    until("it has tried", || rig.sandbox("up").exists());
    assert_eq!(rig.read_log("main.stdout"), "");
    let held = rig.read_sandbox("groups").lines().filter(|line| line.ends_with(&name)).count();
    assert_eq!(held, count, "{}", rig.read_sandbox("groups"));
    rig.kill(Reason::UserRequest, Some(100));
    assert_eq!(rig.ends().state(), TaskState::Killed);
}

/// Processes whose working directory this is.
fn sleepers(sandbox: &str) -> Vec<i32> {
    let pids = fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid: &i32| fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| cwd == Path::new(sandbox)))
        .collect()
}

/// Zombies in the pid namespaces of these processes.
fn zombies_below(pids: &[i32]) -> usize {
    let namespace = |pid: i32| fs::read_link(format!("/proc/{pid}/ns/pid")).ok();
    let theirs: Vec<_> = pids.iter().filter_map(|pid| namespace(*pid)).collect();
    let all = fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let is_zombie = |pid: &i32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.rsplit_once(')').is_some_and(|(_, rest)| rest.trim_start().starts_with('Z'))
    };
    all.filter(|pid| is_zombie(pid) && namespace(*pid).is_some_and(|one| theirs.contains(&one))).count()
}

#[test]
fn final_processes_find_what_the_others_left_in_tmp() {
    if !is_root() {
        return;
    }
    // In groups too: those that are killed to the last of the others are the same that the final ones come into.
    for (grouped, namespaces) in
        [(false, NamespaceUse::Required), (true, NamespaceUse::Required), (true, NamespaceUse::None)]
    {
        let left = if namespaces == NamespaceUse::None { "left" } else { "/tmp/left" };
        let mut last = shell("last", &format!("cat {left}"));
        last.r#final = true;
        let processes = vec![shell("main", &format!("echo here > {left}; setsid sleep 1000 & true")), last];
        let mut rig = match grouped {
            true => match Rig::grouped(processes, Use::Usual, 0, 0) {
                Some(rig) => rig,
                None => return,
            },
            false => Rig::new(processes),
        };
        rig.task().isolation = Some(v1::Isolation { namespaces: namespaces.into(), ..Default::default() });
        rig.start();
        let end = rig.ends();
        assert_eq!((end.state(), rig.read_log("last.stdout").as_str()), (TaskState::Finished, "here\n"), "{end:?}");
    }
}

#[test]
fn a_directory_above_its_disk_limit_ends_the_task_with_the_amounts() {
    let mut rig =
        Rig::new(vec![shell("main", "for i in 1 2; do head -c 1572864 /dev/zero > big$i; done; exec sleep 1000")]);
    rig.plan.disk_limit_bytes = 2 << 20;
    rig.start();
    let end = rig.ends();
    assert_eq!((end.state(), end.reason()), (TaskState::Failed, Reason::DiskLimit));
    assert!(
        end.message.starts_with("disk limit: ") && end.message.ends_with(" used, 2 MiB allowed"),
        "{}",
        end.message
    );
}

#[test]
fn a_task_brings_its_own_root_and_leaves_the_layers_as_they_were() {
    if !is_root() {
        return;
    }
    if !fs::read_to_string("/proc/filesystems").unwrap().contains("overlay") {
        return skip("this kernel has no overlayfs");
    }
    let (lower, upper) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for dir in ["bin", "lib", "lib64", "etc", "data"] {
        fs::create_dir(lower.path().join(dir)).unwrap();
    }
    copy_with_libraries("/bin/sh", lower.path());
    copy_with_libraries("/bin/cat", lower.path());
    copy_with_libraries("/bin/ls", lower.path());
    // A link that would lead out, where the runtime is going to mount.
    std::os::unix::fs::symlink("/etc", lower.path().join("tmp")).unwrap();
    fs::write(lower.path().join("data/which"), "lower").unwrap();
    fs::write(upper.path().join("name"), "upper").unwrap();
    fs::create_dir(upper.path().join("data")).unwrap();
    fs::write(upper.path().join("data/which"), "upper").unwrap();
    let line = "cat /data/which /name; echo changed > /data/which; echo here > file; ls /home 2> /dev/null; \
                echo > /dev/null; cat /proc/1/comm";
    let mut rig = Rig::new(vec![shell("main", line)]);
    rig.plan.root_layers = [&upper, &lower].map(|dir| dir.path().display().to_string()).to_vec();
    rig.start();
    let end = rig.ends();
    assert_eq!(
        rig.read_log("main.stdout"),
        "upperupperdawn-init\n",
        "{end:?} {} {}",
        rig.notes(),
        rig.read_log("main.stderr")
    );
    assert_eq!((end.state(), rig.read_sandbox("file").as_str()), (TaskState::Finished, "here\n"));
    assert_eq!(fs::read_to_string(upper.path().join("data/which")).unwrap(), "upper");
    assert_eq!(fs::read_dir(lower.path().join("etc")).unwrap().count(), 0, "nothing was made in a layer");
}

/// A program and what it is linked with, at the same places.
pub fn copy_with_libraries(program: &str, root: &Path) {
    let listed = std::process::Command::new("ldd").arg(program).output().unwrap();
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    let libraries = listed.split_whitespace().filter(|word| word.starts_with('/'));
    for file in libraries.chain([program]) {
        let target = root.join(file.trim_start_matches('/'));
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        fs::copy(file, target).unwrap();
    }
}

#[test]
fn a_sandbox_below_the_shared_memory_is_not_hidden_by_the_tasks_own() {
    let shared = Path::new("/dev/shm");
    if !is_root() || !shared.is_dir() {
        return;
    }
    let place = tempfile::tempdir_in(shared).unwrap();
    let mut rig = Rig::new(vec![shell("main", "echo x > kept; ls -A /dev/shm")]);
    rig.plan.sandbox = place.path().display().to_string();
    rig.start();
    let end = rig.ends();
    assert_eq!(end.state(), TaskState::Finished, "{end:?} {}", rig.notes());
    assert_eq!(fs::read_to_string(place.path().join("kept")).unwrap(), "x\n");
    let name = place.path().file_name().unwrap().to_string_lossy().into_owned();
    assert_eq!(rig.read_log("main.stdout").trim(), name, "nothing else of the machine's");
}
