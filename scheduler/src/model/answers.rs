//! What commands are answered with: one type for each, so that who asks gets what was asked for.

use std::fmt;

use dawn_proto::v1::SubmitOutcome;
use dawn_proto::{Epoch, JobKey, Timestamp};

use super::Replaced;

macro_rules! answers {
    ($($name:ident),* $(,)?) => {
        /// An answer of any kind, as it goes with an effect.
        #[derive(Clone, PartialEq, Eq)]
        pub enum Answer {
            $($name($name),)*
        }

        impl fmt::Debug for Answer {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    $(Answer::$name(answer) => fmt::Debug::fmt(answer, f),)*
                }
            }
        }

        $(
            impl From<$name> for Answer {
                fn from(answer: $name) -> Answer {
                    Answer::$name(answer)
                }
            }

            impl TryFrom<Answer> for $name {
                type Error = Answer;

                /// The answer of another kind is given back.
                fn try_from(answer: Answer) -> Result<$name, Answer> {
                    match answer {
                        Answer::$name(own) => Ok(own),
                        other => Err(other),
                    }
                }
            }
        )*
    };
}

answers! {
    Submitted, AllSubmitted, Killed, CronStarted, CronDescheduled, CronPaused, CronResumed, Dispatched, QuotaSet,
    UpdateBegun, UpdateTold, Scaled, UpkeepSet, Forgiven, Declared, Forgotten, Released, EpochRaised,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Submitted {
    pub key: JobKey,
    pub version: u32,
    pub outcome: SubmitOutcome,
}

/// In the order of the specs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllSubmitted(pub Vec<(JobKey, u32, SubmitOutcome)>);

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Killed {
    pub tasks: u32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CronStarted {
    pub run_at: Timestamp,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CronDescheduled;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CronPaused;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CronResumed;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dispatched {
    pub key: JobKey,
    pub existing: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuotaSet;

/// Without a number nothing differs, and nothing was started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpdateBegun {
    pub version: u32,
    pub number: Option<u32>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpdateTold {
    pub number: u32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scaled {
    pub version: u32,
    pub instances: u32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpkeepSet;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forgiven;

/// Nodes were declared down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Declared(pub Replaced);

/// Nodes were forgotten.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forgotten;

/// The brake was released.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Released {
    pub replaced: Replaced,
    pub until: Timestamp,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EpochRaised {
    pub epoch: Epoch,
    /// Agents that showed higher ones.
    pub agents: u32,
}
