//! What goes through the wire comes back as it was; what can't be is refused by its field.

mod described;
mod measured;
mod pieces;

use dawn_proto::v1::{self, JobKind};
use prost::Message;

use super::parse::ports_from_wire;
use super::sample::{spec, story, wire_spec};
use super::*;
use crate::model::{State, Truth};

fn restored(state: &Truth) -> State {
    let mut builder = StateBuilder::default();
    snapshot_chunks(state).iter().for_each(|chunk| builder.add(chunk).unwrap());
    builder.finish().unwrap()
}

/// "TaskMade", "Flow(CronPaused": a record has the name of its kind.
fn kind(mutation: &crate::model::Mutation) -> String {
    let said = format!("{mutation:?}");
    let kind = said.split([' ', '{']).next().unwrap();
    match kind.split_once('(') {
        Some((outer, inner)) if outer == inner => outer.to_string(),
        _ => kind.to_string(),
    }
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
            kinds.extend(batch.mutations.iter().map(kind));
            replayed.apply(&back);
            if i == batches.len() / 2 {
                // A follower that began with a snapshot in the middle is no different.
                replayed = restored(&replayed);
            }
        }
        assert_eq!(digest(&replayed), digest(&live), "seed {seed}");
        assert_eq!(replayed, live, "seed {seed}: with its indexes");
        assert_eq!(restored(&live), live, "seed {seed}: with its indexes");
    }
    for kind in ["ClusterMade", "EpochBegun", "JobVersioned", "JobEnded", "InstancesStopped", "JobSettled", "TaskMade"]
    {
        assert!(kinds.contains(kind), "no story has {kind}: {kinds:?}");
    }
    for kind in [
        "TaskAssigned",
        "TaskMoved",
        "TaskForgotten",
        "AgentSeen",
        "AgentMoved",
        "Ticked",
        "JobMade",
        "QuotaSet",
        "Flow(CronPaused",
    ] {
        assert!(kinds.contains(kind), "no story has {kind}: {kinds:?}");
    }
}

#[test]
fn a_frozen_copy_is_what_a_snapshot_holds_and_stays_as_it_was() {
    let (batches, _) = story(3, 200);
    let (mut state, mut frozen) = (State::default(), Vec::new());
    for batch in &batches {
        state.apply(batch);
        frozen.push((state.truth().clone(), digest(&state)));
    }
    for (frozen, then) in &frozen {
        assert_eq!(digest(frozen), *then, "batch {}", frozen.index);
        assert_eq!(restored(frozen).truth(), frozen, "batch {}", frozen.index);
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
fn the_gaps_between_instances_go_through_records_and_snapshots() {
    use crate::model::{Batch, JobId, JobMade, JobVersioned, Mutation, Spec};
    let job = spec("web", JobKind::Service, 3);
    let key = job.key.clone();
    let gaps = [1, 2, 4].into_iter().collect();
    let spec = std::sync::Arc::new(Spec { gaps, ..Spec::new(dawn_proto::SpecId(0), 1, job) });
    let made = Mutation::JobMade(JobMade { job: JobId(0), key: key.clone() });
    let (author, message) = ("ann".to_string(), String::new());
    let mutations = vec![made, Mutation::JobVersioned(JobVersioned { job: JobId(0), spec, author, message })];
    let (index, epoch, at, part) = (1, dawn_proto::Epoch(1), dawn_proto::Timestamp(1), None);
    let batch = Batch { index, epoch, at, part, mutations };
    let bytes = batch_to_wire(&batch).encode_to_vec();
    let mut state = State::default();
    state.apply(&batch_from_wire(v1::Batch::decode(&*bytes).unwrap()).unwrap());
    for state in [&state, &restored(&state)] {
        let job = state.job(&key).unwrap();
        let numbers: Vec<u32> = (0..9).filter(|at| state.wanted_spec(job, *at).is_some()).collect();
        assert_eq!((numbers, state.wanted_bound(job)), (vec![0, 3, 5], 6));
    }
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
fn what_is_about_following_others_goes_through_records_and_snapshots() {
    use crate::model::{Dispatch, Flow, FlowMutation, JobId, Paused};
    let job = JobId(3);
    for mutation in [
        FlowMutation::Released { job },
        FlowMutation::CronPaused { job, author: "ann".into() },
        FlowMutation::CronResumed { job },
        FlowMutation::Dispatched { job, name: "t-1".into(), content_hash: u64::MAX },
    ] {
        assert_eq!(flow::flow_mutation(flow::flow_record(&mutation)), Ok(mutation));
    }
    let flow = Flow {
        released: true,
        paused: Some(Paused { at: dawn_proto::Timestamp(5), by: "bob".into() }),
        resumed_at: dawn_proto::Timestamp(4),
        dispatches: [Dispatch { name: "t-1".into(), content_hash: 9 }].into(),
    };
    assert_eq!(flow::flow_from_wire(flow::flow_to_wire(&flow)), flow);
    assert_eq!(flow::flow_to_wire(&Flow::default()), None, "an old journal has none of it");
    let newer = flow::flow_mutation(v1::FlowRecord { change: None }).unwrap_err();
    assert_eq!(newer.path, "flow");
}

#[test]
fn a_dispatch_makes_a_spec_of_a_template() {
    let mut wire = wire_spec("report", JobKind::Batch, 2);
    let optional = [("FORMAT".to_string(), "pdf".to_string())].into();
    let payload = v1::PayloadRule::Optional.into();
    wire.parameters = Some(v1::Parameters { required: vec!["DAY".into()], optional, payload });
    let template = parse_job_spec(wire).unwrap();
    assert!(template.flow.is_template);
    let key = dispatched_key(&template.key, "monday");
    assert_eq!(key, dispatched_key(&template.key, "monday"));
    assert_ne!(key, dispatched_key(&template.key, "tuesday"));
    let long = dawn_proto::JobKey::new("r", "e", &"n".repeat(63)).unwrap();
    assert_eq!(dispatched_key(&long, "x").name().len(), 63);
    let given = |pairs: &[(&str, &str)], payload: Option<&str>| Arguments {
        given: pairs.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect(),
        payload: payload.map(str::to_string),
    };
    let made = dispatched_spec(&template, &key, &given(&[("DAY", "1")], Some("p"))).unwrap();
    assert!(!made.flow.is_template && made.key == key);
    let env = v1::JobSpec::decode(&*made.wire).unwrap().task.unwrap().env;
    let pairs: Vec<_> = env.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(pairs, [("DAY", "1"), ("FORMAT", "pdf"), ("PAYLOAD", "p")]);
    let said = |arguments: Arguments| dispatched_spec(&template, &key, &arguments).unwrap_err()[0].to_string();
    assert_eq!(said(given(&[], None)), "arguments.DAY: is missing; the template requires it");
    let unknown = said(given(&[("DAY", "1"), ("DAI", "1")], None));
    assert_eq!(unknown, "arguments.DAI: is no parameter of the template; it has DAY, FORMAT");
    assert!(said(given(&[("DAY", "1")], Some(&"x".repeat(70_000)))).starts_with("payload: 70000 bytes; at most"));
    assert_ne!(given(&[("a", "b")], None).hash(), given(&[("a", "b")], Some("")).hash());
}

#[test]
fn a_cron_expression_that_never_fires_is_refused_at_the_door_and_read_from_a_journal() {
    let mut wire = wire_spec("save", JobKind::Cron, 1);
    wire.cron = Some(v1::CronPolicy { schedule: "0 0 30 2 *".into(), ..Default::default() });
    let errors = parse_job_spec(wire.clone()).unwrap_err();
    assert_eq!(errors[0].to_string(), "cron.schedule: never fires: there is no such day");
    assert!(stored_job_spec(&dawn_proto::validate::job_spec(wire).unwrap()).is_ok());
}

#[test]
fn an_expression_that_could_run_away_is_refused_at_the_door_and_still_read_from_a_journal() {
    let regex = |expression: &str| v1::Constraint {
        attribute: "rack".into(),
        rule: Some(v1::constraint::Rule::Regex(expression.into())),
    };
    let mut spec = wire_spec("web", JobKind::Service, 1);
    spec.constraints = vec![regex("r[0-9]+"), regex("((a{100}){100}){100}")];
    let wish =
        v1::Affinity { weight: 1, target: Some(v1::affinity::Target::Attribute(regex("a)|(b"))), ..Default::default() };
    spec.affinities = vec![wish];
    let errors = parse_job_spec(spec.clone()).unwrap_err();
    let paths: Vec<&str> = errors.iter().map(|error| error.path.as_str()).collect();
    assert_eq!(paths, ["constraints[1].regex", "affinities[0].attribute.regex"]);
    assert!(errors.iter().all(|error| error.message.contains("is not valid or too large")), "{errors:?}");
    stored_job_spec(&dawn_proto::validate::job_spec(spec).unwrap()).unwrap();
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
    without_spec.truth_mut().specs.remove(&task.spec);
    let mut builder = StateBuilder::default();
    snapshot_chunks(&without_spec).iter().for_each(|chunk| builder.add(chunk).unwrap());
    let error = builder.finish().unwrap_err();
    assert!(error.message.contains("is missing"), "{error}");
    let newer = v1::Snapshot { format: 3, ..Default::default() }.encode_to_vec();
    assert!(StateBuilder::default().add(&newer).unwrap_err().to_string().contains("use a newer dawn"));
}
