//! Whom clients are sent to while an update is under way.

use dawn_proto::v1::{UpdateAction, UpdatePolicy, UpdateState, UpdateStrategy};
use dawn_proto::validate;

use super::failures::Rig;
use super::*;
use crate::model::{Command, Event, JobSpec, Mutation, ReplyTo, UpdateChange, UpdateCommand, UpdateMutation};
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
pub(super) fn green(manual_promotion: bool) -> Rig {
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
    assert_eq!((rig.summary().running, rig.summary().beside), (2, 2));
    rig
}

#[test]
fn the_new_set_of_a_blue_green_update_is_announced_when_it_is_promoted() {
    let mut rig = green(true);
    assert_eq!(versions(&rig), [1, 1]);
    rig.pass_ms(2_000);
    rig.pass_ms(2_000);
    assert_eq!(versions(&rig), [1, 1], "it is healthy, and waits for a person");
    tell(&mut rig, UpdateAction::Promote);
    rig.pass_ms(500);
    assert_eq!(versions(&rig), [2, 2]);
}

pub(super) fn tell(rig: &mut Rig, action: UpdateAction) {
    let control = UpdateCommand::Control { key: rig.key(), action, author: "ann".into(), message: String::new() };
    rig.step([Event::Command { reply: ReplyTo(9), command: Command::Update(control) }]);
}

/// Lives that nobody stops, by instance and version.
fn lives(rig: &Rig) -> Vec<(u32, u32)> {
    let state = rig.pulse.state();
    let job = state.jobs.values().next().unwrap();
    let stays = state.living(job).filter(|task| !task.state().is_stopping());
    let mut lives: Vec<_> = stays.map(|task| (task.instance, state.spec_of(task).version)).collect();
    lives.sort_unstable();
    lives
}

#[test]
fn a_set_that_nobody_promoted_is_not_announced_when_its_update_is_given_up() {
    for manual_promotion in [true, false] {
        let mut rig = green(manual_promotion);
        tell(&mut rig, UpdateAction::Abort);
        assert_eq!(versions(&rig), [1, 1]);
        rig.pass_ms(2_000);
        assert_eq!((versions(&rig), lives(&rig)), (vec![1, 1], vec![(0, 1), (1, 1)]));
        assert_eq!(rig.summary().version, 1, "nothing of the other one is left");
    }
}

#[test]
fn what_a_journal_of_a_version_before_left_of_an_update_that_ended_is_settled_by_the_next_leader() {
    let mut rig = green(true);
    let mut state = rig.pulse.state().clone();
    let job = *state.jobs.keys().next().unwrap();
    let what = UpdateChange::Moved { to: UpdateState::Aborted, author: "ann".into(), message: String::new() };
    let at = state.at;
    state.apply_one(&Mutation::Update(UpdateMutation { job, what }), at);
    rig.pulse = pulse(state);
    assert_eq!(lives(&rig), [(0, 1), (0, 2), (1, 1), (1, 2)]);
    rig.step([elected(2)]);
    rig.pass_ms(1_000);
    assert_eq!((versions(&rig), lives(&rig)), (vec![1, 1], vec![(0, 1), (1, 1)]));
}

#[test]
fn where_nobody_is_asked_it_is_announced_when_the_old_set_goes() {
    let mut rig = green(false);
    assert_eq!(versions(&rig), [1, 1]);
    rig.pass_ms(2_000);
    rig.pass_ms(500);
    assert_eq!(versions(&rig), [2, 2]);
}
