//! What a job says about its neighbours: limits, affinities, spreads, and the counts they are judged by.
//! Not here: whether they hold somewhere (`fit`).

use std::collections::{BTreeMap, BTreeSet};

use dawn_proto::JobKey;
use dawn_proto::v1::JobKind;

use crate::model::{JobSpec, Near, Rule, State};

use super::super::numbers::{AttributeId, CountId, KeyId, Number, SlotId, Table, ValueId};
use super::attributes::{Attributes, HOST, Matcher};
use super::tally::Tally;

/// How a tally is named: a job's number among keys, and an attribute's.
type CountKey = (KeyId, AttributeId);

/// Tasks of one job that hold room, by an attribute's value ("host": by slot).
#[derive(Clone, Debug, Default)]
pub struct Count {
    pub tally: Tally,
    /// All of them, also on agents without the attribute.
    pub tasks: u32,
    key: CountKey,
    uses: u32,
    /// False until it was counted from the state.
    counted: bool,
}

impl Count {
    /// Tasks of the job on agents with this agent's value.
    #[inline]
    pub fn near(&self, attributes: &Attributes, slot: SlotId) -> u32 {
        if self.key.1 == HOST {
            return self.tally.get(slot.0);
        }
        let column = attributes.get(self.key.1);
        match column.values(&column.cell(slot)) {
            [one] => self.tally.get(one.0),
            several => several.iter().map(|value| self.tally.get(value.0)).max().unwrap_or(0),
        }
    }

    /// Tasks of the job on agents with the value.
    #[inline]
    pub fn of_value(&self, attributes: &Attributes, value: ValueId) -> u32 {
        match self.key.1 {
            // A host's number among values is another one than its slot's.
            HOST => attributes.get(HOST).members(value).first().map_or(0, |slot| self.tally.get(slot.0)),
            _ => self.tally.get(value.0),
        }
    }

    /// The values that have some, with how many, in the order of the tally.
    pub fn by_value(&self, attributes: &Attributes) -> Vec<(ValueId, u32)> {
        let value = |number: u32| match self.key.1 {
            HOST => attributes.get(HOST).cell(SlotId(number)),
            _ => ValueId(number),
        };
        self.tally.sorted().into_iter().map(|(number, tasks)| (value(number), tasks)).collect()
    }

    fn change(&mut self, attributes: &Attributes, slot: SlotId, more: bool) {
        let mut change = |value| if more { self.tally.add(value) } else { self.tally.take(value) };
        if self.key.1 == HOST {
            change(slot.0);
        } else {
            let column = attributes.get(self.key.1);
            column.values(&column.cell(slot)).iter().for_each(|value| change(value.0));
        }
        if more { self.tasks += 1 } else { self.tasks -= 1 }
    }
}

#[derive(Clone, Debug)]
pub struct Limit {
    pub most: u32,
    pub count: CountId,
}

#[derive(Clone, Debug)]
pub struct Neighbour {
    pub weight: i32,
    pub required: bool,
    pub attribute: AttributeId,
    pub count: CountId,
    /// The job itself: its first task has no neighbour to look for.
    pub own: bool,
    /// Which of the spec's affinities it is.
    pub index: u16,
}

#[derive(Clone, Debug)]
pub struct Level {
    pub attribute: AttributeId,
    pub weight: u32,
    /// By value: percent of the tasks; empty: even.
    pub shares: BTreeMap<ValueId, u32>,
    pub count: CountId,
}

impl Level {
    /// The share of `whole` that a value should have; `held`: the values that agents have. Values without a share of
    /// their own divide what the others leave.
    pub fn target(&self, value: ValueId, held: &[ValueId], whole: u64) -> u64 {
        if let Some(percent) = self.shares.get(&value) {
            return u64::from(*percent) * whole / 100;
        }
        let named: u64 = self.shares.values().map(|percent| u64::from(*percent)).sum();
        let others = held.len() - self.shares.keys().filter(|value| held.binary_search(value).is_ok()).count();
        100u64.saturating_sub(named) * whole / 100 / others.max(1) as u64
    }
}

/// Everything of a spec that looks beyond one agent's free room.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    pub limits: Vec<Limit>,
    pub neighbours: Vec<Neighbour>,
    /// First weighs most.
    pub spreads: Vec<Level>,
    pub wishes: Vec<(i32, Matcher)>,
    /// A service's tasks keep off each other's hosts when that costs nothing.
    pub apart: Option<CountId>,
}

impl Rules {
    pub fn is_empty(&self) -> bool {
        self.limits.is_empty()
            && self.neighbours.is_empty()
            && self.spreads.is_empty()
            && self.wishes.is_empty()
            && self.apart.is_none()
    }

    /// Whether there are wishes, which are weighed against each other and against room.
    pub fn weigh(&self) -> bool {
        !self.wishes.is_empty() || self.neighbours.iter().any(|neighbour| !neighbour.required)
    }

    fn counts(&self) -> impl Iterator<Item = CountId> {
        let limits = self.limits.iter().map(|limit| limit.count);
        let neighbours = self.neighbours.iter().map(|neighbour| neighbour.count);
        let spreads = self.spreads.iter().map(|spread| spread.count);
        limits.chain(neighbours).chain(spreads).chain(self.apart)
    }
}

/// A job by its key: lasts while a spec, a task or another job's rule names it.
#[derive(Clone, Debug, Default)]
struct Named {
    /// Counts kept of it.
    counts: Vec<CountId>,
    /// Counts of the jobs that refuse it as a neighbour, with how many of their specs say so.
    refused_by: Vec<(CountId, u32)>,
    /// Its tasks that hold room.
    held: u32,
}

/// Counts by job, kept while rules look at them.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    all: Table<CountId, Count>,
    free: Vec<CountId>,
    by_key: BTreeMap<CountKey, CountId>,
    names: BTreeMap<JobKey, KeyId>,
    keys: Table<KeyId, JobKey>,
    named: Table<KeyId, Named>,
    uncounted: Vec<CountId>,
}

impl Counts {
    pub fn name(&mut self, key: &JobKey) -> KeyId {
        if let Some(id) = self.names.get(key) {
            return *id;
        }
        let id = KeyId::of(self.named.len());
        self.names.insert(key.clone(), id);
        self.keys.push(key.clone());
        self.named.push(Named::default());
        id
    }

    pub fn key(&self, name: KeyId) -> &JobKey {
        &self.keys[name]
    }

    #[inline]
    pub fn get(&self, count: CountId) -> &Count {
        &self.all[count]
    }

    /// The name and attribute a count is about.
    pub fn about(&self, count: CountId) -> CountKey {
        self.all[count].key
    }

    fn count(&mut self, name: KeyId, attribute: AttributeId) -> CountId {
        if let Some(id) = self.by_key.get(&(name, attribute)) {
            self.all[*id].uses += 1;
            return *id;
        }
        let count = Count { key: (name, attribute), uses: 1, ..Count::default() };
        let id = match self.free.pop() {
            Some(id) => {
                self.all[id] = count;
                id
            }
            None => self.all.push(count),
        };
        self.by_key.insert((name, attribute), id);
        self.named[name].counts.push(id);
        self.uncounted.push(id);
        id
    }

    fn drop_count(&mut self, id: CountId) {
        let count = &mut self.all[id];
        count.uses -= 1;
        if count.uses == 0 {
            let key = count.key;
            *count = Count::default();
            self.by_key.remove(&key);
            self.named[key.0].counts.retain(|other| *other != id);
            self.uncounted.retain(|other| *other != id);
            self.free.push(id);
        }
    }

    /// Counts what was asked for since, from a state that shows all that was decided.
    pub fn fill(&mut self, state: &State, attributes: &Attributes) {
        for id in std::mem::take(&mut self.uncounted) {
            let count = &mut self.all[id];
            count.counted = true;
            if self.named[count.key.0].held == 0 {
                continue;
            }
            let Some(job) = state.job(&self.keys[count.key.0]) else { continue };
            for agent in state.living(job).filter_map(|task| task.held_on()) {
                count.change(attributes, SlotId::of_agent(agent), true);
            }
        }
    }

    #[inline]
    pub fn change(&mut self, attributes: &Attributes, name: KeyId, slot: SlotId, more: bool) {
        let named = &mut self.named[name];
        if more {
            named.held += 1
        } else {
            named.held -= 1
        }
        for id in &named.counts {
            let count = &mut self.all[*id];
            if count.counted {
                count.change(attributes, slot, more);
            }
        }
    }

    /// A job that refuses this one as a neighbour and has a task near the slot.
    #[inline]
    pub fn refusing(&self, attributes: &Attributes, name: KeyId, slot: SlotId) -> Option<KeyId> {
        let refused_by = &self.named[name].refused_by;
        refused_by
            .iter()
            .find(|(count, _)| self.all[*count].near(attributes, slot) > 0)
            .map(|(count, _)| self.all[*count].key.0)
    }

    /// Whether other jobs refuse to be near tasks of this one.
    pub fn is_refused(&self, name: KeyId) -> bool {
        !self.named[name].refused_by.is_empty()
    }

    /// The jobs whose tasks decide whether one with these rules may be placed.
    pub fn watched_by(&self, rules: &Rules, own: KeyId) -> BTreeSet<KeyId> {
        let limits = rules.limits.iter().map(|limit| limit.count);
        let neighbours = rules.neighbours.iter().filter(|neighbour| neighbour.required).map(|near| near.count);
        let refusing = self.named[own].refused_by.iter().map(|(count, _)| *count);
        limits.chain(neighbours).chain(refusing).map(|count| self.about(count).0).collect()
    }

    /// Compiles a spec's rules and keeps the counts they need.
    pub fn rules(&mut self, spec: &JobSpec, attributes: &mut Attributes) -> Rules {
        let own = self.name(&spec.key);
        let mut rules = Rules::default();
        for constraint in &spec.constraints {
            if let Rule::Limit(most) = constraint.rule {
                let attribute = attributes.attribute(&constraint.attribute);
                rules.limits.push(Limit { most, count: self.count(own, attribute) });
            }
        }
        for (index, affinity) in spec.affinities.iter().enumerate() {
            match &affinity.near {
                Near::Attribute(constraint) => {
                    let matcher = Matcher::new(attributes, &constraint.attribute, &constraint.rule, index as u16);
                    rules.wishes.extend(matcher.map(|matcher| (affinity.weight, matcher)));
                }
                Near::Job { job, topology } => {
                    let name = self.name(job);
                    let topology = if topology.is_empty() { "host" } else { topology };
                    let attribute = attributes.attribute(topology);
                    let (weight, required, index) = (affinity.weight, affinity.required, index as u16);
                    let count = self.count(name, attribute);
                    rules.neighbours.push(Neighbour { weight, required, attribute, count, own: name == own, index });
                    if required && weight < 0 && name != own {
                        let mine = self.count(own, attribute);
                        self.refuse(name, mine);
                    }
                }
            }
        }
        for spread in &spec.spreads {
            let attribute = attributes.attribute(&spread.attribute);
            let column = &mut attributes.all[attribute];
            let shares = spread.share_percent.iter().map(|(value, share)| (column.intern(value), *share)).collect();
            rules.spreads.push(Level { attribute, weight: spread.weight, shares, count: self.count(own, attribute) });
        }
        if spec.kind == JobKind::Service && spec.instances > 1 {
            rules.apart = Some(self.count(own, HOST));
        }
        rules
    }

    fn refuse(&mut self, name: KeyId, count: CountId) {
        let refused_by = &mut self.named[name].refused_by;
        match refused_by.iter_mut().find(|(other, _)| *other == count) {
            Some((_, specs)) => *specs += 1,
            None => refused_by.push((count, 1)),
        }
    }

    /// A spec's rules are looked at no more.
    pub fn drop_rules(&mut self, rules: &Rules, own: KeyId) {
        for neighbour in &rules.neighbours {
            if neighbour.required && neighbour.weight < 0 && !neighbour.own {
                let (name, attribute) = self.about(neighbour.count);
                if let Some(mine) = self.by_key.get(&(own, attribute)).copied() {
                    let refused_by = &mut self.named[name].refused_by;
                    refused_by.iter_mut().filter(|(count, _)| *count == mine).for_each(|(_, specs)| *specs -= 1);
                    refused_by.retain(|(_, specs)| *specs > 0);
                    self.drop_count(mine);
                }
            }
        }
        for count in rules.counts().collect::<Vec<_>>() {
            self.drop_count(count);
        }
    }

    pub fn bytes(&self) -> usize {
        self.all.iter().map(|count| size_of::<Count>() + count.tally.bytes()).sum()
    }

    /// What is counted, for comparing: by job key and attribute name.
    #[cfg(test)]
    #[allow(clippy::type_complexity)]
    pub fn shown(&self, attributes: &Attributes) -> BTreeMap<(JobKey, String), (u32, Vec<(String, u32)>)> {
        let shown = |((name, attribute), id): (&CountKey, &CountId)| {
            let column = attributes.get(*attribute);
            let count = &self.all[*id];
            let text = |value: u32| match *attribute {
                HOST => value.to_string(),
                _ => column.texts[ValueId(value)].clone(),
            };
            let mut values: Vec<_> =
                count.tally.sorted().into_iter().map(|(value, tasks)| (text(value), tasks)).collect();
            values.sort();
            ((self.keys[*name].clone(), column.name.clone()), (count.tasks, values))
        };
        self.by_key.iter().filter(|(_, id)| self.all[**id].counted).map(shown).collect()
    }
}
