//! Why an agent can't take a task, with the numbers. The decision and the answer to "why" ask the same predicate.
//! Not here: when it holds.

use std::fmt;

use dawn_proto::amounts::count;
use dawn_proto::v1::PortHolder;
use dawn_proto::words::port_holder;
use dawn_proto::{Dimension, JobKey, Timestamp, Unit};

use crate::model::{Agent, PortRanges, amount, amount_of, thousandths, utc};

use super::numbers::{KeyId, ScalarId};

/// What the predicate says of one agent. Small and without texts: it is asked millions of times a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Miss {
    Down,
    Disconnected,
    Cordoned,
    Copied,
    Avoided,
    /// The job keeps off it: a task of it did not start there.
    KeptOff,
    Dedicated,
    /// Which of the constraints that are no limits.
    Constraint(u16),
    /// It runs as many tasks as it takes.
    Tasks {
        max_tasks: u32,
    },
    Port {
        port: u16,
        /// In use; otherwise it is not in the node's range.
        is_offered: bool,
    },
    Ports {
        need: i64,
        have: i64,
    },
    Short {
        dimension: Dimension,
        need: i64,
        have: i64,
    },
    Scalar {
        name: ScalarId,
        need: i64,
        have: i64,
    },
    /// Enough gpu in sum, but not on one device, or not as whole devices.
    Devices {
        need: i64,
        have: i64,
    },
    /// Room enough, but kept for tasks that preempted for it.
    Kept,
    /// Which of the job's limits.
    Limit(u16),
    /// Which of the job's affinities.
    Near(u16),
    /// The name of the job that refuses it as a neighbour.
    Refused(KeyId),
}

/// One reason for which agents are ruled out.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum VetoKind {
    Down,
    /// Registered, but its link is broken.
    Disconnected,
    /// An operator keeps new tasks away, or has it drained.
    Cordoned,
    /// Two machines claim to be this agent, and an operator has not chosen.
    Copied,
    /// Failed lately.
    Avoided,
    /// A task of the job did not start there.
    KeptOff {
        reason: String,
    },
    /// Reserved by its attribute "dedicated", or lacking the value asked for.
    Dedicated {
        wanted: Option<String>,
    },
    Constraint {
        attribute: String,
        rule: String,
    },
    /// They run as many tasks as they take.
    Tasks {
        max_tasks: u32,
    },
    /// A fixed port that is in use, or not offered.
    Port {
        port: u16,
        is_offered: bool,
    },
    /// A fixed port that is not offered for a while, because the agent could not bind it.
    PortTaken {
        port: u16,
        holder: PortHolder,
    },
    Ports {
        need: u64,
    },
    /// In the dimension's unit.
    Short {
        dimension: Dimension,
        need: u64,
    },
    Scalar {
        name: String,
        need_milli: u64,
    },
    Devices {
        need_milli: u64,
    },
    Kept,
    Limit {
        attribute: String,
        most: u32,
    },
    Near {
        job: JobKey,
        topology: String,
        attracts: bool,
    },
    /// `job` refuses this one as a neighbour.
    Refused {
        job: JobKey,
    },
}

impl VetoKind {
    /// What the agent knows of it besides.
    pub(super) fn on(self, agent: Option<&Agent>) -> VetoKind {
        let VetoKind::Port { port, is_offered: false } = self else { return self };
        let holder = agent.and_then(|agent| agent.taken_ports.get(&port));
        holder.map_or(self, |holder| VetoKind::PortTaken { port, holder: *holder })
    }

    /// For programs.
    pub fn code(&self) -> String {
        match self {
            VetoKind::Down => "down".into(),
            VetoKind::Disconnected => "disconnected".into(),
            VetoKind::Cordoned => "cordoned".into(),
            VetoKind::Copied => "copied".into(),
            VetoKind::Avoided => "avoided".into(),
            VetoKind::KeptOff { .. } => "kept_off".into(),
            VetoKind::Dedicated { .. } => "dedicated".into(),
            VetoKind::Constraint { attribute, .. } => format!("constraint:{attribute}"),
            VetoKind::Tasks { .. } => "tasks".into(),
            VetoKind::Port { .. } | VetoKind::PortTaken { .. } | VetoKind::Ports { .. } => "ports".into(),
            VetoKind::Short { dimension, .. } => dimension.name().into(),
            VetoKind::Scalar { name, .. } => name.clone(),
            VetoKind::Devices { .. } => Dimension::Gpu.name().into(),
            VetoKind::Kept => "kept".into(),
            VetoKind::Limit { attribute, .. } => format!("limit:{attribute}"),
            VetoKind::Near { .. } | VetoKind::Refused { .. } => "affinity".into(),
        }
    }
}

/// The node that came closest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nearest {
    /// Its host name.
    pub node: String,
    /// In the unit of the veto's `need`.
    pub have: u64,
    /// Its ranges of ports, where those are the reason.
    pub ports: PortRanges,
}

/// How many agents a reason rules out. Each agent is counted under every reason that holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Veto {
    pub agents: u32,
    pub kind: VetoKind,
    /// Where the reason has an amount.
    pub nearest: Option<Nearest>,
    /// Where the reason has an end.
    pub ends: Option<Ends>,
}

/// The node on which a reason ends first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ends {
    /// Its host name.
    pub node: String,
    pub at: Timestamp,
    /// Why it is so there; empty: the reason says it.
    pub why: String,
}

impl VetoKind {
    /// What is said of one node, or of several.
    fn said_of(&self, is_one: bool) -> String {
        let (is, has, do_not) = if is_one { ("is", "has", "does not") } else { ("are", "have", "do not") };
        match self {
            VetoKind::Down => format!("{is} down or out of reach"),
            VetoKind::Disconnected => format!("{is} not connected just now"),
            VetoKind::Cordoned => format!("{is} cordoned or being drained"),
            VetoKind::Copied => format!("{is} claimed by two machines (dawn node forgive)"),
            VetoKind::Avoided => format!("{is} avoided after failures"),
            VetoKind::KeptOff { reason } => {
                format!("{is} kept off: a task of the job did not start there ({reason}), and may elsewhere")
            }
            VetoKind::Dedicated { wanted: None } => format!("{is} dedicated to other jobs"),
            VetoKind::Dedicated { wanted: Some(value) } => format!("{is} not dedicated to {value:?}"),
            VetoKind::Constraint { attribute, rule } => format!("{do_not} match the constraint {attribute} {rule}"),
            VetoKind::Tasks { max_tasks } if is_one => format!("runs {}, the most it takes", count(*max_tasks, "task")),
            VetoKind::Tasks { max_tasks } => format!("run {}, the most each of them takes", count(*max_tasks, "task")),
            VetoKind::Port { port, is_offered: true } => format!("{has} port {port} in use"),
            VetoKind::Port { port, is_offered: false } => format!("{do_not} offer port {port}"),
            VetoKind::PortTaken { port, holder } => format!("{has} port {port}, which {}", port_holder(*holder)),
            VetoKind::Ports { need } => format!("{has} fewer than {}", count(*need, "free port")),
            VetoKind::Short { dimension, need } => {
                let fewer = if dimension.unit() == Unit::Milli { "fewer" } else { "less" };
                format!("{has} {fewer} than {}", amount_of(dimension.name(), *need))
            }
            VetoKind::Scalar { name, need_milli } => format!("{has} less than {} of {name}", thousandths(*need_milli)),
            VetoKind::Devices { need_milli } if *need_milli < 1000 => {
                format!("{has} no single gpu with {} free", thousandths(*need_milli))
            }
            VetoKind::Devices { need_milli } => {
                format!("{has} fewer than {}", count(need_milli / 1000, "wholly free gpu"))
            }
            VetoKind::Kept => format!("{has} room only that is kept for tasks for which others were preempted"),
            VetoKind::Limit { attribute, most } => {
                format!("{has} {} of the job per {attribute} already", count(*most, "task"))
            }
            VetoKind::Near { job, topology, attracts: true } => {
                format!("{has} no task of {job} on the same {topology}")
            }
            VetoKind::Near { job, topology, attracts: false } => format!("{has} tasks of {job} on the same {topology}"),
            VetoKind::Refused { job } => format!("{is} near tasks of {job}, which refuses this job"),
        }
    }
}

impl fmt::Display for Veto {
    /// "312 nodes have less than 512 MiB of memory (most: node-3 with 384 MiB free)".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_one = self.agents == 1;
        if let (VetoKind::PortTaken { port, holder }, Some(Nearest { node, .. })) = (&self.kind, &self.nearest) {
            let more = if is_one { String::new() } else { format!(" and {}", count(self.agents - 1, "more node")) };
            return write!(f, "port {port} of {node}{more} {}", port_holder(*holder));
        }
        write!(f, "{} node{} {}", self.agents, if is_one { "" } else { "s" }, self.kind.said_of(is_one))?;
        if let Some(Ends { node, at, why }) = &self.ends {
            let colon = if why.is_empty() { "" } else { ": " };
            return write!(f, " ({node} until {}{colon}{why})", utc(*at));
        }
        let Some(Nearest { node, have, ports }) = &self.nearest else { return Ok(()) };
        if let VetoKind::Port { .. } = &self.kind {
            return write!(f, " ({node} offers {})", ranges_text(ports));
        }
        let have = match &self.kind {
            VetoKind::Short { dimension, .. } => amount(dimension.name(), *have),
            VetoKind::Ports { .. } => have.to_string(),
            VetoKind::Devices { need_milli } if *need_milli >= 1000 => (have / 1000).to_string(),
            _ => thousandths(*have),
        };
        write!(f, " (most: {node} with {have} free)")
    }
}

/// "20000-20999, 31000"; the first ones of many.
fn ranges_text(ranges: &PortRanges) -> String {
    const MAX_SHOWN: usize = 8;
    let shown = |(first, last): &(u16, u16)| match first == last {
        true => first.to_string(),
        false => format!("{first}-{last}"),
    };
    let more = if ranges.len() > MAX_SHOWN { ", …" } else { "" };
    match ranges.is_empty() {
        true => "none".to_string(),
        false => ranges.iter().take(MAX_SHOWN).map(shown).collect::<Vec<_>>().join(", ") + more,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_veto_reads_as_people_speak() {
        let nearest = Some(Nearest { node: "node-3".into(), have: 384 << 20, ports: Vec::new() });
        let kind = VetoKind::Short { dimension: Dimension::Memory, need: 512 << 20 };
        let mut veto = Veto { agents: 312, kind, nearest, ends: None };
        assert_eq!(veto.to_string(), "312 nodes have less than 512 MiB of memory (most: node-3 with 384 MiB free)");
        veto.agents = 1;
        assert_eq!(veto.to_string(), "1 node has less than 512 MiB of memory (most: node-3 with 384 MiB free)");
        let tasks =
            |agents| Veto { agents, kind: VetoKind::Tasks { max_tasks: 5_000 }, nearest: None, ends: None }.to_string();
        assert_eq!(tasks(1), "1 node runs 5000 tasks, the most it takes");
        assert_eq!(tasks(3), "3 nodes run 5000 tasks, the most each of them takes");
        let limit = VetoKind::Limit { attribute: "rack".into(), most: 2 };
        let veto = Veto { agents: 40, kind: limit, nearest: None, ends: None };
        assert_eq!(veto.to_string(), "40 nodes have 2 tasks of the job per rack already");
        let kind = VetoKind::Port { port: 9, is_offered: false };
        let nearest = Some(Nearest { node: "node-3".into(), have: 0, ports: vec![(80, 80), (31_000, 31_999)] });
        let veto = Veto { agents: 2, kind, nearest, ends: None };
        assert_eq!(veto.to_string(), "2 nodes do not offer port 9 (node-3 offers 80, 31000-31999)");
        let kind = VetoKind::PortTaken { port: 31_005, holder: PortHolder::Listener };
        let nearest = Some(Nearest { node: "node-3".into(), have: 0, ports: vec![(31_000, 31_004)] });
        let mut veto = Veto { agents: 1, kind, nearest, ends: None };
        assert_eq!(veto.to_string(), "port 31005 of node-3 is held by a process that Dawn did not give it to");
        (veto.agents, veto.kind) = (3, VetoKind::PortTaken { port: 31_005, holder: PortHolder::Unseen });
        let said = "port 31005 of node-3 and 2 more nodes can't be bound; it may be held by another process, or by connections \
                    that a former one left behind for up to a minute";
        assert_eq!(veto.to_string(), said);
        let (node, at) = ("node-3".into(), Timestamp(1_767_225_600_000));
        let ends = Some(Ends { node, at, why: "a disk is full".into() });
        let veto = Veto { agents: 2, kind: VetoKind::Avoided, nearest: None, ends };
        let said = "2 nodes are avoided after failures (node-3 until 2026-01-01 00:00:00 +00:00: a disk is full)";
        assert_eq!(veto.to_string(), said);
    }
}
