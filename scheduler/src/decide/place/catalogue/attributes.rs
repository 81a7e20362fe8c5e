//! Attributes of agents as small numbers: names, values, a column per attribute, and the classes of agents that are equal
//! in every attribute of few values. Constraints are answered once per value or class, not per agent.
//! Not here: the rules themselves (`rule`).

use std::collections::BTreeMap;

use dawn_proto::AgentId;

use crate::model;

use super::super::numbers::{AttributeId, ClassId, Number, SlotId, Table, ValueId};
use super::rule::TextRule;

/// An agent lacks the attribute.
pub const NONE: ValueId = ValueId(u32::MAX);
/// The attribute "host": the agent's own id.
pub const HOST: AttributeId = AttributeId(0);
/// Marks a cell that stands for several values at once.
const MANY: u32 = 1 << 31;
/// An attribute with more distinct cells than this is wide: it makes no classes and is looked at per agent.
const NARROW_VALUES: usize = 128;
/// Most classes of agents.
const MOST_CLASSES: usize = 1024;

/// One attribute over all agents.
#[derive(Clone, Debug, Default)]
pub struct Attribute {
    pub name: String,
    ids: BTreeMap<String, ValueId>,
    pub texts: Table<ValueId, String>,
    lists: BTreeMap<Vec<ValueId>, u32>,
    list_values: Vec<Vec<ValueId>>,
    /// By slot: a value's number, `MANY` and a list's, or `NONE`.
    column: Table<SlotId, ValueId>,
    /// By value: the slots that have it, ascending.
    members: Table<ValueId, Vec<SlotId>>,
    /// Values that any agent has, ascending.
    pub held: Vec<ValueId>,
    /// Its place in a class's key; None when wide.
    pub narrow: Option<usize>,
}

impl Attribute {
    pub fn intern(&mut self, text: &str) -> ValueId {
        if let Some(id) = self.ids.get(text) {
            return *id;
        }
        let id = self.texts.push(text.to_string());
        self.ids.insert(text.to_string(), id);
        self.members.push(Vec::new());
        id
    }

    fn cell_of(&mut self, values: &[String]) -> ValueId {
        match values {
            [] => NONE,
            [one] => self.intern(one),
            several => {
                let list: Vec<ValueId> = several.iter().map(|value| self.intern(value)).collect();
                let next = self.lists.len() as u32;
                let id = *self.lists.entry(list.clone()).or_insert(next);
                if id == next {
                    self.list_values.push(list);
                }
                ValueId(MANY | id)
            }
        }
    }

    #[inline]
    pub fn cell(&self, slot: SlotId) -> ValueId {
        self.column.get(slot).copied().unwrap_or(NONE)
    }

    /// The values a cell stands for.
    #[inline]
    pub fn values<'a>(&'a self, cell: &'a ValueId) -> &'a [ValueId] {
        match *cell {
            NONE => &[],
            ValueId(many) if many & MANY != 0 => &self.list_values[(many & !MANY) as usize],
            _ => std::slice::from_ref(cell),
        }
    }

    pub fn members(&self, value: ValueId) -> &[SlotId] {
        self.members.get(value).map_or(&[], Vec::as_slice)
    }

    /// How many values any agent has.
    #[inline]
    pub fn values_held(&self) -> usize {
        self.held.len()
    }

    fn put(&mut self, slot: SlotId, cell: ValueId) {
        self.column.reach(slot, || NONE);
        let before = std::mem::replace(&mut self.column[slot], cell);
        if before == cell {
            return;
        }
        for value in self.values(&before).to_vec() {
            let members = &mut self.members[value];
            if let Ok(at) = members.binary_search(&slot) {
                members.remove(at);
            }
            if members.is_empty()
                && let Ok(at) = self.held.binary_search(&value)
            {
                self.held.remove(at);
            }
        }
        for value in self.values(&cell).to_vec() {
            let members = &mut self.members[value];
            if let Err(at) = members.binary_search(&slot) {
                members.insert(at, slot);
            }
            if let Err(at) = self.held.binary_search(&value) {
                self.held.insert(at, value);
            }
        }
    }
}

#[derive(Clone, Debug)]
pub struct Attributes {
    pub all: Table<AttributeId, Attribute>,
    by_name: BTreeMap<String, AttributeId>,
    narrow: Vec<AttributeId>,
    class_ids: BTreeMap<Vec<ValueId>, ClassId>,
    /// By class: its cells in the order of `narrow`.
    pub classes: Table<ClassId, Vec<ValueId>>,
    /// Moves when classes are made anew: what was answered per class is void.
    pub layout: u64,
    /// Moves with every agent put or cleared.
    pub moves: u64,
    /// Agents put since classes were made.
    pub unsorted: usize,
}

impl Default for Attributes {
    fn default() -> Self {
        let mut attributes = Attributes {
            all: Table::default(),
            by_name: BTreeMap::new(),
            narrow: Vec::new(),
            class_ids: BTreeMap::new(),
            classes: Table::default(),
            layout: 1,
            moves: 0,
            unsorted: 0,
        };
        attributes.attribute("host");
        attributes
    }
}

impl Attributes {
    /// The number of an attribute, known or not.
    pub fn attribute(&mut self, name: &str) -> AttributeId {
        if let Some(id) = self.by_name.get(name) {
            return *id;
        }
        let id = self.all.push(Attribute { name: name.to_string(), ..Attribute::default() });
        self.by_name.insert(name.to_string(), id);
        id
    }

    pub fn get(&self, attribute: AttributeId) -> &Attribute {
        &self.all[attribute]
    }

    /// Writes an agent's attributes; its class is the answer. "host" is always its own id.
    pub fn put(&mut self, slot: SlotId, id: &AgentId, given: &model::Attributes) -> ClassId {
        for name in given.keys() {
            self.attribute(name);
        }
        for at in self.all.numbers() {
            let attribute = &mut self.all[at];
            let cell = if at == HOST {
                attribute.intern(id.as_str())
            } else {
                given.get(&attribute.name).map_or(NONE, |values| attribute.cell_of(values))
            };
            attribute.put(slot, cell);
        }
        self.unsorted += 1;
        self.moves += 1;
        self.class(slot)
    }

    pub fn clear(&mut self, slot: SlotId) {
        self.moves += 1;
        for attribute in self.all.iter_mut() {
            attribute.put(slot, NONE);
        }
    }

    fn class(&mut self, slot: SlotId) -> ClassId {
        let key: Vec<ValueId> = self.narrow.iter().map(|attribute| self.get(*attribute).cell(slot)).collect();
        let next = ClassId::of(self.classes.len());
        let class = *self.class_ids.entry(key.clone()).or_insert(next);
        if class == next {
            self.classes.push(key);
        }
        class
    }

    /// Whether so many agents came since classes were made that they should be made again.
    pub fn is_stale(&self, agents: usize) -> bool {
        self.unsorted > 0 && self.unsorted * 2 > agents.max(32) || self.classes.len() > 2 * MOST_CLASSES
    }

    /// Chooses anew which attributes make classes, those of the fewest values first while classes stay few; the class of
    /// every slot is the answer.
    pub fn classify(&mut self, slots: usize) -> Table<SlotId, ClassId> {
        let mut by_width: Vec<(usize, AttributeId)> = (self.all.numbers())
            .filter(|attribute| *attribute != HOST)
            .map(|attribute| (self.get(attribute).values_held(), attribute))
            .filter(|(values, _)| *values > 0 && *values <= NARROW_VALUES)
            .collect();
        by_width.sort_unstable();
        self.narrow.clear();
        let mut class = vec![0u32; slots];
        for (_, attribute) in by_width {
            let mut finer = BTreeMap::new();
            let column = &self.all[attribute];
            let refined: Vec<u32> = (0..slots)
                .map(|slot| {
                    let next = finer.len() as u32;
                    *finer.entry((class[slot], column.cell(SlotId::of(slot)))).or_insert(next)
                })
                .collect();
            if finer.len() <= MOST_CLASSES {
                class = refined;
                self.narrow.push(attribute);
            }
        }
        for attribute in self.all.iter_mut() {
            attribute.narrow = None;
        }
        for (at, attribute) in self.narrow.clone().into_iter().enumerate() {
            self.all[attribute].narrow = Some(at);
        }
        self.class_ids.clear();
        self.classes.clear();
        self.layout += 1;
        self.unsorted = 0;
        (0..slots).map(|slot| self.class(SlotId::of(slot))).collect::<Vec<_>>().into()
    }
}

/// A rule about one attribute, with its answers by value.
#[derive(Clone, Debug)]
pub struct Matcher {
    pub attribute: AttributeId,
    /// Which of the spec's constraints it is.
    pub index: u16,
    rule: TextRule,
    answers: Answers,
}

#[derive(Clone, Debug)]
enum Answers {
    /// The values named, ascending, and what being among them means.
    Named { values: Vec<ValueId>, accepted: bool },
    /// By value, as far as they were known when last asked.
    ByValue(Table<ValueId, bool>),
}

impl Matcher {
    /// None for a limit.
    pub fn new(attributes: &mut Attributes, name: &str, rule: &model::Rule, index: u16) -> Option<Matcher> {
        let rule = TextRule::new(rule)?;
        let attribute = attributes.attribute(name);
        let named = |attributes: &mut Attributes, texts: &[String]| {
            let column = &mut attributes.all[attribute];
            let mut values: Vec<ValueId> = texts.iter().map(|text| column.intern(text)).collect();
            values.sort_unstable();
            values
        };
        let answers = match &rule {
            TextRule::OneOf(texts) => Answers::Named { values: named(attributes, texts), accepted: true },
            TextRule::NoneOf(texts) => Answers::Named { values: named(attributes, texts), accepted: false },
            _ => Answers::ByValue(Table::default()),
        };
        Some(Matcher { attribute, index, rule, answers })
    }

    /// Answers for values that came since.
    pub fn prepare(&mut self, attributes: &Attributes) {
        if let Answers::ByValue(known) = &mut self.answers {
            let texts = &attributes.get(self.attribute).texts;
            for text in texts.iter().skip(known.len()) {
                known.push(self.rule.accepts(text));
            }
        }
    }

    fn accepts(&self, value: ValueId) -> bool {
        match &self.answers {
            Answers::Named { values, accepted } => values.binary_search(&value).is_ok() == *accepted,
            Answers::ByValue(known) => known.get(value).copied().unwrap_or(false),
        }
    }

    /// Whether a cell of its attribute satisfies it. Prepared first.
    #[inline]
    pub fn matches(&self, column: &Attribute, cell: ValueId) -> bool {
        match column.values(&cell) {
            [] => self.rule.accepts_absence(),
            [one] => self.accepts(*one),
            several if self.rule.wants_all() => several.iter().all(|value| self.accepts(*value)),
            several => several.iter().any(|value| self.accepts(*value)),
        }
    }

    /// The only values that satisfy it, when the rule names them.
    pub fn only(&self) -> Option<&[ValueId]> {
        match &self.answers {
            Answers::Named { values, accepted: true } => Some(values),
            _ => None,
        }
    }
}
