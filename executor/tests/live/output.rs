//! Output to rotated files.

use std::collections::BTreeMap;

use dawn_proto::v1::{self, Reason, TaskState};
use nix::sys::signal::{Signal, kill};

use crate::rig::{Rig, shell, until};
use crate::skip::skip;

/// Offset and bytes of the segments of a stream.
fn segments(rig: &Rig, stream: &str) -> BTreeMap<u64, Vec<u8>> {
    let prefix = format!("{stream}.");
    let entries = std::fs::read_dir(rig.meta("logs")).into_iter().flatten().flatten();
    let parse = |entry: std::fs::DirEntry| {
        let name = entry.file_name().into_string().unwrap();
        let digits = name.strip_prefix(&prefix).filter(|digits| !digits.ends_with(".times"))?;
        assert_eq!(digits.len(), 20, "{name}");
        Some((digits.parse().unwrap(), std::fs::read(entry.path()).ok()?))
    };
    entries.filter_map(parse).collect()
}

#[test]
fn a_stream_is_cut_at_exact_offsets_and_its_start_is_forgotten() {
    let mut rig = Rig::new(vec![shell("main", "i=1000; while test $i -lt 2000; do echo $i; i=$((i+1)); done")]);
    rig.task().logs = Some(v1::LogPolicy { file_size_bytes: 1_000, files: 2 });
    rig.start();
    assert_eq!(rig.ends().state(), TaskState::Finished);
    let whole: Vec<u8> = (1000..2000).flat_map(|i| format!("{i}\n").into_bytes()).collect();
    let expected = [3_000, 4_000].map(|offset| (offset as u64, whole[offset..offset + 1_000].to_vec()));
    assert_eq!(segments(&rig, "main.stdout"), BTreeMap::from(expected));
    assert_eq!(rig.read_log("main.stdout").as_bytes(), &whole[4_000..]);
    assert!(segments(&rig, "main.stderr").is_empty());
}

#[test]
fn a_failed_end_says_the_exit_and_what_the_process_wrote_last_to_standard_error() {
    let end_of = |line: &str| {
        let mut rig = Rig::new(vec![shell("other", "echo no >&2; exec sleep 1000"), shell("main", line)]);
        rig.task().max_concurrency = 2;
        rig.task().grace_period_ms = 1_000;
        rig.start();
        rig.ends()
    };
    let end = end_of("echo out; echo config is missing >&2; exit 3");
    assert_eq!((end.exit_code, end.signal), (Some(3), None));
    assert_eq!(end.last_words, b"config is missing\n");
    let end = end_of("i=1000; while test $i -lt 2000; do echo $i >&2; i=$((i+1)); done; kill -SEGV $$");
    assert_eq!((end.exit_code, end.signal), (None, Some(11)));
    let whole: Vec<u8> = (1000..2000).flat_map(|i| format!("{i}\n").into_bytes()).collect();
    let words = end.last_words;
    assert!(words.len() <= 2_048 && words.len() > 2_040 && words.starts_with(b"1") && whole.ends_with(&words));
    let end = end_of("exec /usr/bin/nosuchprogram");
    assert_eq!(end.exit_code, Some(127));
    assert!(String::from_utf8(end.last_words).unwrap().contains("nosuchprogram"));
}

#[test]
fn a_good_end_and_a_kill_say_no_last_words() {
    let mut rig = Rig::new(vec![shell("main", "echo all is well >&2")]);
    rig.start();
    let end = rig.ends();
    assert_eq!((end.state(), end.exit_code, end.last_words.len()), (TaskState::Finished, Some(0), 0));
    let mut rig = Rig::new(vec![shell("main", "echo well >&2; exec sleep 1000")]);
    rig.start();
    until("it spoke", || !rig.read_log("main.stderr").is_empty());
    rig.kill(Reason::UserRequest, None);
    let end = rig.ends();
    assert_eq!((end.state(), end.exit_code, end.signal, end.last_words.len()), (TaskState::Killed, None, None, 0));
}

#[test]
fn when_bytes_were_written_lies_beside_them_and_goes_with_them() {
    let now_ms = || std::time::UNIX_EPOCH.elapsed().unwrap().as_millis() as u64;
    let mut rig = Rig::new(vec![shell(
        "main",
        "read -r line < go; i=1000; while test $i -lt 2000; do echo $i; i=$((i+1)); done",
    )]);
    rig.task().logs = Some(v1::LogPolicy { file_size_bytes: 1_000, files: 2 });
    nix::unistd::mkfifo(&rig.sandbox("go"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let before = now_ms();
    rig.start();
    std::fs::write(rig.sandbox("go"), "\n").unwrap();
    assert_eq!(rig.ends().state(), TaskState::Finished);
    let mut names: Vec<_> = std::fs::read_dir(rig.meta("logs"))
        .unwrap()
        .flatten()
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect();
    names.sort();
    let segment = |offset: u64| format!("main.stdout.{offset:020}");
    let expected =
        ["main.stdout".into(), segment(3_000), segment(3_000) + ".times", segment(4_000), segment(4_000) + ".times"];
    assert_eq!(names, expected);
    for offset in [3_000, 4_000] {
        let times = std::fs::read(rig.meta("logs").join(segment(offset) + ".times")).unwrap();
        let words: Vec<u64> = times.chunks(8).map(|word| u64::from_le_bytes(word.try_into().unwrap())).collect();
        assert_eq!(words[0], offset);
        assert!((before..=now_ms()).contains(&words[1]), "{words:?}");
    }
}

#[test]
fn a_stream_goes_on_when_its_process_starts_again() {
    let mut flaky = shell("flaky", "echo $(ls | wc -l); touch $$; test $(ls | wc -l) -eq 3");
    (flaky.max_failures, flaky.min_duration_ms) = (3, 1);
    let mut rig = Rig::new(vec![flaky]);
    rig.start();
    assert_eq!(rig.ends().state(), TaskState::Finished);
    assert_eq!(segments(&rig, "flaky.stdout"), BTreeMap::from([(0, b"0\n1\n2\n".to_vec())]));
}

/// What is said without a newline; less on the small machine of tests/on-cgroup-v2, which has one slow cpu.
fn endless_bytes() -> u64 {
    if std::env::var_os("DAWN_V2_LIST").is_some() { 20_000_000 } else { 1 << 30 }
}

#[test]
fn endless_output_without_a_newline_stays_within_its_bound_and_starves_nobody() {
    let mut rig =
        Rig::new(vec![shell("loud", "exec tr '\\0' x < /dev/zero"), shell("quiet", "echo here; exec sleep 1000")]);
    rig.task().logs = Some(v1::LogPolicy { file_size_bytes: 1_000_000, files: 3 });
    rig.start();
    let executor = nix::unistd::Pid::from_raw(rig.executor_pid());
    let mut most = 0;
    until("much was said", || {
        // Held still, or the counting would race with the rotation.
        kill(executor, Signal::SIGSTOP).unwrap();
        let segments = segments(&rig, "loud.stdout");
        kill(executor, Signal::SIGCONT).unwrap();
        most = most.max(segments.values().map(Vec::len).sum());
        segments.keys().max() > Some(&endless_bytes())
    });
    assert!((1_000_000..=3_000_000).contains(&most), "{most} bytes on disk");
    assert_eq!(rig.read_log("quiet.stdout"), "here\n");
    rig.kill(Reason::UserRequest, None);
    assert_eq!(rig.ends().state(), TaskState::Killed);
}

#[test]
fn a_full_disk_drops_output_and_keeps_the_task() {
    if !nix::unistd::geteuid().is_root() {
        return skip("only root can mount a small disk");
    }
    let line = "until test -e go; do sleep 0.01; done; head -c 300000 /dev/zero; touch said; \
                until test -e freed; do sleep 0.01; done; echo after; exit 0";
    let mut rig = Rig::new(vec![shell("main", line)]);
    let logs = rig.meta("logs");
    std::fs::create_dir(&logs).unwrap();
    let flags = nix::mount::MsFlags::empty();
    if let Err(error) = nix::mount::mount(Some("none"), &logs, Some("tmpfs"), flags, Some("size=64k")) {
        return skip(&format!("a small disk can't be mounted: {error}"));
    }
    std::fs::write(logs.join("ballast"), [0; 32 << 10]).unwrap();
    rig.start();
    std::fs::write(rig.sandbox("go"), "").unwrap();
    until("it has said its say", || rig.sandbox("said").exists());
    until("the drop is noted", || rig.notes().contains("dropping output of main.stdout"));
    std::fs::remove_file(logs.join("ballast")).unwrap();
    std::fs::write(rig.sandbox("freed"), "").unwrap();
    let end = rig.ends();
    let log = rig.read_log("main.stdout");
    nix::mount::umount(&logs).unwrap();
    assert_eq!(end.state(), TaskState::Finished);
    // What still waits in the pipe when there is room again is written after the note.
    let note = log.replace('\0', "");
    assert!(note.starts_with("\n[dawn: ") && note.ends_with("the disk refused them]\nafter\n"), "{note:?}");
}
