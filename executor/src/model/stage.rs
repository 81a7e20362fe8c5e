//! The stages of a task and the rungs of the kill ladder, as tables. Not here: when a trigger is pulled.

/// Where a task is in its one life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Its processes run.
    #[default]
    Active,
    /// Whatever still runs is asked, then made, to end.
    Cleaning,
    /// The final processes run.
    Finalizing,
    /// Whatever the final processes left is made to end.
    Closing,
    /// Nothing of it lives.
    Ended,
}

/// What moves a task from one stage to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trigger {
    /// The outcome is known: all done, too much failed, or a kill was asked for.
    Decided,
    /// Nothing of the task lives, and final processes are to run.
    Emptied,
    /// Nothing of the task lives, and nothing is to run any more.
    EmptiedForGood,
    /// The final processes are done or out of time.
    Finalized,
}

impl Stage {
    pub const ALL: [Stage; 5] = [Stage::Active, Stage::Cleaning, Stage::Finalizing, Stage::Closing, Stage::Ended];

    /// The whole table; None is illegal.
    pub fn next(self, trigger: Trigger) -> Option<Stage> {
        match (self, trigger) {
            (Stage::Active, Trigger::Decided) => Some(Stage::Cleaning),
            (Stage::Cleaning, Trigger::Emptied) => Some(Stage::Finalizing),
            (Stage::Cleaning, Trigger::EmptiedForGood) => Some(Stage::Ended),
            (Stage::Finalizing, Trigger::Finalized) => Some(Stage::Closing),
            (Stage::Closing, Trigger::EmptiedForGood) => Some(Stage::Ended),
            _ => None,
        }
    }
}

impl Trigger {
    pub const ALL: [Trigger; 4] = [Trigger::Decided, Trigger::Emptied, Trigger::EmptiedForGood, Trigger::Finalized];
}

/// Steps of the kill ladder, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rung {
    /// POST to the graceful endpoint.
    Graceful,
    /// POST to the shutdown endpoint.
    Shutdown,
    /// SIGTERM to every process.
    Terminate,
    /// SIGKILL to every process until none is left.
    Sweep,
}

impl Rung {
    pub const ALL: [Rung; 4] = [Rung::Graceful, Rung::Shutdown, Rung::Terminate, Rung::Sweep];

    /// The rung after this one; the last one has none.
    pub fn next(self) -> Option<Rung> {
        match self {
            Rung::Graceful => Some(Rung::Shutdown),
            Rung::Shutdown => Some(Rung::Terminate),
            Rung::Terminate => Some(Rung::Sweep),
            Rung::Sweep => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stage_table_holds_exactly_these_moves() {
        let mut moves = Vec::new();
        for stage in Stage::ALL {
            for trigger in Trigger::ALL {
                if let Some(next) = stage.next(trigger) {
                    assert!(next > stage, "{stage:?} -> {next:?} goes back");
                    moves.push((stage, trigger, next));
                }
            }
        }
        assert_eq!(
            moves,
            [
                (Stage::Active, Trigger::Decided, Stage::Cleaning),
                (Stage::Cleaning, Trigger::Emptied, Stage::Finalizing),
                (Stage::Cleaning, Trigger::EmptiedForGood, Stage::Ended),
                (Stage::Finalizing, Trigger::Finalized, Stage::Closing),
                (Stage::Closing, Trigger::EmptiedForGood, Stage::Ended),
            ]
        );
    }

    #[test]
    fn the_ladder_climbs_to_the_sweep() {
        for rung in Rung::ALL {
            match rung.next() {
                Some(next) => assert!(next > rung),
                None => assert_eq!(rung, Rung::Sweep),
            }
        }
    }
}
