//! Agents to blame are avoided, longer each time, and forgiven.

use dawn_proto::v1::{JobKind, Reason};
use dawn_proto::{TaskId, TaskState, Timestamp};

use super::blame::*;
use super::specs::*;
use super::world::World;
use crate::model::*;

#[test]
fn three_failures_of_two_jobs_that_start_elsewhere_avoid_the_agent() {
    let (mut world, agents) = agents(4);
    let bad = agents[0];
    for (name, failures) in [("one", 2), ("two", 1)] {
        world.submit(&JobSpec { key: key(name), ..spec("web", JobKind::Service, 3) }).unwrap();
        let job = world.job(name).id;
        let of_job = world.state.indexes().pending.iter().copied().filter(|id| world.state.tasks[id].job == job);
        let tasks: Vec<TaskId> = of_job.take(failures).collect();
        tasks.iter().for_each(|task| place(&mut world, *task, bad.1));
        tasks.iter().for_each(|task| world.report(bad.0, *task, TaskState::Lost, Reason::SandboxFailed));
        nobody_is_avoided(&world);
        runs(&mut world, name, agents[1]);
    }
    assert_eq!(avoided_ms(&world, bad.1), Some((30_000, 1)));
    let why = &world.state.agents[&bad.1].avoided.as_ref().unwrap().why;
    assert_eq!(*why, "3 tasks of www/prod/one and www/prod/two did not start there, and do elsewhere (sandbox failed)");
    is_durable(&world);
}

#[test]
fn a_start_on_the_agent_clears_what_it_could_have_failed_for() {
    let (mut world, agents) = agents(4);
    let bad = agents[0];
    let fail_and_run = |world: &mut World, name: &str, reason| {
        world.submit(&JobSpec { has_root_fs: true, ..service(name, 2) }).unwrap();
        assert_eq!(fails(world, name, bad, reason), TaskState::Lost);
        runs(world, name, agents[1]);
    };
    fail_and_run(&mut world, "one", Reason::RootFsFailed);
    fail_and_run(&mut world, "two", Reason::RootFsFailed);
    // One without a root file system says nothing about those of others.
    world.submit(&service("plain", 1)).unwrap();
    runs(&mut world, "plain", bad);
    assert_eq!(world.state.agents[&bad.1].blames.len(), 2);
    world.submit(&JobSpec { has_root_fs: true, ..service("like", 1) }).unwrap();
    runs(&mut world, "like", bad);
    assert_eq!(world.state.agents[&bad.1].blames, []);
    fail_and_run(&mut world, "three", Reason::RootFsFailed);
    fail_and_run(&mut world, "four", Reason::RootFsFailed);
    nobody_is_avoided(&world);
    fail_and_run(&mut world, "five", Reason::RootFsFailed);
    assert!(avoided_ms(&world, bad.1).is_some());
}

#[test]
fn what_only_an_agent_can_cause_avoids_it_at_once_and_counts_for_no_job() {
    for reason in [Reason::CgroupFailed, Reason::CheckpointFailed, Reason::NodeDiskFull, Reason::NodeDiskFailed] {
        let (mut world, agents) = agents(4);
        world.submit(&one_life("sum", 1)).unwrap();
        assert_eq!(fails(&mut world, "sum", agents[0], reason), TaskState::Lost);
        assert_eq!(avoided_ms(&world, agents[0].1), Some((30_000, 1)), "{reason:?}");
        // A second one is beyond a quarter of them: the job keeps off it all the same.
        assert_eq!(fails(&mut world, "sum", agents[1], reason), TaskState::Lost);
        assert_eq!(avoided_ms(&world, agents[1].1), None, "{reason:?}");
        assert_eq!(keeps_off(&world, "sum"), [agents[0].1, agents[1].1]);
        is_durable(&world);
    }
}

#[test]
fn executors_lost_in_bulk_count_for_no_job_and_against_no_agent() {
    let (mut world, agents) = agents(4);
    for name in ["one", "two", "three"] {
        world.submit(&one_life(name, 4)).unwrap();
        agents.iter().for_each(|at| runs(&mut world, name, *at));
    }
    let running: Vec<(TaskId, AgentNo)> =
        world.state.tasks.values().filter_map(|task| Some((task.id, task.held_on()?))).collect();
    assert_eq!(running.len(), 12);
    for (task, agent) in running {
        let link = agents.iter().find(|(_, no)| *no == agent).unwrap().0;
        world.report(link, task, TaskState::Lost, Reason::ExecutorLost);
        assert_eq!(world.state_of(task), TaskState::Lost);
    }
    nobody_is_avoided(&world);
    assert_eq!(world.state.indexes().pending.len(), 12, "each is replaced at once");
    assert!(["one", "two", "three"].iter().all(|name| keeps_off(&world, name).is_empty()));
}

#[test]
fn each_time_is_twice_as_long_up_to_the_most_and_a_good_while_is_forgiven() {
    let (mut world, agents) = agents(4);
    let links: Vec<LinkId> = agents.iter().map(|(link, _)| *link).collect();
    let bad = agents[0];
    world.settings.max_avoid_ms = 100_000;
    world.submit(&spec("web", JobKind::Service, 20)).unwrap();
    for (times, expected_ms) in [(1, 30_000), (2, 60_000), (3, 100_000), (4, 100_000)] {
        fails(&mut world, "web", bad, Reason::CgroupFailed);
        assert_eq!(avoided_ms(&world, bad.1), Some((expected_ms, times)));
        fails(&mut world, "web", bad, Reason::CgroupFailed);
        assert_eq!(avoided_ms(&world, bad.1), Some((expected_ms, times)), "one that is avoided is not avoided more");
        world.pass_heard_ms(expected_ms, &links);
        assert_eq!(avoided_ms(&world, bad.1), None, "it comes back by itself");
    }
    world.pass_heard_ms(world.settings.forgive_ms + 1_000, &links);
    nobody_is_avoided(&world);
    fails(&mut world, "web", bad, Reason::CgroupFailed);
    assert_eq!(avoided_ms(&world, bad.1), Some((30_000, 1)));
}

#[test]
fn at_most_a_quarter_of_the_agents_is_avoided_and_never_the_only_one() {
    for (count, most) in [(1, 0), (2, 1), (3, 1), (7, 1), (8, 2), (16, 4)] {
        let (mut world, agents) = agents(count);
        world.submit(&service("web", 40)).unwrap();
        agents.iter().for_each(|at| _ = fails(&mut world, "web", *at, Reason::CgroupFailed));
        let avoided = agents.iter().filter(|(_, no)| avoided_ms(&world, *no).is_some()).count();
        assert_eq!(avoided, most, "of {count}");
        // Those that come and go fall under the same bound.
        for _ in 0..9 {
            world.agent(count);
        }
        let avoided = agents.iter().filter(|(_, no)| avoided_ms(&world, *no).is_some()).count();
        assert_eq!(avoided, most, "of {count}");
    }
}

#[test]
fn what_was_written_under_a_clock_that_was_ahead_ends_when_it_should() {
    let (mut world, agents) = agents(4);
    let links: Vec<LinkId> = agents.iter().map(|(link, _)| *link).collect();
    let three_days_ms = 3 * 86_400_000;
    world.now.wall = world.now.wall.plus_ms(three_days_ms);
    world.submit(&service("web", 3)).unwrap();
    fails(&mut world, "web", agents[0], Reason::CgroupFailed);
    assert_eq!(fails(&mut world, "web", agents[1], Reason::SandboxFailed), TaskState::Lost);
    world.now.wall.0 -= three_days_ms as i64;
    world.pass_heard_ms(world.settings.avoid_ms + 1_000, &links);
    assert_eq!(avoided_ms(&world, agents[0].1), None);
    world.pass_heard_ms(world.settings.keep_off_ms, &links);
    assert_eq!(keeps_off(&world, "web"), []);
    is_durable(&world);
}

#[test]
fn an_agent_that_comes_and_goes_is_avoided_and_one_that_comes_back_now_and_then_is_not() {
    let (mut world, agents) = agents(9);
    let agent = agents[0].1;
    for _ in 0..4 {
        world.agent(1);
    }
    assert_eq!(avoided_ms(&world, agent), None);
    world.agent(1);
    assert_eq!(avoided_ms(&world, agent), Some((30_000, 1)));
    assert_eq!(world.state.agents[&agent].avoided.as_ref().unwrap().why, "it registered 5 times within 5m");
    let mut world = World::new();
    for _ in 0..10 {
        world.agent(1);
        world.skip_ms(world.settings.flap_window_ms / 3);
    }
    assert_eq!(world.state.agents.values().next().unwrap().avoided, None);
}

#[test]
fn a_node_that_an_operator_forgives_takes_tasks_again_at_once() {
    let (mut world, agents) = agents(4);
    let (bad, other) = (agents[0], agents[1]);
    world.submit(&service("web", 20)).unwrap();
    assert_eq!(fails(&mut world, "web", bad, Reason::SandboxFailed), TaskState::Lost);
    runs(&mut world, "web", other);
    fails(&mut world, "web", bad, Reason::CgroupFailed);
    assert!(avoided_ms(&world, bad.1).is_some() && keeps_off(&world, "web") == [bad.1]);
    assert_eq!(world.state.agents[&bad.1].blames.len(), 1);
    let forgive = |world: &mut World, ids: &[AgentNo]| {
        let agents = ids.iter().map(|no| world.state.agents[no].id.clone()).collect();
        let command = ForgiveCommand { agents, author: "ann".into(), message: "new disk".into() };
        world.command(Command::Forgive(command))
    };
    assert_eq!(
        forgive(&mut world, &[bad.1, other.1]),
        Ok(Answer::Forgiven(answers::Forgiven)),
        "one against which nothing speaks as well"
    );
    nobody_is_avoided(&world);
    assert_eq!((keeps_off(&world, "web"), &world.state.agents[&bad.1].blames[..]), (vec![], &[][..]));
    is_durable(&world);
    fails(&mut world, "web", bad, Reason::CgroupFailed);
    assert_eq!(avoided_ms(&world, bad.1).map(|(_, times)| times), Some(1), "it begins anew");

    let unknown = ForgiveCommand {
        agents: vec![world.state.agents[&bad.1].id.clone(), dawn_proto::AgentId::new("gone").unwrap()],
        author: String::new(),
        message: String::new(),
    };
    let refused = world.command(Command::Forgive(unknown));
    assert_eq!(refused, Err(Refusal::NoSuchAgent { agent: "gone".into() }));
    assert!(avoided_ms(&world, bad.1).is_some(), "all or none");
}

#[test]
fn agents_that_all_come_and_go_are_not_to_blame() {
    let mut world = World::new();
    for _ in 0..7 {
        (1..10).for_each(|agent| _ = world.agent(agent));
    }
    nobody_is_avoided(&world);
}

#[test]
fn a_shift_of_the_clock_moves_the_ends_along() {
    let (mut world, agents) = agents(4);
    world.submit(&service("web", 3)).unwrap();
    fails(&mut world, "web", agents[0], Reason::CgroupFailed);
    assert_eq!(fails(&mut world, "web", agents[1], Reason::SandboxFailed), TaskState::Lost);
    let ends = |world: &World| -> Vec<u64> {
        let kept = world.job("web").kept_off.iter().map(|kept| kept.until);
        let avoided = world.state.agents[&agents[0].1].avoided.as_ref().map(|avoided| avoided.until);
        kept.chain(avoided).map(|until| until.since_ms(world.now.wall)).collect()
    };
    let before = ends(&world);
    assert_eq!(before, [10_000, 10_000, 30_000]);
    let by_ms = 3_600_000;
    world.now.wall.0 += by_ms;
    world.mutate(vec![Mutation::ClockShifted(Shift { by_ms, after: Timestamp(0) })]);
    assert_eq!(ends(&world), before);
    is_durable(&world);
}
