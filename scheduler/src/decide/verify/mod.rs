//! Promises held against a state and what agents hold, all at one moment. Pure. Not here: asking agents, replaying the
//! journal, looking twice (a task may end between two answers).

mod agents;
mod commitments;
mod jobs;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use crate::model::{AgentNo, Inspection, State};

/// What is promised, as far as it can be looked at here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Promise {
    Epoch,
    AtMostOne,
    Submission,
    Intent,
    Held,
    Commitment,
    Ending,
    Constraint,
    Preemption,
    Stop,
    Update,
    Tick,
}

impl Promise {
    pub const ALL: [Promise; 12] = [
        Promise::Epoch,
        Promise::AtMostOne,
        Promise::Submission,
        Promise::Intent,
        Promise::Held,
        Promise::Commitment,
        Promise::Ending,
        Promise::Constraint,
        Promise::Preemption,
        Promise::Stop,
        Promise::Update,
        Promise::Tick,
    ];

    /// Its short name, and what it says.
    pub fn words(self) -> (&'static str, &'static str) {
        match self {
            Promise::Epoch => ("S1", "no agent has obeyed a later leader"),
            Promise::AtMostOne => ("S2", "no instance of an at_most_one job lives twice"),
            Promise::Submission => ("S3", "every instance of an active job waits, runs or has ended"),
            Promise::Intent => ("S4", "every process is one of a task that the journal has there"),
            Promise::Held => ("agents", "every task that runs by the journal is held by its agent and has processes"),
            Promise::Commitment => ("S5", "what is committed fits every agent; no port or device is given twice"),
            Promise::Ending => ("S6", "every task has at most one end, and it is the last"),
            Promise::Constraint => ("S7", "placed tasks keep their constraints, roles their quotas"),
            Promise::Preemption => {
                ("S8", "victims are of a lower tier or priority; no job is disrupted beyond its budget")
            }
            Promise::Stop => ("S9", "agents stop only what the journal has stopped"),
            Promise::Update => ("S10", "no update changes more instances at once than its policy lets it"),
            Promise::Tick => ("cron", "no tick of a cron job has two runs of one instance"),
        }
    }
}

/// Something that does not hold. Equal texts are the same finding, whenever it was made.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    pub promise: Promise,
    pub text: String,
    /// It held when it was decided; something was changed since.
    pub drifted: bool,
}

/// What was looked at, and what of it does not hold.
#[derive(Debug, Default)]
pub struct Verified {
    pub checked: BTreeMap<Promise, u64>,
    pub findings: Vec<Finding>,
}

impl Verified {
    fn count(&mut self, promise: Promise) {
        *self.checked.entry(promise).or_default() += 1;
    }

    fn find(&mut self, promise: Promise, text: String) {
        self.findings.push(Finding { promise, text, drifted: false });
    }

    fn drift(&mut self, promise: Promise, text: String) {
        self.findings.push(Finding { promise, text, drifted: true });
    }
}

/// Checks everything. Takes time for every task there is.
pub fn verify(state: &State, held: &BTreeMap<AgentNo, Inspection>) -> Verified {
    let mut verified = Verified::default();
    agents::check(state, held, &mut verified);
    commitments::check(state, &mut verified);
    jobs::check(state, &mut verified);
    verified
}
