//! Plans held against what the pulse then does.

use dawn_proto::Epoch;
use dawn_proto::v1::{self, Tier};

use super::*;
use crate::drive::Pulse;
use crate::wire::sample::{registered, reported, wire_spec};
use crate::wire::{digest, parse_job_spec};

/// What runs since `NOW` is healthy.
const LATER: Now = Now { wall: dawn_proto::Timestamp(1_800_000_010_000), mono_ms: 11_000 };
const NOW: Now = Now { wall: dawn_proto::Timestamp(1_800_000_000_000), mono_ms: 1_000 };

fn service(name: &str, instances: u32, change: impl FnOnce(&mut v1::JobSpec)) -> JobSpec {
    let mut wire = wire_spec(name, JobKind::Service, instances);
    change(&mut wire);
    parse_job_spec(wire).unwrap()
}

/// A leader with so many agents of four cpus.
fn pulse(agents: u64) -> Pulse {
    let mut pulse = Pulse::new(State::default(), Settings::default(), PulseSettings::default());
    pulse.step([Event::Elected { epoch: Epoch(1), fresh_cluster_id: "c".into() }], NOW.reading());
    pulse.step((1..=agents).map(|agent| registered(agent, agent, vec![])), NOW.reading());
    pulse
}

fn submit(pulse: &mut Pulse, spec: &JobSpec) {
    let (author, message) = (String::new(), String::new());
    let command = Command::Submit { spec: Box::new(spec.clone()), author, message };
    pulse.step([Event::Command { reply: ReplyTo(1), command }], NOW.reading());
}

fn trial(pulse: &Pulse) -> Trial {
    let connected = pulse.live().agents.keys().copied().collect();
    Trial::new(pulse.state().clone(), &connected, &Settings::default(), &PulseSettings::default(), LATER)
}

#[test]
fn a_plan_is_what_happens_and_changes_nothing() {
    let mut pulse = pulse(3);
    submit(&mut pulse, &service("other", 5, |_| {}));
    let before = digest(pulse.state());
    let spec = service("web", 10, |_| {});
    let planned = trial(&pulse).submit(&spec).unwrap();
    assert_eq!(digest(pulse.state()), before);
    assert_eq!((planned.outcome, planned.version), (SubmitOutcome::Created, 1));
    assert_eq!(planned.created, (0..10).collect::<Vec<_>>());
    assert!(planned.pending.is_empty() && planned.preempted.is_empty());

    submit(&mut pulse, &spec);
    let mut places = BTreeMap::<AgentNo, Vec<u32>>::new();
    for task in pulse.state().living(pulse.state().job(&spec.key).unwrap()) {
        places.entry(task.held_on().unwrap()).or_default().push(task.instance);
    }
    assert_eq!(planned.places, places, "the same code decides the same");
}

#[test]
fn what_would_wait_is_said_with_the_reasons_of_why() {
    let pulse = pulse(1);
    let planned = trial(&pulse).submit(&service("web", 10, |_| {})).unwrap();
    // Four cpus, half of one each.
    assert_eq!(planned.places.values().map(Vec::len).sum::<usize>(), 8);
    let [class] = &planned.pending[..] else { panic!("{:?}", planned.pending) };
    assert_eq!(class.instances, [8, 9]);
    assert!(class.to_string().contains("the only node does not fit"), "{class}");
    let none =
        Trial::new(pulse.state().clone(), &BTreeSet::new(), &Settings::default(), &PulseSettings::default(), NOW)
            .submit(&service("web", 1, |_| {}))
            .unwrap();
    assert!(none.places.is_empty() && none.pending.len() == 1, "nobody is connected");
}

#[test]
fn victims_are_named_and_their_room_is_used() {
    let mut pulse = pulse(1);
    submit(&mut pulse, &service("filler", 8, |_| {}));
    let important = service("web", 2, |wire| wire.tier = Tier::Production.into());
    let planned = trial(&pulse).submit(&important).unwrap();
    assert_eq!(planned.preempted.len(), 2);
    assert!(planned.preempted.iter().all(|(task, _)| pulse.state().tasks[&task.id].job == task.job));
    assert_eq!(planned.places.values().flatten().copied().collect::<Vec<_>>(), [0, 1]);
    assert!(planned.pending.is_empty());
}

#[test]
fn scaling_leaves_the_rest_alone_and_a_refusal_is_said() {
    let mut pulse = pulse(2);
    submit(&mut pulse, &service("web", 4, |_| {}));
    let same = trial(&pulse).submit(&service("web", 4, |_| {})).unwrap();
    assert_eq!((same.outcome, same.created.len(), same.restarted.len()), (SubmitOutcome::Unchanged, 0, 0));
    let more = trial(&pulse).submit(&service("web", 6, |_| {})).unwrap();
    assert_eq!((more.outcome, &more.created[..], more.restarted.len()), (SubmitOutcome::Scaled, &[4, 5][..], 0));
    let less = trial(&pulse).submit(&service("web", 3, |_| {})).unwrap();
    assert_eq!((&less.stopped[..], less.created.len()), (&[3][..], 0));
    let quota = Command::SetQuota {
        role: "ann".into(),
        guarantee: None,
        limit: Some(crate::model::Bounds::only([(dawn_proto::Dimension::Cpu, 3_000)])),
        weight: None,
        author: String::new(),
    };
    pulse.step([Event::Command { reply: ReplyTo(2), command: quota }], NOW.reading());
    let mut trial = trial(&pulse);
    let before = digest(trial.state());
    let refused = trial.submit(&service("web", 8, |_| {})).unwrap_err();
    assert!(refused.refusal.to_string().contains("more than its limit"), "{}", refused.refusal);
    let otherwise = refused.otherwise.unwrap();
    assert_eq!((otherwise.outcome, &otherwise.created[..]), (SubmitOutcome::Scaled, &[4, 5, 6, 7][..]));
    assert_eq!(otherwise.places.values().flatten().count(), 4, "{otherwise:?}");
    assert_eq!(digest(trial.state()), before, "nothing of that has happened");
}

#[test]
fn a_plan_of_fewer_instances_names_those_that_wait_and_keeps_what_runs() {
    let mut pulse = pulse(1);
    // Four cpus, half of one each: the last two wait for a place.
    submit(&mut pulse, &service("web", 10, |_| {}));
    let kill = Command::Kill {
        key: service("web", 1, |_| {}).key,
        instances: vec![(0, 0)],
        author: String::new(),
        message: String::new(),
    };
    pulse.step([Event::Command { reply: ReplyTo(2), command: kill }], NOW.reading());
    let planned = trial(&pulse).submit(&service("web", 7, |_| {})).unwrap();
    assert_eq!((&planned.stopped[..], planned.created.len()), (&[0, 8, 9][..], 0));
    submit(&mut pulse, &service("web", 7, |_| {}));
    let job = pulse.state().job(&service("web", 1, |_| {}).key).unwrap();
    let wanted: Vec<u32> = (0..10).filter(|at| pulse.state().wanted_spec(job, *at).is_some()).collect();
    assert_eq!(wanted, (1..8).collect::<Vec<_>>(), "as planned");
}

fn cpu(milli: u64) -> impl FnOnce(&mut v1::JobSpec) {
    move |wire| wire.task.as_mut().unwrap().resources.as_mut().unwrap().cpu_milli = milli
}

fn surge(wire: &mut v1::JobSpec) {
    wire.update = Some(v1::UpdatePolicy { surge: 1, ..Default::default() });
}

/// So many agents with a service of one cpu for each instance, which runs.
fn running(agents: u64, instances: u32) -> Pulse {
    let mut pulse = pulse(agents);
    submit(&mut pulse, &service("web", instances, cpu(1_000)));
    let state = pulse.state();
    let placed = state.tasks.values().map(|task| (task.id, state.agents[&task.held_on().unwrap()].no));
    let link = |no: AgentNo| pulse.live().agents[&no].link.unwrap().0;
    let placed: Vec<_> = placed.map(|(task, no)| reported(link(no), task, 1, TaskState::Running)).collect();
    pulse.step(placed, NOW.reading());
    pulse
}

#[test]
fn a_plan_for_what_never_was_healthy_is_a_replacement_with_places() {
    let running = running(1, 4);
    let connected = running.live().agents.keys().copied().collect();
    let mut early =
        Trial::new(running.state().clone(), &connected, &Settings::default(), &PulseSettings::default(), NOW);
    let planned = early.submit(&service("web", 4, cpu(900))).unwrap();
    assert_eq!((planned.outcome, planned.restarted.len(), planned.pending.len()), (SubmitOutcome::Replaced, 4, 0));
    assert_eq!(planned.places.values().flatten().count(), 4, "each in the room of the one before");
}

#[test]
fn a_plan_of_an_update_is_played_to_its_end_and_says_where_instances_go() {
    let planned = trial(&running(1, 4)).submit(&service("web", 4, |wire| {
        cpu(1_000)(wire);
        wire.task.as_mut().unwrap().env.insert("A".into(), "b".into());
    }));
    let planned = planned.unwrap();
    assert_eq!((planned.outcome, planned.restarted.len(), planned.pending.len()), (SubmitOutcome::Updating, 4, 0));
    assert_eq!(
        planned.places.values().flatten().collect::<BTreeSet<_>>().len(),
        4,
        "each in the place of the one before"
    );
}

#[test]
fn a_plan_says_that_the_new_one_does_not_fit_beside_the_old_one() {
    let full = running(1, 4);
    let beside = |wire: &mut v1::JobSpec| {
        cpu(1_000)(wire);
        surge(wire);
        wire.task.as_mut().unwrap().env.insert("A".into(), "b".into());
    };
    let planned = trial(&full).submit(&service("web", 4, beside)).unwrap();
    let [class] = &planned.pending[..] else { panic!("{:?}", planned.pending) };
    assert_eq!(
        class.to_string(),
        "the only node does not fit: 1 node has fewer than 1 cpu (most: node-1.example with 0 free)"
    );
    let green = |wire: &mut v1::JobSpec| {
        beside(wire);
        wire.update = Some(v1::UpdatePolicy { strategy: v1::UpdateStrategy::BlueGreen.into(), ..Default::default() });
    };
    let planned = trial(&full).submit(&service("web", 4, green)).unwrap();
    assert_eq!(planned.pending[0].instances, [0, 1, 2, 3]);
    assert!(
        trial(&running(2, 4)).submit(&service("web", 4, beside)).unwrap().pending.is_empty(),
        "with room it goes on"
    );
}

#[test]
fn a_plan_says_that_the_quota_leaves_no_room_beside_the_old_one() {
    let mut pulse = running(3, 3);
    let limit = Some(crate::model::Bounds::only([(dawn_proto::Dimension::Cpu, 3_000)]));
    let (role, guarantee, weight, author) = ("ann".to_string(), None, None, String::new());
    let quota = Command::SetQuota { role, guarantee, limit, weight, author };
    pulse.step([Event::Command { reply: ReplyTo(2), command: quota }], NOW.reading());
    let changed = |beside: bool| {
        service("web", 3, |wire| {
            cpu(1_000)(wire);
            wire.task.as_mut().unwrap().env.insert("A".into(), "b".into());
            if beside {
                surge(wire);
            }
        })
    };
    let planned = trial(&pulse).submit(&changed(true)).unwrap();
    let [class] = &planned.pending[..] else { panic!("{:?}", planned.pending) };
    assert_eq!(class.to_string(), "a task needs 1 cpu, but role ann holds 3 of its limit of 3 cpus");
    let planned = trial(&pulse).submit(&changed(false)).unwrap();
    assert_eq!((planned.pending.len(), planned.restarted.len()), (0, 3), "the old one goes first");
}

#[test]
fn a_plan_says_that_a_new_version_fits_nowhere_and_that_the_old_one_stays_up() {
    let planned = trial(&running(1, 2)).submit(&service("web", 2, cpu(50_000))).unwrap();
    let [class] = &planned.pending[..] else { panic!("{:?}", planned.pending) };
    assert_eq!(
        class.to_string(),
        "instance 0 stays as it is, because version 2 would fit nowhere: the only node does not fit: 1 node has fewer than 50 \
         cpus (most: node-1.example with 3 free)"
    );
    let instead = trial(&running(1, 1)).submit(&service("web", 1, cpu(3_500))).unwrap();
    assert_eq!((instead.pending.len(), instead.restarted.len()), (0, 1), "the room of the old one makes it fit");
    // Each of three would fit alone, in the room of the one before and what is free; all of them do not.
    let planned = trial(&running(1, 3)).submit(&service("web", 3, cpu(1_500))).unwrap();
    assert_eq!(planned.pending.len(), 1, "{planned:?}");
}

#[test]
fn a_plan_says_that_the_sla_never_lets_an_instance_be_stopped() {
    let of = |surge: u32| {
        service("web", 2, |wire| {
            cpu(900)(wire);
            wire.update = Some(v1::UpdatePolicy { surge, sla_aware: true, ..Default::default() });
            wire.sla = Some(v1::SlaPolicy { policy: Some(v1::sla_policy::Policy::Count(2)), duration_ms: 0 });
        })
    };
    let full = running(1, 2);
    let (instance, why) = trial(&full).submit(&of(0)).unwrap().held.unwrap();
    assert!(instance == 0 && why.contains("keeps 2 of its 2 instances up"), "{why}");
    assert_eq!(trial(&full).submit(&of(1)).unwrap().held, None, "beside the old one the new one may come up");
}

/// A daemon job of that value in its environment.
fn everywhere(value: &str, watch_ms: Option<u64>) -> JobSpec {
    let mut wire = wire_spec("logs", JobKind::Daemon, 1);
    wire.task.as_mut().unwrap().env.insert("A".into(), value.into());
    wire.update = Some(v1::UpdatePolicy { watch_ms, progress_deadline_ms: 3_600_000, ..Default::default() });
    parse_job_spec(wire).unwrap()
}

#[test]
fn a_plan_of_a_job_with_an_update_under_way_says_what_would_come_of_it_when_that_is_over() {
    // Longer than an agent may be silent: in a plan, agents are heard of all the time.
    let long = Some(600_000);
    let mut pulse = pulse(2);
    submit(&mut pulse, &everywhere("first", None));
    let state = pulse.state();
    let placed = state.tasks.values().map(|task| (task.id, task.held_on().unwrap()));
    let link = |no: AgentNo| pulse.live().agents[&no].link.unwrap().0;
    let placed: Vec<_> = placed.map(|(task, no)| reported(link(no), task, 1, TaskState::Running)).collect();
    pulse.step(placed, NOW.reading());
    let command =
        Command::Submit { spec: Box::new(everywhere("second", long)), author: String::new(), message: String::new() };
    pulse.step([Event::Command { reply: ReplyTo(1), command }], LATER.reading());
    let mut trial = trial(&pulse);
    let refused = trial.submit(&everywhere("third", long)).unwrap_err();
    assert!(refused.refusal.to_string().contains("is under way"), "{}", refused.refusal);
    let otherwise = refused.otherwise.unwrap();
    let outcome = (otherwise.outcome, otherwise.version, &otherwise.restarted[..]);
    let instances: Vec<u32> = pulse.state().agents.keys().map(|agent| agent.0).collect();
    assert_eq!(outcome, (SubmitOutcome::Updating, 3, &instances[..]));
    let places: BTreeMap<AgentNo, Vec<u32>> = instances.iter().map(|at| (AgentNo(*at), vec![*at])).collect();
    assert_eq!((otherwise.places, otherwise.pending.len()), (places, 0));
    assert!(trial.submit(&everywhere("fourth", long)).is_err(), "the update is under way still");
}

#[test]
fn plans_of_several_jobs_see_each_other() {
    let mut both = trial(&pulse(1));
    both.submit(&service("first", 6, |_| {})).unwrap();
    let second = both.submit(&service("second", 6, |_| {})).unwrap();
    assert_eq!(second.places.values().map(Vec::len).sum::<usize>(), 2);
    assert_eq!(second.pending[0].instances.len(), 4);
}
