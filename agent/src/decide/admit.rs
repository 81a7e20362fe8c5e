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
    PortHeld { port: Port, by: TaskId },
    TooManyTasks { living: usize },
}

impl Veto {
    /// The reason of the report that refuses the launch.
    pub fn reason(&self) -> Reason {
        match self {
            Veto::PortHeld { .. } => Reason::PortClash,
            Veto::Lacks(_) | Veto::TooManyTasks { .. } => Reason::LaunchRefused,
        }
    }
}

impl fmt::Display for Veto {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Veto::Lacks(lack) => write!(f, "no room on this agent: {lack}"),
            Veto::PortHeld { port, by } => write!(f, "port {} ({}) is held by task {by}", port.number, port.name),
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
    pub living: usize,
}

/// Admits a demand with its ports.
///
/// # Errors
/// The first reason why it does not fit.
pub fn admit(room: &Room<'_>, demand: &Resources, ports: &[Port]) -> Result<(), Veto> {
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
        admit(&Room { total: &amounts(2_000, 100), held, ports: &taken, living }, demand, ports)
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
