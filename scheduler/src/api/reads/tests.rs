//! Lists, pages and single views over a state that a story left.

mod counts;
mod earlier;
mod endpoints;
mod failures;
mod steps;
mod why;

use std::collections::BTreeSet;

use dawn_proto::v1::{self, JobKind, TaskState};

use super::*;
use crate::drive::LiveView;
use crate::model::{Settings, State};
use crate::wire::sample::{elected, kill, now, pulse, registered, reported, spec, story, submit};

fn list_jobs(state: &State, request: &v1::ListJobsRequest) -> Result<v1::ListJobsResponse, ReadError> {
    super::list_jobs(state, request, state.at)
}

/// Ten services of two on one agent with room for eight tasks; the first job is killed.
fn ten_jobs() -> State {
    let mut pulse = pulse(State::default());
    pulse.step([elected(1), registered(1, 1, Vec::new())], now(0));
    for number in 0..10 {
        pulse.step([submit(number, spec(&format!("web{number}"), JobKind::Service, 2))], now(number));
    }
    let first = *pulse.state().tasks.keys().next().unwrap();
    pulse.step([reported(1, first, 1, TaskState::Running)], now(20));
    pulse.step([kill(99, "web9", Vec::new())], now(21));
    pulse.state().clone()
}

fn names(response: &v1::ListJobsResponse) -> Vec<String> {
    response.jobs.iter().map(|job| job.key.as_ref().unwrap().name.clone()).collect()
}

#[test]
fn jobs_come_in_pages_in_key_order_and_ended_ones_only_when_asked_for() {
    let state = ten_jobs();
    let mut request = v1::ListJobsRequest { page_size: 4, ..Default::default() };
    let mut seen = Vec::new();
    loop {
        let page = list_jobs(&state, &request).unwrap();
        assert!(page.jobs.len() <= 4 && page.index == state.index);
        seen.extend(names(&page));
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    let wanted: Vec<_> = (0..9).map(|number| format!("web{number}")).collect();
    assert_eq!(seen, wanted);
    let all = list_jobs(&state, &v1::ListJobsRequest { all: true, ..Default::default() }).unwrap();
    assert_eq!(all.jobs.len(), 10);
    assert!(all.jobs[9].ended && !all.jobs[8].ended);
    let none = list_jobs(&state, &v1::ListJobsRequest { role: "bob".into(), ..Default::default() }).unwrap();
    assert_eq!((none.jobs.len(), none.next_page_token.as_str()), (0, ""));
    let bad = list_jobs(&state, &v1::ListJobsRequest { page_token: "x".into(), ..Default::default() });
    assert_eq!(bad, Err(ReadError::PageToken("x".into())));
}

#[test]
fn a_summary_counts_what_there_is() {
    let state = ten_jobs();
    let all = list_jobs(&state, &v1::ListJobsRequest { all: true, ..Default::default() }).unwrap();
    let first = &all.jobs[0];
    assert_eq!((first.running, first.starting, first.pending, first.instances), (1, 1, 0, 2));
    let waiting = &all.jobs[8];
    assert_eq!((waiting.running, waiting.starting, waiting.pending), (0, 0, 2));
}

#[test]
fn tasks_are_found_by_job_instance_and_agent_in_pages() {
    let state = ten_jobs();
    let list = |job: Option<&dawn_proto::JobKey>, request| list_tasks(&state, job, &request);
    let key = dawn_proto::JobKey::new("ann", "test", "web3").unwrap();
    let of_job = list(Some(&key), v1::ListTasksRequest::default()).unwrap();
    assert_eq!(of_job.tasks.iter().map(|task| task.instance).collect::<Vec<_>>(), [0, 1]);
    let instances = vec![v1::InstanceRange { first: 1, last: 9 }];
    let second = list(Some(&key), v1::ListTasksRequest { instances, ..Default::default() }).unwrap();
    assert_eq!(second.tasks.len(), 1);
    let on_agent = list(None, v1::ListTasksRequest { agent_id: "node-1".into(), ..Default::default() }).unwrap();
    assert_eq!(on_agent.tasks.len(), 8);
    assert!(on_agent.tasks.iter().all(|task| task.hostname == "node-1.example" && task.ports[0].name == "http"));
    let living = list(None, v1::ListTasksRequest { page_size: 3, ..Default::default() }).unwrap();
    let mut ids: BTreeSet<u64> = living.tasks.iter().map(|task| task.id).collect();
    let mut token = living.next_page_token;
    while !token.is_empty() {
        let request = v1::ListTasksRequest { page_size: 3, page_token: token, ..Default::default() };
        let page = list(None, request).unwrap();
        ids.extend(page.tasks.iter().map(|task| task.id));
        token = page.next_page_token;
    }
    assert_eq!(ids.len(), 18, "every living task once");
    let all = list(None, v1::ListTasksRequest { all: true, ..Default::default() }).unwrap();
    assert_eq!(all.tasks.len(), 20);
    let nowhere = list(None, v1::ListTasksRequest { agent_id: "node-9".into(), ..Default::default() });
    assert_eq!(nowhere, Err(ReadError::NoSuchAgent("node-9".into())));
}

#[test]
fn a_node_shows_what_is_taken_and_when_it_was_heard() {
    let state = ten_jobs();
    let live = LiveView { now: pulse(State::default()).now(now(100)), ..LiveView::default() };
    let node = node_status(&state, &live, "node-1").unwrap();
    let shown = node.node.unwrap();
    assert_eq!((shown.tasks, shown.used.unwrap().cpu_milli, shown.total.unwrap().cpu_milli), (8, 4000, 4000));
    assert_eq!((shown.last_heard_ms, node.tasks.len()), (0, 8));
    let list = list_nodes(&state, &live, &v1::ListNodesRequest::default()).unwrap();
    assert_eq!(list.nodes.len(), 1);
    assert!(node_status(&state, &live, "../x").is_err());
}

#[test]
fn a_job_shows_the_version_asked_for_and_names_those_it_keeps() {
    let state = ten_jobs();
    let key = dawn_proto::JobKey::new("ann", "test", "web0").unwrap();
    let status = job_status(&state, &key, 0).unwrap();
    assert_eq!((status.versions.len(), status.tasks.len()), (1, 2));
    assert_eq!(status.spec.unwrap().instances, 2);
    let error = job_status(&state, &key, 7).unwrap_err();
    assert_eq!(error.to_string(), "ann/test/web0 has no version 7; it keeps 1 to 1");
}

#[test]
fn why_counts_agents_by_reason() {
    let state = ten_jobs();
    let key = dawn_proto::JobKey::new("ann", "test", "web8").unwrap();
    let mut live = LiveView { now: pulse(State::default()).now(now(100)), ..LiveView::default() };
    let settings = crate::decide::place::PlaceSettings::default();
    let kinds = |live: &LiveView| {
        let why = why(&state, live, &settings, &Settings::default(), &key).unwrap();
        assert_eq!(why.classes.len(), 1);
        assert_eq!(why.classes[0].instances, [0, 1]);
        why.classes[0].vetoes.iter().map(|veto| veto.kind.clone()).collect::<Vec<_>>()
    };
    assert_eq!(kinds(&live), ["disconnected", "cpu"], "all that keeps them out");
    let link = Some(crate::model::LinkId(1));
    let agent = *state.agents.keys().next().unwrap();
    live.agents.insert(agent, crate::model::AgentLive { link, heard_ms: 0 });
    assert_eq!(kinds(&live), ["cpu"]);
    assert_eq!(kinds(&LiveView { now: live.now, ..LiveView::of_follower() }), ["cpu"], "nobody told it of links");
}

#[test]
fn every_view_of_every_story_can_be_made() {
    for seed in 200..205 {
        let (_, state) = story(seed, 150);
        let jobs = list_jobs(&state, &v1::ListJobsRequest { all: true, ..Default::default() }).unwrap();
        assert_eq!(jobs.jobs.len(), state.jobs.len());
        for key in state.indexes().job_by_key.keys() {
            let status = job_status(&state, key, 0).unwrap();
            let summary = status.summary.unwrap();
            assert_eq!(status.cron.is_some(), summary.kind() == JobKind::Cron);
        }
        let cron = list_cron(&state, "ann");
        assert!(cron.jobs.iter().all(|job| (job.next_ms > 0 || job.paused_ms > 0) && job.ticks.len() <= 20));
    }
}

#[test]
fn a_job_whose_end_was_told_late_ended_when_its_last_task_did() {
    let mut before = pulse(State::default());
    let job = spec("sum", JobKind::Batch, 1);
    before.step([elected(1), registered(1, 1, Vec::new()), submit(1, job.clone())], now(0));
    let task = *before.state().tasks.keys().next().unwrap();
    before.step([reported(1, task, 1, TaskState::Running)], now(1_000));
    let ended = now(4_000).wall;
    let mut after = pulse(before.state().clone());
    let state = TaskState::Finished.into();
    let report = v1::TaskReport { task_id: task.0, sequence: 2, state, at_ms: ended.0, ..Default::default() };
    after.step([elected(2)], now(20_000));
    after.step([registered(1, 1, vec![report])], now(20_500));
    let status = job_status(after.state(), &job.key, 0).unwrap();
    assert_eq!((status.ended_ms, status.summary.unwrap().result.as_str()), (ended.0, "succeeded"));
}
