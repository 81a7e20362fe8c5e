//! What a step gives away, and when.

mod changing;
mod clock;
mod large;
mod stage;
mod stories;
mod told;

use dawn_proto::v1::{JobKind, SubmitOutcome};
use dawn_proto::{TaskId, TaskState};

use super::*;
use crate::model::{Answer, LinkId, Refusal, ReplyTo, answers};
use crate::model::{Status, Task, Waiting};
use crate::wire::sample::{elected, kill, now, pulse, registered, reported, spec, story, submit};
use crate::wire::{batch_from_wire, batch_to_wire, digest};

/// A pulse that leads, with one agent, everything durable and said.
fn leading() -> Pulse {
    let mut pulse = pulse(State::default());
    pulse.step([elected(1)], now(0)).unwrap();
    pulse.step([registered(1, 1, Vec::new())], now(1)).unwrap();
    let effects = pulse.durable(2);
    assert!(matches!(effects[..], [Effect::Welcome { link: LinkId(1), .. }]), "{effects:?}");
    pulse
}

fn names(effects: &[Effect]) -> Vec<String> {
    effects.iter().map(|effect| format!("{effect:?}").split([' ', '{']).next().unwrap().to_string()).collect()
}

#[test]
fn nothing_leaves_before_its_batch_is_durable() {
    let mut pulse = leading();
    let first = pulse.step([submit(1, spec("web", JobKind::Service, 1))], now(2)).unwrap();
    let second = pulse.step([submit(2, spec("sum", JobKind::Batch, 1))], now(3)).unwrap();
    assert_eq!((first.index, second.index), (3, 4));
    assert_eq!(pulse.released(), []);
    assert_eq!(pulse.durable(2), []);
    assert_eq!(names(&pulse.durable(3)), ["Reply", "Launch"]);
    assert_eq!(pulse.durable(3), [], "released once");
    assert_eq!(names(&pulse.durable(4)), ["Reply", "Launch"]);
    assert_eq!(pulse.released(), []);
}

#[test]
fn a_step_that_changes_nothing_waits_for_the_batch_it_may_speak_of() {
    let mut pulse = leading();
    let refused = pulse.step([kill(1, "web", Vec::new())], now(2));
    assert!(refused.is_none());
    assert_eq!(names(&pulse.released()), ["Reply"], "nothing is in flight: at once");

    pulse.step([submit(2, spec("web", JobKind::Service, 1))], now(3)).unwrap();
    let again = pulse.step([submit(3, spec("web", JobKind::Service, 1))], now(4));
    assert!(again.is_none(), "the same spec changes nothing");
    assert_eq!(pulse.released(), [], "its answer speaks of what is not durable yet");
    let effects = pulse.durable(3);
    assert_eq!(names(&effects), ["Reply", "Launch", "Reply"]);
    let Some(Effect::Reply { to: ReplyTo(3), answer: Ok(Answer::Submitted(answers::Submitted { outcome, .. })) }) =
        effects.last()
    else {
        panic!("{effects:?}")
    };
    assert_eq!(*outcome, SubmitOutcome::Unchanged);
}

#[test]
fn events_of_one_step_see_each_other_and_make_one_batch() {
    let mut pulse = leading();
    let events = [submit(1, spec("web", JobKind::Service, 2)), kill(2, "web", Vec::new())];
    let batch = pulse.step(events, now(2)).unwrap();
    assert_eq!(batch.index, 3);
    let effects = pulse.durable(3);
    let killed = Effect::Reply { to: ReplyTo(2), answer: Ok(Answer::Killed(answers::Killed { tasks: 2 })) };
    assert!(effects.contains(&killed), "{effects:?}");
    assert!(!names(&effects).contains(&"Launch".to_string()), "killed before they were placed: {effects:?}");
}

#[test]
fn a_refusal_says_why() {
    let mut pulse = leading();
    pulse.step([kill(7, "none", Vec::new())], now(2));
    let effects = pulse.released();
    let [Effect::Reply { to: ReplyTo(7), answer: Err(Refusal::NoSuchJob { key }) }] = &effects[..] else {
        panic!("{effects:?}")
    };
    assert_eq!(key.name(), "none");
}

#[test]
fn a_link_that_closes_gets_no_launches() {
    let mut pulse = leading();
    assert!(pulse.step([Event::LinkClosed { link: LinkId(1) }], now(2)).is_none());
    pulse.step([submit(1, spec("web", JobKind::Service, 1))], now(3)).unwrap();
    assert_eq!(names(&pulse.durable(3)), ["Reply"]);
    // It dials again: the waiting task is placed.
    pulse.step([registered(2, 1, Vec::new())], now(4)).unwrap();
    assert_eq!(names(&pulse.durable(4)), ["Welcome", "Launch"]);
}

#[test]
fn a_report_is_acknowledged_once_it_is_durable() {
    let mut pulse = leading();
    pulse.step([submit(1, spec("web", JobKind::Service, 1))], now(2)).unwrap();
    let launched = pulse.durable(3);
    let Some(Effect::Launch { task, .. }) = launched.last() else { panic!("{launched:?}") };
    let task = *task;
    pulse.step([reported(1, task, 9, TaskState::Running)], now(5)).unwrap();
    assert_eq!(pulse.released(), []);
    assert_eq!(pulse.durable(4), [Effect::Ack { link: LinkId(1), task, sequence: 9 }]);
}

#[test]
fn placement_stops_at_its_bound_and_says_that_it_is_hungry() {
    let mut pulse = Pulse::new(
        State::default(),
        Settings::default(),
        PulseSettings { placements_per_step: 3, ..PulseSettings::default() },
    );
    pulse.step([elected(1), registered(1, 1, Vec::new())], now(0)).unwrap();
    pulse.step([submit(1, spec("web", JobKind::Service, 7))], now(1)).unwrap();
    let mut placed = vec![];
    while pulse.is_hungry() {
        placed.push(pulse.state().indexes().tasks_on.values().flatten().count());
        pulse.step([], now(2)).unwrap();
    }
    placed.push(pulse.state().indexes().tasks_on.values().flatten().count());
    assert_eq!(placed, [3, 6, 7]);
}

#[test]
fn a_backoff_names_its_end_as_the_next_deadline() {
    let mut pulse = leading();
    pulse.step([submit(1, spec("web", JobKind::Service, 1)), Event::Tick], now(2)).unwrap();
    assert_eq!(pulse.next_deadline(), None);
    let task = *pulse.state().tasks.keys().next_back().unwrap();
    pulse.step([reported(1, task, 1, TaskState::Running)], now(3)).unwrap();
    pulse.step([reported(1, task, 2, TaskState::Failed)], now(4)).unwrap();
    let next = pulse.state().tasks.values().find(|task| task.state() == TaskState::Throttled);
    let Some(Task { status: Status::Waiting(Waiting::Throttled { ready_at }), .. }) = next else {
        panic!("nothing waits out a backoff")
    };
    assert_eq!(pulse.next_deadline(), Some(*ready_at));
}

#[test]
fn a_follower_of_the_batches_has_the_same_state() {
    for seed in 100..110 {
        let (batches, live) = story(seed, 100);
        let mut follower = State::default();
        for batch in &batches {
            follower.apply(&batch_from_wire(batch_to_wire(batch)).unwrap());
        }
        assert_eq!(digest(&follower), digest(&live), "seed {seed}");
    }
}

#[test]
fn a_pulse_goes_on_where_another_ended() {
    let mut first = leading();
    first.step([submit(1, spec("web", JobKind::Service, 2))], now(2)).unwrap();
    let mut second = pulse(first.state().clone());
    let batch = second.step([elected(2)], now(0)).unwrap();
    assert_eq!((batch.index, batch.epoch.0), (4, 2));
    assert_eq!(second.durable(4), [], "nothing is done before agents are back");
    let tasks: Vec<TaskId> = second.state().tasks.keys().copied().collect();
    let report = |task: &TaskId| dawn_proto::v1::TaskReport {
        task_id: task.0,
        sequence: 1,
        state: TaskState::Running.into(),
        ..Default::default()
    };
    second.step([registered(1, 1, tasks.iter().map(report).collect())], now(1)).unwrap();
    assert_eq!(names(&second.durable(5)), ["Welcome", "Ack", "Ack"], "nothing is launched twice");
}
