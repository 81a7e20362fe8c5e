//! The brute-force twin: the same questions answered from what is there alone, the slow and obvious way. Not here: the placer,
//! of which it knows nothing.

use std::collections::{BTreeMap, BTreeSet};

use dawn_proto::v1::{JobKind, NodeState};
use dawn_proto::{ByDimension, Dimension, Resources, TaskId};

use crate::decide::place::catalogue::rule::{TextRule, numbers};
use crate::model::{
    Agent, AgentNo, Constraint, FaultOf, JobSpec, Near, Now, Place, Rule, State, Status, Task, Waiting,
};

/// What the twin looks at: what is there, and no placer.
pub struct Seen<'a> {
    pub state: &'a State,
    pub connected: &'a BTreeSet<AgentNo>,
    pub now: Now,
}

/// What is free on an agent, counted by hand.
pub struct Free {
    pub amounts: ByDimension<i64>,
    pub without_claims: ByDimension<i64>,
    custom: BTreeMap<String, i64>,
    pub ports: i64,
    used_ports: Vec<u16>,
    devices: Vec<u64>,
    /// How many tasks more, and the same as if nothing were kept.
    pub tasks: [i64; 2],
}

fn amounts(resources: &Resources) -> ByDimension<i64> {
    resources.amounts().map(|amount| amount as i64)
}

impl Free {
    /// An empty agent.
    pub fn of(agent: &Agent) -> Free {
        let total = amounts(&agent.total);
        Free {
            amounts: total,
            without_claims: total,
            custom: agent.total.custom_milli.iter().map(|(name, amount)| (name.clone(), *amount as i64)).collect(),
            ports: agent.ports.iter().map(|(first, last)| i64::from(*last) - i64::from(*first) + 1).sum(),
            used_ports: Vec::new(),
            tasks: [agent.max_tasks.into(); 2],
            devices: vec![1000; (agent.total.gpu_milli / 1000) as usize],
        }
    }

    /// Room is kept for a task.
    pub fn keep(&mut self, spec: &JobSpec) {
        let demand = amounts(&spec.demand);
        Dimension::ALL.into_iter().for_each(|at| self.amounts[at] -= demand[at]);
        for (name, amount) in &spec.demand.custom_milli {
            *self.custom.entry(name.clone()).or_default() -= *amount as i64;
        }
        self.ports -= spec.ports.len() as i64;
        self.tasks[0] -= 1;
    }

    /// A task is there.
    pub fn hold(&mut self, spec: &JobSpec, place: &Place) {
        self.keep(spec);
        let (ports, devices) = place.numbers(spec.ports.len());
        self.used_ports.extend(ports);
        for device in devices {
            if let Some(device) = self.devices.get_mut(usize::from(*device)) {
                *device = device.saturating_sub(spec.demand.gpu_milli.min(1000));
            }
        }
        (self.without_claims, self.tasks[1]) = (self.amounts, self.tasks[0]);
    }
}

pub fn free(seen: &Seen<'_>, agent: &Agent, but: TaskId) -> Free {
    let state = seen.state;
    let mut free = Free::of(agent);
    for task in state.tasks.values().filter(|task| task.held_on() == Some(agent.no)) {
        free.hold(&state.spec_of(task).job, task.status.place().unwrap());
    }
    for task in state.tasks.values().filter(|task| task.id != but && kept_on(seen, task) == Some(agent.no)) {
        free.keep(&state.spec_of(task).job);
    }
    free
}

/// Where room is kept for a pending task.
pub fn kept_on(seen: &Seen<'_>, task: &Task) -> Option<AgentNo> {
    match task.status {
        Status::Waiting(Waiting::Pending { nominated: Some((agent, until)) }) if until > seen.now.wall => {
            seen.state.agents.contains_key(&agent).then_some(agent)
        }
        _ => None,
    }
}

fn values<'a>(agent: &'a Agent, attribute: &str) -> Vec<&'a str> {
    if attribute == "host" || attribute.is_empty() {
        return vec![agent.id.as_str()];
    }
    agent.attributes.get(attribute).into_iter().flatten().map(String::as_str).collect()
}

pub fn matches(agent: &Agent, constraint: &Constraint) -> bool {
    let values = values(agent, &constraint.attribute);
    match &constraint.rule {
        Rule::OneOf(wanted) => values.iter().any(|value| wanted.iter().any(|wanted| wanted == value)),
        Rule::NoneOf(refused) => !values.iter().any(|value| refused.iter().any(|refused| refused == value)),
        Rule::Exists => !values.is_empty(),
        Rule::Limit(_) => true,
        Rule::Number(_, wanted) if values.iter().all(|value| numbers(value, wanted).is_none()) => false,
        rule => values.iter().any(|value| TextRule::new(rule).unwrap().accepts(value)),
    }
}

/// Tasks of the job on agents that share a value of the attribute with this one; the most for any value.
fn neighbours(state: &State, key: &dawn_proto::JobKey, attribute: &str, agent: &Agent) -> u32 {
    let Some(job) = state.job(key) else { return 0 };
    let count = |value: &str| {
        let near = |task: &&Task| {
            let on = task.held_on().and_then(|on| state.agents.get(&on));
            on.is_some_and(|on| values(on, attribute).contains(&value))
        };
        state.living(job).filter(near).count() as u32
    };
    values(agent, attribute).into_iter().map(count).max().unwrap_or(0)
}

fn is_avoided(seen: &Seen<'_>, agent: &Agent) -> bool {
    agent.avoided.as_ref().is_some_and(|avoided| avoided.until > seen.now.wall)
}

/// Whether the task's job keeps off the agent.
fn keeps_off(seen: &Seen<'_>, task: &Task, agent: &Agent) -> bool {
    let mut kept = seen.state.jobs[&task.job].kept_off.iter().filter(|kept| kept.fault_of != FaultOf::Job);
    kept.any(|kept| kept.agent == agent.no && kept.spec == task.spec)
}

/// Whether no agent that is there, and not avoided, could take the task if it were empty.
fn is_last_resort(seen: &Seen<'_>, task: &Task, spec: &JobSpec) -> bool {
    let could = |agent: &&Agent| {
        agent.state == NodeState::Up
            && seen.connected.contains(&agent.no)
            && !is_avoided(seen, agent)
            && !keeps_off(seen, task, agent)
            && misses_when_empty(spec, agent).is_none()
            && misses_rules(seen, task, spec, agent).is_empty()
    };
    spec.kind == JobKind::Daemon || !seen.state.agents.values().any(|agent| could(&agent))
}

/// Why the task would not fit the agent if nothing were there.
pub fn misses_when_empty(spec: &JobSpec, agent: &Agent) -> Option<String> {
    let missed = misses_attributes(spec, agent).into_iter();
    missed.chain(misses_room(spec, &Free::of(agent), agent)).next()
}

pub fn misses_attributes(spec: &JobSpec, agent: &Agent) -> Vec<String> {
    let dedicated = values(agent, "dedicated");
    let mut missed = Vec::new();
    if !spec.dedicated.as_ref().map_or(dedicated.is_empty(), |wanted| dedicated.contains(&wanted.as_str())) {
        missed.push("dedicated".into());
    }
    let failed = spec.constraints.iter().filter(|constraint| !matches(agent, constraint));
    missed.extend(failed.map(|failed| format!("constraint:{}", failed.attribute)));
    missed
}

/// Why the task does not fit the agent, as a program reads it; None: it fits.
pub fn misses(seen: &Seen<'_>, task: &Task, agent: &Agent) -> Option<String> {
    all_misses(seen, task, agent).into_iter().next()
}

/// Every reason for which the task does not fit the agent.
pub fn all_misses(seen: &Seen<'_>, task: &Task, agent: &Agent) -> Vec<String> {
    let spec = &seen.state.spec_of(task).job;
    let mut missed = Vec::new();
    if agent.state != NodeState::Up {
        missed.push("down".into());
    } else if !seen.connected.contains(&agent.no) {
        missed.push("disconnected".into());
    }
    if is_avoided(seen, agent) && !is_last_resort(seen, task, spec) {
        missed.push("avoided".into());
    }
    missed.extend(misses_attributes(spec, agent));
    missed.extend(misses_room(spec, &free(seen, agent, task.id), agent));
    if keeps_off(seen, task, agent) {
        missed.push("kept_off".into());
    }
    missed.extend(misses_rules(seen, task, spec, agent));
    missed
}

pub fn misses_room(spec: &JobSpec, free: &Free, agent: &Agent) -> Vec<String> {
    let mut missed: Vec<String> = Vec::new();
    if free.tasks[0] <= 0 {
        missed.push(if free.tasks[1] > 0 { "kept" } else { "tasks" }.into());
    }
    let demand = amounts(&spec.demand);
    let short = |free: &ByDimension<i64>| -> Vec<Dimension> {
        Dimension::ALL.into_iter().filter(|at| demand[*at] > 0 && free[*at] < demand[*at]).collect()
    };
    let all_short = short(&free.amounts);
    if !all_short.is_empty() {
        match free.amounts != free.without_claims && short(&free.without_claims).is_empty() {
            true => missed.push("kept".into()),
            false => missed.extend(all_short.iter().map(|at| at.to_string())),
        }
    }
    let scalar = |name: &String| free.custom.get(name).copied().unwrap_or(0);
    let scalars = spec.demand.custom_milli.iter().filter(|(name, need)| scalar(name) < **need as i64);
    missed.extend(scalars.map(|(name, _)| name.clone()));
    let gpu = spec.demand.gpu_milli;
    let whole = free.devices.iter().filter(|free| **free == 1000).count() as u64;
    let fits =
        gpu == 0 || gpu < 1000 && free.devices.iter().any(|free| *free >= gpu) || gpu >= 1000 && whole >= gpu / 1000;
    if !fits && !all_short.contains(&Dimension::Gpu) {
        missed.push("gpu".into());
    }
    let offered = |port: u16| agent.ports.iter().any(|(first, last)| (*first..=*last).contains(&port));
    let mut fixed = spec.ports.iter().filter_map(|port| port.fixed);
    let taken = fixed.any(|port| !offered(port) || free.used_ports.contains(&port));
    if free.ports < spec.ports.len() as i64 && !spec.ports.is_empty() || taken {
        missed.push("ports".into());
    }
    missed
}

fn misses_rules(seen: &Seen<'_>, task: &Task, spec: &JobSpec, agent: &Agent) -> Vec<String> {
    let (state, mut missed) = (seen.state, Vec::new());
    for constraint in &spec.constraints {
        if let Rule::Limit(most) = constraint.rule
            && neighbours(state, &spec.key, &constraint.attribute, agent) >= most
        {
            missed.push(format!("limit:{}", constraint.attribute));
        }
    }
    let job = &state.jobs[&task.job];
    let alone = !state.living(job).any(|task| task.held_on().is_some());
    for affinity in spec.affinities.iter().filter(|affinity| affinity.required) {
        if let Near::Job { job, topology } = &affinity.near {
            let near = neighbours(state, job, topology, agent) > 0;
            let held = if affinity.weight < 0 { !near } else { near || *job == spec.key && alone };
            if !held {
                missed.push("affinity".into());
            }
        }
    }
    // Other jobs' living tasks that refuse this one, by their own specs.
    let refused =
        state.tasks.values().filter(|other| !other.state().is_terminal() && other.job != task.job).any(|other| {
            state.spec_of(other).job.affinities.iter().any(|affinity| match &affinity.near {
                Near::Job { job, topology } if affinity.required && affinity.weight < 0 && *job == spec.key => {
                    neighbours(state, &state.spec_of(other).job.key, topology, agent) > 0
                }
                _ => false,
            })
        });
    missed.extend(refused.then(|| "affinity".into()));
    missed
}
