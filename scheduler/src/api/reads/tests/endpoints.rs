//! Whom clients are sent to while an update is under way.

use dawn_proto::v1::{UpdateAction, UpdatePolicy, UpdateStrategy};
use dawn_proto::validate;

use super::failures::Rig;
use super::*;
use crate::model::{Command, Event, JobSpec, ReplyTo, UpdateCommand};
use crate::wire::parse_job_spec;
use crate::wire::sample::wire_spec;

fn web(v: &str, manual_promotion: bool) -> JobSpec {
    let mut wire = wire_spec("web", JobKind::Service, 2);
    let strategy = UpdateStrategy::BlueGreen.into();
    wire.update = Some(UpdatePolicy { strategy, manual_promotion, watch_ms: Some(1_000), ..Default::default() });
    wire.task.as_mut().unwrap().env.insert("V".into(), v.into());
    parse_job_spec(validate::job_spec(wire).unwrap()).unwrap()
}

fn versions(rig: &Rig) -> Vec<u32> {
    let listed = list_endpoints(rig.pulse.state(), &rig.key()).unwrap();
    listed.endpoints.into_iter().map(|endpoint| endpoint.version).collect()
}

/// Version 2 runs beside version 1, and was healthy for long enough.
fn green(manual_promotion: bool) -> Rig {
    let mut rig = Rig::new(web("1", manual_promotion));
    for instance in [0, 1] {
        rig.newest(instance, &[TaskState::Running]);
    }
    rig.pass_ms(1_000);
    rig.step([submit(2, web("2", manual_promotion))]);
    rig.pass_ms(500);
    rig.pass_ms(500);
    for instance in [0, 1] {
        rig.newest(instance, &[TaskState::Running]);
    }
    assert_eq!(rig.summary().running, 4);
    rig
}

#[test]
fn the_new_set_of_a_blue_green_update_is_announced_when_it_is_promoted() {
    let mut rig = green(true);
    assert_eq!(versions(&rig), [1, 1]);
    rig.pass_ms(2_000);
    rig.pass_ms(2_000);
    assert_eq!(versions(&rig), [1, 1], "it is healthy, and waits for a person");
    let promote = UpdateCommand::Control {
        key: rig.key(),
        action: UpdateAction::Promote,
        author: "ann".into(),
        message: String::new(),
    };
    rig.step([Event::Command { reply: ReplyTo(9), command: Command::Update(promote) }]);
    rig.pass_ms(500);
    assert_eq!(versions(&rig), [2, 2]);
}

#[test]
fn where_nobody_is_asked_it_is_announced_when_the_old_set_goes() {
    let mut rig = green(false);
    assert_eq!(versions(&rig), [1, 1]);
    rig.pass_ms(2_000);
    rig.pass_ms(500);
    assert_eq!(versions(&rig), [2, 2]);
}
