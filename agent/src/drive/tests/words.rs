//! The last words of failed tasks, on their way up.

use dawn_proto::v1::Reason;
use dawn_proto::{Epoch, TaskId, TaskState, Timestamp};

use super::stories::{connected, effects};
use crate::model::{Effect, Ended, Event, ExecutorEvent, LinkEvent, MachineEvent, Message};

#[test]
fn last_words_go_up_with_the_report_and_with_lists_until_it_is_acknowledged() {
    let mut world = connected();
    world.launch(1);
    world.settle();
    let ended = Ended::told(Some(3), None, b"config is missing".to_vec());
    let event = ExecutorEvent::Changed {
        sequence: 99,
        at: Timestamp(0),
        state: TaskState::Failed,
        reason: Reason::Exited,
        message: "process main ended with exit code 3".into(),
        ended: ended.clone(),
    };
    let said = effects(&mut world, Event::Machine(MachineEvent::Heard { task: TaskId(1), event }));
    let told = said.iter().find_map(|effect| match effect {
        Effect::Send { message: Message::Report(report), .. } => Some(report.clone()),
        _ => None,
    });
    assert_eq!(told.unwrap().ended, ended);
    let listed = effects(&mut world, Event::Link(LinkEvent::TellTasks { epoch: Epoch(1) }));
    let [Effect::Send { message: Message::HeldTasks(held), .. }] = &listed[..] else { panic!("{listed:?}") };
    assert_eq!(held[0].ended, ended, "the agent may be gone before it says the report again");
    let held = &world.agent.state.tasks[&TaskId(1)];
    assert_eq!(held.unacked.back().unwrap().ended, ended, "it is said again until it is acknowledged");
    world.link(LinkEvent::Ack { task: TaskId(1), sequence: u64::MAX });
    assert_eq!(world.agent.state.held_list(), [], "acknowledged");
}

/// The next life of the agent says them with its registration: it may be gone for good before it is welcomed.
#[test]
fn last_words_of_a_task_that_failed_unheard_are_in_the_registration_of_the_next_life() {
    let mut world = connected();
    world.launch(1);
    world.settle();
    let session = world.agent.state.link.session().unwrap();
    world.link(LinkEvent::Down { session, why: "the leader is gone".into() });
    let ended = Ended::told(Some(3), None, b"config is missing".to_vec());
    let dir = world.dirs.get_mut(&TaskId(1)).unwrap();
    (dir.executor, dir.process) = (false, false);
    dir.events.push(ExecutorEvent::Changed {
        sequence: dir.events.len() as u64 + 1,
        at: Timestamp(0),
        state: TaskState::Failed,
        reason: Reason::Exited,
        message: "process main ended with exit code 3".into(),
        ended: ended.clone(),
    });
    world.settle();
    for life in 1..=2 {
        world.restart();
        let registered = world.pending.iter().find_map(|effect| match effect {
            Effect::Send { message: Message::Register(register), .. } => Some(register.tasks.clone()),
            _ => None,
        });
        let told: Vec<_> = registered.unwrap().into_iter().map(|report| (report.state, report.ended)).collect();
        assert_eq!(told, [(TaskState::Failed, ended.clone())], "life {life}: the one before died before the welcome");
    }
}
