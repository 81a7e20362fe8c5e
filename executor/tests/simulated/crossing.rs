//! Every stage against every input: what may follow, and that nothing else does.

use std::collections::BTreeSet;

use dawn_executor::model::{Effect, Exit, Input, Process, Stage};
use dawn_proto::v1::{Reason, TaskState};

use crate::sim::{Sim, code, plan, process};

/// A task with one process and one final, brought to a stage with something alive where that can be.
fn at(stage: Stage) -> Sim {
    let last = Process { is_final: true, ..process("last") };
    let mut sim = Sim::begin(plan(vec![process("web"), last]));
    if stage >= Stage::Cleaning {
        sim.kill(Reason::Preempted, None);
    }
    if stage >= Stage::Finalizing {
        sim.exit(0, code(0));
        sim.swept();
    }
    if stage >= Stage::Closing {
        sim.pass_ms(5_000);
    }
    if stage == Stage::Ended {
        sim.swept();
    }
    assert_eq!(sim.drive.state().stage, stage);
    sim.take_effects();
    sim.take_starts();
    sim
}

fn exited(process: usize, run: u32) -> Input {
    Input::Exited { process, run, exit: Exit::new(code(0)) }
}

/// From each stage: what is done, and the stage it leads to.
type Row = [(Vec<Effect>, Stage); 5];

/// Every kind of input, and the effects and the stage it leads to from each stage with something alive.
fn table() -> Vec<(Input, Row)> {
    use Stage::{Active, Cleaning, Closing, Ended, Finalizing};
    let stay = || [Active, Cleaning, Finalizing, Closing, Ended].map(|stage| (vec![], stage));
    let but = |stage: Stage, effects: Vec<Effect>, next: Stage| {
        let mut row = stay();
        row[Stage::ALL.iter().position(|candidate| *candidate == stage).unwrap()] = (effects, next);
        row
    };
    let mut first_exit = but(Active, vec![Effect::Sweep], Cleaning);
    first_exit[1] = (vec![Effect::Sweep], Cleaning);
    let kill = |grace_period_ms| Input::Kill { reason: Reason::UserRequest, grace_period_ms };
    vec![
        (Input::Tick, stay()),
        (Input::Emptied, stay()),
        (Input::Probed { healthy: false, snoozed: false, detail: String::new() }, stay()),
        (Input::Started { process: 0, run: 1, pid: 9, start_ticks: 9 }, stay_running()),
        (exited(0, 1), first_exit),
        // Another run than the present one, and a process that is not there.
        (exited(0, 7), stay()),
        (exited(9, 1), stay()),
        (exited(1, 1), but(Finalizing, vec![Effect::Sweep], Closing)),
        (Input::Vanished { process: 9 }, stay()),
        (kill(None), but(Active, vec![Effect::Terminate], Cleaning)),
        (kill(Some(u64::MAX)), but(Active, vec![Effect::Terminate], Cleaning)),
        (kill(Some(500)), but(Active, vec![Effect::Terminate], Cleaning)),
    ]
}

fn stay_running() -> Row {
    Stage::ALL.map(|stage| (vec![], stage))
}

#[test]
fn every_input_in_every_stage_does_what_the_table_says() {
    for (input, row) in table() {
        for (stage, (effects, next)) in Stage::ALL.into_iter().zip(row) {
            let mut sim = at(stage);
            sim.feed(input.clone());
            let found = (sim.take_effects(), sim.drive.state().stage);
            assert_eq!(found, (effects, next), "{input:?} in {stage:?}");
            assert_eq!(sim.take_starts(), [], "{input:?} in {stage:?}");
        }
    }
}

#[test]
fn what_has_ended_is_over() {
    for (input, _) in table() {
        let mut sim = at(Stage::Ended);
        let log = sim.machine.log.clone();
        sim.feed(input);
        sim.feed(Input::Began { pid: 1, start_ticks: 1, living: BTreeSet::from([0]) });
        assert_eq!(sim.machine.log, log);
        assert_eq!(sim.drive.deadline_ms(), None);
        assert_eq!(sim.states().iter().filter(|state| state.is_terminal()).count(), 1);
        assert_eq!(sim.end().0, TaskState::Killed);
    }
}
