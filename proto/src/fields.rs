//! What the options of job.proto say of each field of a job: tables made at build time (proto/build), read by all that reads,
//! writes, checks, fills in or explains jobs. Not here: rules between several fields (`validate`), the values themselves.

mod lookup;

#[cfg(test)]
mod tests;

pub use lookup::{field_at, message_at, path_in_file, place_of};

/// A message of a job.
#[derive(Debug)]
pub struct MessageRules {
    /// As the contract calls it: `TaskSpec`.
    pub name: &'static str,
    /// Its section in the reference of job files. Empty: it has none.
    pub heading: &'static str,
    /// In the order of the contract.
    pub fields: &'static [&'static FieldRules],
    /// Fields of which a message has at most one.
    pub choices: &'static [ChoiceRules],
    /// Names in files, in their order, where it is not the order of the fields.
    pub order: &'static [&'static str],
    /// Names in files that are shorthands for other fields, with their documentation.
    pub also: &'static [(&'static str, &'static str)],
}

/// A field of a mapping in files.
#[derive(Clone, Copy, Debug)]
pub struct InFile {
    pub field: &'static FieldRules,
    /// The field of the mapping's own message whose message has it.
    pub inline: Option<&'static FieldRules>,
}

/// Fields of which a message has at most one.
#[derive(Debug)]
pub struct ChoiceRules {
    pub name: &'static str,
    /// What is wrong when a file has two, with `{first}` and `{second}`.
    pub twice: &'static str,
}

/// A field of a job.
#[derive(Debug)]
pub struct FieldRules {
    /// Its number on the wire.
    pub number: u32,
    /// As the contract calls it: `grace_period_ms`.
    pub name: &'static str,
    /// As job files call it: `grace_period`.
    pub file: &'static str,
    pub shape: Shape,
    pub kind: Kind,
    pub unit: Unit,
    pub form: Form,
    /// The choice that it is one of.
    pub choice: Option<&'static str>,
    /// Zero says something: see `Zero` in options.proto.
    pub is_zero_a_value: bool,
    /// What holds where nothing is given.
    pub default: Default,
    /// The default depends on other fields: a rule written by hand fills it in.
    pub is_default_conditional: bool,
    /// The default does not hold with this field.
    pub default_unless: Option<&'static str>,
    pub is_needed: bool,
    /// What it means to leave it out, in words, where the default does not say it.
    pub unset: &'static str,
    /// Of a number, or of each of several.
    pub min: Option<i64>,
    /// Of a number, or of each of several; of a text, its bytes.
    pub max: Option<i64>,
    /// Of a list or a table.
    pub max_items: Option<usize>,
    /// What is counted, in messages. Empty: the name in files.
    pub noun: &'static str,
    /// What else to say of a value that is too small.
    pub hint: &'static str,
    /// A single value instead of a mapping is this field of it.
    pub single: Option<&'static str>,
    /// A list of one item needs no brackets.
    pub is_lone: bool,
    /// Names of an inline message that can't be said here.
    pub without: &'static [&'static str],
    /// Words for no and yes.
    pub words: Option<[&'static str; 2]>,
    /// Files say the opposite.
    pub is_inverted: bool,
    /// A change of it leaves every task as good as it was.
    pub concerns_only_job: bool,
    /// Fields of Aurora's jobs that become this one.
    pub aurora: &'static [&'static str],
    /// One sentence for the reference of job files.
    pub doc: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    One,
    List,
    /// By name.
    Table,
}

/// What one value is.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    YesNo,
    Text,
    U32,
    U64,
    I32,
    /// Words of files and their values.
    Word(&'static [(&'static str, i32)]),
    Message(&'static MessageRules),
    /// A message that a file writes as one value or as a list of texts.
    Opaque,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    None,
    /// Bytes.
    Size,
    /// Milliseconds.
    Duration,
    Thousandths,
    /// Permission bits.
    Octal,
    Percent,
}

/// How a message looks in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    Mapping,
    /// role/env/name.
    Key,
    /// Its fields stand in the mapping of the message that it is a field of.
    Inline,
    /// An operator and a value.
    Comparison,
    /// A list of texts.
    Set,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Default {
    None,
    Number(i64),
    Text(&'static str),
}

include!(concat!(env!("OUT_DIR"), "/fields.rs"));

/// Every message that a job is made of, the job first.
pub fn messages() -> Vec<&'static MessageRules> {
    let mut all: Vec<&'static MessageRules> = vec![&JOB_SPEC];
    let mut at = 0;
    while at < all.len() {
        for inner in all[at].fields.iter().filter_map(|field| field.message()) {
            if !all.iter().any(|known| known.name == inner.name) {
                all.push(inner);
            }
        }
        at += 1;
    }
    all
}

impl FieldRules {
    /// Whether a file that leaves the field out has the default, and not what zero says.
    pub const fn has_default_in_files(&self) -> bool {
        self.is_zero_a_value && !self.is_default_conditional && matches!(self.default, Default::Number(1..))
    }

    /// The default as a number. 0: there is none.
    pub const fn default_number(&self) -> i64 {
        match self.default {
            Default::Number(number) => number,
            Default::None | Default::Text(_) => 0,
        }
    }

    /// The default as a text. Empty: there is none.
    pub const fn default_text(&self) -> &'static str {
        match self.default {
            Default::Text(text) => text,
            Default::None | Default::Number(_) => "",
        }
    }

    /// The largest value, or the most bytes; 0 where there is no bound.
    pub const fn most(&self) -> i64 {
        match self.max {
            Some(max) => max,
            None => 0,
        }
    }

    /// The most items; 0 where there is no bound.
    pub const fn most_items(&self) -> usize {
        match self.max_items {
            Some(max) => max,
            None => 0,
        }
    }

    /// The rules of the message that it is.
    pub fn message(&self) -> Option<&'static MessageRules> {
        match self.kind {
            Kind::Message(rules) => Some(rules),
            _ => None,
        }
    }
}

impl MessageRules {
    pub fn field(&self, name: &str) -> Option<&'static FieldRules> {
        self.fields.iter().copied().find(|field| field.name == name)
    }

    /// The fields of its mapping in files, in their order: its own, and those of messages that stand in the same mapping.
    pub fn in_file(&'static self) -> Vec<InFile> {
        let mut all = Vec::new();
        for field in self.fields {
            match (field.form, field.message()) {
                (Form::Inline, Some(inner)) => {
                    let said = inner.in_file().into_iter().filter(|one| !field.without.contains(&one.field.file));
                    all.extend(said.map(|one| InFile { inline: Some(field), ..one }));
                }
                _ => all.push(InFile { inline: None, field }),
            }
        }
        let place = |one: &InFile| self.order.iter().position(|name| *name == one.field.file).unwrap_or(usize::MAX);
        all.sort_by_key(place);
        all
    }

    /// The names of its mapping in files, in their order.
    pub fn names(&'static self) -> impl Iterator<Item = &'static str> {
        let mut names: Vec<&'static str> = Vec::new();
        let also = self.also.iter().map(|(name, _)| *name);
        for name in self.in_file().into_iter().map(|one| one.field.file).chain(also) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        let place = |name: &&str| self.order.iter().position(|known| known == name).unwrap_or(usize::MAX);
        names.sort_by_key(place);
        names.into_iter()
    }
}

/// Numbers of the fields of a job that concern only the job: their change restarts no task. In their order.
pub const ONLY_THE_JOBS: [u32; ONLY_THE_JOBS_COUNT] = only_the_jobs();

const ONLY_THE_JOBS_COUNT: usize = {
    let (mut at, mut count) = (0, 0);
    while at < JOB_SPEC.fields.len() {
        if JOB_SPEC.fields[at].concerns_only_job {
            count += 1;
        }
        at += 1;
    }
    count
};

const fn only_the_jobs() -> [u32; ONLY_THE_JOBS_COUNT] {
    let (mut numbers, mut at, mut count) = ([0; ONLY_THE_JOBS_COUNT], 0, 0);
    while at < JOB_SPEC.fields.len() {
        if JOB_SPEC.fields[at].concerns_only_job {
            numbers[count] = JOB_SPEC.fields[at].number;
            count += 1;
        }
        at += 1;
    }
    numbers
}
