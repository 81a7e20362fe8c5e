//! What lists and statuses say of jobs whose instances failed, or were run before.

use dawn_proto::TaskId;

use super::*;
use crate::drive::Pulse;
use crate::model::{Event, JobSpec, LinkId};
use crate::wire::parse_job_spec;
use crate::wire::sample::wire_spec;

pub(super) struct Rig {
    pub pulse: Pulse,
    pub at_ms: u64,
    sequence: u64,
}

impl Rig {
    pub fn new(spec: JobSpec) -> Rig {
        let mut rig = Rig { pulse: pulse(State::default()), at_ms: 0, sequence: 0 };
        rig.step([elected(1), registered(1, 1, Vec::new())]);
        rig.step([submit(1, spec)]);
        rig
    }

    pub fn step<const N: usize>(&mut self, events: [Event; N]) {
        self.at_ms += 1;
        self.pulse.step(events, now(self.at_ms));
        self.pulse.step([Event::Tick], now(self.at_ms));
    }

    pub fn pass_ms(&mut self, ms: u64) {
        self.at_ms += ms;
        let beat = Event::Heartbeat { link: LinkId(1), sequence: 0, welcome: 0, wall: Default::default() };
        self.step([beat]);
    }

    pub fn say(&mut self, task: TaskId, state: TaskState) {
        self.sequence += 1;
        self.step([reported(1, task, self.sequence, state)]);
    }

    /// The newest task of an instance is said to be in each of the states.
    pub fn newest(&mut self, instance: u32, states: &[TaskState]) -> TaskId {
        let job = self.pulse.state().jobs.values().next().unwrap();
        let task = self.pulse.state().tasks_of(job.id).newest(dawn_proto::Timestamp(0), instance).unwrap();
        states.iter().for_each(|state| self.say(task, *state));
        task
    }

    pub fn key(&self) -> dawn_proto::JobKey {
        self.pulse.state().jobs.values().next().unwrap().key.clone()
    }

    pub fn wall(&self) -> dawn_proto::Timestamp {
        self.pulse.now(now(self.at_ms)).wall
    }

    pub fn status(&self) -> v1::JobStatus {
        let state = self.pulse.state();
        job_status_at(state, &self.key(), 0, self.wall()).unwrap()
    }

    pub fn summary(&self) -> v1::JobSummary {
        let state = self.pulse.state();
        let all = v1::ListJobsRequest { all: true, ..Default::default() };
        let listed = super::super::list_jobs(state, &all, self.pulse.now(now(self.at_ms)).wall).unwrap();
        assert_eq!(Some(&listed.jobs[0]), self.status().summary.as_ref());
        listed.jobs[0].clone()
    }
}

use TaskState::{Failed, Finished, Running};

#[test]
fn a_crash_loop_shows_in_a_list_and_each_life_shows_how_the_one_before_it_failed() {
    let mut rig = Rig::new(spec("web", JobKind::Service, 1));
    let first = rig.newest(0, &[Running]);
    assert_eq!(
        (rig.summary().failing, rig.summary().restarts, rig.status().tasks[0].last_failure.clone()),
        (0, 0, None)
    );
    rig.say(first, Failed);
    let summary = rig.summary();
    assert_eq!((summary.pending, summary.failed, summary.failing, summary.restarts), (1, 0, 1, 1));
    let failure = rig.status().tasks[0].last_failure.clone().unwrap();
    assert_eq!((failure.task_id, failure.attempt, failure.exit_code, failure.signal), (first.0, 1, Some(3), None));
    assert_eq!((failure.hostname.as_str(), failure.at_ms > 0), ("node-1.example", true));
    rig.pass_ms(120_000);
    rig.newest(0, &[Running]);
    assert_eq!((rig.summary().running, rig.summary().failing), (1, 1), "it may fail again");
    let stable_ms = rig.pulse.state().specs.values().next().unwrap().job.restart.stable_after_ms;
    rig.at_ms += stable_ms + 1_000;
    assert_eq!((rig.summary().running, rig.summary().failing, rig.summary().restarts), (1, 0, 1));
    assert!(rig.status().tasks[0].last_failure.is_some(), "what happened is still told");
}

#[test]
fn restarts_are_one_number_in_a_list_and_beside_the_instances_however_few_lives_are_kept() {
    let mut rig = Rig::new(spec("web", JobKind::Service, 2));
    rig.newest(1, &[Running]);
    let restarts = |rig: &Rig| {
        let mut of_tasks: Vec<_> = rig.status().tasks.iter().map(|task| (task.instance, task.restarts)).collect();
        of_tasks.sort_unstable();
        assert_eq!(rig.summary().restarts, of_tasks.iter().map(|(_, restarts)| restarts).sum::<u32>());
        of_tasks
    };
    for lives in 1..=6 {
        rig.newest(0, &[Running, Failed]);
        assert_eq!(restarts(&rig), [(0, lives), (1, 0)]);
        rig.pass_ms(700_000);
    }
    assert!(rig.pulse.state().tasks.len() < 6, "the oldest lives are forgotten");
    // More instances are no restart of those that are there, nor an end of their count.
    rig.step([submit(2, spec("web", JobKind::Service, 3))]);
    rig.newest(0, &[Running, Failed]);
    assert_eq!(restarts(&rig), [(0, 7), (1, 0), (2, 0)]);
    // Another version counts anew.
    let mut other = wire_spec("web", JobKind::Service, 3);
    other.task.as_mut().unwrap().env.insert("A".into(), "b".into());
    rig.step([submit(3, parse_job_spec(other).unwrap())]);
    rig.pass_ms(1_000);
    assert_eq!(restarts(&rig), [(0, 0), (1, 0), (2, 0)]);
}

#[test]
fn a_task_that_ran_for_too_long_says_how_long_it_might_run() {
    let mut job = spec("long", JobKind::Batch, 1);
    job.max_run_time_ms = Some(2_000);
    let mut rig = Rig::new(job);
    let task = rig.newest(0, &[Running]);
    rig.pass_ms(3_000);
    let message = "ran longer than allowed (max_run_time); ended by SIGKILL".to_string();
    let (state, reason) = (Failed.into(), v1::Reason::MaxRunTime.into());
    let end = v1::TaskReport { task_id: task.0, sequence: 9, state, reason, message, ..Default::default() };
    rig.step([Event::Reported { link: LinkId(1), report: crate::wire::report(end).unwrap() }]);
    let status = rig.status();
    let failure = status.tasks[0].last_failure.clone().unwrap();
    assert_eq!(failure.message, "ran longer than 2s (max_run_time); ended by SIGKILL");
    assert_eq!(status.tasks[0].history.last().unwrap().message, failure.message);
}

#[test]
fn a_service_that_ends_with_success_is_told_as_well() {
    let mut rig = Rig::new(spec("web", JobKind::Service, 1));
    rig.newest(0, &[Running, Finished]);
    let failure = rig.status().tasks[0].last_failure.clone().unwrap();
    assert_eq!(failure.message, "its process ended, but a service is to go on");
}

#[test]
fn the_last_of_three_failures_counts_among_the_failures_in_a_row() {
    let mut job = spec("sum", JobKind::Batch, 1);
    job.restart.max_failures = 3;
    let mut rig = Rig::new(job);
    for failed in 1..=3 {
        let task = rig.newest(0, &[Running, Failed]);
        let shown = list_tasks(rig.pulse.state(), None, &v1::ListTasksRequest { all: true, ..Default::default() });
        let shown = shown.unwrap().tasks.into_iter().find(|shown| shown.id == task.0).unwrap();
        assert_eq!((shown.state(), shown.failures), (Failed, failed));
        rig.pass_ms(300_000);
    }
    let status = rig.status();
    assert_eq!((status.tasks[0].state(), status.tasks[0].failures), (Failed, 3));
    assert_eq!(status.summary.unwrap().result, "failed");
}

#[test]
fn lives_that_did_not_start_count_among_the_failures_in_a_row_as_among_the_restarts() {
    let mut rig = Rig::new(spec("web", JobKind::Service, 1));
    rig.step([registered(2, 2, Vec::new())]);
    for failed in 1..=2 {
        let task = rig.newest(0, &[]);
        // The second life goes to the other node.
        let link = LinkId(u64::from(rig.pulse.state().tasks[&task].held_on().unwrap().0) + 1);
        let (state, reason) = (Failed.into(), v1::Reason::UnknownUser.into());
        let message = "user www does not exist on this node".into();
        let end = v1::TaskReport { task_id: task.0, sequence: 1, state, reason, message, ..Default::default() };
        rig.step([Event::Reported { link, report: crate::wire::report(end).unwrap() }]);
        let shown = rig.status().tasks[0].clone();
        assert_eq!((shown.failures, shown.restarts, shown.attempt), (failed, failed, failed + 1));
    }
    let ends: Vec<TaskState> = rig.pulse.state().tasks.values().map(crate::model::Task::state).collect();
    assert_eq!(ends, [TaskState::Lost, Failed, TaskState::Throttled], "the first may have been its node's fault");
}

#[test]
fn a_batch_job_that_is_run_again_shows_its_own_run_alone() {
    let mut job = spec("sum", JobKind::Batch, 4);
    job.restart.max_failures = 1;
    job.flow.max_running = Some(2);
    let mut rig = Rig::new(job.clone());
    for (instance, end) in [(0, Failed), (1, Finished), (2, Finished), (3, Finished)] {
        rig.newest(instance, &[Running, end]);
    }
    let summary = rig.summary();
    assert_eq!((summary.finished, summary.failed, summary.ended), (3, 1, true));
    rig.step([submit(2, job)]);
    rig.pass_ms(1_000);
    let summary = rig.summary();
    assert_eq!((summary.finished, summary.failed, summary.restarts, summary.ended), (0, 0, 0, false));
    assert_eq!(rig.status().tasks.len(), 2, "of the run before nothing is shown");
    assert!(rig.status().tasks.iter().all(|task| task.last_failure.is_none() && task.failures == 0));
    for instance in 0..4 {
        rig.newest(instance, &[Running, Finished]);
    }
    let summary = rig.summary();
    assert_eq!((summary.finished, summary.failed, summary.result.as_str()), (4, 0, "succeeded"));
}

#[test]
fn every_instance_is_in_one_count() {
    let mut rig = Rig::new(spec("web", JobKind::Service, 6));
    for instance in 0..4 {
        rig.newest(instance, &[Running]);
    }
    rig.step([kill(9, "web", vec![(0, 1)])]);
    rig.newest(1, &[TaskState::Killed]);
    let summary = rig.summary();
    let counts = (summary.stopping, summary.killed, summary.running, summary.starting, summary.pending);
    assert_eq!(counts, (1, 1, 2, 2, 0));
    // Nobody hears the agent any more.
    rig.at_ms += 40_000;
    rig.step([Event::LinkClosed { link: LinkId(1) }]);
    for _ in 0..200 {
        rig.at_ms += 500;
        rig.step([Event::Tick]);
        let summary = rig.summary();
        let living = summary.stopping + summary.running + summary.starting + summary.pending + summary.partitioned;
        assert_eq!(living + summary.killed + summary.lost, 6, "{summary:?}");
        if summary.partitioned > 0 {
            return;
        }
    }
    panic!("no instance was ever partitioned: {:?}", rig.summary());
}

#[test]
fn a_list_looks_at_no_task() {
    let mut rig = Rig::new(spec("sum", JobKind::Batch, 4));
    for instance in 0..4 {
        rig.newest(instance, &[Running, Finished]);
    }
    let mut state = rig.pulse.state().clone();
    state.truth_mut().tasks = Default::default();
    let all = v1::ListJobsRequest { all: true, ..Default::default() };
    assert_eq!(super::super::list_jobs(&state, &all, state.at).unwrap().jobs[0], rig.summary());
    assert_eq!((rig.summary().finished, rig.summary().result.as_str()), (4, "succeeded"));
}
