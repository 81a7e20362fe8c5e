//! Submitting: what a new, an equal, a scaled, a differing and an ended job become.

use dawn_proto::v1::{Reason, SubmitOutcome::*};
use dawn_proto::{TaskState, TaskState::*};

use super::specs::{batch, cron, encoded, key, service};
use super::world::{World, kill_effect};
use crate::model::{Job, JobSpec, Refusal};

fn with_priority(spec: JobSpec, priority: u16) -> JobSpec {
    encoded(JobSpec { priority, ..spec })
}

#[test]
fn a_new_job_has_its_instances_pending_and_nothing_else_happens() {
    let mut world = World::new();
    assert_eq!(world.submit(&service("web", 3)), Ok(Created));
    assert_eq!(world.tasks("web"), [(0, 1, Pending), (1, 1, Pending), (2, 1, Pending)]);
    assert_eq!(world.job("web").settled, Job::SETTLED);
    world.pass_ms(60_000);
    assert_eq!(world.tasks("web").len(), 3);
    assert_eq!(world.take(), []);
}

#[test]
fn the_same_spec_again_changes_nothing() {
    let mut world = World::new();
    world.submit(&service("web", 3)).unwrap();
    let index = world.state.index;
    assert_eq!(world.submit(&service("web", 3)), Ok(Unchanged));
    assert_eq!(world.state.index, index);
}

#[test]
fn another_spec_is_refused_while_the_job_lives() {
    let mut world = World::new();
    for (spec, other) in
        [(batch("sum", 3), batch("sum", 4)), (service("x", 1), batch("x", 1)), (cron("c", |_| ()), service("c", 1))]
    {
        world.submit(&spec).unwrap();
        let index = world.state.index;
        assert_eq!(world.submit(&other), Err(Refusal::Differs { key: spec.key, version: 1 }));
        assert_eq!(world.state.index, index);
    }
    assert_eq!(world.take(), []);
}

#[test]
fn a_service_scales_up_without_touching_what_runs() {
    let mut world = World::new();
    let (_, _, tasks) = world.running(&service("web", 2));
    assert_eq!(world.submit(&service("web", 4)), Ok(Scaled));
    assert_eq!(world.tasks("web"), [(0, 1, Running), (1, 1, Running), (2, 1, Pending), (3, 1, Pending)]);
    assert_eq!(tasks.iter().map(|task| world.state_of(*task)).collect::<Vec<_>>(), [Running, Running]);
    assert_eq!(world.take(), []);
}

#[test]
fn a_service_scales_down_from_its_highest_instance() {
    let mut world = World::new();
    let (link, agent, tasks) = world.running(&service("web", 4));
    assert_eq!(world.submit(&service("web", 2)), Ok(Scaled));
    assert_eq!(world.tasks("web"), [(0, 1, Running), (1, 1, Running), (2, 1, Killing), (3, 1, Killing)]);
    let kills = [2, 3].map(|instance: usize| kill_effect(agent, tasks[instance], Reason::ScaledDown));
    assert_eq!(world.take(), kills);
    world.report(link, tasks[3], Killed, Reason::None);
    assert_eq!(world.tasks("web")[3], (3, 1, Killed));
    // Up again while instance 2 is still stopping: its next life comes when it has stopped.
    assert_eq!(world.submit(&service("web", 4)), Ok(Scaled));
    let wanted = [(0, 1, Running), (1, 1, Running), (2, 1, Killing), (3, 1, Killed), (3, 2, Pending)];
    assert_eq!(world.tasks("web"), wanted);
    world.report(link, tasks[2], Killed, Reason::None);
    assert_eq!(world.tasks("web")[2..], [(2, 1, Killed), (3, 1, Killed), (3, 2, Pending), (2, 2, Pending)]);
}

#[test]
fn a_cron_template_is_replaced_and_an_ended_job_runs_again() {
    let mut world = World::new();
    assert_eq!(world.submit(&cron("c", |_| ())), Ok(Created));
    assert_eq!(world.submit(&cron("c", |_| ())), Ok(Unchanged));
    assert_eq!(world.submit(&with_priority(cron("c", |_| ()), 3)), Ok(Replaced));
    assert_eq!(world.job("c").current().unwrap().version, 2);
    assert_eq!(world.tasks("c"), []);

    world.submit(&service("web", 1)).unwrap();
    assert_eq!(world.kill("web", &[]), Ok(1));
    assert_eq!(world.submit(&batch("web", 2)), Ok(Replaced));
    assert!(world.job("web").ended.is_none());
    assert_eq!(world.tasks("web"), [(0, 1, Killed), (0, 2, Pending), (1, 1, Pending)]);
}

#[test]
fn a_large_job_is_made_in_slices() {
    let mut world = World::new();
    world.settings.slice = 100;
    world.submit(&service("web", 1_000)).unwrap();
    let made = world.tasks("web").len();
    assert!((90..=100).contains(&made), "{made}");
    assert_eq!(world.job("web").settled, u32::try_from(made).unwrap());
    world.pass_ms(20 * 250);
    assert_eq!(world.tasks("web").len(), 1_000);
    assert!(world.journal.iter().all(|batch| batch.mutations.len() <= 110));

    // Ended half made: what is there is stopped in slices too, and meanwhile nobody may run it again.
    assert_eq!(world.kill("web", &[]), Ok(1_000));
    let refused = world.submit(&service("web", 1));
    assert!(matches!(refused, Err(Refusal::StillEnding { tasks: 850..1_000, .. })), "{refused:?}");
    world.pass_ms(20 * 250);
    assert!(world.tasks("web").iter().all(|(_, _, state)| *state == TaskState::Killed));
    assert_eq!(world.submit(&service("web", 1)), Ok(Replaced));
}

#[test]
fn a_job_half_made_does_not_end_with_the_half_that_is_there() {
    let mut world = World::new();
    world.settings.slice = 4;
    let (link, _, tasks) = world.running(&batch("sum", 6));
    assert_eq!(tasks.len(), 2);
    for task in &tasks {
        world.report(link, *task, Finished, Reason::None);
    }
    assert!(world.job("sum").ended.is_none());
    world.pass_heard_ms(500, &[link]);
    assert_eq!(world.tasks("sum")[2..], [2, 3, 4, 5].map(|instance| (instance, 1, Pending)));
}

#[test]
fn more_than_the_limits_is_refused_with_the_number() {
    let mut world = World::new();
    (world.settings.max_jobs, world.settings.max_tasks) = (2, 10);
    world.submit(&service("a", 6)).unwrap();
    assert_eq!(world.submit(&service("b", 5)), Err(Refusal::Full { what: "tasks", have: 6 }));
    world.submit(&service("b", 4)).unwrap();
    assert_eq!(world.submit(&service("c", 1)), Err(Refusal::Full { what: "jobs", have: 2 }));
    assert_eq!(world.submit(&service("a", 7)), Err(Refusal::Full { what: "tasks", have: 10 }));
    assert!(world.state.job(&key("c")).is_none());
}
