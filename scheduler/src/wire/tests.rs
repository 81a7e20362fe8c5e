//! What goes through the wire comes back as it was; what can't be is refused by its field.

use dawn_proto::v1::{self, JobKind};
use prost::Message;

use super::sample::{spec, story, wire_spec};
use super::*;
use crate::model::State;

fn text(state: &State) -> String {
    format!("{state:#?}")
}

fn restored(state: &State) -> State {
    let mut builder = StateBuilder::default();
    snapshot_chunks(state).iter().for_each(|chunk| builder.add(chunk).unwrap());
    builder.finish().unwrap()
}

#[test]
fn replayed_batches_and_snapshots_give_the_live_state_in_every_story() {
    let mut kinds = std::collections::BTreeSet::new();
    for seed in 0..8 {
        let (batches, live) = story(seed, 200);
        let mut replayed = State::default();
        for (i, batch) in batches.iter().enumerate() {
            let bytes = batch_to_wire(batch).encode_to_vec();
            let back = batch_from_wire(v1::Batch::decode(&*bytes).unwrap()).unwrap();
            assert_eq!(format!("{back:?}"), format!("{batch:?}"), "seed {seed}");
            kinds
                .extend(batch.mutations.iter().map(|m| format!("{m:?}").split([' ', '{']).next().unwrap().to_string()));
            replayed.apply(&back);
            if i == batches.len() / 2 {
                // A follower that began with a snapshot in the middle is no different.
                replayed = restored(&replayed);
            }
        }
        assert_eq!(digest(&replayed), digest(&live), "seed {seed}");
        assert_eq!(text(&replayed), text(&live), "seed {seed}");
        assert_eq!(text(&restored(&live)), text(&live), "seed {seed}: with its indexes");
    }
    for kind in ["ClusterMade", "EpochBegun", "JobVersioned", "JobEnded", "InstancesStopped", "JobSettled", "TaskMade"]
    {
        assert!(kinds.contains(kind), "no story has {kind}: {kinds:?}");
    }
    for kind in
        ["TaskAssigned", "TaskMoved", "TaskForgotten", "AgentSeen", "AgentMoved", "Ticked", "JobMade", "QuotaSet"]
    {
        assert!(kinds.contains(kind), "no story has {kind}: {kinds:?}");
    }
}

#[test]
fn a_frozen_copy_is_what_a_snapshot_holds_and_stays_as_it_was() {
    let (batches, _) = story(3, 200);
    let (mut state, mut frozen) = (State::default(), Vec::new());
    for batch in &batches {
        state.apply(batch);
        assert_eq!(snapshot_chunks(&state.frozen()), snapshot_chunks(&state), "batch {}", batch.index);
        frozen.push((state.frozen(), digest(&state)));
    }
    for (frozen, then) in &frozen {
        assert_eq!(digest(frozen), *then, "batch {}", frozen.index);
        assert_eq!(digest(&restored(frozen)), *then);
    }
}

#[test]
fn different_states_have_different_digests() {
    let (_, one) = story(1, 50);
    let (_, other) = story(2, 50);
    assert_ne!(digest(&one), digest(&other));
}

#[test]
fn a_spec_is_the_same_after_a_round_through_its_stored_form() {
    let parsed = spec("web", JobKind::Service, 3);
    let stored = stored_job_spec(&v1::JobSpec::decode(&*parsed.wire).unwrap()).unwrap();
    assert!(stored.same_as(&parsed));
    assert_eq!(format!("{stored:?}"), format!("{parsed:?}"));
}

#[test]
fn a_spec_that_is_wrong_in_many_fields_names_them_all() {
    let mut wire = wire_spec("web", JobKind::Cron, 1);
    wire.cron = Some(v1::CronPolicy { schedule: "1 2 3 4 5 6".into(), time_zone: "Mars".into(), ..Default::default() });
    wire.tier = 77;
    wire.constraints = vec![v1::Constraint { attribute: "rack".into(), rule: None }];
    let errors = parse_job_spec(wire).unwrap_err();
    let paths: Vec<_> = errors.iter().map(|error| error.path.as_str()).collect();
    for path in ["tier", "constraints[0]"] {
        assert!(paths.iter().any(|found| found.starts_with(path)), "{path} is not among {paths:?}");
    }
}

#[test]
fn port_ranges_are_sorted_joined_and_checked() {
    let range = |first, last| v1::PortRange { first, last };
    let joined = ports_from_wire(&[range(200, 210), range(100, 110), range(111, 120), range(205, 230)]);
    assert_eq!(joined, Ok(vec![(100, 120), (200, 230)]));
    for bad in [range(0, 10), range(10, 9), range(1, 65_536)] {
        let error = ports_from_wire(&[range(1, 2), bad]).unwrap_err();
        assert_eq!(error.path, "ports[1]");
    }
}

#[test]
fn a_registration_names_the_field_that_is_wrong() {
    let register = v1::Register { agent_id: "node-1".into(), offer: Some(v1::Offer::default()), ..Default::default() };
    assert!(registration(register.clone()).is_ok());
    let path = |register| registration(register).unwrap_err().path;
    assert_eq!(path(v1::Register { agent_id: "../x".into(), ..register.clone() }), "agent_id");
    assert_eq!(path(v1::Register { offer: None, ..register.clone() }), "offer");
    let tasks = vec![v1::TaskReport { task_id: 1, state: 99, ..Default::default() }];
    assert_eq!(path(v1::Register { tasks, ..register }), "tasks[0].state");
}

#[test]
fn a_report_with_a_newer_reason_or_a_long_message_is_taken() {
    let wire = v1::TaskReport { state: 5, reason: 9999, message: "ü".repeat(600), ..Default::default() };
    let report = report(wire).unwrap();
    assert_eq!((report.reason, report.message.len()), (v1::Reason::None, 512));
}

#[test]
fn a_record_of_a_newer_version_is_refused_by_its_place() {
    let batch = v1::Batch { index: 1, records: vec![v1::Record { record: None }], ..Default::default() };
    let error = batch_from_wire(batch).unwrap_err();
    assert!(error.to_string().starts_with("records[0].record: "), "{error}");
}

#[test]
fn a_snapshot_that_points_to_nothing_is_refused() {
    let (_, state) = story(3, 120);
    let task = state.tasks.values().next().unwrap();
    let mut without_spec = state.clone();
    without_spec.specs.remove(&task.spec);
    let mut builder = StateBuilder::default();
    snapshot_chunks(&without_spec).iter().for_each(|chunk| builder.add(chunk).unwrap());
    let error = builder.finish().unwrap_err();
    assert!(error.message.contains("is missing"), "{error}");
    let newer = v1::Snapshot { format: 2, ..Default::default() }.encode_to_vec();
    assert!(StateBuilder::default().add(&newer).unwrap_err().to_string().contains("use a newer dawn"));
}
