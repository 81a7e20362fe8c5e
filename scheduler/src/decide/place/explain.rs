//! Why tasks are pending: each agent counted under every reason that rules it out, by the decision's own predicate; with the
//! node that came closest. Nodes go by their host names. Not here: the predicate itself.

use std::collections::BTreeMap;
use std::fmt;

use dawn_proto::v1::Comparison;
use dawn_proto::{TaskState, Timestamp};

use crate::model::{
    Agent, AgentNo, Bound, JobId, JobSpec, Near, Now, Numbered, Rule, Spec, State, Status, Task, Waiting,
};
use crate::model::{amount, amount_of, reason_words, utc};

use super::fit::View;
use super::gang;
use super::numbers::{SlotId, WorkId};
use super::veto::{Ends, Miss, Nearest, Veto, VetoKind};
use super::{PlaceSettings, Placer};

/// Tasks of one job that wait alike, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explained {
    /// The job version they are of.
    pub version: u32,
    /// Ascending.
    pub instances: Vec<u32>,
    /// PENDING or THROTTLED.
    pub state: TaskState,
    /// Of the one that waits longest.
    pub since: Timestamp,
    /// THROTTLED: when the first becomes pending.
    pub ready_at: Option<Timestamp>,
    /// Room is being freed for them.
    pub nominated: Option<(String, Timestamp)>,
    /// The version before stays up: in its place this one would not fit.
    pub stays_up: bool,
    /// The role's quota keeps them back.
    pub quota: Option<QuotaVeto>,
    pub agents_total: u32,
    /// Agents that would take a task now.
    pub agents_fit: u32,
    /// All are placed in one step, or none is.
    pub is_gang: bool,
    /// For so many of them those agents have resources, whatever else rules some out.
    pub room_for: u32,
    /// Most agents first. An agent is in as many of them as rule it out.
    pub vetoes: Vec<Veto>,
}

impl fmt::Display for Explained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let (TaskState::Throttled, Some(ready_at)) = (self.state, self.ready_at) {
            return write!(f, "waits until {} after failing", utc(ready_at));
        }
        if let Some((node, until)) = &self.nominated {
            return write!(
                f,
                "tasks are being stopped on {node} to make room for it, which is kept until {}",
                utc(*until)
            );
        }
        if self.stays_up {
            let instance = self.instances.first().copied().unwrap_or_default();
            write!(f, "instance {instance} stays as it is, because ")?;
            match self.quota {
                Some(_) => f.write_str("once it is stopped, the quota would keep it from starting again: ")?,
                None => write!(f, "version {} would fit nowhere: ", self.version)?,
            }
        }
        if self.is_gang && self.instances.len() > 1 && self.agents_total > 0 {
            write!(f, "the {} instances start together or not at all; ", self.instances.len())?;
        }
        if let Some(veto) = &self.quota {
            veto.fmt(f)?;
            if self.agents_fit > 0 || self.agents_total == 0 {
                return Ok(());
            }
            f.write_str(". Besides, ")?;
        }
        if self.agents_fit > 0 && self.is_gang {
            return gang::describe_waiting(self, f);
        }
        if self.agents_fit > 0 {
            return match self.agents_total {
                1 => f.write_str("the only node would take it; its turn comes"),
                total => write!(f, "{} of {total} nodes would take it; its turn comes", self.agents_fit),
            };
        }
        if self.agents_total == 0 {
            return f.write_str("there is no node");
        }
        match self.agents_total {
            1 => f.write_str("the only node does not fit: ")?,
            total => write!(f, "none of {total} nodes fits: ")?,
        }
        for (at, veto) in self.vetoes.iter().enumerate() {
            write!(f, "{}{veto}", if at == 0 { "" } else { "; " })?;
        }
        Ok(())
    }
}

/// A bound of the role's quota that one more task would break. Amounts in the dimension's unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuotaVeto {
    pub role: String,
    pub bound: Bound,
    pub dimension: &'static str,
    pub have: u64,
    pub used: u64,
    /// By one task.
    pub need: u64,
}

impl fmt::Display for QuotaVeto {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let QuotaVeto { role, bound, dimension, have, used, need } = self;
        let (need, used, have) = (amount_of(dimension, *need), amount(dimension, *used), amount_of(dimension, *have));
        let what = bound.of_what();
        write!(f, "a task needs {need}, but role {role} holds {used}{what} of its {bound} of {have}")
    }
}

/// Why a job's pending tasks are pending, from any State. Takes time for every task there is; where a `Placer` is kept
/// up with the state, [`Placer::explain`] is the same answer in time for every agent.
pub fn explain(
    state: &State,
    settings: &PlaceSettings,
    connected: &dyn Fn(AgentNo) -> bool,
    job: JobId,
    now: Now,
) -> Vec<Explained> {
    let mut placer = Placer::rebuild(state, settings);
    for agent in state.agents.keys().filter(|agent| connected(**agent)) {
        placer.connected(state, *agent, true);
    }
    placer.begin(state, now);
    placer.explain(state, job)
}

/// How many agents a reason rules out, the slot that came closest, and on which it ends first.
#[derive(Default)]
struct Counted {
    agents: u32,
    nearest: Option<(i64, SlotId)>,
    ends: Option<Ends>,
}

/// Agents by reason.
#[derive(Default)]
pub(super) struct Reasons(BTreeMap<VetoKind, Counted>);

impl Reasons {
    pub(super) fn count(&mut self, slot: SlotId, kind: VetoKind, miss: &Miss, ends: Option<Ends>) {
        let have = match miss {
            Miss::Short { have, .. } | Miss::Scalar { have, .. } => Some(*have),
            Miss::Ports { have, .. } | Miss::Devices { have, .. } => Some(*have),
            // The ranges of one such node are told.
            Miss::Port { is_offered: false, .. } => Some(0),
            _ => None,
        };
        let entry = self.0.entry(kind).or_default();
        entry.agents += 1;
        if let Some(have) = have
            && entry.nearest.is_none_or(|(best, _)| have > best)
        {
            entry.nearest = Some((have, slot));
        }
        if let Some(ends) = ends
            && entry.ends.as_ref().is_none_or(|first| ends.at < first.at)
        {
            entry.ends = Some(ends);
        }
    }

    pub(super) fn finish(self, agents: &Numbered<AgentNo, Agent>) -> Vec<Veto> {
        let nearest = |(have, slot): (i64, SlotId)| {
            let agent = agents.get(&slot.agent())?;
            let (node, ports) = (agent.hostname.clone(), agent.ports.clone());
            Some(Nearest { node, have: have.max(0) as u64, ports })
        };
        let mut vetoes: Vec<Veto> = self
            .0
            .into_iter()
            .map(|(kind, Counted { agents, nearest: best, ends })| Veto {
                agents,
                kind,
                nearest: best.and_then(nearest),
                ends,
            })
            .collect();
        vetoes.sort_by(|a, b| b.agents.cmp(&a.agents).then_with(|| a.kind.cmp(&b.kind)));
        vetoes
    }
}

/// Two equal rules of a spec are one reason.
pub(super) fn each_once(misses: impl Iterator<Item = (VetoKind, Miss)>) -> BTreeMap<VetoKind, Miss> {
    misses.collect()
}

/// Tasks that wait alike are explained together.
type Alike = (dawn_proto::SpecId, bool, Option<(AgentNo, Timestamp)>);

impl Placer {
    /// Why a job's waiting tasks wait, by groups that wait alike. The placer has observed all of `state`.
    pub fn explain(&mut self, state: &State, job: JobId) -> Vec<Explained> {
        let mut alike: BTreeMap<Alike, Vec<&Task>> = BTreeMap::new();
        let Some(job) = state.jobs.get(&job) else { return Vec::new() };
        self.catalogue.count_asked(state);
        for task in state.living(job) {
            match &task.status {
                Status::Waiting(Waiting::Pending { nominated }) => {
                    let kept = nominated.filter(|_| self.claims.get(task.id).is_some());
                    alike.entry((task.spec, false, kept)).or_default().push(task);
                }
                Status::Waiting(Waiting::Throttled { .. }) => {
                    alike.entry((task.spec, true, None)).or_default().push(task)
                }
                _ => {}
            }
        }
        alike.into_iter().map(|((_, _, nominated), tasks)| self.explain_alike(state, &tasks, nominated)).collect()
    }

    fn explain_alike(&mut self, state: &State, tasks: &[&Task], nominated: Option<(AgentNo, Timestamp)>) -> Explained {
        let ready = |task: &&Task| match task.status {
            Status::Waiting(Waiting::Throttled { ready_at }) => Some(ready_at),
            _ => None,
        };
        let mut instances: Vec<u32> = tasks.iter().map(|task| task.instance).collect();
        instances.sort_unstable();
        let mut explained = Explained {
            version: state.spec_of(tasks[0]).version,
            instances,
            state: tasks[0].state(),
            since: tasks.iter().map(|task| task.since()).min().unwrap_or_default(),
            ready_at: tasks.iter().filter_map(ready).min(),
            nominated: nominated.and_then(|(agent, until)| Some((state.agents.get(&agent)?.hostname.clone(), until))),
            stays_up: false,
            quota: None,
            agents_total: self.fleet.agents() as u32,
            agents_fit: 0,
            is_gang: state.spec_of(tasks[0]).job.flow.gang,
            room_for: 0,
            vetoes: Vec::new(),
        };
        if explained.state == TaskState::Pending {
            self.explain_agents(state.spec_of(tasks[0]), tasks[0], state, &mut explained);
        }
        explained
    }

    /// What of the role's quota refuses one of so many tasks.
    pub(super) fn refused_by_quota(&self, spec: &Spec, number: WorkId, tasks: usize) -> Option<QuotaVeto> {
        let (left, bound, at) = self.quota_left(number);
        if left >= tasks {
            return None;
        }
        let (have, used) = self.queue.quota(self.catalogue.work(number).role, bound, at);
        let [have, used, need] = [have, used, self.catalogue.need_of(number)[at]].map(|amount| amount.max(0) as u64);
        let role = spec.job.key.role().to_string();
        Some(QuotaVeto { role, bound, dimension: at.name(), have, used, need })
    }

    fn explain_agents(&mut self, spec: &Spec, task: &Task, state: &State, explained: &mut Explained) {
        let number = self.work_of(state, task);
        self.prepare_for(number);
        explained.quota = self.refused_by_quota(spec, number, 1);
        let mut reasons = Reasons::default();
        // A daemon's tasks have an agent each.
        let pinned = self.view().is_pinned(number).then(|| explained.instances.clone());
        let own = |slot: &SlotId| pinned.as_ref().is_none_or(|slots| slots.binary_search(&slot.0).is_ok());
        let slots: Vec<SlotId> = self.fleet.with_agents().filter(own).collect();
        explained.agents_total = slots.len() as u32;
        for slot in slots {
            if self.view().misses(slot, number).is_none() {
                explained.agents_fit += 1;
                explained.room_for = explained.room_for.saturating_add(self.view().room_on(slot, number));
                continue;
            }
            let misses = self.view().all_misses(slot, number).into_iter();
            for (kind, miss) in each_once(misses.map(|miss| (self.view().kind_on(&miss, spec, state, slot), miss))) {
                reasons.count(slot, kind, &miss, self.view().ends(&miss, spec, state, slot));
            }
        }
        explained.vetoes = reasons.finish(&state.agents);
    }
}

impl View<'_> {
    /// A miss in words, where what the state knows of the job and the agent counts too.
    pub(super) fn kind_on(self, miss: &Miss, spec: &Spec, state: &State, slot: SlotId) -> VetoKind {
        match miss {
            Miss::KeptOff => {
                let kept = state.job(&spec.job.key).and_then(|job| job.kept_off(slot.agent(), spec.id));
                VetoKind::KeptOff { reason: kept.map(|kept| reason_words(kept.reason)).unwrap_or_default() }
            }
            other => self.kind(other, &spec.job).on(state.agents.get(&slot.agent())),
        }
    }

    /// When what keeps the job from an agent ends by itself.
    fn ends(self, miss: &Miss, spec: &Spec, state: &State, slot: SlotId) -> Option<Ends> {
        let agent = state.agents.get(&slot.agent())?;
        match miss {
            Miss::Avoided => {
                let avoided = agent.avoided.as_ref()?;
                Some(Ends { node: agent.hostname.clone(), at: avoided.until, why: avoided.why.clone() })
            }
            Miss::KeptOff => {
                let kept = state.job(&spec.job.key)?.kept_off(agent.no, spec.id)?;
                Some(Ends { node: agent.hostname.clone(), at: kept.until, why: String::new() })
            }
            _ => None,
        }
    }

    /// A miss in the words of the spec.
    pub(super) fn kind(self, miss: &Miss, spec: &JobSpec) -> VetoKind {
        let near = |index: u16| match spec.affinities.get(usize::from(index)).map(|affinity| &affinity.near) {
            Some(Near::Job { job, topology }) => (job.clone(), topology.clone()),
            _ => (spec.key.clone(), String::new()),
        };
        match *miss {
            Miss::Down => VetoKind::Down,
            Miss::Disconnected => VetoKind::Disconnected,
            Miss::Cordoned => VetoKind::Cordoned,
            Miss::Copied => VetoKind::Copied,
            Miss::Avoided => VetoKind::Avoided,
            Miss::KeptOff => VetoKind::KeptOff { reason: String::new() },
            Miss::Dedicated => VetoKind::Dedicated { wanted: spec.dedicated.clone() },
            Miss::Constraint(index) => {
                let mut rules = spec.constraints.iter().filter(|rule| !matches!(rule.rule, Rule::Limit(_)));
                let rule = rules.nth(index.into());
                let attribute = rule.map(|rule| rule.attribute.clone()).unwrap_or_default();
                VetoKind::Constraint { attribute, rule: rule.map(|rule| rule_text(&rule.rule)).unwrap_or_default() }
            }
            Miss::Tasks { max_tasks } => VetoKind::Tasks { max_tasks },
            Miss::Port { port, is_offered } => VetoKind::Port { port, is_offered },
            Miss::Ports { need, .. } => VetoKind::Ports { need: need as u64 },
            Miss::Short { dimension, need, .. } => VetoKind::Short { dimension, need: need as u64 },
            Miss::Scalar { name, need, .. } => {
                VetoKind::Scalar { name: self.catalogue.scalar_name(name).to_string(), need_milli: need as u64 }
            }
            Miss::Devices { need, .. } => VetoKind::Devices { need_milli: need as u64 },
            Miss::Kept => VetoKind::Kept,
            Miss::Limit(at) => {
                let limits = spec.constraints.iter().filter_map(|constraint| match constraint.rule {
                    Rule::Limit(most) => Some((constraint.attribute.clone(), most)),
                    _ => None,
                });
                let (attribute, most) = limits.into_iter().nth(at.into()).unwrap_or_default();
                VetoKind::Limit { attribute, most }
            }
            Miss::Near(index) => {
                let (job, topology) = near(index);
                let attracts = spec.affinities.get(usize::from(index)).is_some_and(|affinity| affinity.weight >= 0);
                let topology = if topology.is_empty() { "host".into() } else { topology };
                VetoKind::Near { job, topology, attracts }
            }
            Miss::Refused(name) => VetoKind::Refused { job: self.catalogue.counts().key(name).clone() },
        }
    }
}

/// A rule as people write it.
fn rule_text(rule: &Rule) -> String {
    let sign = |op: &Comparison| match op {
        Comparison::Unspecified => "?",
        Comparison::Less => "<",
        Comparison::LessOrEqual => "<=",
        Comparison::Equal => "=",
        Comparison::GreaterOrEqual => ">=",
        Comparison::Greater => ">",
    };
    match rule {
        Rule::OneOf(values) => match values.as_slice() {
            [one] => format!("= {one}"),
            several => format!("in [{}]", several.join(", ")),
        },
        Rule::NoneOf(values) => format!("not in [{}]", values.join(", ")),
        Rule::Exists => "exists".into(),
        Rule::Regex(expression) => format!("matches /{expression}/"),
        Rule::Number(op, value) => format!("{} {value}", sign(op)),
        Rule::Version(op, value) => format!("version {} {value}", sign(op)),
        Rule::Limit(most) => format!("limit {most}"),
    }
}
