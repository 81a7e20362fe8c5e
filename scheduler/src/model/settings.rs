//! What an operator may set about decisions. Not here: addresses, paths and the like, which are the wiring's.

/// Times, bounds and shares that decisions go by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// An agent silent for longer is UNREACHABLE.
    pub agent_lease_ms: u64,
    /// How often an agent is told to send a heartbeat.
    pub heartbeat_interval_ms: u64,
    /// An agent silent for longer is DOWN.
    pub down_after_ms: u64,
    /// A task ASSIGNED for longer without a word of its agent, which is there, is LOST.
    pub assigned_timeout_ms: u64,
    /// Launches and kills without an answer are sent again this often.
    pub resend_interval_ms: u64,
    /// Every agent is asked this often where its tasks stand.
    pub reconcile_interval_ms: u64,
    /// While silent agents with tasks are more than this share of those and all that are heard, it is taken for the
    /// scheduler's own partition: nothing is given up. 100 turns the brake off.
    pub mass_loss_percent: u32,
    /// Most tasks given up in a second for their agents' silence.
    pub lost_tasks_per_s: u64,
    /// Launches keep away this long from an agent that failed, the first time; twice as long each time after.
    pub avoid_ms: u64,
    pub max_avoid_ms: u64,
    /// An agent that did not fail for this long after it was avoided begins anew.
    pub forgive_ms: u64,
    /// Failures to start that are known for the agent's fault, for which it is avoided, and of how many jobs.
    pub failures_to_avoid: usize,
    pub jobs_to_avoid: usize,
    /// So long a job keeps off an agent on which a task of it did not start: short, since there may be no room elsewhere.
    pub keep_off_ms: u64,
    /// So long what was learnt of a failure to start is remembered.
    pub blame_kept_ms: u64,
    /// Registrations within `flap_window_ms` for which an agent is avoided; at most [`super::Live::KEPT_TIMES`].
    pub flaps_to_avoid: usize,
    pub flap_window_ms: u64,
    /// A tick decided later than this after its time was missed.
    pub cron_late_ms: u64,
    /// Ended tasks kept of each instance, its living one not counted.
    pub kept_ended_tasks: usize,
    /// Runs kept of a cron job, living ones not counted.
    pub kept_cron_runs: usize,
    /// How long an ended job and its tasks are kept.
    pub ended_job_kept_ms: u64,
    /// How long a DOWN agent without tasks is kept.
    pub down_agent_kept_ms: u64,
    pub max_jobs: usize,
    /// Living and ended ones.
    pub max_tasks: usize,
    /// Most tasks of one job made, stopped or forgotten in one step; the next tick goes on.
    pub slice: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            agent_lease_ms: 15_000,
            heartbeat_interval_ms: 3_000,
            down_after_ms: 60_000,
            assigned_timeout_ms: 60_000,
            resend_interval_ms: 10_000,
            reconcile_interval_ms: 300_000,
            mass_loss_percent: 50,
            lost_tasks_per_s: 500,
            avoid_ms: 30_000,
            max_avoid_ms: 1_800_000,
            forgive_ms: 600_000,
            failures_to_avoid: 3,
            jobs_to_avoid: 2,
            keep_off_ms: 10_000,
            blame_kept_ms: 60_000,
            flaps_to_avoid: 5,
            flap_window_ms: 300_000,
            cron_late_ms: 10_000,
            kept_ended_tasks: 5,
            kept_cron_runs: 20,
            ended_job_kept_ms: 24 * 3_600_000,
            down_agent_kept_ms: 24 * 3_600_000,
            max_jobs: 100_000,
            max_tasks: 5_000_000,
            slice: 5_000,
        }
    }
}
