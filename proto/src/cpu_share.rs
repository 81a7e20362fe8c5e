//! What a demand for cpu is in the kernel's groups: the agent sets it, and the executor sets it again after a kill has
//! raised a group. Not here: writing it.

/// cgroup v1's own default; a whole cpu.
const SHARES_PER_CPU: u64 = 1_024;
const MIN_SHARES: u64 = 2;
const MAX_SHARES: u64 = 262_144;
/// The kernel's default of 100 stands for one cpu.
const WEIGHT_PER_CPU: u64 = 100;
const MIN_WEIGHT: u64 = 1;
const MAX_WEIGHT: u64 = 10_000;
/// The kernel's least quota, microseconds.
const MIN_QUOTA_US: u64 = 1_000;
/// What a group has at least while what is in it is being killed, in cpus.
const RAISED_CPU_MILLI: u64 = 20_000;

/// A group's part of the cpu, in the units of both versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CpuShare {
    /// `cpu.shares` of version 1.
    pub shares: u64,
    /// `cpu.weight` of version 2.
    pub weight: u64,
    /// Cpu time in each period; None: no quota.
    pub quota_us: Option<i64>,
}

impl CpuShare {
    /// Length of the period a quota is about, microseconds.
    pub const PERIOD_US: u64 = 100_000;

    /// Of a task that asks for so much; 0: what the kernel gives a group that nobody has limited.
    pub fn of(cpu_milli: u64) -> CpuShare {
        if cpu_milli == 0 {
            return CpuShare { shares: SHARES_PER_CPU, weight: WEIGHT_PER_CPU, quota_us: None };
        }
        let quota_us = (cpu_milli.saturating_mul(Self::PERIOD_US) / 1_000).max(MIN_QUOTA_US);
        CpuShare {
            shares: (cpu_milli.saturating_mul(SHARES_PER_CPU) / 1_000).clamp(MIN_SHARES, MAX_SHARES),
            weight: (cpu_milli.saturating_mul(WEIGHT_PER_CPU) / 1_000).clamp(MIN_WEIGHT, MAX_WEIGHT),
            quota_us: Some(i64::try_from(quota_us).unwrap_or(i64::MAX)),
        }
    }

    /// Of a group whose processes are being killed: they need the cpu once more, to end. A machine where every cpu is taken
    /// gives a small group nothing for seconds, and until then the dead keep their memory.
    pub fn raised() -> CpuShare {
        CpuShare { quota_us: None, ..CpuShare::of(RAISED_CPU_MILLI) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_demand_is_told_in_the_units_of_both_versions() {
        let share = |shares, weight, quota_us| CpuShare { shares, weight, quota_us };
        assert_eq!(CpuShare::of(1_500), share(1_536, 150, Some(150_000)));
        assert_eq!(CpuShare::of(1), share(2, 1, Some(1_000)), "the least that the kernel takes");
        assert_eq!(CpuShare::of(0), share(1_024, 100, None), "as a group is made");
        assert_eq!(CpuShare::of(u64::MAX).shares, 262_144);
        assert!(CpuShare::of(u64::MAX).quota_us > Some(0));
        assert_eq!(CpuShare::raised(), share(20_480, 2_000, None));
    }
}
