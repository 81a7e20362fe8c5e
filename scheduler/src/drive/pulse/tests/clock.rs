//! Wall clocks that are set while a leader lives, and before one begins: durations stay what they are, cron goes on by the
//! right time, replaying gives the same.

use dawn_proto::{Timestamp, v1};

use super::*;
use crate::model::TaskMade;
use crate::wire::parse_job_spec;
use crate::wire::sample::wire_spec;

const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;

/// A leader with one agent, whose wall clocks are wrong by so much.
struct Desk {
    pulse: Pulse,
    batches: Vec<Arc<Batch>>,
    ms: u64,
    off: i64,
    agent_off: i64,
    alarms: Vec<Option<String>>,
}

impl Desk {
    fn new() -> Desk {
        Desk::leading(State::default(), 0, 1)
    }

    fn leading(state: State, ms: u64, epoch: u64) -> Desk {
        let pulse = pulse(state);
        let mut desk = Desk { pulse, batches: vec![], ms, off: 0, agent_off: 0, alarms: vec![] };
        desk.step(vec![elected(epoch)]);
        desk
    }

    fn right(&self) -> Reading {
        now(self.ms)
    }

    fn step(&mut self, events: Vec<Event>) {
        let mut reading = self.right();
        reading.wall.0 += self.off;
        self.batches.extend(self.pulse.step(events, reading));
        let alarm = |effect| match effect {
            Effect::Alarm { alarm: Alarm::ClockStepped, words } => Some(words),
            _ => None,
        };
        self.alarms.extend(self.pulse.durable(self.pulse.state.index).into_iter().filter_map(alarm));
    }

    /// The agent says so much of its tasks, in each step.
    fn pass(&mut self, seconds: u64) {
        for _ in 0..seconds * 2 {
            self.ms += 500;
            let wall = Timestamp(self.right().wall.0 + self.agent_off);
            let mut events = vec![Event::Heartbeat { link: LinkId(1), sequence: self.ms, wall, welcome: 0 }];
            let assigned = self.pulse.state.tasks.values().filter(|task| task.state() == TaskState::Assigned);
            events.extend(assigned.map(|task| reported(1, task.id, 1, TaskState::Running)));
            events.push(Event::Tick);
            self.step(events);
        }
    }

    fn job(&mut self, name: &str, kind: JobKind, change: impl FnOnce(&mut v1::JobSpec)) {
        let mut spec = wire_spec(name, kind, 1);
        change(&mut spec);
        self.step(vec![submit(1, parse_job_spec(spec).unwrap())]);
        self.pass(2);
    }

    fn states(&self, name: &str) -> Vec<TaskState> {
        let named = |task: &&Task| self.pulse.state.jobs[&task.job].key.name() == name;
        self.pulse.state.tasks.values().filter(named).map(Task::state).collect()
    }

    fn end(&mut self, name: &str, state: TaskState) {
        let named = |task: &&Task| self.pulse.state.jobs[&task.job].key.name() == name;
        let living = self.pulse.state.tasks.values().filter(named).filter(|task| !task.state().is_terminal());
        let ids: Vec<TaskId> = living.map(|task| task.id).collect();
        self.step(ids.into_iter().map(|id| reported(1, id, 2, state)).collect());
    }

    /// Replaying what was written gives the same state, by way of the wire.
    fn check_replay(&self) {
        let mut twin = State::default();
        for batch in &self.batches {
            twin.apply(&batch_from_wire(batch_to_wire(batch)).unwrap());
        }
        assert_eq!(&twin, &self.pulse.state);
        assert_eq!(&State::of(twin.truth().clone()), &self.pulse.state);
    }

    fn wrong_ms(&self) -> i64 {
        let mut reading = self.right();
        reading.wall.0 += self.off;
        self.pulse.now(reading).wall.0 - self.right().wall.0
    }
}

fn desk_with_agent() -> Desk {
    let mut desk = Desk::new();
    desk.step(vec![registered(1, 1, Vec::new())]);
    desk.pass(1);
    desk
}

fn limited(spec: &mut v1::JobSpec) {
    (spec.max_run_time_ms, spec.deadline_ms) = (600_000, 900_000);
}

#[test]
fn tasks_live_on_whatever_the_wall_clock_is_set_to() {
    for (off, agents_too) in [(2 * HOUR_MS, false), (2 * HOUR_MS, true), (-3 * DAY_MS, true), (40_000, false)] {
        let mut desk = desk_with_agent();
        desk.job("sum", JobKind::Batch, limited);
        desk.pass(60);
        (desk.off, desk.agent_off) = (off, if agents_too { off } else { 0 });
        desk.pass(500);
        assert_eq!(desk.states("sum"), [TaskState::Running], "{off}");
        assert_eq!(desk.wrong_ms(), if agents_too || off == 40_000 { off } else { 0 });
        desk.pass(40);
        assert_eq!(desk.states("sum"), [TaskState::Killing], "{off}");
        desk.check_replay();
    }
}

#[test]
fn a_service_that_fails_while_the_clock_is_wrong_is_started_again_in_time() {
    for (off, stands) in [(3 * DAY_MS, 2), (3 * DAY_MS, 120), (-HOUR_MS, 2), (-HOUR_MS, 120), (30_000, 5)] {
        let mut desk = desk_with_agent();
        desk.job("web", JobKind::Service, |_| ());
        (desk.off, desk.agent_off) = (off, off);
        desk.pass(stands);
        desk.end("web", TaskState::Failed);
        (desk.off, desk.agent_off) = (0, 0);
        desk.pass(65);
        assert_eq!(desk.states("web"), [TaskState::Failed, TaskState::Running], "{off} for {stands} s");
        assert_eq!(desk.wrong_ms(), 0);
        desk.check_replay();
    }
}

/// When its runs began, by the right time.
fn begun(desk: &Desk, from: usize) -> usize {
    let made = |mutation: &&Mutation| matches!(mutation, Mutation::TaskMade(TaskMade { run_at, .. }) if run_at.0 != 0);
    desk.batches[from..].iter().flat_map(|batch| &batch.mutations).filter(made).count()
}

#[test]
fn cron_fires_within_two_minutes_of_the_clock_being_right_again() {
    for (off, stands) in [(3 * DAY_MS, 2), (3 * DAY_MS, 200), (-2 * HOUR_MS, 200), (-2 * HOUR_MS, 2)] {
        let mut desk = desk_with_agent();
        desk.job("save", JobKind::Cron, |_| ());
        desk.pass(130);
        desk.end("save", TaskState::Finished);
        (desk.off, desk.agent_off) = (off, off);
        desk.pass(stands);
        desk.end("save", TaskState::Finished);
        (desk.off, desk.agent_off) = (0, 0);
        desk.pass(1);
        let from = desk.batches.len();
        desk.pass(121);
        assert!(begun(&desk, from) >= 1, "{off} for {stands} s");
        assert_eq!(desk.wrong_ms(), 0);
        let told = desk.alarms.iter().flatten().any(|words| words.contains("wall clock was set"));
        assert!(told, "{:?}", desk.alarms);
        desk.check_replay();
    }
}

#[test]
fn records_of_cron_that_are_struck_are_told_of() {
    let mut desk = desk_with_agent();
    desk.job("save", JobKind::Cron, |_| ());
    (desk.off, desk.agent_off) = (DAY_MS, DAY_MS);
    desk.pass(300);
    (desk.off, desk.agent_off) = (0, 0);
    desk.pass(62);
    let last = desk.alarms.last().unwrap().clone().unwrap();
    assert!(last.contains("set back by 1d") && last.contains("were struck"), "{last}");
    desk.pass(601);
    assert_eq!(desk.alarms.last(), Some(&None));
}

#[test]
fn a_new_leader_with_a_wrong_clock_ends_nothing_early() {
    let mut desk = desk_with_agent();
    desk.job("sum", JobKind::Batch, limited);
    desk.pass(60);
    let mut next = Desk::leading(desk.pulse.state.clone(), desk.ms, 2);
    next.off = 2 * HOUR_MS;
    let mut next = Desk { pulse: pulse(desk.pulse.state.clone()), ..next };
    next.step(vec![elected(2)]);
    let tasks = vec![v1::TaskReport {
        task_id: next.pulse.state.tasks.keys().next().unwrap().0,
        sequence: 1,
        state: TaskState::Running.into(),
        ..Default::default()
    }];
    next.step(vec![registered(1, 1, tasks)]);
    next.pass(500);
    assert_eq!(next.states("sum"), [TaskState::Running]);
    // The time since the last record counts from when it was made: at most half a minute is lost.
    next.pass(60);
    assert_eq!(next.states("sum"), [TaskState::Killing]);
}

#[test]
fn time_in_which_nobody_led_counts_when_the_agents_clocks_say_that_it_passed() {
    let mut desk = desk_with_agent();
    desk.job("sum", JobKind::Batch, limited);
    desk.pass(60);
    let mut next = Desk::leading(desk.pulse.state.clone(), desk.ms + 700_000, 2);
    let tasks = vec![v1::TaskReport {
        task_id: next.pulse.state.tasks.keys().next().unwrap().0,
        sequence: 1,
        state: TaskState::Running.into(),
        ..Default::default()
    }];
    next.step(vec![registered(1, 1, tasks), submit(7, spec("web", JobKind::Service, 1))]);
    next.pass(2);
    assert_eq!((next.wrong_ms(), next.states("sum")), (0, vec![TaskState::Killing]));
    // What this leader noted before it knew moved along.
    let web = next.pulse.state.jobs.values().find(|job| job.key.name() == "web").unwrap();
    assert!(next.right().wall.since_ms(web.created) < 5_000);
}

#[test]
fn what_an_older_version_noted_by_a_wrong_clock_waits_no_longer() {
    let mut desk = Desk::leading(State::default(), 0, 1);
    desk.pulse = pulse(State::default());
    (desk.off, desk.agent_off, desk.batches) = (3 * DAY_MS, 3 * DAY_MS, vec![]);
    desk.step(vec![elected(1), registered(1, 1, Vec::new())]);
    desk.job("web", JobKind::Service, |_| ());
    desk.job("save", JobKind::Cron, |_| ());
    desk.pass(130);
    desk.end("web", TaskState::Failed);
    desk.end("save", TaskState::Finished);
    // Its clock was right again then, and so was the time of the last record.
    let mut state = desk.pulse.state.clone();
    state.truth_mut().at = desk.right().wall;
    let mut next = Desk::leading(state, desk.ms, 2);
    next.step(vec![registered(1, 1, Vec::new())]);
    next.pass(65);
    assert_eq!(next.states("web").last(), Some(&TaskState::Running));
    let told = next.alarms.iter().flatten().any(|words| words.contains("held times still to come"));
    assert!(told, "{:?}", next.alarms);
    next.pass(60);
    assert!(begun(&next, 0) >= 1);
}

#[test]
fn what_ended_while_nobody_led_ended_when_its_agent_says() {
    // Nobody led for a while that is told at once, or for one that the agents' clocks must confirm.
    for gap_ms in [20_000, 700_000] {
        let mut desk = desk_with_agent();
        desk.job("sum", JobKind::Batch, |_| ());
        desk.pass(5);
        let ended = Timestamp(desk.right().wall.0 + 9_000);
        let mut next = Desk::leading(desk.pulse.state.clone(), desk.ms + gap_ms, 2);
        let report = v1::TaskReport {
            task_id: next.pulse.state.tasks.keys().next().unwrap().0,
            sequence: 1,
            state: TaskState::Finished.into(),
            at_ms: ended.0,
            ..Default::default()
        };
        next.step(vec![registered(1, 1, vec![report])]);
        next.pass(5);
        assert_eq!((next.wrong_ms(), next.states("sum")), (0, vec![TaskState::Finished]));
        let task = next.pulse.state.tasks.values().next().unwrap();
        assert_eq!(task.since(), ended, "{gap_ms}");
        let (mut twin, batches) = (desk.pulse.state.clone(), next.batches.iter());
        batches.for_each(|batch| twin.apply(&batch_from_wire(batch_to_wire(batch)).unwrap()));
        assert_eq!(digest(&twin), digest(&next.pulse.state));
    }
}
