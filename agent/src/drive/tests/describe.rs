//! A leader whose journal lost its end asks what tasks are.

use dawn_proto::{Epoch, TaskId};

use super::stories::{connected, effects};
use crate::model::{Effect, Event, LinkEvent};

fn describe(epoch: u64, tasks: &[u64]) -> Event {
    let tasks = tasks.iter().copied().map(TaskId).collect();
    Event::Link(LinkEvent::Describe { epoch: Epoch(epoch), tasks, finished: vec![(TaskId(0), TaskId(100))] })
}

#[test]
fn it_is_told_of_those_that_are_held_once_each_and_only_by_who_leads() {
    let mut world = connected();
    (1..=2).for_each(|task| world.launch(task));
    world.settle();
    let told = effects(&mut world, describe(1, &[1, 9]));
    let [Effect::Describe { reports, .. }] = &told[..] else { panic!("{told:?}") };
    assert_eq!(reports.iter().map(|report| report.task).collect::<Vec<_>>(), [TaskId(1)], "9 is not here, 2 lives");
    assert_eq!(effects(&mut world, describe(1, &[9])), []);
    assert!(matches!(effects(&mut world, describe(5, &[1]))[..], [Effect::Remember(_), Effect::Describe { .. }]));
    let stale = effects(&mut world, describe(4, &[1]));
    assert!(!stale.iter().any(|effect| matches!(effect, Effect::Describe { .. })), "{stale:?}");
}
