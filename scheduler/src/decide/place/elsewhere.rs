//! Whether an agent could take a task if it were empty, told from the state alone: for decisions that have no placer at hand.
//! The placer's own answer to the same question is `misses_when_empty`; a test holds the two against each other.
//! Not here: what is free there now.

use std::collections::BTreeMap;

use dawn_proto::v1::{JobKind, NodeState};

use crate::model::{Agent, Job, JobSpec, Rule, State};

use super::catalogue::DEDICATED;
use super::catalogue::rule::TextRule;
use super::fleet::Devices;

/// What a spec asks of an agent's attributes, made ready to be asked of many.
pub(super) struct Wanted<'a> {
    spec: &'a JobSpec,
    rules: Vec<(&'a str, TextRule)>,
}

impl Wanted<'_> {
    pub fn of(spec: &JobSpec) -> Wanted<'_> {
        let rules = spec.constraints.iter().filter_map(|one| Some((one.attribute.as_str(), TextRule::new(&one.rule)?)));
        Wanted { spec, rules: rules.collect() }
    }

    /// Whether the rules about attributes, and the dedication, hold. Limits are not asked.
    pub fn match_on(&self, agent: &Agent) -> bool {
        let dedicated = agent.attributes.get(DEDICATED).map_or(&[][..], Vec::as_slice);
        let dedication = match &self.spec.dedicated {
            None => dedicated.is_empty(),
            Some(wanted) => dedicated.contains(wanted),
        };
        let own_id = [agent.id.to_string()];
        let holds = |attribute: &str, rule: &TextRule| {
            let given = || agent.attributes.get(attribute).map_or(&[][..], Vec::as_slice);
            let values = if attribute == "host" { &own_id[..] } else { given() };
            match values.is_empty() {
                true => rule.accepts_absence(),
                false if rule.wants_all() => values.iter().all(|value| rule.accepts(value)),
                false => values.iter().any(|value| rule.accepts(value)),
            }
        };
        dedication && self.rules.iter().all(|(attribute, rule)| holds(attribute, rule))
    }

    /// Whether the agent could take a task if it were empty.
    pub fn could_be_on(&self, agent: &Agent) -> bool {
        let (ports, total) = (&self.spec.ports, &agent.total);
        let offers = |port: u16| agent.ports.iter().any(|(first, last)| (*first..=*last).contains(&port));
        let offered = || agent.ports.iter().map(|(first, last)| usize::from(*last) - usize::from(*first) + 1).sum();
        agent.max_tasks > 0
            && total.lacks(&self.spec.demand).is_none()
            && Devices::new(total.gpu_milli).fits(self.spec.demand.gpu_milli)
            && (ports.is_empty() || ports.len() <= offered())
            && ports.iter().filter_map(|port| port.fixed).all(offers)
            && self.match_on(agent)
    }
}

/// Whether an agent that is up, and not out of question, could take a task of the spec if it were empty. A daemon's task has
/// no other agent than its own.
pub fn another_could_hold(state: &State, spec: &JobSpec, is_out: impl Fn(&Agent) -> bool) -> bool {
    let wanted = Wanted::of(spec);
    let mut agents = state.agents.values().filter(|agent| agent.state == NodeState::Up && !is_out(agent));
    spec.kind != JobKind::Daemon && agents.any(|agent| wanted.could_be_on(agent))
}

/// Whether an agent has as many tasks of the job already, or shares a value with as many, as a limit of the spec allows.
pub fn at_limit<'a>(state: &'a State, job: &'a Job, spec: &'a JobSpec) -> impl Fn(&Agent) -> bool + 'a {
    let values = |agent: &Agent, attribute: &str| match attribute {
        "host" => vec![agent.id.to_string()],
        _ => agent.attributes.get(attribute).cloned().unwrap_or_default(),
    };
    let limits = spec.constraints.iter().filter_map(|one| match one.rule {
        Rule::Limit(most) => Some((one.attribute.as_str(), most)),
        _ => None,
    });
    let counted = limits.map(|(attribute, most)| {
        let mut counts: BTreeMap<String, u32> = BTreeMap::new();
        let held = state.living(job).filter_map(|task| state.agents.get(&task.held_on()?));
        held.flat_map(|agent| values(agent, attribute)).for_each(|value| *counts.entry(value).or_default() += 1);
        (attribute, most, counts)
    });
    let counted: Vec<_> = counted.collect();
    move |agent| {
        let is_full = |(attribute, most, counts): &(&str, u32, BTreeMap<String, u32>)| {
            values(agent, attribute).iter().any(|value| counts.get(value).is_some_and(|count| count >= most))
        };
        counted.iter().any(is_full)
    }
}
