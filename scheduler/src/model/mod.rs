//! The nouns: what exists, what can happen, what may be asked for. Nothing here decides or does I/O.

#![cfg_attr(not(test), deny(clippy::disallowed_methods, clippy::disallowed_types))]

mod agent;
mod ahead;
mod alarm;
mod allowed;
mod amount;
mod answer;
pub mod answers;
mod apply;
mod beside;
mod blame;
pub mod bounds;
mod clock;
mod effect;
mod event;
mod expression;
mod flow;
mod health;
mod index;
mod inspection;
mod instances;
mod job;
mod job_tasks;
mod live;
mod loss;
mod measure;
mod mutation;
mod numbered;
mod part;
mod quota;
mod restore;
mod settings;
mod spec;
mod state;
mod tally;
mod task;
mod text;
mod truth;
mod update;
mod upkeep;
mod weight;
mod welcome;
mod words;

pub use agent::{Agent, AgentNo, Attributes, Avoided, PortRanges, TakenPorts};
pub use ahead::Ahead;
pub use alarm::Alarm;
pub use allowed::Allowed;
pub use amount::{amount, amount_of, thousandths, utc};
pub use answer::Refusal;
pub use answers::Answer;
pub use blame::{Blame, BlameMutation, FaultOf, ForgiveCommand, KeptOff};
pub use clock::{AgentWall, AgentsWall, CronHold, Reading, Shift};
pub use effect::{Effect, LinkId, ReplyTo};
pub use event::{Command, Event, Now, Offer, Registration, Report};
pub use expression::{RegexError, whole_regex};
pub use flow::{Dependency, Dispatch, Flow, FlowCommand, FlowMutation, FlowRefusal, FlowSpec, Paused};
pub use index::Index;
pub use inspection::{Inspected, Inspection};
pub use instances::Instances;
pub use job::{Ended, Job, JobId, Tick, Version, is_manual};
pub use job_tasks::JobTasks;
pub use live::{AgentLive, Coordinated, Earlier, Live};
pub use loss::{BrakeRelease, DeclaredDown, LossCommand, LossMutation, LossRefusal, Replaced};
pub use measure::{BATCH_BYTES, bytes_of};
pub use mutation::{
    AgentAvoided, AgentForgotten, AgentMoved, AgentSeen, Batch, ClusterMade, EndDated, EpochBegun, InstancesStopped,
    JobEnded, JobForgotten, JobMade, JobSettled, JobVersioned, Mutation, Nominated, QuotaSet, TaskAssigned,
    TaskForgotten, TaskMade, TaskMoved, Ticked,
};
pub use numbered::{Number, Numbered};
pub use part::{Part, cut};
pub use quota::{Bound, Bounds, Quota};
pub use restore::{Description, RestoreMutation, Restored, Restores, TaskAdopted};
pub use settings::Settings;
pub use spec::{
    Affinity, Constraint, CronPolicy, JobSpec, Near, PortDemand, RestartPolicy, Rule, Schedule, ScheduleError, Sla,
    SlaPolicy, Spec, Spread,
};
pub use state::State;
pub use tally::{Standing, Tally};
pub use task::{End, Exit, Place, PlacedState, Status, Task, Transition, Waiting};
pub use text::Text;
pub use truth::Truth;
pub use update::{
    Changes, Scale, Update, UpdateChange, UpdateCommand, UpdateEvent, UpdateMutation, UpdatePolicy, is_back, is_over,
};
pub use upkeep::{Upkeep, UpkeepCommand, UpkeepMutation};
pub use welcome::{Contest, Welcome, WelcomeMutation};
pub use words::{ENDED_ALTHOUGH_TO_GO_ON, end_words, failure_words, reason_words};
