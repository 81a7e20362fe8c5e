//! Random tasks under random events: the promises hold at every step, and every task comes to its end.

use std::collections::BTreeSet;

use dawn_executor::drive::Drive;
use dawn_executor::model::{Exit, ExitKind, Input, Outcome, Phase, Plan, Process, Record};
use dawn_proto::v1::Reason;
use proptest::prelude::*;

use crate::sim::{Sim, plan, process};

#[derive(Clone, Debug)]
enum Happening {
    /// The chosen one of the living ends with this code.
    Exit(usize, i32),
    Signal(usize),
    Pass(i64),
    Swept,
    Kill(Option<u64>),
    Renew(i64),
    Crash(u8),
}

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        6 => (any::<usize>(), prop_oneof![3 => Just(0), 1 => 1..3]).prop_map(|(which, code)| Happening::Exit(which, code)),
        1 => any::<usize>().prop_map(Happening::Signal),
        4 => (0i64..2_000).prop_map(Happening::Pass),
        2 => Just(Happening::Swept),
        1 => proptest::option::of(0u64..3_000).prop_map(Happening::Kill),
        1 => (0i64..4_000).prop_map(Happening::Renew),
        1 => any::<u8>().prop_map(Happening::Crash),
    ]
}

prop_compose! {
    fn any_process(index: usize)(
        flags in 0u8..16,
        deps in proptest::collection::btree_set(0..index.max(1), 0..=index.min(2)),
        max_failures in 1u32..4,
        min_duration_ms in 1u64..500,
    ) -> (u8, BTreeSet<usize>, u32, u64) {
        (flags, deps, max_failures, min_duration_ms)
    }
}

fn any_plan() -> impl Strategy<Value = Plan> {
    let five = (any_process(0), any_process(1), any_process(2), any_process(3), any_process(4));
    let lease = proptest::option::of(1_000_000i64..1_010_000);
    (five, 1u32..3, 1usize..5, lease).prop_map(
        |((a, b, c, d, e), max_failed_processes, max_concurrency, lease_until_ms)| {
            let mut processes: Vec<Process> = Vec::new();
            for (index, (flags, deps, max_failures, min_duration_ms)) in [a, b, c, d, e].into_iter().enumerate() {
                let mut next = Process { max_failures, min_duration_ms, ..process(&format!("p{index}")) };
                next.is_final = flags < 3;
                next.daemon = flags & 4 != 0 && !next.is_final;
                next.ephemeral = flags & 8 != 0;
                // As the parser has it: nothing follows a daemon, and stages do not mix.
                let allowed =
                    |dep: &usize| *dep < index && !processes[*dep].daemon && processes[*dep].is_final == next.is_final;
                next.after = deps.into_iter().filter(allowed).collect();
                processes.push(next);
            }
            Plan { max_failed_processes, max_concurrency, lease_until_ms, ..plan(processes) }
        },
    )
}

fn happen(mut sim: Sim, happening: &Happening) -> Sim {
    let chosen = |sim: &Sim, which: usize| {
        let alive = &sim.machine.alive;
        (!alive.is_empty()).then(|| alive[which % alive.len()].0)
    };
    match happening {
        Happening::Exit(which, code) => end_one(&mut sim, chosen, *which, ExitKind::Code(*code)),
        Happening::Signal(which) => end_one(&mut sim, chosen, *which, ExitKind::Signal(9)),
        Happening::Pass(ms) => sim.pass_ms(*ms),
        Happening::Swept if sim.machine.is_sweeping => sweep(&mut sim),
        Happening::Swept => {}
        Happening::Kill(grace_ms) => sim.kill(Reason::UserRequest, *grace_ms),
        Happening::Renew(ms) => sim.feed(Input::Renewed { until_ms: sim.now_ms + ms }),
        Happening::Crash(lives) => {
            sim.take_starts();
            return sim.crash(|process| lives & (1 << process) != 0);
        }
    }
    sim
}

/// A process of an earlier executor ends in silence, one of ours with its exit code.
fn end_one(sim: &mut Sim, chosen: impl Fn(&Sim, usize) -> Option<usize>, which: usize, kind: ExitKind) {
    let Some(process) = chosen(sim, which) else { return };
    if sim.drive.state().generation > 1 {
        sim.machine.alive.retain(|(alive, _)| *alive != process);
        sim.feed(Input::Vanished { process });
    } else {
        sim.exit(process, kind);
    }
}

fn sweep(sim: &mut Sim) {
    while let Some((process, run)) = sim.machine.alive.pop() {
        match sim.drive.state().generation {
            1 => {
                let exit = Exit::new(ExitKind::Signal(9));
                sim.feed(Input::Exited { process, run, exit });
            }
            _ => sim.feed(Input::Vanished { process }),
        }
    }
    sim.machine.is_sweeping = false;
    sim.feed(Input::Emptied);
}

fn check(sim: &Sim) {
    let (state, plan) = (sim.drive.state(), sim.drive.plan());
    assert!(sim.machine.alive.len() <= plan.max_concurrency);
    let alive: BTreeSet<usize> = sim.machine.alive.iter().map(|(process, _)| *process).collect();
    assert_eq!(alive, state.alive().collect(), "who lives");
    let mut succeeded = BTreeSet::new();
    let mut terminal = 0;
    for (index, stamped) in sim.machine.log.iter().enumerate() {
        assert_eq!(stamped.sequence, index as u64 + 1);
        assert_eq!(terminal, 0, "something follows the end");
        match &stamped.record {
            Record::ProcessStarted { process, .. } => {
                let rules = &plan.processes[*process];
                assert!(rules.after.iter().all(|dep| succeeded.contains(dep)), "{} started too early", rules.name);
            }
            Record::ProcessExited { process, exit, .. } if exit.is_success() => {
                succeeded.insert(*process);
            }
            Record::TaskChanged { state, .. } => terminal += usize::from(state.is_terminal()),
            _ => {}
        }
    }
    if state.generation > 1 {
        assert_eq!(sim.machine.starts, [], "a restarted executor started something");
    }
    if sim.machine.is_left {
        assert_eq!(terminal, 1);
    }
    check_replay(sim);
}

/// The event log alone says the same.
fn check_replay(sim: &Sim) {
    let mut drive = Drive::new(sim.drive.plan().clone());
    for stamped in &sim.machine.log {
        drive.replay(stamped.clone(), stamped.at_ms);
    }
    let (found, live) = (drive.state(), sim.drive.state());
    assert_eq!((found.task, found.kill, found.generation), (live.task, live.kill, live.generation));
    for (found, live) in found.processes.iter().zip(&live.processes) {
        assert_eq!((found.runs, found.failures), (live.runs, live.failures));
        // What this executor found gone, it alone knows.
        assert!(found.phase == live.phase || (live.phase == Phase::Stopped && found.phase.is_alive()));
    }
    let is_lost = matches!(live.outcome, Some(Outcome::Lost { .. }));
    assert!(is_lost || found.outcome == live.outcome, "{:?} is not {:?}", found.outcome, live.outcome);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn promises_hold_and_a_killed_task_ends(plan in any_plan(), happenings in proptest::collection::vec(happening(), 0..40)) {
        let mut sim = Sim::begin(plan);
        check(&sim);
        for happening in &happenings {
            if sim.machine.is_left {
                break;
            }
            sim = happen(sim, happening);
            check(&sim);
        }
        // Whatever it was at, a kill and enough time bring it to its end.
        if !sim.machine.is_left {
            sim.kill(Reason::UserRequest, Some(0));
        }
        for _ in 0..4 {
            if sim.machine.is_left {
                break;
            }
            sim.pass_ms(20_000);
            if sim.machine.is_sweeping {
                sweep(&mut sim);
            }
            check(&sim);
        }
        prop_assert!(sim.machine.is_left, "{:?}", sim.drive.state());
    }
}
