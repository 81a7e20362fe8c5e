//! Whether a launch fits: total minus held, ports, number of tasks. Not here: whether the kernel agrees (ports in use by others).

use std::collections::BTreeMap;
use std::fmt;

use dawn_proto::amounts::count;
use dawn_proto::v1::Reason;
use dawn_proto::{Lack, Resources, TaskId};

use crate::model::{GPU_MILLI, Port, of_each_gpu};

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
        max_tasks: u32,
    },
}

impl Veto {
    /// The reason of the report that refuses the launch: the scheduler's view of this agent is older than the agent's own,
    /// and nobody is to blame.
    pub fn reason(&self) -> Reason {
        Reason::NoRoom
    }
}

impl fmt::Display for Veto {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Veto::Lacks(lack) => write!(f, "no room on this node: {lack}"),
            Veto::PortHeld { port, by } => write!(f, "port {} ({}) is held by task {by}", port.number, port.name),
            Veto::Gpu { number, have_milli } => {
                write!(f, "gpu {number} has {have_milli} thousandths left, which is too little")
            }
            Veto::TooManyTasks { living, max_tasks } => {
                write!(f, "the agent runs {}; {max_tasks} is the most", count(*living as u64, "task"))
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
    /// Most tasks at once.
    pub max_tasks: u32,
}

/// Admits a demand with its ports and gpus.
///
/// # Errors
/// The first reason why it does not fit.
pub fn admit(room: &Room<'_>, demand: &Resources, ports: &[Port], gpus: &[u16]) -> Result<(), Veto> {
    if room.living >= room.max_tasks as usize {
        return Err(Veto::TooManyTasks { living: room.living, max_tasks: room.max_tasks });
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

    const MAX_TASKS: u32 = 12;

    fn amounts(cpu_milli: u64, memory_bytes: u64) -> Resources {
        Resources { cpu_milli, memory_bytes, ..Resources::default() }
    }

    fn try_admit(held: &Resources, living: usize, demand: &Resources, ports: &[Port]) -> Result<(), Veto> {
        let taken = BTreeMap::from([(31_000, TaskId(7))]);
        let gpus = BTreeMap::new();
        let room = Room { total: &amounts(2_000, 100), held, ports: &taken, gpus: &gpus, living, max_tasks: MAX_TASKS };
        admit(&room, demand, ports, &[])
    }

    #[test]
    fn a_gpu_is_given_to_no_more_than_fit_on_it() {
        let total = Resources { gpu_milli: 2_000, ..amounts(2_000, 100) };
        let (held, ports) = (Resources { gpu_milli: 600, ..Resources::default() }, BTreeMap::new());
        let gpus = BTreeMap::from([(1, 600)]);
        let room = Room { total: &total, held: &held, ports: &ports, gpus: &gpus, living: 1, max_tasks: 2 };
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
        assert_eq!(veto.reason(), Reason::NoRoom);
        assert_eq!(veto.to_string(), "no room on this node: cpu: needs 0.501, has 0.5");
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
        assert_eq!(veto.reason(), Reason::NoRoom);
        assert_eq!(veto.to_string(), "port 31000 (http) is held by task t7");
    }

    #[test]
    fn the_number_of_tasks_is_bounded() {
        let admits = |living| try_admit(&Resources::default(), living, &Resources::default(), &[]);
        assert_eq!(admits(11), Ok(()));
        let veto = admits(12).unwrap_err();
        assert_eq!(veto.reason(), Reason::NoRoom);
        assert_eq!(veto.to_string(), "the agent runs 12 tasks; 12 is the most");
    }
}
