//! The pulse: receive, decide, apply, append, then act. Not here: any real I/O; the hands are handed in, so that a
//! simulator can drive it with a clock of its own.

use std::collections::VecDeque;
use std::io;

use crate::decide::{deadline_ms, decide};
use crate::model::{Effect, Input, Mutation, Plan, Stamped, State};

/// The time of one step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Never jumps; milliseconds. All deadlines are on it.
    pub steady_ms: i64,
    /// Milliseconds since 1970, for records.
    pub wall_ms: i64,
}

/// What the pulse needs of the world.
pub trait Hands {
    /// Appends to the event log, all or nothing, so that it survives the executor. With `sync` it must also survive a
    /// power cut before anybody is told.
    ///
    /// # Errors
    /// When nothing was appended. The same records come again later.
    fn append(&mut self, records: &[Stamped], sync: bool) -> io::Result<()>;

    /// Does it. What came of it at once goes to `inputs`.
    fn act(&mut self, effect: &Effect, inputs: &mut VecDeque<Input>);
}

/// Where the task stands after a step.
#[derive(Debug)]
pub enum Progress {
    Going,
    /// The event log takes nothing: effects are held. Call [`Drive::retry`] after a while.
    Stuck(io::Error),
}

/// One task's pulse.
pub struct Drive {
    plan: Plan,
    state: State,
    sequence: u64,
    unwritten: Vec<Stamped>,
    held: VecDeque<Effect>,
    inputs: VecDeque<Input>,
}

impl Drive {
    /// A task nothing has happened to.
    pub fn new(plan: Plan) -> Self {
        let state = State::new(&plan);
        let (unwritten, held, inputs) = Default::default();
        Drive { plan, state, sequence: 0, unwritten, held, inputs }
    }

    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    pub fn state(&self) -> &State {
        &self.state
    }

    /// Applies a record of an earlier executor. `at_ms` is its time on the steady clock.
    pub fn replay(&mut self, stamped: Stamped, at_ms: i64) {
        self.sequence = stamped.sequence;
        self.state.apply(&self.plan, &Mutation::Durable(stamped.record), at_ms);
    }

    /// The last record's place in the log; 0 before the first.
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// When [`Input::Tick`] is due on the steady clock.
    pub fn deadline_ms(&self) -> Option<i64> {
        deadline_ms(&self.plan, &self.state)
    }

    /// Takes one input and everything that follows from it.
    pub fn feed(&mut self, input: Input, now: Now, hands: &mut impl Hands) -> Progress {
        self.inputs.push_back(input);
        self.retry(now, hands)
    }

    /// Goes on where the event log refused.
    pub fn retry(&mut self, now: Now, hands: &mut impl Hands) -> Progress {
        loop {
            if let Err(error) = self.flush(hands) {
                return Progress::Stuck(error);
            }
            while let Some(effect) = self.held.pop_front() {
                hands.act(&effect, &mut self.inputs);
            }
            let Some(input) = self.inputs.pop_front() else { return Progress::Going };
            self.step(&input, now);
        }
    }

    fn step(&mut self, input: &Input, now: Now) {
        let decision = decide(&self.plan, &self.state, input, now.steady_ms);
        for mutation in decision.mutations {
            self.state.apply(&self.plan, &mutation, now.steady_ms);
            if let Mutation::Durable(record) = mutation {
                self.sequence += 1;
                self.unwritten.push(Stamped { sequence: self.sequence, at_ms: now.wall_ms, record });
            }
        }
        self.held.extend(decision.effects);
    }

    fn flush(&mut self, hands: &mut impl Hands) -> io::Result<()> {
        if !self.unwritten.is_empty() {
            let sync = self.unwritten.iter().any(|stamped| stamped.record.needs_sync());
            hands.append(&self.unwritten, sync)?;
            self.unwritten.clear();
        }
        Ok(())
    }
}
