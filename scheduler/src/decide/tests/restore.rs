//! A journal that lost its end: what agents hold is taken in, nothing of it is stopped or done twice.

use std::sync::Arc;

use dawn_proto::v1::{JobKind, Reason};
use dawn_proto::{SpecId, TaskId, TaskState};

use super::specs::spec;
use super::world::{World, ack, report};
use crate::model::*;

/// What an agent says of a task that `world` knows.
pub(super) fn described(world: &World, id: TaskId, state: TaskState) -> Description {
    let task = &world.state.tasks[&id];
    Description {
        report: report(id, state, Reason::None),
        instance: task.instance,
        attempt: task.attempt,
        run_at: task.run_at,
        ports: [].into(),
        devices: [].into(),
        spec: world.state.spec_of(task).clone(),
    }
}

impl World {
    pub(super) fn describe(&mut self, link: LinkId, description: Description) {
        self.event(Event::Described { link, description: Box::new(description) });
        assert_eq!(format!("{:#?}", self.state), format!("{:#?}", self.twin), "replay differs");
    }

    /// Places what is pending and starts it.
    pub(super) fn run_pending(&mut self, link: LinkId, agent: AgentNo) -> Vec<TaskId> {
        let tasks: Vec<TaskId> = self.state.indexes().pending.iter().copied().collect();
        self.place_all(agent);
        for task in &tasks {
            self.report(link, *task, TaskState::Running, Reason::None);
        }
        self.take();
        tasks
    }
}

fn kills(effects: &[Effect]) -> Vec<TaskId> {
    let kill = |effect: &Effect| match effect {
        Effect::Kill { task, .. } => Some(*task),
        _ => None,
    };
    effects.iter().filter_map(kill).collect()
}

#[test]
fn tasks_newer_than_the_backup_are_adopted_and_nothing_is_started_beside_them() {
    let mut before = World::new();
    let (link, agent, old) = before.running(&spec("web", JobKind::Service, 2));
    let backup = before.state.clone();
    // Since then: one life was followed by another, and a job came.
    before.report(link, old[0], TaskState::Finished, Reason::None);
    before.pass_heard_ms(600_000, &[link]);
    let later = before.run_pending(link, agent);
    before.submit(&spec("new", JobKind::Service, 1)).unwrap();
    let newest = before.run_pending(link, agent);
    assert_eq!((later.len(), newest.len()), (1, 1));

    let mut world = before.restored(&backup, 60_000);
    let held = [old[1], later[0], newest[0]];
    let link = world.register(1, held.iter().map(|id| report(*id, TaskState::Running, Reason::None)).collect());
    let effects = world.take();
    let restored = world.state.restores.last().unwrap().clone();
    assert_eq!(restored.first_lost_task, backup.next_task);
    let finished = vec![(restored.first_lost_task, restored.next_task)];
    assert!(effects.contains(&Effect::Describe { agent, tasks: vec![], finished }), "{effects:?}");
    let lost = Effect::Describe { agent, tasks: vec![later[0], newest[0]], finished: vec![] };
    assert!(effects.contains(&lost), "{effects:?}");
    assert!(effects.contains(&Effect::Reconcile { agent, tasks: vec![old[0]] }), "{effects:?}");
    assert_eq!(kills(&effects), []);

    for id in [later[0], newest[0]] {
        world.describe(link, described(&before, id, TaskState::Running));
        assert_eq!(world.state_of(id), TaskState::Running);
        assert!(world.take().contains(&ack(link, id, TaskState::Running)));
    }
    assert_eq!(world.state_of(old[0]), TaskState::Killing, "a later life proves that it is over");
    world.report(link, old[0], TaskState::Lost, Reason::NotOnAgent);
    world.pass_heard_ms(120_000, &[link]);
    assert!(!world.state.restores.waiting);
    assert_eq!(kills(&world.take()), [], "what lives is left alone");
    assert_eq!(
        world.state.indexes().pending.len() + world.state.indexes().throttled.len(),
        0,
        "nothing is made beside it"
    );
    let living = |name| world.tasks(name).into_iter().filter(|(_, _, state)| !state.is_terminal()).collect::<Vec<_>>();
    assert_eq!(living("web"), [(1, 1, TaskState::Running), (0, 2, TaskState::Running)]);
    assert_eq!(living("new"), [(0, 1, TaskState::Running)]);
    // Numbers that were given out are not given out again.
    world.submit(&spec("third", JobKind::Service, 1)).unwrap();
    assert!(*world.state.indexes().pending.first().unwrap() >= restored.next_task);
    let third = world.job("third").current().unwrap().spec;
    assert!(third >= restored.next_spec);
}

#[test]
fn a_task_that_waited_at_the_backup_and_was_placed_since_is_found_where_it_is() {
    let mut before = World::new();
    let (link, agent) = before.agent(1);
    before.submit(&spec("web", JobKind::Service, 1)).unwrap();
    let backup = before.state.clone();
    let [task] = before.run_pending(link, agent)[..] else { panic!("one task") };

    let mut world = before.restored(&backup, 1_000);
    let link = world.register(1, vec![report(task, TaskState::Running, Reason::None)]);
    let effects = world.take();
    let asked = |effect: &Effect| matches!(effect, Effect::Describe { tasks, .. } if *tasks == [task]);
    assert!(effects.iter().any(asked), "{effects:?}");
    world.describe(link, described(&before, task, TaskState::Running));
    assert_eq!(world.take(), [Effect::Launch { agent, task }], "a launch that the agent has already");
    world.report(link, task, TaskState::Running, Reason::None);
    assert_eq!(world.take(), [ack(link, task, TaskState::Running)]);
    assert_eq!(world.tasks("web"), [(0, 1, TaskState::Running)]);
}

#[test]
fn found_tasks_keep_their_gpus_adopted_or_placed_again() {
    let devices = |world: &World, id: TaskId| world.state.tasks[&id].status.place().unwrap().devices.to_vec();
    let with_gpu = |world: &World, id| Description { devices: [1].into(), ..described(world, id, TaskState::Running) };
    let mut before = World::new();
    let (link, agent) = before.agent(1);
    before.submit(&spec("waits", JobKind::Service, 1)).unwrap();
    let backup = before.state.clone();
    before.submit(&spec("new", JobKind::Service, 1)).unwrap();
    let tasks = before.run_pending(link, agent);

    let mut world = before.restored(&backup, 1_000);
    let link = world.register(1, tasks.iter().map(|id| report(*id, TaskState::Running, Reason::None)).collect());
    for task in &tasks {
        world.describe(link, with_gpu(&before, *task));
        assert_eq!(devices(&world, *task), [1]);
    }
    assert_eq!(tasks.len(), 2);
}

#[test]
fn while_agents_come_back_nothing_is_replaced_and_a_replacement_that_waits_gives_way() {
    let mut before = World::new();
    let (link, agent, old) = before.running(&spec("web", JobKind::Service, 1));
    let backup = before.state.clone();
    before.report(link, old[0], TaskState::Failed, Reason::Exited);
    before.pass_heard_ms(600_000, &[link]);
    let [later] = before.run_pending(link, agent)[..] else { panic!("one task") };

    let mut world = before.restored(&backup, 1_000);
    // Its agent comes back with the news first, and with the task it got in its place later.
    let link = world.register(1, vec![report(old[0], TaskState::Failed, Reason::Exited)]);
    assert_eq!(world.state.indexes().throttled.len() + world.state.indexes().pending.len(), 1);
    // An agent that found no scheduler for long dials every minute.
    world.pass_heard_ms(65_000, &[link]);
    assert!(world.state.restores.waiting);
    let waiting = world.tasks_of("web").newest(backup.at.min(Default::default()), 0).unwrap();
    world.describe(link, described(&before, later, TaskState::Running));
    assert!(!world.state.tasks.contains_key(&waiting), "the one that waited is forgotten");
    assert!(world.job("web").ended.is_none());
    world.take();
    world.report(link, later, TaskState::Failed, Reason::Exited);
    world.pass_heard_ms(60_000, &[link]);
    assert_eq!(world.state.indexes().pending.len(), 1, "the found one's end is followed by another life");
}

#[test]
fn a_task_found_after_its_replacement_runs_is_stopped() {
    let mut before = World::new();
    let (link, agent, old) = before.running(&spec("web", JobKind::Service, 1));
    let backup = before.state.clone();
    before.report(link, old[0], TaskState::Failed, Reason::Exited);
    before.pass_heard_ms(600_000, &[link]);
    let [later] = before.run_pending(link, agent)[..] else { panic!("one task") };

    let mut world = before.restored(&backup, 1_000);
    let link = world.register(1, vec![report(old[0], TaskState::Failed, Reason::Exited)]);
    world.pass_heard_ms(120_000, &[link]);
    world.run_pending(link, agent);
    world.describe(link, described(&before, later, TaskState::Running));
    let effects = world.take();
    assert_eq!(kills(&effects), [later]);
    assert_eq!(world.tasks("web").iter().filter(|(_, _, state)| *state == TaskState::Running).count(), 1);
}

#[test]
fn what_finished_since_the_backup_is_not_done_again() {
    let mut before = World::new();
    let backup = before.state.clone();
    let (link, agent) = before.agent(1);
    before.submit(&spec("work", JobKind::Batch, 2)).unwrap();
    let tasks = before.run_pending(link, agent);

    let mut world = before.restored(&backup, 1_000);
    let link = world.register(1, vec![report(tasks[1], TaskState::Running, Reason::None)]);
    world.describe(link, described(&before, tasks[0], TaskState::Finished));
    world.describe(link, described(&before, tasks[1], TaskState::Running));
    world.pass_heard_ms(120_000, &[link]);
    assert_eq!(world.tasks("work"), [(0, 1, TaskState::Finished), (1, 1, TaskState::Running)]);
    world.report(link, tasks[1], TaskState::Finished, Reason::None);
    assert!(world.job("work").ended.is_some());
}

#[test]
fn versions_come_back_in_any_order_and_the_newest_counts() {
    let mut before = World::new();
    let (link, agent, _) = before.running(&spec("web", JobKind::Service, 1));
    let backup = before.state.clone();
    before.submit(&spec("web", JobKind::Service, 2)).unwrap();
    let second = before.run_pending(link, agent);
    before.submit(&spec("web", JobKind::Service, 3)).unwrap();
    let third = before.run_pending(link, agent);

    let mut world = before.restored(&backup, 1_000);
    let link = world.register(1, vec![]);
    for task in [third[0], second[0]] {
        world.describe(link, described(&before, task, TaskState::Running));
    }
    let job = world.job("web");
    let versions: Vec<u32> = job.versions.iter().map(|version| version.version).collect();
    assert_eq!(versions, [1, 3]);
    assert_eq!(world.state.specs[&job.current().unwrap().spec].job.instances, 3);
    assert_eq!(world.state.spec_of(&world.state.tasks[&second[0]]).version, 2, "its tasks keep the one between");
}

#[test]
fn without_a_restore_an_unknown_task_is_stopped_and_a_description_nobody_asked_for_is_nothing() {
    let mut world = World::new();
    let (link, agent, tasks) = world.running(&spec("web", JobKind::Service, 1));
    let mut stranger = described(&world, tasks[0], TaskState::Running);
    let (next, unknown) = (TaskId(60), TaskId(50));
    // Of fifty tasks that were forgotten.
    (world.state.truth_mut().next_task, world.twin.truth_mut().next_task) = (next, next);
    world.report(link, unknown, TaskState::Running, Reason::None);
    assert_eq!(kills(&world.take()), [unknown]);
    stranger.report.task = next;
    let spec = Spec::new(SpecId(99), 9, stranger.spec.job.clone());
    stranger.spec = Arc::new(spec);
    world.describe(link, stranger);
    assert_eq!(world.take(), []);
    assert!(!world.state.tasks.contains_key(&next));
    // Forgotten before the backup: not lost, nobody's.
    let mut after = world.restored(&world.state.clone(), 1_000);
    let link = after.register(1, vec![report(unknown, TaskState::Running, Reason::None)]);
    assert_eq!(kills(&after.take()), [unknown]);
    let _ = (agent, link);
}

#[test]
fn each_life_of_an_instance_has_a_greater_number_than_those_before_it_over_restores_too() {
    let mut before = World::new();
    let (link, agent, first) = before.running(&spec("web", JobKind::Service, 1));
    let backup = before.state.clone();
    before.report(link, first[0], TaskState::Finished, Reason::None);
    before.pass_heard_ms(600_000, &[link]);
    let unknown = before.run_pending(link, agent);
    // The agent with the life that the backup does not know is gone: another one is made from the backup alone.
    let mut world = before.restored(&backup, 60_000);
    let other = world.register(2, vec![]);
    world.pass_heard_ms(600_000, &[other]);
    let next = *world.state.indexes().pending.first().unwrap();
    assert!(first[0] < unknown[0] && unknown[0] < next, "{first:?} {unknown:?} {next}");
    // The same journal once more, put back while it was led.
    world.event(Event::LinkClosed { link: other });
    let cluster_id = world.state.cluster_id.clone();
    let ahead =
        Registration { cluster_id, epoch_seen: dawn_proto::Epoch(1 << 60), ..super::world::registration(2, vec![]) };
    world.event(Event::Registered { link: LinkId(77), registration: Box::new(ahead) });
    world.command(Command::RaiseEpoch).unwrap();
    assert!(world.state.next_task.0 > next.0 + (1 << 19));
}

#[test]
fn a_record_that_is_too_large_is_left_out_whatever_asks_for_it() {
    let mut before = World::new();
    let backup = before.state.clone();
    let (link, agent) = before.agent(1);
    before.submit(&spec("web", JobKind::Service, 1)).unwrap();
    let [task] = before.run_pending(link, agent)[..] else { panic!("one task") };

    let mut world = before.restored(&backup, 60_000);
    let link = world.register(1, vec![]);
    world.take();
    let mut large = described(&before, task, TaskState::Running);
    let mut job = large.spec.job.clone();
    job.wire = vec![0; bounds::STEP_BYTES].into();
    large.spec = Arc::new(Spec { job, ..(*large.spec).clone() });
    world.describe(link, large);
    let effects = world.take();
    let [Effect::Alarm { alarm: Alarm::DecisionTooLarge, words: Some(words) }] = &effects[..] else {
        panic!("{effects:?}")
    };
    assert!(words.contains("what agent node-1 said") && words.contains("at most 1310656"), "{words}");
    assert!(world.state.jobs.is_empty() && !world.state.tasks.contains_key(&task));
    world.describe(link, described(&before, task, TaskState::Running));
    assert_eq!(world.state_of(task), TaskState::Running, "what can be written is");
}
