//! What is told of a job's life until now to whoever submits it.

use dawn_proto::v1::UpdatePolicy;

use super::failures::Rig;
use super::*;
use crate::model::JobSpec;
use crate::wire::parse_job_spec;
use crate::wire::sample::wire_spec;

fn of(v: &str, instances: u32) -> JobSpec {
    let mut wire = wire_spec("web", JobKind::Service, instances);
    wire.update = Some(UpdatePolicy { watch_ms: Some(1_000), ..Default::default() });
    wire.task.as_mut().unwrap().env.insert("V".into(), v.into());
    parse_job_spec(dawn_proto::validate::job_spec(wire).unwrap()).unwrap()
}

fn notes(rig: &Rig, spec: &JobSpec) -> Vec<String> {
    submit_notes(rig.pulse.state(), spec, rig.wall())
}

use TaskState::{Failed, Killed, Running};

#[test]
fn going_back_to_a_version_that_never_was_healthy_is_warned_of() {
    let mut rig = Rig::new(of("1", 1));
    rig.newest(0, &[Running, Failed]);
    rig.step([submit(2, of("2", 1))]);
    rig.pass_ms(500);
    rig.newest(0, &[Running]);
    rig.pass_ms(1_500);
    assert_eq!(notes(&rig, &of("1", 1)), ["version 1 had the same tasks, and it never was healthy"]);
    assert_eq!(notes(&rig, &of("2", 1)), [] as [&str; 0], "it is what runs");
    assert_eq!(notes(&rig, &of("3", 1)), [] as [&str; 0], "it is new");
}

#[test]
fn going_to_a_version_that_was_rolled_back_is_warned_of_and_back_to_one_that_was_good_is_not() {
    let mut rig = Rig::new(of("1", 1));
    rig.newest(0, &[Running]);
    rig.pass_ms(1_500);
    rig.step([submit(2, of("2", 1))]);
    assert_eq!(rig.status().update, 1);
    rig.pass_ms(500);
    rig.newest(0, &[Killed]);
    rig.pass_ms(500);
    rig.newest(0, &[Running, Failed]);
    rig.pass_ms(500);
    rig.newest(0, &[Running]);
    for _ in 0..4 {
        rig.pass_ms(1_000);
    }
    let status = rig.status();
    assert_eq!((status.update, status.summary.unwrap().version), (0, 1), "it went back");
    assert_eq!(notes(&rig, &of("2", 1)), ["version 2 had the same tasks, and it never was healthy"]);
    assert_eq!(notes(&rig, &of("1", 1)), [] as [&str; 0]);
}

#[test]
fn killed_instances_that_another_version_starts_again_are_named() {
    let mut rig = Rig::new(of("1", 3));
    for instance in 0..3 {
        rig.newest(instance, &[Running]);
    }
    rig.pass_ms(1_500);
    rig.step([kill(9, "web", vec![(0, 1)])]);
    rig.newest(0, &[Killed]);
    rig.newest(1, &[Killed]);
    let both = ["instances 0-1, which were killed, are started again"];
    assert_eq!(notes(&rig, &of("2", 3)), both, "an update");
    assert_eq!(notes(&rig, &of("1", 4)), both, "more instances");
    assert_eq!(notes(&rig, &of("1", 2)), ["instance 0, which was killed, is started again"], "fewer");
    assert_eq!(notes(&rig, &of("1", 3)), [] as [&str; 0], "the outcome says it");
}
