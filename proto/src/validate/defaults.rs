//! Bounds of what a job is made of that no field has by itself, and names for bounds of fields that others ask for.

use crate::fields::{job_spec, process_spec, resources, task_spec};

pub const MAX_SPEC_BYTES: usize = 1 << 20;
/// What filling in the defaults adds to a spec at most: far more than it does.
pub const MAX_DEFAULTS_BYTES: usize = 64 << 10;
pub const MAX_INSTANCES: u32 = job_spec::INSTANCES.most() as u32;
/// Gpus of one task.
pub const MAX_GPUS: usize = 1_000;
pub const MAX_CUSTOM_MILLI: u64 = 1 << 50;
pub const MAX_CUSTOM: usize = resources::CUSTOM_MILLI.most_items();
/// Of a command, one argument or one environment variable: the kernel takes 128 KiB with name and end.
pub const MAX_COMMAND_BYTES: usize = process_spec::SHELL.most() as usize;
pub const MAX_LABEL_VALUE_BYTES: usize = 1_024;
/// Of one task, where its spec says nothing.
pub const DEFAULT_MAX_FILES: u64 = task_spec::MAX_FILES.default_number() as u64;
pub const MAX_VALUES: usize = 1_000;
pub const MAX_VALUE_BYTES: usize = 256;
/// Instances that are placed all at once: what one step may do.
pub const MAX_GANG: u32 = 1_000;
pub const MAX_PARAMETERS: usize = 100;
/// Of a dispatch.
pub const MAX_PAYLOAD_BYTES: usize = 64 << 10;
pub const MAX_DISPATCH_ID_BYTES: usize = 256;
/// The environment variable that a dispatch's payload is given in.
pub const PAYLOAD: &str = "PAYLOAD";
