//! The agent dies at every step of a launch and of a kill, once and twice, at chance too: no orphan, no double.

use dawn_proto::v1::Reason;
use dawn_proto::{Resources, TaskId, TaskState};

use super::world::World;

/// Where the agent dies: after this many effects; the one begun then is carried out or not.
#[derive(Clone, Copy, Debug)]
struct Crash {
    after: u64,
    deed_done: bool,
    /// Steps the executors take while no agent lives.
    gap: u32,
}

/// Carries effects out until the crash point, then restarts. False: everything settled before it.
fn run_until(world: &mut World, crash: Crash) -> bool {
    let end = world.done + crash.after;
    loop {
        if world.done == end {
            if let Some(effect) = world.pending.pop_front().filter(|_| crash.deed_done) {
                world.act(effect);
            }
            for _ in 0..crash.gap {
                let tasks: Vec<TaskId> = world.dirs.keys().copied().collect();
                tasks.into_iter().for_each(|task| {
                    world.progress_of(task);
                });
            }
            world.restart();
            return true;
        }
        match world.pending.pop_front() {
            Some(effect) => world.act(effect),
            None if world.progress() => {}
            None => return false,
        }
    }
}

/// After everything settled: what must hold however often the agent died.
fn check(world: &mut World, killed: bool, case: &str) {
    world.settle();
    world.pass(10_000);
    let state = world.state(1).unwrap_or_else(|| panic!("{case}: nothing was ever told"));
    let dir = world.dirs.get(&TaskId(1)).cloned().unwrap_or_default();
    assert!(dir.starts <= 1, "{case}: started {} times", dir.starts);
    if killed {
        assert!(matches!(state, TaskState::Killed | TaskState::Lost), "{case}: {state:?}");
    } else {
        assert_eq!(state, TaskState::Running, "{case}");
        assert_eq!(dir.starts, 1, "{case}");
    }
    if state.is_terminal() {
        assert!(!dir.executor && !dir.process && !dir.group, "{case}: left over: {dir:?}");
        assert_eq!(world.agent.state.index.held, Resources::default(), "{case}: room is not given back");
        let told = &world.told[&TaskId(1)];
        assert_eq!(told.iter().filter(|report| report.state.is_terminal()).count(), 1, "{case}: {told:?}");
        assert!(dir.released || !dir.plan, "{case}: the end is not acknowledged: {dir:?}");
    }
}

fn begin(kill_at_once: bool) -> World {
    let mut world = World::new();
    world.connect();
    world.settle();
    world.launch(1);
    if kill_at_once {
        world.kill(1);
    }
    world
}

/// Every crash point of `begin`'s story, alone and followed by a second crash at every point after it.
fn sweep(kill_at_once: bool) -> u32 {
    let variants = |after| {
        [(false, 0), (false, 9), (true, 0), (true, 1), (true, 9)].map(|(deed_done, gap)| Crash {
            after,
            deed_done,
            gap,
        })
    };
    let mut cases = 0;
    for first in (0..).flat_map(variants) {
        let mut world = begin(kill_at_once);
        if !run_until(&mut world, first) {
            return cases;
        }
        check(&mut world, kill_at_once, &format!("{first:?}"));
        for second in (0..).flat_map(variants) {
            let mut world = begin(kill_at_once);
            run_until(&mut world, first);
            let crashed = run_until(&mut world, second);
            check(&mut world, kill_at_once, &format!("{first:?} then {second:?}"));
            cases += 1;
            if !crashed {
                break;
            }
        }
    }
    cases
}

#[test]
fn a_launch_survives_two_crashes_at_any_points() {
    assert!(sweep(false) > 500);
}

#[test]
fn a_launch_killed_on_the_way_survives_two_crashes_at_any_points() {
    assert!(sweep(true) > 100);
}

#[test]
fn a_kill_of_a_running_task_survives_two_crashes_at_any_points() {
    let mut cases = 0;
    for after in 0.. {
        let mut reached = false;
        for (deed_done, gap) in [(false, 0), (false, 9), (true, 0), (true, 1), (true, 9)] {
            let mut world = begin(false);
            world.settle();
            world.kill(1);
            reached = run_until(&mut world, Crash { after, deed_done, gap });
            run_until(&mut world, Crash { after: after / 2, deed_done, gap });
            check(&mut world, true, &format!("kill, crash after {after}, {deed_done}, {gap}"));
            assert_eq!(world.dirs[&TaskId(1)].starts, 1);
            cases += 1;
        }
        if !reached {
            break;
        }
    }
    assert!(cases > 20);
}

/// xorshift; a seed replays.
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

#[test]
fn chance_crashes_reboots_and_murdered_executors_leave_no_orphan_and_no_double() {
    for seed in 1..=2_000 {
        let mut chance = Chance(0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(seed));
        let mut world = World::new();
        world.connect();
        for _ in 0..chance.below(60) + 20 {
            match chance.below(12) {
                0 => world.launch(chance.below(4) + 1),
                1 => {
                    let task = chance.below(4) + 1;
                    if world.wanted.contains_key(&TaskId(task)) {
                        world.kill(task);
                    }
                }
                2 if chance.below(3) == 0 => world.restart(),
                3 if chance.below(6) == 0 => world.reboot(),
                4 if chance.below(4) == 0 => {
                    let task = TaskId(chance.below(4) + 1);
                    if let Some(dir) = world.dirs.get_mut(&task) {
                        dir.executor = false;
                    }
                }
                5 => world.acks = chance.below(2) == 0,
                6 => world.connect(),
                _ => {
                    if let Some(effect) = world.pending.pop_front() {
                        world.act(effect);
                    } else {
                        world.progress();
                    }
                }
            }
        }
        world.acks = true;
        world.settle();
        let tasks: Vec<TaskId> = world.wanted.keys().copied().collect();
        tasks.iter().for_each(|task| world.kill(task.0));
        world.settle();
        world.pass(30_000);
        for task in tasks {
            let dir = world.dirs.get(&task).cloned().unwrap_or_default();
            let state = world.state(task.0);
            assert!(state.is_some_and(TaskState::is_terminal), "seed {seed}: {task} is {state:?}");
            // An executor murdered before its first event ran nothing and may be started over.
            assert!(dir.runs <= 1, "seed {seed}: {task} ran {} times", dir.runs);
            assert!(!dir.executor && !dir.process && !dir.group, "seed {seed}: {task} left {dir:?}");
        }
        assert_eq!(world.agent.state.index.held, Resources::default(), "seed {seed}");
    }
}

#[test]
fn after_a_reboot_the_living_are_lost_with_that_reason_and_directories_stay() {
    let mut world = begin(false);
    world.settle();
    world.reboot();
    world.settle();
    assert_eq!(world.state(1), Some(TaskState::Lost));
    assert_eq!(world.told[&TaskId(1)].last().unwrap().reason, Reason::AgentRebooted);
    assert!(world.dirs[&TaskId(1)].plan);
    assert_eq!(world.dirs[&TaskId(1)].starts, 1);
}

#[test]
fn an_agent_that_dies_before_it_has_recorded_the_reboot_judges_alike_the_next_time() {
    for done in 0..6 {
        let mut world = begin(false);
        world.settle();
        world.reboot();
        for _ in 0..done {
            if let Some(effect) = world.pending.pop_front() {
                world.act(effect);
            }
        }
        world.restart();
        world.settle();
        let last = world.told[&TaskId(1)].last().unwrap();
        assert_eq!((last.state, last.reason), (TaskState::Lost, Reason::AgentRebooted), "after {done} effects");
        assert_eq!(world.memory.boot_id, "boot-2", "after {done} effects");
    }
}
