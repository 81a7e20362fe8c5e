//! Attributes of agents as small numbers: names, values, a column per attribute, and the classes of agents that are equal
//! in every attribute of few values. Constraints are answered once per value or class, not per agent.

use std::collections::BTreeMap;

use dawn_proto::AgentId;

use crate::model;

use super::rule::TextRule;

/// An agent lacks the attribute.
pub(super) const NONE: u32 = u32::MAX;
/// The attribute "host": the agent's own id.
pub(super) const HOST: u32 = 0;
/// Marks a cell that stands for several values at once.
const MANY: u32 = 1 << 31;
/// An attribute with more distinct cells than this is wide: it makes no classes and is looked at per agent.
const NARROW_VALUES: usize = 128;
/// Most classes of agents.
const MOST_CLASSES: usize = 1024;

/// One attribute over all agents.
#[derive(Clone, Debug, Default)]
pub(super) struct Attribute {
    pub name: String,
    ids: BTreeMap<String, u32>,
    pub texts: Vec<String>,
    lists: BTreeMap<Vec<u32>, u32>,
    list_values: Vec<Vec<u32>>,
    /// By slot: a value's number, `MANY` and a list's, or `NONE`.
    column: Vec<u32>,
    /// By value: the slots that have it, ascending.
    members: Vec<Vec<u32>>,
    /// Values that any agent has, ascending.
    pub held: Vec<u32>,
    /// Its place in a class's key; None when wide.
    pub narrow: Option<usize>,
}

impl Attribute {
    pub fn intern(&mut self, text: &str) -> u32 {
        if let Some(id) = self.ids.get(text) {
            return *id;
        }
        let id = self.texts.len() as u32;
        self.ids.insert(text.to_string(), id);
        self.texts.push(text.to_string());
        self.members.push(Vec::new());
        id
    }

    fn cell_of(&mut self, values: &[String]) -> u32 {
        match values {
            [] => NONE,
            [one] => self.intern(one),
            several => {
                let list: Vec<u32> = several.iter().map(|value| self.intern(value)).collect();
                let next = self.lists.len() as u32;
                let id = *self.lists.entry(list.clone()).or_insert(next);
                if id == next {
                    self.list_values.push(list);
                }
                MANY | id
            }
        }
    }

    #[inline]
    pub fn cell(&self, slot: usize) -> u32 {
        self.column.get(slot).copied().unwrap_or(NONE)
    }

    /// The values a cell stands for.
    #[inline]
    pub fn values<'a>(&'a self, cell: &'a u32) -> &'a [u32] {
        match *cell {
            NONE => &[],
            many if many & MANY != 0 => &self.list_values[(many & !MANY) as usize],
            _ => std::slice::from_ref(cell),
        }
    }

    pub fn members(&self, value: u32) -> &[u32] {
        self.members.get(value as usize).map_or(&[], Vec::as_slice)
    }

    /// How many values any agent has.
    #[inline]
    pub fn values_held(&self) -> usize {
        self.held.len()
    }

    fn put(&mut self, slot: usize, cell: u32) {
        if self.column.len() <= slot {
            self.column.resize(slot + 1, NONE);
        }
        let before = std::mem::replace(&mut self.column[slot], cell);
        if before == cell {
            return;
        }
        for value in self.values(&before).to_vec() {
            let members = &mut self.members[value as usize];
            if let Ok(at) = members.binary_search(&(slot as u32)) {
                members.remove(at);
            }
            if members.is_empty()
                && let Ok(at) = self.held.binary_search(&value)
            {
                self.held.remove(at);
            }
        }
        for value in self.values(&cell).to_vec() {
            let members = &mut self.members[value as usize];
            if let Err(at) = members.binary_search(&(slot as u32)) {
                members.insert(at, slot as u32);
            }
            if let Err(at) = self.held.binary_search(&value) {
                self.held.insert(at, value);
            }
        }
    }
}

#[derive(Clone, Debug)]
pub(super) struct Attributes {
    pub all: Vec<Attribute>,
    by_name: BTreeMap<String, u32>,
    narrow: Vec<u32>,
    class_ids: BTreeMap<Vec<u32>, u32>,
    /// By class: its cells in the order of `narrow`.
    pub classes: Vec<Vec<u32>>,
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
            all: Vec::new(),
            by_name: BTreeMap::new(),
            narrow: Vec::new(),
            class_ids: BTreeMap::new(),
            classes: Vec::new(),
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
    pub fn attribute(&mut self, name: &str) -> u32 {
        if let Some(id) = self.by_name.get(name) {
            return *id;
        }
        let id = self.all.len() as u32;
        self.by_name.insert(name.to_string(), id);
        self.all.push(Attribute { name: name.to_string(), ..Attribute::default() });
        id
    }

    pub fn get(&self, attribute: u32) -> &Attribute {
        &self.all[attribute as usize]
    }

    /// Writes an agent's attributes; its class is the answer. "host" is always its own id.
    pub fn put(&mut self, slot: usize, id: &AgentId, given: &model::Attributes) -> u32 {
        for name in given.keys() {
            self.attribute(name);
        }
        for at in 0..self.all.len() {
            let attribute = &mut self.all[at];
            let cell = if at as u32 == HOST {
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

    pub fn clear(&mut self, slot: usize) {
        self.moves += 1;
        for attribute in &mut self.all {
            attribute.put(slot, NONE);
        }
    }

    fn class(&mut self, slot: usize) -> u32 {
        let key: Vec<u32> = self.narrow.iter().map(|attribute| self.get(*attribute).cell(slot)).collect();
        let next = self.classes.len() as u32;
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
    pub fn classify(&mut self, slots: usize) -> Vec<u32> {
        let mut by_width: Vec<(usize, u32)> = (0..self.all.len() as u32)
            .filter(|attribute| *attribute != HOST)
            .map(|attribute| (self.get(attribute).values_held(), attribute))
            .filter(|(values, _)| *values > 0 && *values <= NARROW_VALUES)
            .collect();
        by_width.sort_unstable();
        self.narrow.clear();
        let mut class = vec![0u32; slots];
        for (_, attribute) in by_width {
            let mut finer = BTreeMap::new();
            let column = &self.all[attribute as usize];
            let refined: Vec<u32> = (0..slots)
                .map(|slot| {
                    let next = finer.len() as u32;
                    *finer.entry((class[slot], column.cell(slot))).or_insert(next)
                })
                .collect();
            if finer.len() <= MOST_CLASSES {
                class = refined;
                self.narrow.push(attribute);
            }
        }
        for attribute in &mut self.all {
            attribute.narrow = None;
        }
        for (at, attribute) in self.narrow.clone().into_iter().enumerate() {
            self.all[attribute as usize].narrow = Some(at);
        }
        self.class_ids.clear();
        self.classes.clear();
        self.layout += 1;
        self.unsorted = 0;
        (0..slots).map(|slot| self.class(slot)).collect()
    }
}

/// A rule about one attribute, with its answers by value.
#[derive(Clone, Debug)]
pub(super) struct Matcher {
    pub attribute: u32,
    /// Which of the spec's constraints it is.
    pub index: u16,
    rule: TextRule,
    answers: Answers,
}

#[derive(Clone, Debug)]
enum Answers {
    /// The values named, ascending, and what being among them means.
    Named { values: Vec<u32>, accepted: bool },
    /// By value, as far as they were known when last asked.
    ByValue(Vec<bool>),
}

impl Matcher {
    /// None for a limit.
    pub fn new(attributes: &mut Attributes, name: &str, rule: &model::Rule, index: u16) -> Option<Matcher> {
        let rule = TextRule::new(rule)?;
        let attribute = attributes.attribute(name);
        let named = |attributes: &mut Attributes, texts: &[String]| {
            let column = &mut attributes.all[attribute as usize];
            let mut values: Vec<u32> = texts.iter().map(|text| column.intern(text)).collect();
            values.sort_unstable();
            values
        };
        let answers = match &rule {
            TextRule::OneOf(texts) => Answers::Named { values: named(attributes, texts), accepted: true },
            TextRule::NoneOf(texts) => Answers::Named { values: named(attributes, texts), accepted: false },
            _ => Answers::ByValue(Vec::new()),
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

    fn accepts(&self, value: u32) -> bool {
        match &self.answers {
            Answers::Named { values, accepted } => values.binary_search(&value).is_ok() == *accepted,
            Answers::ByValue(known) => known.get(value as usize).copied().unwrap_or(false),
        }
    }

    /// Whether a cell of its attribute satisfies it. Prepared first.
    #[inline]
    pub fn matches(&self, column: &Attribute, cell: u32) -> bool {
        match column.values(&cell) {
            [] => self.rule.accepts_absence(),
            [one] => self.accepts(*one),
            several if self.rule.wants_all() => several.iter().all(|value| self.accepts(*value)),
            several => several.iter().any(|value| self.accepts(*value)),
        }
    }

    /// The only values that satisfy it, when the rule names them.
    pub fn only(&self) -> Option<&[u32]> {
        match &self.answers {
            Answers::Named { values, accepted: true } => Some(values),
            _ => None,
        }
    }
}
