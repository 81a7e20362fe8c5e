//! Every default a spec is filled with and every bound it is held to, in one table.

use crate::v1::{Misfire, Overlap, RestartOn, Tier};

// Defaults. A field not named here stays as it is when it is not given: zero, empty, absent.

/// `tier` of a service.
pub const SERVICE_TIER: Tier = Tier::Production;
/// `tier` of a batch or cron job.
pub const BATCH_TIER: Tier = Tier::Batch;
/// `resources.cpu`: a tenth of a cpu.
pub const CPU_MILLI: u64 = 100;
/// `resources.memory`
pub const MEMORY_BYTES: u64 = 128 << 20;
/// `resources.disk`
pub const DISK_BYTES: u64 = 256 << 20;
/// `grace_period`: from SIGTERM to SIGKILL.
pub const GRACE_PERIOD_MS: u64 = 10_000;
/// `finalization_wait`
pub const FINALIZATION_WAIT_MS: u64 = 30_000;
/// `max_failed_processes`
pub const MAX_FAILED_PROCESSES: u32 = 1;
/// `processes[].max_failures`
pub const PROCESS_MAX_FAILURES: u32 = 1;
/// `processes[].min_duration`: never a hot loop. As Aurora's.
pub const PROCESS_MIN_DURATION_MS: u64 = 5_000;
/// `logs.file_size`
pub const LOG_FILE_SIZE_BYTES: u64 = 100 << 20;
/// `logs.files`
pub const LOG_FILES: u32 = 3;
/// `health.interval`
pub const HEALTH_INTERVAL_MS: u64 = 10_000;
/// `health.timeout`
pub const HEALTH_TIMEOUT_MS: u64 = 1_000;
/// `health.max_failures`
pub const HEALTH_MAX_FAILURES: u32 = 3;
/// `health.min_successes`
pub const HEALTH_MIN_SUCCESSES: u32 = 1;
/// `health.http.path`
pub const HEALTH_PATH: &str = "/";
/// `lifecycle.graceful_wait` and `lifecycle.shutdown_wait`, each with its path only.
pub const LIFECYCLE_WAIT_MS: u64 = 5_000;
/// `restart.on` of a service.
pub const SERVICE_RESTART: RestartOn = RestartOn::AnyExit;
/// `restart.on` of a batch or cron job.
pub const BATCH_RESTART: RestartOn = RestartOn::Failure;
/// `restart.max_failures` of a batch or cron job; a service is never given up.
pub const RESTART_MAX_FAILURES: u32 = 1;
/// `restart.backoff`
pub const INITIAL_BACKOFF_MS: u64 = 1_000;
/// `restart.max_backoff`, or `restart.backoff` if that is longer.
pub const MAX_BACKOFF_MS: u64 = 60_000;
/// `restart.stable_after`
pub const STABLE_AFTER_MS: u64 = 60_000;
/// `partition.delay`, when no partition policy is given at all.
pub const PARTITION_DELAY_MS: u64 = 30_000;
/// `cron.time_zone`
pub const TIME_ZONE: &str = "UTC";
/// `cron.overlap`
pub const OVERLAP: Overlap = Overlap::CancelNew;
/// `cron.misfire`
pub const MISFIRE: Misfire = Misfire::Skip;
/// `cron.misfire_limit` with misfire `all`; otherwise 0.
pub const MISFIRE_LIMIT: u32 = 10;
/// `spread[].weight`
pub const SPREAD_WEIGHT: u32 = 50;
/// `affinities[].topology` with a job.
pub const TOPOLOGY: &str = "host";
// `user` is the role.

// Bounds.

pub const MAX_SPEC_BYTES: usize = 1 << 20;
/// What filling in the defaults adds to a spec at most: far more than it does.
pub const MAX_DEFAULTS_BYTES: usize = 64 << 10;
pub const MAX_INSTANCES: u32 = 100_000;
pub const MAX_PRIORITY: u32 = 1_000;
/// A million cpus.
pub const MAX_CPU_MILLI: u64 = 1_000_000_000;
/// Less can start no program, and is a forgotten unit.
pub const MIN_BYTES: u64 = 1 << 20;
/// A pebibyte.
pub const MAX_BYTES: u64 = 1 << 50;
pub const MAX_GPU_MILLI: u64 = 1_000_000;
/// Gpus of one task.
pub const MAX_GPUS: usize = 1_000;
pub const MAX_CUSTOM_MILLI: u64 = 1 << 50;
pub const MAX_CUSTOM: usize = 64;
pub const MAX_PROCESSES: usize = 200;
pub const MAX_PORTS: usize = 200;
pub const MAX_ARGS: usize = 1_000;
/// Of a command, one argument or one environment variable: the kernel takes 128 KiB with name and end.
pub const MAX_COMMAND_BYTES: usize = 120 << 10;
pub const MAX_ENV: usize = 1_000;
pub const MAX_LABELS: usize = 64;
pub const MAX_LABEL_VALUE_BYTES: usize = 1_024;
/// The kernel's own `pid_max` limit.
pub const MAX_PIDS: u32 = 4_194_304;
/// Of one task, where its spec says nothing.
pub const DEFAULT_MAX_FILES: u64 = 1_000_000;
/// Of one task; a look at so many takes minutes.
pub const MAX_FILES: u64 = 1_000_000_000;
/// Of any wait that is not a run time: a day.
pub const MAX_WAIT_MS: u64 = 86_400_000;
/// Of a run time: a year.
pub const MAX_RUN_TIME_MS: u64 = 366 * 86_400_000;
/// Shorter backoffs are hot loops.
pub const MIN_BACKOFF_MS: u64 = 10;
pub const MIN_LOG_FILE_SIZE_BYTES: u64 = 4 << 10;
pub const MAX_LOG_FILES: u32 = 100;
pub const MAX_CONSTRAINTS: usize = 100;
pub const MAX_VALUES: usize = 1_000;
pub const MAX_VALUE_BYTES: usize = 256;
pub const MAX_REGEX_BYTES: usize = 256;
pub const MAX_SPREADS: usize = 8;
pub const MAX_GROUPS: usize = 1_000;
pub const MAX_URL_BYTES: usize = 1_024;
pub const MAX_SCHEDULE_BYTES: usize = 256;
pub const MAX_DEPENDENCIES: usize = 100;
/// Instances that are placed all at once: what one step may do.
pub const MAX_GANG: u32 = 1_000;
pub const MAX_PARAMETERS: usize = 100;
/// Of a dispatch.
pub const MAX_PAYLOAD_BYTES: usize = 64 << 10;
pub const MAX_DISPATCH_ID_BYTES: usize = 256;
/// The environment variable that a dispatch's payload is given in.
pub const PAYLOAD: &str = "PAYLOAD";
