//! What to do when something happens: pure, from state and input to mutations and effects.
//! Not here: I/O, clocks, and the changing of state.

#![cfg_attr(not(test), deny(clippy::disallowed_methods, clippy::disallowed_types))]

mod active;
mod disk;
mod lease;
mod memory;
mod processes;
mod stopping;
mod words;

use dawn_proto::v1::{Reason, TaskState};

use crate::model::{
    Effect, Ended, Input, Mutation, Outcome, Phase, Plan, Record, Soft, Stage, State, Trigger, tolerated_failures,
};

/// What is to change and what is to be done once the durable part of it is durable.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Decision {
    pub mutations: Vec<Mutation>,
    pub effects: Vec<Effect>,
}

/// Decides on one input at `now_ms` of the steady clock.
pub fn decide(plan: &Plan, state: &State, input: &Input, now_ms: i64) -> Decision {
    let mut step = Step { plan, state: state.clone(), now_ms, decision: Decision::default() };
    if state.stage != Stage::Ended {
        step.take(input);
        step.hold_to_lease();
        step.advance();
    }
    step.decision
}

/// When a [`Input::Tick`] is needed at the latest; None: nothing waits for time.
pub fn deadline_ms(plan: &Plan, state: &State) -> Option<i64> {
    let stage_ms = match state.stage {
        Stage::Active => active::deadline_ms(plan, state),
        Stage::Cleaning => state.rung.map(|(_, until_ms)| until_ms).filter(|until_ms| *until_ms != i64::MAX),
        Stage::Finalizing => {
            let start = active::next_start_ms(plan, state);
            start.into_iter().chain(state.finalize_until_ms).min()
        }
        Stage::Closing | Stage::Ended => None,
    };
    stage_ms.into_iter().chain(lease::deadline_ms(plan, state)).min()
}

/// A decision in the making: the state as it will be, and how it gets there.
struct Step<'a> {
    plan: &'a Plan,
    state: State,
    now_ms: i64,
    decision: Decision,
}

impl Step<'_> {
    fn put(&mut self, mutation: Mutation) {
        self.state.apply(self.plan, &mutation, self.now_ms);
        self.decision.mutations.push(mutation);
    }

    fn record(&mut self, record: Record) {
        self.put(Mutation::Durable(record));
    }

    fn soft(&mut self, soft: Soft) {
        self.put(Mutation::Soft(soft));
    }

    fn act(&mut self, effect: Effect) {
        self.decision.effects.push(effect);
    }

    /// What the input itself changes.
    fn take(&mut self, input: &Input) {
        match input {
            Input::Began { pid, start_ticks, living } => self.begin(*pid, *start_ticks, living),
            Input::Started { process, run, pid, start_ticks } => {
                let (process, run, pid, start_ticks) = (*process, *run, *pid, *start_ticks);
                if self.expects(process, run) {
                    self.record(Record::ProcessStarted { process, pid, start_ticks, run });
                }
            }
            Input::Exited { process, run, exit } => {
                if self.expects(*process, *run) {
                    self.record(Record::ProcessExited { process: *process, run: *run, exit: exit.clone() });
                    self.tell_of_retry(*process, exit);
                }
            }
            Input::Vanished { process } => self.vanish(*process),
            Input::Emptied => self.emptied(),
            Input::Probed { healthy, snoozed, detail } => self.probed(*healthy, *snoozed, detail),
            Input::Kill { reason, grace_period_ms } => self.kill(*reason, *grace_period_ms),
            Input::PostFailed { why } => self.soft(Soft::PostFailed { why: why.clone() }),
            Input::Measured { bytes, files } => self.measured(*bytes, *files),
            Input::KilledForMemory { processes } => self.killed_for_memory(*processes),
            Input::ForksRefused { times, max_pids } => self.forks_refused(*times, *max_pids),
            Input::Renewed { until_ms } => self.soft(Soft::Renewed { until_ms: *until_ms }),
            Input::Tick => {}
        }
    }

    /// Whether news of this run of this process can be true now; anything else is stale.
    fn expects(&self, process: usize, run: u32) -> bool {
        self.state.processes.get(process).is_some_and(|known| match known.phase {
            Phase::Launching => run == known.runs + 1,
            Phase::Running { .. } => run == known.runs,
            _ => false,
        })
    }

    fn begin(&mut self, pid: i32, start_ticks: u64, living: &std::collections::BTreeSet<usize>) {
        if self.state.task.is_terminal() {
            self.soft(Soft::Entered { stage: Stage::Ended });
            self.act(Effect::Leave);
            return;
        }
        let generation = self.state.generation + 1;
        let gone: Vec<usize> = self.state.alive().filter(|process| !living.contains(process)).collect();
        self.record(Record::ExecutorStarted { pid, start_ticks, generation });
        if self.state.task == TaskState::Unspecified {
            self.report(TaskState::Starting, Reason::None, String::new(), Ended::default());
        }
        for process in gone {
            self.vanish(process);
        }
        if generation > 1 && self.state.outcome.is_none() && self.state.alive().next().is_none() {
            let message = "the executor died and nothing of the task was left running".to_string();
            self.soft(Soft::LostTrack { message });
        }
        match self.state.stage {
            Stage::Cleaning => self.begin_cleaning(),
            Stage::Closing => self.act(Effect::Sweep),
            Stage::Active | Stage::Finalizing | Stage::Ended => {}
        }
    }

    fn vanish(&mut self, process: usize) {
        if self.state.processes.get(process).is_some_and(|known| known.phase.is_alive()) {
            self.soft(Soft::Vanished { process });
            let name = &self.plan.processes[process].name;
            let message = format!("process {name} ended after its executor had died, so its exit code is not known");
            self.soft(Soft::LostTrack { message });
        }
    }

    fn report(&mut self, state: TaskState, reason: Reason, message: String, exit: Ended) {
        self.record(Record::TaskChanged { state, reason, message, exit });
    }

    fn enter(&mut self, trigger: Trigger) {
        match self.state.stage.next(trigger) {
            // Told by the terminal report.
            Some(Stage::Ended) => self.soft(Soft::Entered { stage: Stage::Ended }),
            Some(stage) => self.record(Record::StageEntered { stage }),
            None => unreachable!("{trigger:?} in stage {:?}", self.state.stage),
        }
    }

    /// What follows, until nothing more does.
    fn advance(&mut self) {
        loop {
            let before = self.state.stage;
            match before {
                Stage::Active if self.state.outcome.is_some() => {
                    self.enter(Trigger::Decided);
                    self.begin_cleaning();
                }
                Stage::Active => self.advance_active(),
                Stage::Cleaning => self.climb(),
                Stage::Finalizing => self.advance_finalizing(),
                Stage::Closing | Stage::Ended => {}
            }
            if self.state.stage == before && !(before == Stage::Active && self.state.outcome.is_some()) {
                return;
            }
        }
    }

    /// Reports the outcome; nothing follows.
    fn end(&mut self) {
        self.enter(Trigger::EmptiedForGood);
        let outcome = self.state.outcome.clone();
        let outcome = match outcome.unwrap_or(Outcome::Finished) {
            Outcome::Finished => self.outcome_of_finals(),
            other => other,
        };
        let state = outcome.task_state();
        let (reason, message, exit) = match outcome {
            Outcome::Finished => {
                let failures = tolerated_failures(self.plan, &self.state).join("; ");
                (Reason::None, failures, Ended { exit_code: Some(0), ..Ended::default() })
            }
            Outcome::Failed { reason, message, exit } => (reason, message, exit),
            Outcome::Lost { message } => (Reason::ExecutorLost, message, Ended::default()),
            Outcome::Killed { reason } => (reason, words::of_kill(reason).to_string(), Ended::default()),
        };
        let message = self.with_all_that_is_told(message, state, exit.speaker);
        self.report(state, reason, message, exit);
        self.act(Effect::Leave);
    }
}
