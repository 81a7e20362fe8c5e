//! What `why` says beside where a task fits.

use dawn_proto::v1::{DependsOn, UpdatePolicy};
use dawn_proto::{JobKey, validate};

use super::failures::Rig;
use super::*;
use crate::decide::place::PlaceSettings;
use crate::model::{AgentLive, Command, Dependency, Event, FlowCommand, JobSpec, LinkId, ReplyTo, Settings};
use crate::wire::parse_job_spec;
use crate::wire::sample::wire_spec;

fn live(rig: &Rig) -> LiveView {
    let link = AgentLive { link: Some(LinkId(1)), heard_ms: 0 };
    let agents = rig.pulse.state().agents.keys().map(|agent| (*agent, link)).collect();
    LiveView { now: rig.pulse.now(now(rig.at_ms)), agents, ..LiveView::default() }
}

fn classes(rig: &Rig) -> Vec<v1::PendingClass> {
    why(rig.pulse.state(), &live(rig), &PlaceSettings::default(), &Settings::default(), &rig.key()).unwrap().classes
}

fn summary(rig: &Rig) -> String {
    let [class] = &classes(rig)[..] else { panic!("{:?}", classes(rig)) };
    class.summary.clone()
}

fn changed(kind: JobKind, change: impl FnOnce(&mut v1::JobSpec)) -> JobSpec {
    let mut wire = wire_spec("web", kind, 1);
    change(&mut wire);
    parse_job_spec(validate::job_spec(wire).unwrap()).unwrap()
}

fn resources(wire: &mut v1::JobSpec) -> &mut v1::Resources {
    wire.task.as_mut().unwrap().resources.as_mut().unwrap()
}

#[test]
fn a_node_is_named_under_every_rule_that_keeps_it_out() {
    let rig = Rig::new(changed(JobKind::Service, |wire| {
        (resources(wire).cpu_milli, resources(wire).memory_bytes) = (64_000, 512 << 30);
        let z = v1::ValueSet { values: vec!["z".into()] };
        let rule = Some(v1::constraint::Rule::OneOf(z));
        wire.constraints = vec![v1::Constraint { attribute: "rack".into(), rule }];
    }));
    let said = summary(&rig);
    for part in [
        "the only node does not fit: ",
        "1 node does not match the constraint rack = z",
        "1 node has fewer than 64 cpus (most: node-1.example with 4 free)",
        "1 node has less than 512 GiB of memory (most: node-1.example with 4 GiB free)",
    ] {
        assert!(said.contains(part), "{part:?} in {said:?}");
    }
}

#[test]
fn an_instance_that_waits_after_failing_says_how_often_and_leaves_the_cause_to_its_task() {
    let mut rig = Rig::new(spec("web", JobKind::Service, 1));
    rig.newest(0, &[TaskState::Running, TaskState::Failed]);
    assert_eq!(summary(&rig), "waits after failing");
    assert!(classes(&rig)[0].ready_at_ms > 0, "when it is tried again");
    assert_eq!(rig.status().tasks[0].last_failure.as_ref().unwrap().exit_code, Some(3));
    rig.pass_ms(700_000);
    rig.newest(0, &[TaskState::Running, TaskState::Failed]);
    assert_eq!(summary(&rig), "waits after failing 2 times in a row");
}

#[test]
fn a_job_that_has_ended_and_one_that_is_paused_say_so() {
    let mut rig = Rig::new(spec("web", JobKind::Service, 1));
    rig.newest(0, &[TaskState::Running]);
    assert_eq!(classes(&rig), []);
    rig.step([kill(9, "web", Vec::new())]);
    rig.newest(0, &[TaskState::Killed]);
    assert_eq!(summary(&rig), "the job has ended (killed: stop); `dawn job run` runs it again");

    let mut rig = Rig::new(spec("tick", JobKind::Cron, 1));
    let pause = FlowCommand::PauseCron { key: rig.key(), author: "bob".into() };
    rig.step([Event::Command { reply: ReplyTo(8), command: Command::Flow(pause) }]);
    let said = summary(&rig);
    assert!(said.starts_with("is paused by bob since 20"), "{said}");
    assert!(said.ends_with("; `dawn cron resume ann/test/tick` lets it run again"), "{said}");
}

#[test]
fn a_job_that_waits_for_another_says_for_which_and_that_it_is_not_there() {
    let mut job = spec("second", JobKind::Batch, 1);
    let first = JobKey::new("ann", "test", "first").unwrap();
    job.flow.after = vec![Dependency { job: first, on: DependsOn::Success }];
    let rig = Rig::new(job);
    assert_eq!(summary(&rig), "waits for ann/test/first to succeed (there is no such job yet)");
}

#[test]
fn what_is_to_follow_others_is_warned_of_only_where_it_waits() {
    let first = JobKey::new("ann", "test", "first").unwrap();
    let mut later = spec("web", JobKind::Service, 1);
    later.flow.after = vec![Dependency { job: first, on: DependsOn::Success }];
    let rig = Rig::new(spec("other", JobKind::Service, 1));
    let notes = crate::api::reads::submit_notes(rig.pulse.state(), &later, rig.wall());
    assert_eq!(notes, ["waits for ann/test/first, which is not there yet"]);
    let mut rig = Rig::new(spec("web", JobKind::Service, 1));
    rig.newest(0, &[TaskState::Running]);
    let notes = crate::api::reads::submit_notes(rig.pulse.state(), &later, rig.wall());
    let said = "an update does not wait: `after` counts when ann/test/web starts anew, after it has ended";
    assert_eq!(notes, [said], "it runs, and is updated at once");
}

#[test]
fn a_check_that_comes_too_late_for_the_deadline_is_warned_of() {
    let slow = changed(JobKind::Service, |wire| {
        let probe = Some(v1::health_check::Probe::Shell("true".into()));
        let health = v1::HealthCheck { probe, initial_delay_ms: 60_000, ..Default::default() };
        wire.task.as_mut().unwrap().health = Some(health);
        wire.update = Some(UpdatePolicy { progress_deadline_ms: 5_000, watch_ms: Some(1_000), ..Default::default() });
    });
    let rig = Rig::new(spec("other", JobKind::Service, 1));
    let notes = crate::api::reads::submit_notes(rig.pulse.state(), &slow, rig.wall());
    assert!(notes.len() == 1 && notes[0].starts_with("no instance can be healthy within 5s"), "{notes:?}");
}

#[test]
fn a_job_whose_instances_have_all_ended_gives_no_other_reason() {
    let mut rig = Rig::new(spec("once", JobKind::Batch, 1));
    rig.newest(0, &[TaskState::Running, TaskState::Finished]);
    assert_eq!(summary(&rig), "the job has ended (succeeded); `dawn job run` runs it again");
}

#[test]
fn an_update_says_what_the_instance_it_waits_for_waits_for() {
    let policy = |surge| Some(UpdatePolicy { surge, ..Default::default() });
    let of = |cpu_milli: u64, surge: u32| {
        changed(JobKind::Service, |wire| {
            resources(wire).cpu_milli = cpu_milli;
            wire.update = policy(surge);
        })
    };
    let waits = |rig: &Rig| {
        let settings = PlaceSettings::default();
        update_status(rig.pulse.state(), &live(rig), &settings, &Settings::default(), &rig.key(), 0).unwrap().waits
    };
    let begun = |to: JobSpec| {
        let mut rig = Rig::new(of(2_500, 0));
        rig.newest(0, &[TaskState::Running]);
        (0..5).for_each(|_| rig.pass_ms(2_000));
        rig.step([submit(2, to)]);
        rig.pass_ms(500);
        rig.pass_ms(500);
        rig
    };
    let beside = begun(of(2_000, 1));
    let short = "the only node does not fit: 1 node has fewer than 2 cpus (most: node-1.example with 1.5 free)";
    assert_eq!(waits(&beside), format!("instance 0 to be healthy for 10s; instance 0 is pending: {short}"));
    let mut too_large = begun(of(50_000, 0));
    let said = waits(&too_large);
    assert!(said.contains("; instance 0 stays as it is, because version 2 would fit nowhere: "), "{said}");
    assert!(summary(&too_large).starts_with("instance 0 stays as it is"), "{}", summary(&too_large));
    too_large.pass_ms(500);
    assert_eq!((too_large.summary().running, too_large.summary().version), (1, 2), "it was not stopped");
}

#[test]
fn an_update_that_waits_for_an_instance_on_a_silent_node_says_that_the_brake_is_on() {
    let mut rig = Rig::new(spec("web", JobKind::Service, 1));
    rig.newest(0, &[TaskState::Running]);
    (0..5).for_each(|_| rig.pass_ms(2_000));
    let other = changed(JobKind::Service, |wire| {
        wire.task.as_mut().unwrap().env.insert("A".into(), "b".into());
    });
    rig.step([submit(2, other)]);
    rig.pass_ms(500);
    rig.newest(0, &[TaskState::Killed]);
    rig.pass_ms(500);
    rig.newest(0, &[TaskState::Running]);
    let waits = |rig: &Rig| {
        let (place, cluster) = (PlaceSettings::default(), Settings::default());
        update_status(rig.pulse.state(), &live(rig), &place, &cluster, &rig.key(), 0).unwrap().waits
    };
    assert_eq!(waits(&rig), "instance 0 to be healthy for 10s");
    rig.at_ms += 30_000;
    rig.step([]);
    let said = waits(&rig);
    assert!(
        said.contains("runs on node node-1.example, which is out of reach; the brake is on: 1 of 1 nodes"),
        "{said}"
    );
}

#[test]
fn a_tick_is_the_next_one_until_its_jitter_is_over() {
    let mut rig = Rig::new(changed(JobKind::Cron, |wire| wire.cron.as_mut().unwrap().jitter_ms = 100_000));
    let cron = |rig: &Rig| list_cron(rig.pulse.state(), "").jobs[0].clone();
    let (next_ms, jitter_ms) = (cron(&rig).next_ms, cron(&rig).jitter_ms);
    assert!((2_000..100_000).contains(&jitter_ms), "{jitter_ms}: the key's part of it");
    let at_ms = rig.pulse.now(now(rig.at_ms)).wall.0;
    // A second after the instant, something is decided.
    rig.at_ms += u64::try_from(next_ms - at_ms).unwrap() + 1_000;
    rig.step([submit(3, spec("other", JobKind::Service, 1))]);
    assert_eq!(cron(&rig).next_ms, next_ms, "it fires {jitter_ms} ms later");
    assert_eq!(cron(&rig).upcoming_ms[0], next_ms);
}

#[test]
fn an_update_says_that_its_sla_lets_no_instance_be_stopped() {
    let of = |v: &str| {
        changed(JobKind::Service, |wire| {
            wire.update = Some(UpdatePolicy { sla_aware: true, watch_ms: Some(1_000), ..Default::default() });
            wire.sla = Some(v1::SlaPolicy { policy: Some(v1::sla_policy::Policy::Count(1)), duration_ms: 0 });
            wire.task.as_mut().unwrap().env.insert("V".into(), v.into());
        })
    };
    let mut rig = Rig::new(of("1"));
    rig.newest(0, &[TaskState::Running]);
    rig.pass_ms(1_000);
    let notes = submit_notes(rig.pulse.state(), &of("2"), rig.wall());
    assert!(notes.iter().any(|note| note.contains("`sla` keeps its only instance up")), "{notes:?}");
    rig.step([submit(2, of("2"))]);
    rig.pass_ms(500);
    rig.pass_ms(500);
    let held = "instance 0 may not be stopped: ann/test/web has 1 instance up, 1 must stay";
    let waits =
        update_status(rig.pulse.state(), &live(&rig), &PlaceSettings::default(), &Settings::default(), &rig.key(), 0)
            .unwrap()
            .waits;
    assert_eq!(waits, format!("permission of `sla`; {held}"));
    assert_eq!(summary(&rig), held);
}

#[test]
fn instances_that_wait_alike_are_one_class_whichever_version_they_are_of() {
    let of = |instances| {
        changed(JobKind::Service, |wire| {
            resources(wire).cpu_milli = 3_000;
            wire.instances = instances;
        })
    };
    let mut rig = Rig::new(of(3));
    rig.step([submit(2, of(4))]);
    rig.pass_ms(500);
    let [class] = &classes(&rig)[..] else { panic!("{:?}", classes(&rig)) };
    assert_eq!(class.instances, [1, 2, 3], "the first one has its place");
}

#[test]
fn instances_on_a_node_out_of_reach_name_it_and_since_when() {
    let mut rig = Rig::new(spec("web", JobKind::Service, 1));
    rig.newest(0, &[TaskState::Running]);
    rig.at_ms += Settings::default().down_after_ms - 1_000;
    rig.step([]);
    let classes = classes(&rig);
    let away = classes.iter().find(|class| class.state() == TaskState::Partitioned).unwrap();
    assert!(away.summary.starts_with("node node-1.example is out of reach since 20"), "{}", away.summary);
    assert_eq!(away.instances, [0]);
}

#[test]
fn a_port_in_use_is_said_with_the_job_that_holds_it() {
    let fixed = |wire: &mut v1::JobSpec| {
        let port = v1::PortSpec { name: "http".into(), fixed: 31_005 };
        wire.task.as_mut().unwrap().ports = vec![port];
    };
    let mut rig = Rig::new(changed(JobKind::Service, fixed));
    rig.newest(0, &[TaskState::Running]);
    let mut other = wire_spec("api", JobKind::Service, 1);
    fixed(&mut other);
    let other = parse_job_spec(validate::job_spec(other).unwrap()).unwrap();
    rig.step([submit(3, other.clone())]);
    let (place, settings) = (PlaceSettings::default(), Settings::default());
    let classes = why(rig.pulse.state(), &live(&rig), &place, &settings, &other.key).unwrap().classes;
    let [class] = &classes[..] else { panic!("{classes:?}") };
    let held = "; port 31005 of node-1.example is held by ann/test/web/0";
    assert!(class.summary.ends_with(held), "{}", class.summary);
}

#[test]
fn a_daemon_job_that_matches_no_node_says_so() {
    let rig = Rig::new(changed(JobKind::Daemon, |wire| {
        let z = v1::ValueSet { values: vec!["z".into()] };
        let rule = Some(v1::constraint::Rule::OneOf(z));
        wire.constraints = vec![v1::Constraint { attribute: "rack".into(), rule }];
    }));
    let said = summary(&rig);
    assert!(said.starts_with("runs on no node, since none matches: "), "{said}");
    assert!(said.contains("rack = z"), "{said}");
}
