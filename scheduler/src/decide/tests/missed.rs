//! Runs of cron that were missed, where none may run beside another.

use dawn_proto::TaskId;
use dawn_proto::TaskState::{Finished, Running};
use dawn_proto::v1::{Misfire, Overlap, Reason, TickOutcome::*};

use super::cron::{back_after_ten_minutes, start_pending, ticks};
use super::promises::replay_equals_live;

#[test]
fn missed_runs_follow_one_another_where_none_may_run_beside_another() {
    for overlap in [Overlap::CancelNew, Overlap::Queue] {
        let mut world = back_after_ten_minutes(|policy| {
            (policy.overlap, policy.misfire, policy.misfire_limit) = (overlap, Misfire::All, 3);
        });
        let link = world.register(1, vec![]);
        let late = |first, second, third| vec![(8, first), (9, second), (10, third)];
        assert_eq!(ticks(&world)[7..], late(Launched, Queued, Queued), "{overlap:?}");
        for outcomes in [late(Launched, Launched, Queued), late(Launched, Launched, Launched)] {
            start_pending(&mut world, link);
            let running: Vec<TaskId> =
                world.state.tasks.values().filter(|task| task.state() == Running).map(|task| task.id).collect();
            assert_eq!(running.len(), 1, "one at a time");
            world.report(link, running[0], Finished, Reason::None);
            assert_eq!(ticks(&world)[7..], outcomes, "{overlap:?}");
        }
        replay_equals_live(&world);
    }
}
