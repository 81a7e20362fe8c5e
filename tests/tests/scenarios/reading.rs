//! Logs asked for in part: of an earlier attempt, since a time, the last lines; and followed while they are rotated away.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};

use dawn_proto::JobKey;
use dawn_proto::v1::{LogPolicy, TaskState};
use dawn_tests::cluster::{self, Cluster, Patience, Plan, batch};

const FAILED: Option<i32> = Some(1);
const BAD_INPUT: Option<i32> = Some(2);

/// A log of two attempts, which both failed; the second one wrote twice, some seconds apart.
fn twice(cluster: &Cluster) -> JobKey {
    let says = "echo attempt $DAWN_ATTEMPT; echo oops $DAWN_ATTEMPT >&2";
    let line = format!("{says}; if [ $DAWN_ATTEMPT = 2 ]; then sleep 3; echo late; fi; exit 1");
    let job = cluster.submit(batch("twice").shell(&line).max_failures(2).backoff_ms(200, 200));
    cluster.tasks_in(&job, TaskState::Failed, 2, Patience::STEP);
    job
}

#[test]
fn an_earlier_attempt_the_last_lines_and_what_was_written_since() {
    let Some(cluster) = Cluster::start(Plan::of(1)) else { return };
    let name = twice(&cluster).to_string();
    let logs = |args: &[&str]| cluster.dawn(args).succeeded().stdout;
    assert_eq!(logs(&["job", "logs", "--stdout", &name]), "attempt 2\nlate\n");
    assert_eq!(logs(&["job", "logs", "--stdout", "--previous", &name]), "attempt 1\n");
    assert_eq!(logs(&["job", "logs", "--stderr", "--attempt", "1", &name]), "oops 1\n");
    assert_eq!(logs(&["job", "logs", "--tail", "1", &name]), "out | late\n");
    let none = cluster.dawn(&["job", "logs", "--attempt", "9", &name]);
    assert!(none.code == FAILED && none.stderr.contains("no attempt 9 is kept; there are 1 to 2"), "{none:?}");

    let timed = logs(&["job", "logs", "--stdout", "--timestamps", &name]);
    let times: Vec<&str> = timed.lines().filter_map(|line| line.split(' ').next()).collect();
    assert!(times.len() == 2 && times.iter().all(|time| time.ends_with('Z') && time.len() == 24), "{timed}");
    assert_eq!(logs(&["job", "logs", "--since", times[1], &name]), "out | late\n");
    assert_eq!(logs(&["job", "logs", "--stdout", "--since", "1h", &name]), "attempt 2\nlate\n");
    let wrong = cluster.dawn(&["job", "logs", "--since", "yesterday", &name]);
    assert!(wrong.code == BAD_INPUT && wrong.stderr.contains("a duration such as 10m"), "{wrong:?}");

    // The same of one task by its id.
    let tasks = cluster.api.tasks(&name.parse().expect("a key")).expect("they are kept");
    let id = format!("t{}", tasks.last().expect("two").id);
    let args = ["task", "logs", &id, "--process", "main", "--tail", "1", "--since", times[0], "--timestamps"];
    assert_eq!(logs(&args), format!("{} out | late\n", times[1]));
    assert_eq!(logs(&["task", "logs", "--stderr", &id]), "oops 2\n");
    cluster.end();
}

/// `dawn` beside the test, of whose output nothing is read yet.
fn beside(cluster: &Cluster, args: &[&str]) -> Child {
    let mut command = Command::new(cluster::path());
    command.args(["--scheduler", &cluster.address().to_string()]).args(args).env("NO_COLOR", "1");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("dawn starts")
}

#[test]
fn who_follows_a_log_too_slowly_is_told_how_much_was_rotated_away() {
    let Some(cluster) = Cluster::start(Plan::of(1)) else { return };
    // It waits for its reader, writes far more than is kept or on the way, and ends.
    let line = "echo begins; until [ -e go ]; do sleep 0.1; done; \
                yes 0123456789012345678901234567890123456789 | head -c 100000000; echo; echo ends";
    let job = cluster.submit(batch("fast").shell(line).with(|job| {
        let task = job.task.as_mut().expect("it has one");
        task.logs = Some(LogPolicy { file_size_bytes: 1 << 20, files: 2 });
    }));
    cluster.running(&job, 1);
    let name = job.to_string();
    let mut follower = beside(&cluster, &["job", "logs", "--follow", &name]);
    let task = format!("t{}", cluster.api.tasks(&job).expect("it is there")[0].id);
    let mut of_task = beside(&cluster, &["task", "logs", "--stdout", "--follow", &task]);
    let first = |child: &mut Child| {
        let mut reader = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut line = String::new();
        reader.read_line(&mut line).expect("it can be read");
        (reader, line)
    };
    let (mut slow, line) = first(&mut follower);
    assert_eq!(line, "out | begins\n");
    let (mut slow_too, line) = first(&mut of_task);
    assert_eq!(line, "begins\n");
    cluster.dawn(&["task", "exec", &format!("{name}/0"), "--", "touch", "go"]).succeeded();
    cluster.tasks_in(&job, TaskState::Finished, 1, Patience::LONG);
    for (reader, child) in [(&mut slow, follower), (&mut slow_too, of_task)] {
        let mut text = String::new();
        reader.read_to_string(&mut text).expect("it is text");
        let ended = child.wait_with_output().expect("it ends");
        let said = String::from_utf8_lossy(&ended.stderr);
        assert!(ended.status.success() && text.ends_with("ends\n"), "{said}");
        let expected = format!("of {task}'s standard output were rotated away before they could be read");
        assert!(said.contains("… ") && said.contains(&expected), "{said} after {} bytes", text.len());
    }
    let gone = format!("of {task}'s standard output were rotated away before they could be read");
    for (asked, is_told) in [(&["job", "logs", &name][..], true), (&["job", "logs", "--tail", "2", &name], false)] {
        let stderr = cluster.dawn(asked).succeeded().stderr;
        assert_eq!(stderr.contains(&gone), is_told, "{asked:?}: {stderr}");
    }
    cluster.end();
}
