//! Why an agent can't take a task, with the numbers. The decision and the answer to "why" ask the same predicate.

use std::fmt;

use dawn_proto::{AgentId, JobKey, Timestamp};

use crate::model::{amount, thousandths};

use super::agents::DIMENSIONS;

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
    Port(u16),
    Ports {
        need: i64,
        have: i64,
    },
    Short {
        dimension: u8,
        need: i64,
        have: i64,
    },
    Scalar {
        name: u32,
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
    Refused(u32),
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
    /// A fixed port that is in use or not offered.
    Port {
        port: u16,
    },
    Ports {
        need: u64,
    },
    /// cpu and gpu in thousandths, memory and disk in bytes.
    Short {
        dimension: &'static str,
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
            VetoKind::Port { .. } | VetoKind::Ports { .. } => "ports".into(),
            VetoKind::Short { dimension, .. } => (*dimension).into(),
            VetoKind::Scalar { name, .. } => name.clone(),
            VetoKind::Devices { .. } => DIMENSIONS[3].into(),
            VetoKind::Kept => "kept".into(),
            VetoKind::Limit { attribute, .. } => format!("limit:{attribute}"),
            VetoKind::Near { .. } | VetoKind::Refused { .. } => "affinity".into(),
        }
    }
}

/// The agent that came closest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nearest {
    pub agent: AgentId,
    /// In the unit of the veto's `need`.
    pub have: u64,
}

/// How many agents a reason rules out. Each agent is counted once, under the first reason that holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Veto {
    pub agents: u32,
    pub kind: VetoKind,
    /// Where the reason has an amount.
    pub nearest: Option<Nearest>,
    /// Where the reason has an end.
    pub ends: Option<Ends>,
}

/// The agent on which a reason ends first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ends {
    pub agent: AgentId,
    pub at: Timestamp,
    /// Why it is so there; empty: the reason says it.
    pub why: String,
}

/// An instant as people read it, to the second.
pub(super) fn utc(at: Timestamp) -> String {
    let second = jiff::Timestamp::from_second(at.0.div_euclid(1000));
    second.map_or_else(|_| at.to_string(), |second| second.to_string())
}

impl fmt::Display for VetoKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            VetoKind::Down => f.write_str("down or out of reach"),
            VetoKind::Disconnected => f.write_str("not connected just now"),
            VetoKind::Cordoned => f.write_str("cordoned or being drained"),
            VetoKind::Copied => f.write_str("claimed by two machines (dawn node forgive)"),
            VetoKind::Avoided => f.write_str("avoided after failures"),
            VetoKind::KeptOff { reason } => {
                write!(f, "a task of the job did not start there ({reason}), and may elsewhere")
            }
            VetoKind::Dedicated { wanted: None } => f.write_str("dedicated to other jobs"),
            VetoKind::Dedicated { wanted: Some(value) } => write!(f, "not dedicated to {value:?}"),
            VetoKind::Constraint { attribute, rule } => write!(f, "no match for {attribute} {rule}"),
            VetoKind::Tasks { max_tasks } => write!(f, "run {max_tasks} tasks, the most each of them takes"),
            VetoKind::Port { port } => write!(f, "port {port} taken or not offered"),
            VetoKind::Ports { need } => write!(f, "fewer than {need} free ports"),
            VetoKind::Short { dimension, need } => write!(f, "lack {} of {dimension}", amount(dimension, *need)),
            VetoKind::Scalar { name, need_milli } => write!(f, "lack {} of {name}", thousandths(*need_milli)),
            VetoKind::Devices { need_milli } if *need_milli < 1000 => {
                write!(f, "no single gpu with {} free", thousandths(*need_milli))
            }
            VetoKind::Devices { need_milli } => write!(f, "fewer than {} wholly free gpus", need_milli / 1000),
            VetoKind::Kept => f.write_str("room kept for tasks that preempted for it"),
            VetoKind::Limit { attribute, most } => {
                write!(f, "{most} task{} of the job per {attribute} already there", if *most == 1 { "" } else { "s" })
            }
            VetoKind::Near { job, topology, attracts: true } => write!(f, "no task of {job} on the same {topology}"),
            VetoKind::Near { job, topology, attracts: false } => write!(f, "tasks of {job} on the same {topology}"),
            VetoKind::Refused { job } => write!(f, "near tasks of {job}, which refuses this job"),
        }
    }
}

impl fmt::Display for Veto {
    /// "312 agents lack 512 MiB of memory (nearest: node-3 with 384 MiB)".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (plural, colon) = match (&self.kind, self.agents) {
            (VetoKind::Short { .. } | VetoKind::Scalar { .. } | VetoKind::Tasks { .. }, 1) => ("", ""),
            (VetoKind::Short { .. } | VetoKind::Scalar { .. } | VetoKind::Tasks { .. }, _) => ("s", ""),
            (_, 1) => ("", ":"),
            _ => ("s", ":"),
        };
        let text = self.kind.to_string();
        let text = match &self.kind {
            VetoKind::Tasks { max_tasks } if self.agents == 1 => format!("runs {max_tasks} tasks, the most it takes"),
            _ => text,
        };
        let text = match text.strip_prefix("lack ") {
            Some(rest) if self.agents == 1 => format!("lacks {rest}"),
            _ => text,
        };
        write!(f, "{} agent{plural}{colon} {text}", self.agents)?;
        if let Some(Ends { agent, at, why }) = &self.ends {
            let colon = if why.is_empty() { "" } else { ": " };
            return write!(f, " ({agent} until {}{colon}{why})", utc(*at));
        }
        let Some(Nearest { agent, have }) = &self.nearest else { return Ok(()) };
        let have = match &self.kind {
            VetoKind::Short { dimension, .. } => amount(dimension, *have),
            VetoKind::Ports { .. } => have.to_string(),
            VetoKind::Devices { need_milli } if *need_milli >= 1000 => (have / 1000).to_string(),
            _ => thousandths(*have),
        };
        write!(f, " (nearest: {agent} with {have} free)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_veto_reads_as_people_speak() {
        let nearest = Some(Nearest { agent: AgentId::new("node-3").unwrap(), have: 384 << 20 });
        let kind = VetoKind::Short { dimension: "memory", need: 512 << 20 };
        let mut veto = Veto { agents: 312, kind, nearest, ends: None };
        assert_eq!(veto.to_string(), "312 agents lack 512 MiB of memory (nearest: node-3 with 384 MiB free)");
        veto.agents = 1;
        assert_eq!(veto.to_string(), "1 agent lacks 512 MiB of memory (nearest: node-3 with 384 MiB free)");
        let tasks =
            |agents| Veto { agents, kind: VetoKind::Tasks { max_tasks: 5_000 }, nearest: None, ends: None }.to_string();
        assert_eq!(tasks(1), "1 agent runs 5000 tasks, the most it takes");
        assert_eq!(tasks(3), "3 agents run 5000 tasks, the most each of them takes");
        let limit = VetoKind::Limit { attribute: "rack".into(), most: 2 };
        let veto = Veto { agents: 40, kind: limit, nearest: None, ends: None };
        assert_eq!(veto.to_string(), "40 agents: 2 tasks of the job per rack already there");
        let (agent, at) = (AgentId::new("node-3").unwrap(), Timestamp(1_767_225_600_000));
        let ends = Some(Ends { agent, at, why: "a disk is full".into() });
        let veto = Veto { agents: 2, kind: VetoKind::Avoided, nearest: None, ends };
        let said = "2 agents: avoided after failures (node-3 until 2026-01-01T00:00:00Z: a disk is full)";
        assert_eq!(veto.to_string(), said);
    }
}
