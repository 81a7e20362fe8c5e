//! Defaults and bounds as the options of job.proto have them: fills in what is not given, refuses what is too small, too large or
//! too many, and words that are not known. Which fields there are, is made at build time (proto/build/bounds.rs).

use super::Errors;
use crate::amounts;
use crate::fields::{self, Default, FieldRules, Kind, Unit};
use crate::v1;

/// A message whose fields have rules.
pub(super) trait Bounded {
    fn bound(&mut self, at: At<'_>, errors: &mut Errors);
}

include!(concat!(env!("OUT_DIR"), "/bounds.rs"));

/// The way to a value; as text only where something is wrong.
#[derive(Clone, Copy)]
pub(super) struct At<'a> {
    outer: Option<&'a At<'a>>,
    part: Part<'a>,
}

#[derive(Clone, Copy)]
enum Part<'a> {
    Field(&'a str),
    Item(usize),
    Named(&'a str),
}

impl<'a> At<'a> {
    /// The whole; empty for a job.
    pub(super) fn root(name: &'a str) -> At<'a> {
        At { outer: None, part: Part::Field(name) }
    }

    fn field<'b>(&'b self, name: &'b str) -> At<'b> {
        At { outer: Some(self), part: Part::Field(name) }
    }

    fn item<'b>(&'b self, i: usize) -> At<'b> {
        At { outer: Some(self), part: Part::Item(i) }
    }

    fn named<'b>(&'b self, name: &'b str) -> At<'b> {
        At { outer: Some(self), part: Part::Named(name) }
    }
}

impl std::fmt::Display for At<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let before = self.outer.map(ToString::to_string).unwrap_or_default();
        match self.part {
            Part::Field(name) | Part::Named(name) if before.is_empty() => f.write_str(name),
            Part::Field(name) | Part::Named(name) => write!(f, "{before}.{name}"),
            Part::Item(i) => write!(f, "{before}[{i}]"),
        }
    }
}

/// A number that stands for itself, or for its default.
fn number<T>(value: &mut T, rules: &FieldRules, at: At<'_>, errors: &mut Errors)
where
    T: Copy + TryFrom<i64>,
    i128: From<T>,
{
    if i128::from(*value) != 0 || rules.is_zero_a_value {
        return within(*value, rules, at, errors);
    }
    if let (Default::Number(default), false) = (rules.default, rules.is_default_conditional)
        && let Ok(default) = T::try_from(default)
    {
        *value = default;
    }
}

fn within(value: impl Into<i128>, rules: &FieldRules, at: At<'_>, errors: &mut Errors) {
    let value = value.into();
    let (low, high) = (rules.min.unwrap_or(0), rules.max.unwrap_or(i64::MAX));
    let is_below = rules.min.is_some_and(|min| value < i128::from(min));
    if !is_below && rules.max.is_none_or(|max| value <= i128::from(max)) {
        return;
    }
    let message = match (rules.hint, rules.noun) {
        ("", "") => {
            format!(
                "{} is not between {} and {}",
                shown(value, rules),
                shown(low.into(), rules),
                shown(high.into(), rules)
            )
        }
        ("", noun) => format!("{} {noun}; at most {} are allowed", shown(value, rules), shown(high.into(), rules)),
        (hint, _) if is_below => format!("{} is below {}; {hint}", shown(value, rules), amount(low, rules)),
        _ => format!("{} is above {}", shown(value, rules), amount(high, rules)),
    };
    errors.at(at.to_string(), message);
}

/// A bound beside which something else is said.
fn amount(bound: i64, rules: &FieldRules) -> String {
    match rules.unit {
        Unit::Size => amounts::bytes(bound.unsigned_abs()),
        _ => shown(bound.into(), rules),
    }
}

fn shown(value: i128, rules: &FieldRules) -> String {
    let unsigned = || u64::try_from(value).unwrap_or(u64::MAX);
    match rules.unit {
        Unit::None => value.to_string(),
        Unit::Size => format!("{value} bytes"),
        Unit::Duration => amounts::duration(unsigned()),
        Unit::Thousandths => amounts::thousandths(unsigned()),
        Unit::Octal => format!("{value:04o}"),
        Unit::Percent => format!("{value} %"),
    }
}

/// A text, or its default where it is empty.
fn text(value: &mut String, rules: &FieldRules, at: At<'_>, errors: &mut Errors) {
    if value.is_empty() && !rules.is_default_conditional {
        value.push_str(rules.default_text());
    }
    longest(value, rules, at, errors);
}

fn longest(value: &str, rules: &FieldRules, at: At<'_>, errors: &mut Errors) {
    let most = rules.max.and_then(|max| usize::try_from(max).ok());
    if let Some(most) = most.filter(|most| value.len() > *most) {
        errors.at(at.to_string(), format!("{} bytes; at most {most} are allowed", value.len()));
    }
}

/// One of the words that there are, or the default where none is said.
fn word(value: &mut i32, rules: &FieldRules, at: At<'_>, errors: &mut Errors) {
    let Kind::Word(words) = rules.kind else { return };
    if *value == 0 && !rules.is_zero_a_value && !rules.is_default_conditional {
        *value = i32::try_from(rules.default_number()).unwrap_or(0);
    }
    if words.iter().any(|(_, known)| known == value) {
        return;
    }
    let all: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
    let message = match (*value, all.split_last()) {
        (0, Some((last, first))) if rules.is_needed => format!("missing: {} or {last}", first.join(", ")),
        (0, _) if rules.is_zero_a_value => format!("is none of {}", all.join(", ")),
        (0, _) => return,
        (unknown, _) => format!("{unknown} is no {}, or none this version knows: {}", rules.file, all.join(", ")),
    };
    errors.at(at.to_string(), message);
}

/// Whether a list or a table has no more items than it may.
fn items(count: usize, rules: &FieldRules, at: At<'_>, errors: &mut Errors) -> bool {
    let Some(most) = rules.max_items.filter(|most| count > *most) else { return true };
    let noun = if rules.noun.is_empty() { rules.file } else { rules.noun };
    errors.at(at.to_string(), format!("{count} {noun}; at most {most} are allowed"));
    false
}
