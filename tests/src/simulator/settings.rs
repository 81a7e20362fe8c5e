//! Times short enough for a minute or two to hold many of them.

use dawn_scheduler::drive::PulseSettings;
use dawn_scheduler::model::Settings;

pub(super) const HEARTBEAT_MS: u64 = 1_000;
pub(super) const LEASE_MS: u64 = 5_000;
/// Of a leader in etcd.
pub(super) const LEADER_LEASE_MS: u64 = 3_000;
/// A tick decided later is late.
pub(super) const CRON_LATE_MS: u64 = 3_000;

pub(super) fn settings() -> Settings {
    Settings {
        agent_lease_ms: LEASE_MS,
        heartbeat_interval_ms: HEARTBEAT_MS,
        down_after_ms: 15_000,
        assigned_timeout_ms: 20_000,
        resend_interval_ms: 4_000,
        reconcile_interval_ms: 30_000,
        cron_late_ms: CRON_LATE_MS,
        // When all clocks agree that so many days passed while nobody led, they did.
        ended_job_kept_ms: 30 * 86_400_000,
        down_agent_kept_ms: 30 * 86_400_000,
        ..Settings::default()
    }
}

/// Steps of every second seed have so little room that many are closed early, and written in parts.
pub(super) fn pulse_settings(seed: u64) -> PulseSettings {
    match seed % 2 {
        0 => PulseSettings::default(),
        _ => PulseSettings { step_bytes: 400, ..PulseSettings::default() },
    }
}
