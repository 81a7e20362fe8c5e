//! A task's plain life: exit codes, signals, what does not start, surroundings.

use dawn_proto::v1::{self, Reason, TaskState};

use crate::groups::Use;
use crate::rig::{Rig, shell};
use crate::skip::skip;

#[test]
fn a_process_succeeds_in_its_groups() {
    let line = "cat /proc/self/cgroup > where; echo out; echo err >&2";
    let Some(mut rig) = Rig::grouped(vec![shell("main", line)], Use::Usual, 0, 0) else { return };
    rig.start();
    let end = rig.ends();
    assert_eq!((end.state(), end.reason(), end.exit_code), (TaskState::Finished, Reason::None, Some(0)));
    assert_eq!(rig.states(), [TaskState::Starting, TaskState::Running, TaskState::Finished]);
    assert_eq!(rig.starts(), [("main".to_string(), 1)]);
    assert_eq!(rig.events().len(), 7);
    assert_eq!((rig.read_log("main.stdout").as_str(), rig.read_log("main.stderr").as_str()), ("out\n", "err\n"));
    let name = rig.groups.as_ref().unwrap().dirs[0].file_name().unwrap().to_str().unwrap().to_string();
    let inside = rig.read_sandbox("where").lines().filter(|line| line.ends_with(&name)).count();
    assert_eq!(inside, rig.groups.as_ref().unwrap().dirs.len(), "{}", rig.read_sandbox("where"));
    assert!(!rig.meta("socket").exists());
}

#[test]
fn exit_codes_and_signals_are_told_apart() {
    let mut rig = Rig::new(vec![shell("web", "exit 3")]);
    rig.start();
    let end = rig.ends();
    assert_eq!((end.state(), end.reason(), end.exit_code), (TaskState::Failed, Reason::Exited, Some(3)));
    assert_eq!(end.message, "process web ended with exit code 3");

    let mut rig = Rig::new(vec![shell("web", "kill -SEGV $$")]);
    rig.start();
    let end = rig.ends();
    assert_eq!((end.state(), end.reason(), end.exit_code), (TaskState::Failed, Reason::Signaled, None));
    assert_eq!(end.message, "process web was killed by SIGSEGV");
    let exit = rig.exit_of("web");
    assert_eq!((exit.exit_code, exit.signal, exit.out_of_memory), (None, Some(11), false));
}

#[test]
fn what_cannot_start_says_why() {
    let argv = |argv: &[&str]| v1::ProcessSpec {
        name: "web".into(),
        argv: argv.iter().map(ToString::to_string).collect(),
        ..Default::default()
    };
    let cases = [
        (argv(&["/bin/nope"]), "exec /bin/nope: No such file or directory"),
        (argv(&["/etc/passwd"]), "exec /etc/passwd: Permission denied"),
        (argv(&["nope-at-all"]), "exec nope-at-all: not found in PATH "),
    ];
    for (spec, expected) in cases {
        let mut rig = Rig::new(vec![spec]);
        rig.start();
        let end = rig.ends();
        assert_eq!((end.state(), end.reason()), (TaskState::Failed, Reason::ExecFailed));
        assert!(end.message.starts_with(&format!("process web was not started: {expected}")), "{}", end.message);
        assert!(rig.exit_of("web").start_error.starts_with(expected));
        assert_eq!(rig.states(), [TaskState::Starting, TaskState::Failed]);
        assert_eq!(rig.starts(), []);
    }
}

#[test]
fn a_group_or_sandbox_that_is_gone_starts_nothing() {
    let mut rig = Rig::new(vec![shell("web", "touch ran")]);
    rig.plan.cgroup = Some(v1::CgroupPlan { join: vec!["/sys/fs/cgroup/pids/dawn-gone".into()], ..Default::default() });
    rig.start();
    let end = rig.ends();
    assert_eq!(
        end.message,
        "process web was not started: cgroup /sys/fs/cgroup/pids/dawn-gone: No such file or directory"
    );
    assert!(!rig.sandbox("ran").exists());

    let mut rig = Rig::new(vec![shell("web", "true")]);
    std::fs::remove_dir(&rig.plan.sandbox).unwrap();
    rig.start();
    let end = rig.ends();
    assert_eq!(
        end.message,
        format!("process web was not started: chdir {}: No such file or directory", rig.plan.sandbox)
    );
}

#[test]
fn a_process_finds_its_surroundings_and_nothing_of_the_agents() {
    let line = "env | sort > env; pwd > pwd; ls -l /proc/self/fd | tail -n +2 | wc -l > fds; umask > umask; \
                grep -E 'Sig(Blk|Ign)|NoNewPrivs' /proc/self/status > status; ulimit -c > core; \
                ps -o pid=,sid= -p $$ > session; echo {{port:http}} {{instance}} {{unknown}} > said";
    let mut rig = Rig::new(vec![shell("main", line)]);
    rig.plan.ports = vec![v1::AssignedPort { name: "http".into(), port: 31_000 }];
    rig.plan.env.insert("LEVEL".into(), "agent".into());
    rig.plan.env.insert("A".into(), "agent {{hostname}}".into());
    rig.task().env.insert("LEVEL".into(), "task".into());
    rig.task().processes[0].env.insert("LEVEL".into(), "process {{task_id}}".into());
    rig.start();
    assert_eq!(rig.ends().state(), TaskState::Finished);
    let env = rig.read_sandbox("env");
    let expected = [
        "A=agent host-1".to_string(),
        "DAWN_ATTEMPT=2".into(),
        "DAWN_FENCE=8".into(),
        "DAWN_HOSTNAME=host-1".into(),
        "DAWN_INSTANCE=3".into(),
        "DAWN_JOB=www/test/web".into(),
        "DAWN_PORT_HTTP=31000".into(),
        "DAWN_TASK_ID=t7".into(),
        format!("HOME={}", rig.plan.sandbox),
        "LEVEL=process t7".into(),
        "LOGNAME=www".into(),
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".into(),
        format!("PWD={}", rig.plan.sandbox),
        "USER=www".into(),
    ];
    let found: Vec<&str> = env.lines().filter(|line| !line.starts_with("_=") && !line.starts_with("OLDPWD")).collect();
    assert_eq!(found, expected);
    assert_eq!(rig.read_sandbox("pwd").trim(), rig.plan.sandbox);
    // 0, 1 and 2, and the one that lists them.
    assert_eq!(rig.read_sandbox("fds").trim(), "4");
    assert_eq!(rig.read_sandbox("umask").trim(), "0022");
    assert_eq!(rig.read_sandbox("core").trim(), "0");
    let status = rig.read_sandbox("status");
    let values: Vec<&str> = status.lines().filter_map(|line| Some(line.split_once(':')?.1.trim())).collect();
    assert_eq!(values, ["0000000000000000", "0000000000000000", "1"], "{status}");
    let session = rig.read_sandbox("session");
    let ids: Vec<&str> = session.split_whitespace().collect();
    assert_eq!(ids[0], ids[1], "a session of its own");
    assert_eq!(rig.read_sandbox("said"), "31000 3 {{unknown}}\n");
}

#[test]
fn a_process_runs_as_the_tasks_user() {
    if !nix::unistd::geteuid().is_root() {
        return skip("only root can become somebody else");
    }
    let mut rig = Rig::new(vec![shell("main", "id -u; id -g; id -G; echo 1 > /proc/self/oom_score_adj; touch file")]);
    (rig.plan.uid, rig.plan.gid, rig.plan.groups) = (12_345, 12_346, vec![12_346, 12_347]);
    nix::unistd::chown(&rig.sandbox("."), Some(12_345.into()), None).unwrap();
    rig.start();
    assert_eq!(rig.ends().state(), TaskState::Finished);
    assert_eq!(rig.read_log("main.stdout"), "12345\n12346\n12346 12347\n");
    assert!(rig.sandbox("file").exists());
}

#[test]
fn a_plan_that_cannot_be_carried_out_is_refused_in_the_event_log() {
    let mut rig = Rig::new(vec![shell("a", "touch ran"), shell("b", "touch ran")]);
    rig.task().processes[0].after = vec!["b".into()];
    rig.task().processes[1].after = vec!["a".into()];
    rig.start();
    let end = rig.ends();
    assert_eq!((end.state(), end.reason()), (TaskState::Failed, Reason::LaunchRefused));
    assert_eq!(end.message, "process a: after \"b\", which waits for it in turn");
    assert_eq!(rig.events().len(), 2);
    assert!(!rig.sandbox("ran").exists());
}
