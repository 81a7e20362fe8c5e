//! Whole commands against a scheduler that answers as told: exit codes, what is printed, what was asked.

mod causes;
mod endpoints;
mod jobs;
mod logs;
mod several;
mod updates;

use std::time::{Duration, Instant};

use clap::Parser;
use dawn_proto::errors::RefusedRequest;
use dawn_proto::v1::*;
use tonic::Status;

use super::fake::{Fake, Script, answers, context, not_leader, text};
use crate::args::{self, Context};
use crate::client::Scheduler;
use crate::exit::{Exit, Failure};

/// Runs a command line against the context's scheduler.
async fn dawn(context: &mut Context, line: &str) -> Result<Exit, Failure> {
    args::run_in(args::Cli::try_parse_from(line.split(' ')).unwrap(), context).await
}

async fn refusal(context: &mut Context, line: &str) -> (Exit, String) {
    let failure = dawn(context, line).await.expect_err(line);
    (failure.exit, failure.to_string())
}

fn key(name: &str) -> JobKey {
    JobKey { role: "www".into(), env: "prod".into(), name: name.into() }
}

fn placed(id: u64, instance: u32, state: TaskState) -> Task {
    Task { id, instance, state: state.into(), agent_id: "a".into(), hostname: "n".into(), ..Default::default() }
}

fn page(tasks: Vec<Task>) -> Result<ListTasksResponse, Status> {
    Ok(ListTasksResponse { tasks, ..Default::default() })
}

fn info() -> ServerInfo {
    ServerInfo { version: "9.9.9".into(), journal: "embedded".into(), leader: true, ..Default::default() }
}

/// An address where nobody listens: it was bound and given back.
fn dead() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().to_string()
}

fn refused<const N: usize>(reason: ErrorReason, message: &str, named: [(&str, &str); N]) -> Status {
    let refused = RefusedRequest::new(reason, message);
    named.into_iter().fold(refused, |refused, (name, value)| refused.with(name, value)).into()
}

#[tokio::test]
async fn a_dead_scheduler_is_one_clear_line_soon() {
    let address = dead();
    let (mut context, memory) = context(std::slice::from_ref(&address), false);
    let began = Instant::now();
    let (exit, message) = refusal(&mut context, "dawn job list").await;
    assert_eq!(exit, Exit::Unreachable);
    let expected = format!(
        "no scheduler answered at {address} (connection refused)\n  \
         start one with `dawn dev` or `dawn scheduler`, or name another: --scheduler HOST:PORT"
    );
    assert_eq!(message, expected);
    assert!(began.elapsed() < Duration::from_secs(3), "took {:?}", began.elapsed());
    assert_eq!(text(&memory), "");
}

#[tokio::test]
async fn a_scheduler_that_never_answers_is_given_up() {
    let silent = Fake::start(Script { silent: true, ..Default::default() }).await;
    let (mut context, _) = silent.context(false);
    let began = Instant::now();
    let (exit, message) = refusal(&mut context, "dawn version").await;
    assert_eq!(exit, Exit::Unreachable);
    assert!(message.contains("(no answer within 2s)"), "{message}");
    assert!(began.elapsed() < Duration::from_secs(4), "took {:?}", began.elapsed());
}

#[tokio::test]
async fn the_next_address_is_tried_and_the_leader_followed() {
    let leader = Fake::start(Script { info: answers([Ok(info())]), ..Default::default() }).await;
    let refused = Err(not_leader(&leader.address.to_string()));
    let follower = Fake::start(Script { info: answers([refused]), ..Default::default() }).await;
    let (mut context, memory) = context(&[dead(), follower.address.to_string()], false);
    assert_eq!(dawn(&mut context, "dawn version").await.unwrap(), Exit::Done);
    assert!(text(&memory).contains("scheduler  9.9.9"), "{}", text(&memory));
    assert_eq!(follower.asked(), ["info"]);
    assert!(
        text(&memory).contains(&format!("9.9.9 at {}\nleader     this one\n", leader.address)),
        "{}",
        text(&memory)
    );
    // The leader is remembered.
    assert_eq!(dawn(&mut context, "dawn version").await.unwrap(), Exit::Done);
    assert_eq!((follower.asked().len(), leader.asked().len()), (1, 2));
}

#[tokio::test]
async fn what_holds_a_leaders_writes_up_is_said_once_and_no_leader_is_missed() {
    let full =
        RefusedRequest::new(ErrorReason::NoWrites, "full").with("trouble", "waits for etcd: etcd is out of space");
    let leader = Fake::start(Script { job: answers([Err(full.into())]), ..Default::default() }).await;
    let named = || Err(not_leader(&leader.address.to_string()));
    let followers = [
        Fake::start(Script { job: answers([named()]), ..Default::default() }).await,
        Fake::start(Script { job: answers([named()]), ..Default::default() }).await,
    ];
    let addresses = followers.each_ref().map(|one| one.address.to_string());
    for addresses in [&addresses[..], &[leader.address.to_string()]] {
        let (mut context, _) = context(addresses, false);
        context.scheduler = Scheduler::new(addresses.to_vec(), Duration::from_millis(200));
        let (exit, message) = refusal(&mut context, "dawn job status www/prod/web").await;
        assert_eq!(exit, Exit::Unreachable);
        let expected = format!(
            "the leader {} takes no writes: it waits for etcd: etcd is out of space; running tasks run on",
            leader.address
        );
        assert_eq!(message, expected);
    }
}

#[tokio::test]
async fn a_named_timeout_bounds_all_that_is_tried_for_one_answer() {
    let silent = || async { Fake::start(Script { silent: true, ..Default::default() }).await };
    let nobody = Fake::start(Script { info: answers([Err(not_leader(""))]), ..Default::default() }).await;
    let (first, second) = (silent().await, silent().await);
    let addresses = [&nobody, &first, &second].map(|one| one.address.to_string());
    let (mut context, _) = context(&addresses, false);
    context.scheduler = Scheduler::new(addresses.to_vec(), Duration::from_secs(1)).within(Duration::from_secs(1));
    let began = Instant::now();
    let (exit, message) = refusal(&mut context, "dawn version").await;
    assert_eq!(exit, Exit::Unreachable);
    assert!(message.starts_with("no leader was found within 1s: "), "{message}");
    assert!(began.elapsed() < Duration::from_secs(2), "took {:?}", began.elapsed());
}

#[tokio::test]
async fn several_named_schedulers_that_refuse_are_not_to_be_started_by_hand() {
    let (mut context, _) = context(&[dead(), dead(), dead()], false);
    let (exit, message) = refusal(&mut context, "dawn job list").await;
    assert_eq!(exit, Exit::Unreachable);
    assert!(message.contains("see that they run") && !message.contains("dawn dev"), "{message}");
    let (_, message) = refusal(&mut context, "dawn admin verify").await;
    assert!(message.starts_with("no leader was found to verify: no scheduler answered at"), "{message}");
    assert!(message.contains("see that the schedulers run") && !message.contains("name the schedulers"), "{message}");
}

#[tokio::test]
async fn an_election_is_waited_for() {
    let leader = Fake::start(Script { info: answers([Ok(info())]), ..Default::default() }).await;
    // At first it names a leader that is dead, then none, then the new one.
    let named = [dead(), String::new(), leader.address.to_string()].map(|leader| Err(not_leader(&leader)));
    let follower = Fake::start(Script { info: answers(named), ..Default::default() }).await;
    let (mut context, memory) = context(&[dead(), follower.address.to_string()], false);
    assert_eq!(dawn(&mut context, "dawn version").await.unwrap(), Exit::Done);
    assert!(text(&memory).contains("scheduler  9.9.9"), "{}", text(&memory));
    assert_eq!((follower.asked().len(), leader.asked().len()), (3, 1));
}

#[tokio::test]
async fn schedulers_that_name_each_other_for_ever_are_given_up() {
    let first = Fake::start(Script::default()).await;
    let refused = Err(not_leader(&first.address.to_string()));
    let second = Fake::start(Script { info: answers([refused]), ..Default::default() }).await;
    first.script.info.lock().unwrap().push_back(Err(not_leader(&second.address.to_string())));
    let (mut context, _) = first.context(false);
    let (exit, message) = refusal(&mut context, "dawn version").await;
    assert_eq!(exit, Exit::Unreachable);
    assert!(message.contains("not the leader"), "{message}");
    assert!(message.starts_with("no leader was found within 6s: "), "{message}");
    assert!(first.asked().len() + second.asked().len() <= 6 * 30, "with a pause between the rounds");
}

#[tokio::test]
async fn every_refusal_has_its_exit_code() {
    for (status, exit, part) in [
        (
            refused(ErrorReason::NoSuchJob, "there is no job www/prod/web", [("job", "www/prod/web")]),
            Exit::NotFound,
            "no job www/prod/web\n  see `dawn job list --all`",
        ),
        (Status::invalid_argument("priority: 2000"), Exit::Refused, "refused by the scheduler: priority: 2000"),
        (Status::failed_precondition("it ended"), Exit::Refused, "refused by the scheduler: it ended"),
        (Status::resource_exhausted("queue full"), Exit::Refused, "queue full\n  try again in a moment"),
        (Status::unimplemented("what"), Exit::Refused, "compare `dawn version`"),
        (Status::unavailable("etcd is gone"), Exit::Unreachable, "(etcd is gone)"),
        (Status::internal("\u{1b}[2J"), Exit::Failed, "\\u{1b}[2J"),
    ] {
        let fake = Fake::start(Script { job: answers([Err(status.clone())]), ..Default::default() }).await;
        let (mut context, memory) = fake.context(false);
        let (got, message) = refusal(&mut context, "dawn job status www/prod/web").await;
        assert_eq!(got, exit, "{status:?}");
        assert!(message.contains(part), "{message}");
        assert_eq!(text(&memory), "", "{status:?}");
    }
}

#[tokio::test]
async fn what_is_not_found_is_looked_for_by_a_similar_name() {
    let summary = |name: &str| JobSummary { key: Some(key(name)), ..Default::default() };
    let node = |host: &str| Node { agent_id: "a1".into(), hostname: host.into(), ..Default::default() };
    let script = Script {
        job: answers([Err(refused(ErrorReason::NoSuchJob, "there is no job www/prod/we", [("job", "www/prod/we")]))]),
        jobs: answers([Ok(ListJobsResponse { jobs: vec![summary("web"), summary("api")], ..Default::default() })]),
        node: answers([Err(refused(ErrorReason::NoSuchNode, "there is no node \"node-l\"", [("node", "node-l")]))]),
        nodes: answers([Ok(ListNodesResponse { nodes: vec![node("node-1")], ..Default::default() })]),
        ..Default::default()
    };
    let fake = Fake::start(script).await;
    let (mut context, _) = fake.context(false);
    let job = "there is no job www/prod/we\n  did you mean www/prod/web?";
    assert_eq!(refusal(&mut context, "dawn job status www/prod/we").await, (Exit::NotFound, job.to_string()));
    let node = "there is no node \"node-l\"\n  did you mean node-1?";
    assert_eq!(refusal(&mut context, "dawn node status node-l").await, (Exit::NotFound, node.to_string()));
}

#[tokio::test]
async fn the_hint_says_what_to_do_by_the_reason_and_not_by_the_message() {
    let on_web = |reason| refused(reason, "words", [("job", "www/prod/web")]);
    for (status, hint) in [
        (on_web(ErrorReason::NoSuchJob), "see `dawn job list --all`"),
        (refused(ErrorReason::NoSuchNode, "words", [("node", "n")]), "see `dawn node list`"),
        (refused(ErrorReason::NoSuchTask, "words", [("task", "7")]), "`dawn job status ROLE/ENV/NAME` names the tasks"),
        (on_web(ErrorReason::NoSuchVersion), "see `dawn job history www/prod/web`"),
        (on_web(ErrorReason::NoSuchInstance), "see `dawn job status www/prod/web`"),
        (on_web(ErrorReason::NoSuchUpdate), "see `dawn update list www/prod/web`"),
        (on_web(ErrorReason::JobEnded), "run it again with `dawn job run`"),
        (on_web(ErrorReason::JobDiffers), "kill it first with `dawn job kill www/prod/web`"),
        (on_web(ErrorReason::UpdateUnderWay), "wait for it with `dawn update wait www/prod/web`, or end it"),
        (
            refused(ErrorReason::OverQuota, "words", [("role", "www"), ("bound", "guarantee")]),
            "ask for less, or have the guarantee raised with `dawn quota set www`",
        ),
        (
            refused(ErrorReason::NodeConnected, "words", [("node", "n")]),
            "to move its tasks away, run `dawn node drain n`",
        ),
        (refused(ErrorReason::NodeHoldsTasks, "words", [("node", "n")]), "give them up with `dawn node down n`"),
        (refused(ErrorReason::NodeHoldsTasks, "words", [("node", "n"), ("wait_ms", "1000")]), ""),
        (refused(ErrorReason::JournalBehind, "words", []), "`dawn admin epoch raise`"),
        (refused(ErrorReason::NotScalable, "words", []), ""),
        (Status::not_found("words"), ""),
    ] {
        let script = Script { job: answers([Err(status.clone())]), ..Default::default() };
        let fake = Fake::start(script).await;
        let (mut context, _) = fake.context(false);
        let (_, said) = refusal(&mut context, "dawn job status www/prod/web").await;
        let said_hint = said.split_once("words").unwrap().1.trim_start();
        assert!(said_hint.starts_with(hint) && said_hint.is_empty() == hint.is_empty(), "{status:?}: {said}");
    }
}

#[tokio::test]
async fn what_is_not_repeatable_is_not_sent_twice() {
    let silent = Fake::start(Script { silent: true, ..Default::default() }).await;
    let other = Fake::start(Script::default()).await;
    let (mut context, _) = context(&[silent.address.to_string(), other.address.to_string()], false);
    let (exit, message) = refusal(&mut context, "dawn cron start www/prod/backup").await;
    assert_eq!(exit, Exit::Unreachable);
    assert!(message.contains("it is unclear whether it was done"), "{message}");
    assert_eq!((silent.asked().len(), other.asked().len()), (1, 0));
}

#[tokio::test]
async fn lists_take_every_page_and_are_json_for_programs() {
    let page = |name: &str, next: &str| {
        let summary = JobSummary { key: Some(key(name)), kind: JobKind::Service.into(), ..Default::default() };
        Ok(ListJobsResponse { jobs: vec![summary], next_page_token: next.into(), index: 1 })
    };
    let script = Script { jobs: answers([page("a", "2"), page("b", "")]), ..Default::default() };
    let fake = Fake::start(script).await;
    let (mut context, memory) = fake.context(true);
    assert_eq!(dawn(&mut context, "dawn job list www/prod --json").await.unwrap(), Exit::Done);
    let value: serde_json::Value = serde_json::from_str(&text(&memory)).unwrap();
    assert_eq!(value["schema"], "dawn.cli/1");
    let keys: Vec<_> = value["jobs"].as_array().unwrap().iter().map(|job| job["job"].as_str().unwrap()).collect();
    assert_eq!(keys, ["www/prod/a", "www/prod/b"]);
    assert_eq!(fake.asked(), ["jobs www/prod ", "jobs www/prod 2"]);
}

#[tokio::test]
async fn an_empty_cluster_says_what_to_type() {
    let script = Script {
        jobs: answers([Ok(ListJobsResponse::default())]),
        nodes: answers([Ok(ListNodesResponse::default())]),
        info: answers([Ok(ServerInfo::default())]),
        cron: answers([Ok(ListCronResponse::default())]),
        ..Default::default()
    };
    let fake = Fake::start(script).await;
    let (mut context, memory) = fake.context(false);
    for line in ["dawn job list", "dawn node list", "dawn cron list"] {
        assert_eq!(dawn(&mut context, line).await.unwrap(), Exit::Done);
    }
    let expected = "\
no jobs (ended ones are shown with --all); submit one with `dawn job run FILE`
no nodes; start one with `dawn agent --scheduler HOST:PORT --work-dir DIR`
no cron jobs
";
    assert_eq!(text(&memory), expected);
}

#[tokio::test]
async fn a_node_is_found_by_its_host_name_where_that_is_unique() {
    let node = |id: &str, host: &str| Node { agent_id: id.into(), hostname: host.into(), ..Default::default() };
    let nodes = vec![node("id-1", "alpha"), node("id-2", "beta"), node("id-3", "beta")];
    let script = || Script {
        nodes: answers([Ok(ListNodesResponse { nodes: nodes.clone(), ..Default::default() })]),
        node: answers([
            Err(Status::not_found("no node")),
            Ok(NodeStatus { node: Some(node("id-1", "alpha")), ..Default::default() }),
        ]),
        ..Default::default()
    };
    let fake = Fake::start(script()).await;
    let (mut context, memory) = fake.context(false);
    assert_eq!(dawn(&mut context, "dawn node status alpha").await.unwrap(), Exit::Done);
    assert_eq!(fake.asked(), ["info", "node alpha", "nodes", "node id-1"]);
    assert!(text(&memory).starts_with("node   alpha\nid     id-1\n"), "{}", text(&memory));

    let fake = Fake::start(script()).await;
    let (mut context, _) = fake.context(false);
    let (exit, message) = refusal(&mut context, "dawn node status beta").await;
    assert_eq!(exit, Exit::Usage);
    assert!(message.contains("several nodes are named beta"), "{message}");

    let fake = Fake::start(script()).await;
    let (mut context, _) = fake.context(false);
    assert_eq!(refusal(&mut context, "dawn node status gamma").await.0, Exit::NotFound);
}
