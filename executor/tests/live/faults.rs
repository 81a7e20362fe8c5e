//! What a machine, or somebody on it, does to a task behind its executor's back.

use std::fs;
use std::path::PathBuf;

use dawn_proto::v1::executor_event::Event;
use dawn_proto::v1::{self, Reason, TaskState};
use dawn_proto::write_frame;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use prost::Message;

use crate::groups::Use;
use crate::rig::{Rig, lives, shell, until};
use crate::skip::skip;

/// What the executor reserves for its log of events before the task starts.
const RESERVED_BYTES: u64 = 16 << 10;

/// The end of a process keeps the last of what the process wrote.
const LAST_WORDS_BYTES: u64 = 2_000;

/// A process that fails as many times as it is told, and says much each time.
fn failing(runs: u32) -> v1::ProcessSpec {
    // No process beside the shell: on a slow machine hundreds of them take their time.
    let line = format!("echo {} >&2; exit 7", "x".repeat(LAST_WORDS_BYTES as usize - 1));
    v1::ProcessSpec { max_failures: runs, min_duration_ms: 1, ..shell("many", &line) }
}

/// How often it has to fail until the log of events is all but full. The size of an event depends on the machine: on how
/// large its process ids are, and on how long it has been up.
fn runs_that_fill_the_log() -> u32 {
    let told = |runs| {
        let mut rig = Rig::new(vec![failing(runs)]);
        rig.start();
        rig.ends();
        fs::metadata(rig.meta("events")).unwrap().len()
    };
    // From 128 on, the numbers of runs and of events take two bytes.
    let (few, more) = (told(130), told(140));
    let per_run = (more - few) as f64 / 10.0;
    let wanted = RESERVED_BYTES - LAST_WORDS_BYTES / 2;
    130 + ((wanted - (few - LAST_WORDS_BYTES)) as f64 / per_run) as u32
}

/// A file system of a few bytes; gone with the test.
struct Small(PathBuf);

impl Small {
    /// None, with a loud word, without the right to mount.
    fn mount(place: &str, bytes: u64) -> Option<Small> {
        let options = format!("size={bytes}");
        match mount(Some("small"), place, Some("tmpfs"), MsFlags::empty(), Some(options.as_str())) {
            Ok(()) => Some(Small(place.into())),
            Err(errno) => {
                skip(&format!("no mounts can be made: {errno}"));
                None
            }
        }
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        umount2(&self.0, MntFlags::MNT_DETACH).unwrap();
    }
}

#[test]
fn a_full_disk_is_the_tasks_own_trouble_and_its_end_is_told() {
    let runs = runs_that_fill_the_log();
    // More is to be told after that than the page that the log has begun could take.
    // What it says last has no room beside its end.
    let many = v1::ProcessSpec { after: vec!["main".into()], ..failing(runs) };
    let line = "head -c 9000000 /dev/zero > big 2> /dev/null; test -s big";
    let mut rig = Rig::new(vec![shell("main", line), many]);
    // Sandbox and executor share the disk, as in life.
    let Some(_small) = Small::mount(rig.root().to_str().unwrap(), 2 << 20) else { return };
    for dir in [rig.plan.sandbox.clone(), rig.plan.meta.clone()] {
        fs::create_dir(dir).unwrap();
    }
    rig.start();
    let end = rig.ends();
    assert_eq!((end.state(), end.reason(), end.exit_code), (TaskState::Failed, Reason::Exited, Some(7)));
    assert!(fs::metadata(rig.sandbox("big")).unwrap().len() < 2 << 20);
    let told = fs::metadata(rig.meta("events")).unwrap().len();
    // The last end has room in what the log has reserved, without the last words alone.
    assert!((RESERVED_BYTES - LAST_WORDS_BYTES..RESERVED_BYTES).contains(&told), "{told} bytes");
    assert_eq!(rig.starts().len(), 1 + runs as usize);
}

#[test]
fn a_task_whose_groups_were_taken_away_can_still_be_ended() {
    for use_ in [Use::Usual, Use::V1Alone] {
        let line = "trap '' TERM; while :; do sleep 0.05; done";
        let Some(mut rig) = Rig::grouped(vec![shell("main", line), shell("other", "exec sleep 1000")], use_, 0, 0)
        else {
            return;
        };
        rig.task().processes[1].daemon = true;
        rig.start();
        rig.until_state(TaskState::Running);
        let pids: Vec<i32> = rig.pids();
        let groups = rig.groups.as_ref().unwrap();
        until("the groups are gone", || {
            for dir in groups.dirs.clone() {
                for pid in fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default().lines() {
                    let _ = fs::write(dir.parent().unwrap().join("cgroup.procs"), pid);
                }
                let _ = fs::remove_dir(&dir);
            }
            groups.dirs.iter().all(|dir| !dir.exists())
        });
        rig.kill(Reason::UserRequest, Some(50));
        assert_eq!(rig.ends().state(), TaskState::Killed);
        assert!(pids.iter().all(|pid| !lives(*pid)), "{pids:?}");
    }
}

#[test]
fn a_pid_that_is_somebody_elses_by_now_is_left_alone() {
    let mut rig = Rig::new(vec![shell("main", "exec sleep 1000")]);
    rig.write_plan();
    let own = std::process::id() as i32;
    let events = [
        Event::Started(v1::ExecutorStarted { pid: own, start_ticks: 1, generation: 1 }),
        Event::TaskChanged(v1::TaskChanged { state: TaskState::Starting.into(), ..Default::default() }),
        // This very process, which did not start then.
        Event::ProcessStarted(v1::ProcessStarted { name: "main".into(), pid: own, start_ticks: 1, run: 1 }),
    ];
    let mut log = fs::File::create(rig.meta("events")).unwrap();
    for (sequence, event) in (1..).zip(events) {
        let event = v1::ExecutorEvent { sequence, at_ms: 1, event: Some(event) };
        write_frame(&mut log, &event.encode_to_vec()).unwrap();
    }
    drop(log);
    rig.start_again();
    let end = rig.ends();
    assert_eq!((end.state(), end.reason()), (TaskState::Lost, Reason::ExecutorLost));
}

#[test]
fn a_jump_of_the_clock_moves_no_health_check() {
    if std::env::var_os("DAWN_V2_LIST").is_none() {
        // Only a machine of one's own may have its clock moved: this runs in tests/on-cgroup-v2.
        return;
    }
    let mut rig = Rig::new(vec![shell("web", "exec sleep 1000")]);
    rig.task().health = Some(v1::HealthCheck {
        probe: Some(v1::health_check::Probe::Shell("echo x >> checks".into())),
        interval_ms: 50,
        timeout_ms: 20_000,
        max_failures: 1,
        ..Default::default()
    });
    rig.start();
    rig.until_state(TaskState::Running);
    for jump_s in [86_400, -172_800, 86_400] {
        let now = nix::time::clock_gettime(nix::time::ClockId::CLOCK_REALTIME).unwrap();
        let moved = nix::sys::time::TimeSpec::new(now.tv_sec() + jump_s, 0);
        nix::time::clock_settime(nix::time::ClockId::CLOCK_REALTIME, moved).unwrap();
        let before = rig.read_sandbox("checks").len();
        until("the checks go on", || rig.read_sandbox("checks").len() > before + 4);
    }
    assert_eq!(rig.states(), [TaskState::Starting, TaskState::Running]);
    rig.kill(Reason::UserRequest, None);
    assert_eq!(rig.ends().state(), TaskState::Killed);
}
