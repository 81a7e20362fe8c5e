//! What exists in one task, what can happen to it, and what may be asked for. Not here: decisions and the wire.

#![cfg_attr(not(test), deny(clippy::disallowed_methods, clippy::disallowed_types))]

mod input;
mod outcome;
mod plan;
mod record;
mod setting;
mod stage;
mod state;

pub use input::{Effect, Input, LifecycleStep};
pub use outcome::{Outcome, failure, limit_reached, retried, tolerated_failures, unsuccessful_finals};
pub use plan::{Command, Health, Lifecycle, Plan, Probe, Process};
pub use record::{Ended, Exit, ExitKind, Mutation, OutOfMemory, Record, Soft, Stamped};
pub use setting::{CgroupSetting, Isolation, LogRules, MemoryFile, Namespaces, Setting};
pub use stage::{Rung, Stage, Trigger};
pub use state::{HealthState, KillState, Phase, ProcessState, State};
