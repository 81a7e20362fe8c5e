//! What is said of the steps of tasks: which node was lost, and which update made or stopped them.

use dawn_proto::AgentId;
use dawn_proto::v1::{Reason, UpdateAction};

use super::endpoints::{green, tell};
use super::failures::Rig;
use super::*;
use crate::model::{Command, Event, LinkId, LossCommand, ReplyTo};

/// What is said of the steps with a reason of every task of an instance, oldest first.
fn said(rig: &Rig, instance: u32, reason: Reason) -> Vec<String> {
    let request = v1::ListTasksRequest { all: true, ..Default::default() };
    let mut tasks = list_tasks(rig.pulse.state(), None, &request).unwrap().tasks;
    tasks.retain(|task| task.instance == instance);
    let steps = tasks.into_iter().flat_map(|task| task.history).filter(|step| step.reason() == reason);
    steps.map(|step| step.message).collect()
}

#[test]
fn what_an_update_makes_and_what_it_stops_names_the_update() {
    let mut rig = green(false);
    rig.pass_ms(2_000);
    rig.pass_ms(500);
    let stopped = "stopped by update 1 to version 2";
    assert_eq!(said(&rig, 0, Reason::Updated), [stopped, "made for version 2"]);
    let old = rig.status().tasks.into_iter().find(|task| task.instance == 0 && task.version == 1).unwrap();
    rig.say(dawn_proto::TaskId(old.id), TaskState::Killed);
    assert_eq!(said(&rig, 0, Reason::Updated), [stopped, stopped, "made for version 2"], "its end is said, too");
}

#[test]
fn what_is_stopped_since_an_update_was_given_up_says_so() {
    let mut rig = green(true);
    tell(&mut rig, UpdateAction::Abort);
    rig.pass_ms(500);
    let kept = "its instance keeps another life, since update 1 to version 2 was aborted";
    assert_eq!(said(&rig, 0, Reason::Updated), ["made for version 2", kept]);
    let status = rig.status();
    let current = status.versions.iter().find(|version| version.current).unwrap().version;
    let v = status.spec.unwrap().task.unwrap().env["V"].clone();
    assert_eq!((current, v.as_str()), (1, "1"), "the spec is that of the version in force again");
}

#[test]
fn a_life_in_place_of_one_whose_node_was_lost_names_the_node() {
    let mut rig = Rig::new(spec("web", JobKind::Service, 1));
    rig.newest(0, &[TaskState::Running]);
    rig.step([registered(2, 2, Vec::new())]);
    rig.step([Event::LinkClosed { link: LinkId(1) }]);
    for _ in 0..20 {
        rig.at_ms += 1_000;
        rig.step([Event::Heartbeat { link: LinkId(2), sequence: 0, welcome: 0, wall: Default::default() }]);
    }
    let agents = vec![AgentId::new("node-1").unwrap()];
    let command = LossCommand::DeclareDown { agents, author: "ann".into(), is_preview: false };
    rig.step([Event::Command { reply: ReplyTo(9), command: Command::Loss(command) }]);
    let task = rig.status().tasks.pop().unwrap();
    assert_eq!(task.hostname, "node-2.example");
    assert_eq!(task.history[0].message, "in place of t0, since its node node-1.example was lost");
}
