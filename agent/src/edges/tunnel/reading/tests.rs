//! Logs as executors leave them, read as clients ask for them.

use std::path::Path;

use super::super::times;
use super::*;

fn segment(dir: &Path, stream: &str, start: u64, data: &str, records: &[(u64, i64)]) {
    let path = dir.join(format!("web.{stream}.{start:020}"));
    std::fs::write(&path, data).unwrap();
    if !records.is_empty() {
        times::write_index(&path, records);
    }
}

/// Two streams that wrote in turns.
fn written() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    segment(dir.path(), "stdout", 0, "out 1\nout 2\n", &[(0, 1_000), (6, 3_000)]);
    segment(dir.path(), "stdout", 12, "out 3\n", &[(12, 5_000)]);
    segment(dir.path(), "stderr", 0, "err 1\nerr 2\nerr 3\n", &[(0, 2_000), (6, 4_000), (12, 6_000)]);
    dir
}

/// What is sent, each chunk as `TIME STREAM TEXT`.
async fn read_from(dir: &Path, streams: LogStreams, from: LogStart) -> Vec<String> {
    let mut reading = Reading::new(dir, "web", streams);
    let lost = reading.start(from).await.unwrap();
    let rest = std::iter::from_fn(|| reading.next().unwrap());
    let told = |chunk: LogChunk| {
        let stream = if chunk.is_stderr { "err" } else { "out" };
        format!("{} {stream} {}", chunk.at_ms, String::from_utf8(chunk.data).unwrap().replace('\n', "|"))
    };
    lost.into_iter().chain(rest).map(told).collect()
}

#[tokio::test]
async fn both_streams_come_in_the_order_in_which_they_were_written() {
    let dir = written();
    let all = read_from(dir.path(), LogStreams::Both, LogStart::Oldest).await;
    let expected = [
        "1000 out out 1|",
        "2000 err err 1|",
        "3000 out out 2|",
        "4000 err err 2|",
        "5000 out out 3|",
        "6000 err err 3|",
    ];
    assert_eq!(all, expected);
    let one = read_from(dir.path(), LogStreams::Stderr, LogStart::Oldest).await;
    assert_eq!(one, ["2000 out err 1|", "4000 out err 2|", "6000 out err 3|"], "of one stream it is not said which");
    let on = read_from(dir.path(), LogStreams::Both, LogStart::Offset { first: 6, stderr: 12 }).await;
    assert_eq!(on, ["3000 out out 2|", "5000 out out 3|", "6000 err err 3|"]);
}

#[tokio::test]
async fn a_line_that_was_begun_is_ended_before_the_other_stream_speaks() {
    let dir = tempfile::tempdir().unwrap();
    segment(dir.path(), "stdout", 0, "one line\nnext\n", &[(0, 1_000), (4, 9_000)]);
    segment(dir.path(), "stderr", 0, "err\n", &[(0, 2_000)]);
    let all = read_from(dir.path(), LogStreams::Both, LogStart::Oldest).await;
    assert_eq!(all, ["1000 out one ", "9000 out line|", "2000 err err|", "9000 out next|"]);
}

#[tokio::test]
async fn the_last_lines_are_those_of_both_streams_together() {
    let dir = written();
    let last = async |lines| {
        let recent = LogStart::Recent { lines, since_ms: 0 };
        let told = read_from(dir.path(), LogStreams::Both, recent).await;
        told.into_iter()
            .map(|line| line[5..].trim_start_matches("out ").trim_start_matches("err ").to_string())
            .collect::<Vec<_>>()
    };
    assert_eq!(last(0).await, Vec::<String>::new());
    let all = ["1|", "1|", "2|", "2|", "3|", "3|"];
    for lines in 1..=8 {
        let told = last(lines as u64).await;
        assert_eq!(told, all[6_usize.saturating_sub(lines)..], "{lines}");
    }
    let one = read_from(dir.path(), LogStreams::Stdout, LogStart::Recent { lines: 2, since_ms: 0 }).await;
    assert_eq!(one, ["3000 out out 2|", "5000 out out 3|"]);
    let both = read_from(dir.path(), LogStreams::Both, LogStart::Recent { lines: 9, since_ms: 5_000 }).await;
    assert_eq!(both, ["5000 out out 3|", "6000 err err 3|"]);
    let both = read_from(dir.path(), LogStreams::Both, LogStart::Recent { lines: 1, since_ms: 1 }).await;
    assert_eq!(both, ["6000 err err 3|"]);
}

#[tokio::test]
async fn lines_longer_than_a_piece_without_an_end_and_without_times_are_counted() {
    let dir = tempfile::tempdir().unwrap();
    let long = "x".repeat(CHUNK_BYTES * 2);
    segment(dir.path(), "stdout", 0, &format!("first\n{long}\nlast"), &[]);
    let last = async |lines| {
        let mut reading = Reading::new(dir.path(), "web", LogStreams::Stdout);
        reading.start(LogStart::Recent { lines, since_ms: 0 }).await.unwrap();
        reading.streams[0].offset
    };
    assert_eq!(last(1).await, 7 + long.len() as u64);
    assert_eq!((last(2).await, last(3).await, last(4).await), (6, 0, 0));
}

#[tokio::test]
async fn what_was_written_since_a_time_is_found_and_what_was_rotated_away_is_told() {
    let dir = written();
    let since =
        async |since_ms| read_from(dir.path(), LogStreams::Both, LogStart::Recent { lines: u64::MAX, since_ms }).await;
    assert_eq!(since(4_000).await, ["4000 err err 2|", "5000 out out 3|", "6000 err err 3|"]);
    assert_eq!(since(7_000).await, Vec::<String>::new());
    for name in ["web.stdout.00000000000000000000", "web.stdout.00000000000000000000.times"] {
        std::fs::remove_file(dir.path().join(name)).unwrap();
    }
    assert_eq!(
        since(4_500).await,
        ["5000 out ", "5000 out out 3|", "6000 err err 3|"],
        "the oldest kept is said first"
    );
    assert_eq!(since(5_000).await, ["5000 out out 3|", "6000 err err 3|"], "nothing of that is lost");
}

#[tokio::test]
async fn a_log_of_the_version_before_has_no_times_and_is_read_all_the_same() {
    let dir = tempfile::tempdir().unwrap();
    segment(dir.path(), "stdout", 0, "out 1\nout 2\n", &[]);
    segment(dir.path(), "stderr", 0, "err 1\n", &[]);
    let all = read_from(dir.path(), LogStreams::Both, LogStart::Oldest).await;
    assert_eq!(all, ["0 out out 1|out 2|", "0 err err 1|"]);
    let last = read_from(dir.path(), LogStreams::Both, LogStart::Recent { lines: 2, since_ms: 0 }).await;
    assert_eq!(last, ["0 out out 2|", "0 err err 1|"]);
}

#[tokio::test]
async fn a_start_beyond_the_end_of_either_stream_is_refused() {
    let dir = written();
    for (first, stderr, beyond) in [(19, 0, 18), (18, 19, 18)] {
        let mut reading = Reading::new(dir.path(), "web", LogStreams::Both);
        let refused = reading.start(LogStart::Offset { first, stderr }).await.unwrap_err();
        assert!(matches!(refused, StartError::Beyond { end, offset: 19 } if end == beyond), "{refused:?}");
    }
}

#[tokio::test]
async fn of_both_streams_it_is_said_where_each_begins() {
    let dir = written();
    let begins = async |streams, from| {
        let mut reading = Reading::new(dir.path(), "web", streams);
        reading.start(from).await.unwrap();
        reading.begins().map(|chunk| (chunk.is_stderr, chunk.offset, chunk.data.len())).collect::<Vec<_>>()
    };
    let last = LogStart::Recent { lines: 1, since_ms: 0 };
    assert_eq!(begins(LogStreams::Both, last).await, [(false, 18, 0), (true, 12, 0)]);
    assert_eq!(begins(LogStreams::Stdout, last).await, []);
}
