//! A shape: what a task takes and which agents may have it, shared by all jobs that ask for the same. What is known about
//! a shape (which classes match, that nothing fits) is known for all of them. Not here: room.

use std::collections::BTreeMap;

use dawn_proto::Dimension::Gpu;

use crate::model::{Constraint, JobSpec, PortDemand, Rule};

use super::super::amounts::{Amounts, need, scalar_need};
use super::super::fleet::Sought;
use super::super::numbers::{AttributeId, ClassId, ScalarId, ShapeId, SlotId, Table, ValueId};
use super::attributes::{Attributes, Matcher, NONE};

/// The attribute that reserves an agent.
pub const DEDICATED: &str = "dedicated";
/// Posting lists longer than this are not walked in place of the index.
const SHORT_LIST: usize = 512;
/// From one agent in so many that match, the index over all is quicker than those of the classes.
const WHOLE_INDEX: usize = 12;

/// What makes two demands the same.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    need: Amounts,
    custom: Vec<(String, u64)>,
    fixed: Vec<u16>,
    ports: usize,
    constraints: Vec<Constraint>,
    dedicated: Option<String>,
}

/// Where candidates are looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Path {
    /// So many classes match that the others are passed over.
    All,
    /// These classes match.
    Classes(Vec<ClassId>),
    /// Only these slots can match.
    Slots(Vec<SlotId>),
}

#[derive(Clone, Debug)]
pub struct Shape {
    pub uses: u32,
    pub need: Amounts,
    /// By the scalar name's number.
    pub custom: Vec<(ScalarId, i64)>,
    pub ports: i32,
    pub fixed: Vec<u16>,
    pub sought: Sought,
    /// None: only agents that are not dedicated.
    pub dedicated: Option<ValueId>,
    pub dedicated_attribute: AttributeId,
    pub matchers: Vec<Matcher>,
    /// Those that classes don't answer.
    pub wide: Vec<usize>,
    pub wide_dedicated: bool,
    /// By class: whether every narrow rule holds.
    pub class_ok: Table<ClassId, bool>,
    pub path: Path,
    layout: u64,
    moves: u64,
    /// Nothing open held it when last looked, and nothing that could has changed since.
    pub fits_nowhere: bool,
    /// No slot before this one holds it, as long as the index was not raised since.
    first: (u64, SlotId),
}

impl Shape {
    /// The first slot that a walk need look at.
    #[inline]
    pub fn first(&self, raised: u64) -> SlotId {
        if self.first.0 == raised { self.first.1 } else { SlotId(0) }
    }

    /// A walk found no slot before this one.
    #[inline]
    pub fn begin_at(&mut self, raised: u64, slot: SlotId) {
        self.first = (raised, slot);
    }

    /// Takes more than the four plain dimensions can say.
    #[inline]
    pub fn is_special(&self) -> bool {
        self.ports > 0 || self.need[Gpu] > 0 || !self.custom.is_empty()
    }

    /// Whether the agent's attributes satisfy every constraint. Prepared first.
    #[inline]
    pub fn accepts(&self, attributes: &Attributes, slot: SlotId, class: ClassId) -> bool {
        self.class_ok.get(class).copied().unwrap_or(false)
            && (self.wide.is_empty() && !self.wide_dedicated || self.accepts_wide(attributes, slot))
    }

    fn accepts_wide(&self, attributes: &Attributes, slot: SlotId) -> bool {
        (!self.wide_dedicated || self.accepts_dedication(attributes, slot))
            && self.wide.iter().all(|at| {
                let matcher = &self.matchers[*at];
                let column = attributes.get(matcher.attribute);
                matcher.matches(column, column.cell(slot))
            })
    }

    pub fn accepts_dedication(&self, attributes: &Attributes, slot: SlotId) -> bool {
        let column = attributes.get(self.dedicated_attribute);
        self.dedication_of(attributes, column.cell(slot))
    }

    fn dedication_of(&self, attributes: &Attributes, cell: ValueId) -> bool {
        match self.dedicated {
            None => cell == NONE,
            Some(value) => attributes.get(self.dedicated_attribute).values(&cell).contains(&value),
        }
    }

    /// The spec's constraints that the agent fails, in their order.
    pub fn refused_by<'a>(&'a self, attributes: &'a Attributes, slot: SlotId) -> impl Iterator<Item = u16> + 'a {
        let failed = self.matchers.iter().filter(move |matcher| {
            let column = attributes.get(matcher.attribute);
            !matcher.matches(column, column.cell(slot))
        });
        failed.map(|matcher| matcher.index)
    }

    fn class_accepts(&self, attributes: &Attributes, class: ClassId) -> bool {
        let key = &attributes.classes[class];
        let narrow = |attribute: AttributeId| attributes.get(attribute).narrow;
        narrow(self.dedicated_attribute).is_none_or(|at| self.dedication_of(attributes, key[at]))
            && self.matchers.iter().all(|matcher| {
                let column = attributes.get(matcher.attribute);
                narrow(matcher.attribute).is_none_or(|at| matcher.matches(column, key[at]))
            })
    }

    /// Brings the answers up to the attributes known now.
    pub fn prepare(&mut self, attributes: &Attributes, agents_in: impl Fn(ClassId) -> usize) {
        for matcher in &mut self.matchers {
            matcher.prepare(attributes);
        }
        // Most clusters have no dedicated agents: then nobody need be asked.
        let dedicated = attributes.get(self.dedicated_attribute);
        self.wide_dedicated = dedicated.narrow.is_none() && (self.dedicated.is_some() || dedicated.values_held() > 0);
        let named_moved = !self.wide.is_empty() && self.moves != attributes.moves;
        if self.layout == attributes.layout && self.class_ok.len() == attributes.classes.len() && !named_moved {
            return;
        }
        self.moves = attributes.moves;
        if self.layout != attributes.layout {
            self.layout = attributes.layout;
            self.class_ok.clear();
            let is_wide = |attribute: AttributeId| attributes.get(attribute).narrow.is_none();
            self.wide = (0..self.matchers.len()).filter(|at| is_wide(self.matchers[*at].attribute)).collect();
        }
        for class in attributes.classes.numbers().skip(self.class_ok.len()) {
            let ok = self.class_accepts(attributes, class);
            self.class_ok.push(ok);
        }
        self.path = self.choose_path(attributes, agents_in);
    }

    fn choose_path(&self, attributes: &Attributes, agents_in: impl Fn(ClassId) -> usize) -> Path {
        let named = self.wide.iter().filter_map(|at| {
            let matcher = &self.matchers[*at];
            let column = attributes.get(matcher.attribute);
            let mut slots: Vec<SlotId> =
                matcher.only()?.iter().flat_map(|value| column.members(*value)).copied().collect();
            slots.sort_unstable();
            slots.dedup();
            (slots.len() <= SHORT_LIST).then_some(slots)
        });
        if let Some(slots) = named.min_by_key(Vec::len) {
            return Path::Slots(slots);
        }
        let classes: Vec<ClassId> = self.class_ok.numbers().filter(|class| self.class_ok[*class]).collect();
        let matching: usize = classes.iter().map(|class| agents_in(*class)).sum();
        let all: usize = self.class_ok.numbers().map(agents_in).sum();
        if matching * WHOLE_INDEX >= all { Path::All } else { Path::Classes(classes) }
    }
}

/// All shapes in use, by number.
#[derive(Clone, Debug, Default)]
pub struct Shapes {
    pub all: Table<ShapeId, Shape>,
    keys: Table<ShapeId, Option<Key>>,
    by_key: BTreeMap<Key, ShapeId>,
    free: Vec<ShapeId>,
    scalars: BTreeMap<String, ScalarId>,
    pub scalar_names: Table<ScalarId, String>,
}

impl Shapes {
    pub fn scalar(&mut self, name: &str) -> ScalarId {
        if let Some(id) = self.scalars.get(name) {
            return *id;
        }
        let id = self.scalar_names.push(name.to_string());
        self.scalars.insert(name.to_string(), id);
        id
    }

    /// The number of a spec's shape; one more uses it.
    pub fn intern(&mut self, spec: &JobSpec, attributes: &mut Attributes) -> ShapeId {
        let rules = spec.constraints.iter().filter(|constraint| !matches!(constraint.rule, Rule::Limit(_)));
        let key = Key {
            need: need(&spec.demand),
            custom: spec.demand.custom_milli.iter().map(|(name, amount)| (name.clone(), *amount)).collect(),
            fixed: spec.ports.iter().filter_map(|port: &PortDemand| port.fixed).collect(),
            ports: spec.ports.len(),
            constraints: rules.cloned().collect(),
            dedicated: spec.dedicated.clone(),
        };
        if let Some(id) = self.by_key.get(&key) {
            self.all[*id].uses += 1;
            return *id;
        }
        let shape = self.compile(&key, attributes);
        let id = match self.free.pop() {
            Some(id) => {
                (self.all[id], self.keys[id]) = (shape, Some(key.clone()));
                id
            }
            None => {
                self.keys.push(Some(key.clone()));
                self.all.push(shape)
            }
        };
        self.by_key.insert(key, id);
        id
    }

    fn compile(&mut self, key: &Key, attributes: &mut Attributes) -> Shape {
        // Numbered as they stand in the spec without its limits, so that a veto names the one that failed.
        let matchers = key.constraints.iter().enumerate().filter_map(|(index, constraint)| {
            Matcher::new(attributes, &constraint.attribute, &constraint.rule, index as u16)
        });
        let matchers = matchers.collect();
        let dedicated_attribute = attributes.attribute(DEDICATED);
        let column = &mut attributes.all[dedicated_attribute];
        Shape {
            uses: 1,
            need: key.need,
            custom: key.custom.iter().map(|(name, amount)| (self.scalar(name), scalar_need(*amount))).collect(),
            ports: key.ports as i32,
            fixed: key.fixed.clone(),
            sought: Sought::of(&key.need),
            dedicated: key.dedicated.as_ref().map(|value| column.intern(value)),
            dedicated_attribute,
            matchers,
            wide: Vec::new(),
            wide_dedicated: false,
            class_ok: Table::default(),
            path: Path::All,
            layout: 0,
            moves: 0,
            fits_nowhere: false,
            first: (0, SlotId(0)),
        }
    }

    /// One less uses it; the last one frees its number.
    pub fn drop_use(&mut self, id: ShapeId) {
        let shape = &mut self.all[id];
        shape.uses -= 1;
        if shape.uses == 0
            && let Some(key) = self.keys[id].take()
        {
            self.by_key.remove(&key);
            self.free.push(id);
        }
    }
}
