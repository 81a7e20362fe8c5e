//! Each instance counts once, whatever lives, or has ended, beside the life of it that counts.

use dawn_proto::v1::UpdateAction;

use super::endpoints::{green, tell};
use super::failures::Rig;
use super::*;
use crate::model::Index;

/// (running, pending and starting, killed, beside); never more than the instances.
fn counts(rig: &Rig) -> (u32, u32, u32, u32) {
    let state = rig.pulse.state();
    assert_eq!(*state.indexes(), Index::of(state), "as counted anew");
    let one = rig.summary();
    let ended = one.finished + one.failed + one.killed + one.lost;
    let living = one.running + one.starting + one.pending + one.stopping + one.partitioned;
    assert!(living + ended <= one.instances, "{one:?}");
    (one.running, one.pending + one.starting, one.killed, one.beside)
}

/// What is told to stop says that it did.
fn end_stopped(rig: &mut Rig) {
    let stopping = |rig: &Rig| -> Vec<_> {
        let tasks = rig.pulse.state().tasks.values();
        tasks.filter(|task| task.state().is_stopping()).map(|task| task.id).collect()
    };
    stopping(rig).into_iter().for_each(|task| rig.say(task, TaskState::Killed));
}

#[test]
fn a_new_set_is_counted_apart_until_it_takes_the_place_of_the_old_one() {
    let mut rig = green(true);
    assert_eq!(counts(&rig), (2, 0, 0, 2));
    rig.pass_ms(2_000);
    rig.pass_ms(2_000);
    tell(&mut rig, UpdateAction::Promote);
    rig.pass_ms(500);
    end_stopped(&mut rig);
    rig.pass_ms(500);
    assert_eq!(counts(&rig), (2, 0, 0, 0));
}

#[test]
fn what_a_rollback_stopped_is_no_count_beside_what_runs() {
    let mut rig = green(true);
    rig.pass_ms(2_000);
    tell(&mut rig, UpdateAction::Rollback);
    for _ in 0..4 {
        rig.pass_ms(500);
        end_stopped(&mut rig);
    }
    assert_eq!(rig.status().update, 0);
    assert_eq!(counts(&rig), (2, 0, 0, 0), "none of them was killed");
    // The one that runs ends as well: the instance waits for its next life.
    let oldest = *rig.pulse.state().tasks.keys().next().unwrap();
    rig.say(oldest, TaskState::Failed);
    assert_eq!(counts(&rig), (1, 1, 0, 0));
}

#[test]
fn an_instance_that_was_killed_in_two_lives_was_killed_once() {
    let mut rig = green(true);
    rig.step([kill(7, "web", vec![(0, 0)])]);
    end_stopped(&mut rig);
    assert_eq!(counts(&rig), (1, 0, 1, 1));
    tell(&mut rig, UpdateAction::Rollback);
    for _ in 0..4 {
        rig.pass_ms(500);
        end_stopped(&mut rig);
    }
    assert_eq!(counts(&rig), (1, 0, 1, 0));
}

#[test]
fn a_job_of_which_users_killed_every_instance_was_killed_and_one_that_failed_as_well_has_failed() {
    for (fails, result) in [(false, "killed"), (true, "failed")] {
        let mut rig = Rig::new(spec("sum", JobKind::Batch, 2));
        let tasks: Vec<_> = rig.pulse.state().tasks.keys().copied().collect();
        if fails {
            rig.say(tasks[1], TaskState::Running);
            rig.say(tasks[1], TaskState::Failed);
        }
        rig.step([kill(7, "sum", vec![(0, if fails { 0 } else { 1 })])]);
        end_stopped(&mut rig);
        assert_eq!(rig.summary().result, result);
    }
}
