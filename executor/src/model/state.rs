//! A task's state, and the only function that changes it. Not here: why it changes (decide).

use dawn_proto::v1::{Reason, TaskState};

use super::outcome::{Outcome, settled};
use super::{Ended, Exit, ExitKind, Mutation, Plan, Record, Rung, Soft, Stage};

/// Everything known about the task; replaying the event log gives its durable part.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// What was last reported; Unspecified before the first report.
    pub task: TaskState,
    /// How many executors have taken the task, this one included.
    pub generation: u32,
    pub stage: Stage,
    pub processes: Vec<ProcessState>,
    /// Set once, when it is known how the task ends.
    pub outcome: Option<Outcome>,
    pub kill: Option<KillState>,
    /// Cleaning: the present rung and when the next one follows.
    pub rung: Option<(Rung, i64)>,
    /// Finalizing: when the time is up.
    pub finalize_until_ms: Option<i64>,
    pub forced: bool,
    /// SIGTERM was sent: whatever was done before did not end it.
    pub was_terminated: bool,
    /// Lifecycle endpoints that refused or could not be reached, in words.
    pub failed_posts: Vec<String>,
    pub health: HealthState,
    /// The last renewal of the lease; None: what the plan says.
    pub renewed_until_ms: Option<i64>,
    pub is_warned_of_files: bool,
    pub memory_kills_told: u64,
    pub refused_forks_told: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProcessState {
    pub phase: Phase,
    /// Times it was started, failed starts included.
    pub runs: u32,
    pub failures: u32,
    pub last_failure: Option<Exit>,
    /// A final process that was still at work when their time was up.
    pub is_out_of_time: bool,
    pub last_start_ms: Option<i64>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Phase {
    /// Not running; may start when its turn comes.
    #[default]
    Waiting,
    /// Asked for, not yet answered.
    Launching,
    Running {
        pid: i32,
        start_ticks: u64,
    },
    Succeeded,
    /// Given up.
    Failed,
    /// Ended after the task's outcome was known, or nobody knows how.
    Stopped,
}

impl Phase {
    pub fn is_alive(self) -> bool {
        matches!(self, Phase::Launching | Phase::Running { .. })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KillState {
    pub begun_at_ms: i64,
    pub grace_period_ms: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HealthState {
    pub probing: bool,
    /// None: not armed, or a probe is under way.
    pub next_at_ms: Option<i64>,
    /// In a row.
    pub failures: u32,
    /// In a row.
    pub successes: u32,
    /// What the last failed probe said.
    pub detail: String,
}

impl State {
    /// A task nothing has happened to.
    pub fn new(plan: &Plan) -> Self {
        State { processes: vec![ProcessState::default(); plan.processes.len()], ..State::default() }
    }

    /// Indices of processes that live or are being started.
    pub fn alive(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.processes.len()).filter(|i| self.processes[*i].phase.is_alive())
    }

    /// Until when the task may live without another renewal; None: for ever.
    pub fn lease_until_ms(&self, plan: &Plan) -> Option<i64> {
        plan.lease_until_ms.map(|until_ms| self.renewed_until_ms.map_or(until_ms, |renewed| renewed.max(until_ms)))
    }

    /// Makes one change. `now_ms` is the steady clock, or for replayed records their own time.
    pub fn apply(&mut self, plan: &Plan, mutation: &Mutation, now_ms: i64) {
        match mutation {
            Mutation::Durable(record) => self.apply_record(plan, record, now_ms),
            Mutation::Soft(soft) => self.apply_soft(soft, now_ms),
        }
    }

    fn apply_record(&mut self, plan: &Plan, record: &Record, now_ms: i64) {
        match record {
            Record::ExecutorStarted { generation, .. } => self.generation = *generation,
            Record::ProcessStarted { process, pid, start_ticks, run } => {
                let Some(state) = self.processes.get_mut(*process) else { return };
                state.phase = Phase::Running { pid: *pid, start_ticks: *start_ticks };
                state.runs = *run;
                state.last_start_ms = Some(now_ms);
            }
            Record::ProcessExited { process, run, exit } => self.exited(plan, *process, *run, exit, now_ms),
            Record::TaskChanged { state, .. } => self.task = *state,
            Record::KillBegun { reason, grace_period_ms, message } => {
                let kill = KillState { begun_at_ms: now_ms, grace_period_ms: *grace_period_ms };
                self.kill = Some(kill);
                self.outcome.get_or_insert_with(|| outcome_of_kill(plan, *reason, message));
            }
            Record::StageEntered { stage } => {
                self.stage = *stage;
                match stage {
                    Stage::Finalizing => {
                        self.finalize_until_ms = Some(now_ms.saturating_add_unsigned(plan.finalization_wait_ms));
                    }
                    Stage::Closing => {
                        let alive = self.processes.iter_mut().filter(|process| process.phase.is_alive());
                        alive.for_each(|process| process.is_out_of_time = true);
                    }
                    Stage::Active | Stage::Cleaning | Stage::Ended => {}
                }
            }
        }
        if self.outcome.is_none() {
            let cause = match record {
                Record::ProcessExited { process, .. } => Some(*process),
                _ => None,
            };
            self.outcome = settled(plan, self, cause);
        }
    }

    fn exited(&mut self, plan: &Plan, process: usize, run: u32, exit: &Exit, now_ms: i64) {
        let (Some(state), Some(rules)) = (self.processes.get_mut(process), plan.processes.get(process)) else { return };
        state.runs = run;
        if let ExitKind::NotStarted(_) = exit.kind {
            state.last_start_ms = Some(now_ms);
        }
        if self.outcome.is_some() && !rules.is_final {
            state.phase = Phase::Stopped;
        } else if exit.is_success() {
            state.phase = if rules.daemon { Phase::Waiting } else { Phase::Succeeded };
        } else {
            state.failures += 1;
            state.last_failure = Some(exit.clone());
            state.phase = if state.failures >= rules.max_failures { Phase::Failed } else { Phase::Waiting };
        }
    }

    fn apply_soft(&mut self, soft: &Soft, now_ms: i64) {
        match soft {
            Soft::Launching { process } => {
                let state = &mut self.processes[*process];
                state.phase = Phase::Launching;
                state.last_start_ms = Some(now_ms);
            }
            Soft::Vanished { process } => self.processes[*process].phase = Phase::Stopped,
            Soft::LostTrack { message } => {
                self.outcome.get_or_insert(Outcome::Lost { message: message.clone() });
            }
            Soft::Entered { stage } => self.stage = *stage,
            Soft::Climbed { rung, until_ms } => {
                self.rung = Some((*rung, *until_ms));
                self.was_terminated |= *rung == Rung::Terminate;
            }
            Soft::PostFailed { why } => self.failed_posts.push(why.clone()),
            Soft::FinalizeUntil { until_ms } => self.finalize_until_ms = Some(*until_ms),
            Soft::Forced => self.forced = true,
            Soft::Renewed { until_ms } => self.renewed_until_ms = self.renewed_until_ms.max(Some(*until_ms)),
            Soft::WarnedOfFiles => self.is_warned_of_files = true,
            Soft::ToldOfMemoryKills { processes } => self.memory_kills_told = *processes,
            Soft::ToldOfRefusedForks { times } => self.refused_forks_told = *times,
            Soft::HealthArmed { first_at_ms } => self.health.next_at_ms = Some(*first_at_ms),
            Soft::ProbeBegun => {
                self.health.probing = true;
                self.health.next_at_ms = None;
            }
            Soft::Probed { healthy, snoozed, detail, next_at_ms } => {
                self.probed(*healthy, *snoozed, detail, *next_at_ms);
            }
        }
    }

    fn probed(&mut self, healthy: bool, snoozed: bool, detail: &str, next_at_ms: i64) {
        let health = &mut self.health;
        health.probing = false;
        health.next_at_ms = Some(next_at_ms);
        match (healthy, snoozed) {
            (true, _) => {
                health.successes = health.successes.saturating_add(1);
                health.failures = 0;
            }
            (false, true) => health.failures = 0,
            (false, false) => {
                health.successes = 0;
                health.failures = health.failures.saturating_add(1);
                health.detail = detail.to_string();
            }
        }
    }
}

/// A failure that no process decided goes with the last words of the first process that counts.
fn outcome_of_kill(plan: &Plan, reason: Reason, message: &str) -> Outcome {
    match message {
        "" => Outcome::Killed { reason },
        message => {
            let speaker = plan.processes.iter().position(|process| !process.is_final && !process.ephemeral);
            let exit = Ended { speaker, ..Ended::default() };
            Outcome::Failed { reason, message: message.to_string(), exit }
        }
    }
}
