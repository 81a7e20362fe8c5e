//! What tasks wrote, asked for after they failed, of both streams together, and where nobody can bring it.

use dawn_proto::v1::{self, TaskState};
use dawn_tests::cluster::{Cluster, Patience, Plan, batch, service};
use tonic::Code;

fn of(task: &v1::Task) -> v1::ReadLogRequest {
    v1::ReadLogRequest { task_id: task.id, process: "main".into(), both: true, ..Default::default() }
}

#[test]
fn the_last_words_of_a_failed_task_are_told_by_the_leader_and_after_its_end_by_the_agent() {
    let Some(cluster) = Cluster::start(Plan::of(1)) else { return };
    let line = "echo on standard output; echo config is missing >&2; exit 3";
    let job = cluster.submit(batch("crash").shell(line));
    let task = cluster.tasks_in(&job, TaskState::Failed, 1, Patience::STEP).remove(0);
    let words = |cluster: &Cluster| {
        cluster.eventually("the words are there", Patience::STEP, || {
            let words = cluster.api.last_words(&[task.id]).map_err(|status| status.to_string())?;
            if words[0].is_empty() { Err("nobody knows them".to_string()) } else { Ok(words) }
        })
    };
    assert_eq!(words(&cluster), [b"config is missing\n".to_vec()]);
    cluster.scheduler.kill_9();
    cluster.scheduler.start();
    cluster.scheduler_answers();
    assert_eq!(words(&cluster), [b"config is missing\n".to_vec()], "the next leader has heard nothing, and asks");
    cluster.end();
}

#[test]
fn both_streams_are_read_in_their_order_with_times_and_from_the_last_lines_on() {
    let Some(cluster) = Cluster::start(Plan::of(1)) else { return };
    let turns = "for i in 1 2 3; do echo out $i; sleep 0.5; echo err $i >&2; sleep 0.5; done";
    let job = cluster.submit(batch("turns").shell(turns));
    let task = cluster.tasks_in(&job, TaskState::Finished, 1, Patience::STEP).remove(0);
    let text = |request| String::from_utf8(cluster.api.read_log(request).unwrap()).unwrap();
    assert_eq!(text(of(&task)), "out 1\nerr 1\nout 2\nerr 2\nout 3\nerr 3\n");
    let last = v1::ReadLogRequest { tail_lines: Some(3), ..of(&task) };
    assert_eq!(text(last), "err 2\nout 3\nerr 3\n");
    let chunks = cluster.api.log_chunks(of(&task)).unwrap();
    let begins: Vec<_> = chunks.iter().take(2).map(|chunk| (chunk.stderr, chunk.offset, chunk.data.len())).collect();
    assert_eq!(begins, [(false, 0, 0), (true, 0, 0)], "whoever hears no more goes on from there");
    let told: Vec<_> = chunks.iter().filter(|chunk| !chunk.data.is_empty()).collect();
    assert!(told.iter().all(|chunk| chunk.stderr == chunk.data.starts_with(b"err")), "{told:?}");
    let times: Vec<i64> = told.iter().map(|chunk| chunk.at_ms).collect();
    let span_ms = times.last().unwrap() - times[0];
    assert!(times.is_sorted() && (2_000..60_000).contains(&span_ms), "{times:?}");
    let since = v1::ReadLogRequest { since_ms: *times.last().unwrap(), ..of(&task) };
    assert_eq!(text(since), "err 3\n");
    cluster.end();
}

#[test]
fn a_log_that_nobody_can_bring_says_why() {
    let Some(cluster) = Cluster::start(Plan::of(1)) else { return };
    let ghost = cluster.submit(batch("ghost").with(|job| {
        job.task.as_mut().expect("it has one").user = "no-such-user".into();
    }));
    let task = cluster.tasks_in(&ghost, TaskState::Failed, 1, Patience::STEP).remove(0);
    let refused = cluster.api.read_log(of(&task)).unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition, "{refused:?}");
    let expected = format!("t{} was not started: user no-such-user does not exist", task.id);
    assert!(refused.message().starts_with(&expected), "{refused:?}");
    let job = cluster.submit(service("web"));
    let task = cluster.running(&job, 1).remove(0);
    cluster.agents[0].kill_9();
    let refused = cluster.eventually("the agent is missed", Patience::STEP, || match cluster.api.read_log(of(&task)) {
        Err(refused) => Ok(refused),
        Ok(_) => Err("it is still read".to_string()),
    });
    assert!(dawn_proto::errors::named(&refused, "node").is_some(), "{refused:?}");
    assert!(refused.message().contains("is out of reach"), "{refused:?}");
    cluster.agents[0].start();
    cluster.agents_are_up(1);
    cluster.end();
}
