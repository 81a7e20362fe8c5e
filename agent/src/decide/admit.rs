//! Whether a launch fits: total minus held, ports, number of tasks. Not here: whether the kernel agrees (ports in use by others).

use std::collections::BTreeMap;
use std::fmt;

use dawn_proto::v1::Reason;
use dawn_proto::{Lack, Resources, TaskId};

use crate::model::{MAX_LIVING_TASKS, Port};

/// Why a launch is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Veto {
    Lacks(Lack),
    PortHeld {
        port: Port,
        by: TaskId,
    },
    /// A gpu that this machine does not have, or has too little left of.
    Gpu {
        number: u16,
        have_milli: u64,
    },
    TooManyTasks {
        living: usize,
    },
}

impl Veto {
    /// The reason of the report that refuses the launch.
    pub fn reason(&self) -> Reason {
        match self {
            Veto::PortHeld { .. } => Reason::PortClash,
            Veto::Lacks(_) | Veto::Gpu { .. } | Veto::TooManyTasks { .. } => Reason::LaunchRefused,
        }
    }
}

impl fmt::Display for Veto {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Veto::Lacks(lack) => write!(f, "no room on this agent: {lack}"),
            Veto::PortHeld { port, by } => write!(f, "port {} ({}) is held by task {by}", port.number, port.name),
            Veto::Gpu { number, have_milli } => {
                write!(f, "gpu {number} has {have_milli} thousandths left, which is too little")
            }
            Veto::TooManyTasks { living } => {
                write!(f, "the agent runs {living} tasks; {MAX_LIVING_TASKS} is the most")
            }
        }
    }
}

/// What a launch is held against.
pub struct Room<'a> {
    pub total: &'a Resources,
    /// Demands of all living tasks.
    pub held: &'a Resources,
    pub ports: &'a BTreeMap<u16, TaskId>,
    /// By gpu: thousandths held.
    pub gpus: &'a BTreeMap<u16, u64>,
    pub living: usize,
}

/// Thousandths in one gpu.
const GPU_MILLI: u64 = 1_000;

/// What a task takes of each gpu it was given.
pub fn of_each_gpu(demand: &Resources) -> u64 {
    demand.gpu_milli.min(GPU_MILLI)
}

/// Admits a demand with its ports and gpus.
///
/// # Errors
/// The first reason why it does not fit.
pub fn admit(room: &Room<'_>, demand: &Resources, ports: &[Port], gpus: &[u16]) -> Result<(), Veto> {
    if room.living >= MAX_LIVING_TASKS {
        return Err(Veto::TooManyTasks { living: room.living });
    }
    let mut free = room.total.clone();
    free.take(room.held);
    if let Some(lack) = free.lacks(demand) {
        return Err(Veto::Lacks(lack));
    }
    for port in ports {
        if let Some(by) = room.ports.get(&port.number) {
            return Err(Veto::PortHeld { port: port.clone(), by: *by });
        }
    }
    for number in gpus {
        let is_there = u64::from(*number) < room.total.gpu_milli / GPU_MILLI;
        let held_milli = room.gpus.get(number).copied().unwrap_or(0);
        let have_milli = if is_there { GPU_MILLI.saturating_sub(held_milli) } else { 0 };
        if have_milli < of_each_gpu(demand) {
            return Err(Veto::Gpu { number: *number, have_milli });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn amounts(cpu_milli: u64, memory_bytes: u64) -> Resources {
        Resources { cpu_milli, memory_bytes, ..Resources::default() }
    }

    fn try_admit(held: &Resources, living: usize, demand: &Resources, ports: &[Port]) -> Result<(), Veto> {
        let taken = BTreeMap::from([(31_000, TaskId(7))]);
        let gpus = BTreeMap::new();
        admit(&Room { total: &amounts(2_000, 100), held, ports: &taken, gpus: &gpus, living }, demand, ports, &[])
    }

    #[test]
    fn a_gpu_is_given_to_no_more_than_fit_on_it() {
        let total = Resources { gpu_milli: 2_000, ..amounts(2_000, 100) };
        let (held, ports) = (Resources { gpu_milli: 600, ..Resources::default() }, BTreeMap::new());
        let gpus = BTreeMap::from([(1, 600)]);
        let room = Room { total: &total, held: &held, ports: &ports, gpus: &gpus, living: 1 };
        let admits = |gpu_milli: u64, given: &[u16]| {
            admit(&room, &Resources { gpu_milli, ..Resources::default() }, &[], given).map_err(|veto| veto.to_string())
        };
        assert_eq!((admits(1_000, &[0]), admits(400, &[1]), admits(500, &[])), (Ok(()), Ok(()), Ok(())));
        assert_eq!(admits(500, &[1]).unwrap_err(), "gpu 1 has 400 thousandths left, which is too little");
        assert_eq!(admits(1_000, &[2]).unwrap_err(), "gpu 2 has 0 thousandths left, which is too little");
    }

    #[test]
    fn what_is_exactly_free_fits_and_one_more_does_not() {
        let held = amounts(1_500, 90);
        assert_eq!(try_admit(&held, 1, &amounts(500, 10), &[]), Ok(()));
        let veto = try_admit(&held, 1, &amounts(501, 10), &[]).unwrap_err();
        assert_eq!(veto.reason(), Reason::LaunchRefused);
        assert_eq!(veto.to_string(), "no room on this agent: cpu: needs 501, has 500");
    }

    #[test]
    fn an_agent_that_shrank_below_what_it_holds_admits_nothing_more() {
        let veto = try_admit(&amounts(9_000, 900), 1, &amounts(1, 0), &[]).unwrap_err();
        assert_eq!(veto, Veto::Lacks(Lack { dimension: "cpu".into(), need: 1, have: 0 }));
    }

    #[test]
    fn a_port_of_a_living_task_is_named_with_its_holder() {
        let port = Port { name: "http".into(), number: 31_000 };
        let veto = try_admit(&Resources::default(), 1, &Resources::default(), &[port]).unwrap_err();
        assert_eq!(veto.reason(), Reason::PortClash);
        assert_eq!(veto.to_string(), "port 31000 (http) is held by task t7");
    }

    #[test]
    fn the_number_of_tasks_is_bounded() {
        let veto = try_admit(&Resources::default(), MAX_LIVING_TASKS, &Resources::default(), &[]).unwrap_err();
        assert_eq!(veto, Veto::TooManyTasks { living: MAX_LIVING_TASKS });
    }
}
