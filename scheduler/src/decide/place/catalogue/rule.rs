//! One constraint against one attribute's values. Not here: limits, which look at the job's other tasks.

use std::cmp::Ordering;

use dawn_proto::v1::Comparison;

use crate::model::{Rule, whole_regex};

/// A rule made ready to be asked about texts.
#[derive(Clone, Debug)]
pub enum TextRule {
    Exists,
    OneOf(Vec<String>),
    NoneOf(Vec<String>),
    Regex(Box<regex_lite::Regex>),
    Number(Comparison, String),
    Version(Comparison, String),
    /// An expression that slipped past the door: matches nothing.
    Never,
}

impl TextRule {
    /// None for a limit.
    pub fn new(rule: &Rule) -> Option<TextRule> {
        Some(match rule {
            Rule::OneOf(values) => TextRule::OneOf(values.clone()),
            Rule::NoneOf(values) => TextRule::NoneOf(values.clone()),
            Rule::Exists => TextRule::Exists,
            Rule::Regex(expression) => {
                whole_regex(expression).map_or(TextRule::Never, |regex| TextRule::Regex(Box::new(regex)))
            }
            Rule::Number(op, value) => TextRule::Number(*op, value.clone()),
            Rule::Version(op, value) => TextRule::Version(*op, value.clone()),
            Rule::Limit(_) => return None,
        })
    }

    /// Whether one value satisfies it; for `NoneOf` whether it does not offend.
    pub fn accepts(&self, value: &str) -> bool {
        match self {
            TextRule::Exists => true,
            TextRule::OneOf(values) => values.iter().any(|wanted| wanted == value),
            TextRule::NoneOf(values) => values.iter().all(|refused| refused != value),
            TextRule::Regex(regex) => regex.is_match(value),
            TextRule::Number(op, wanted) => numbers(value, wanted).is_some_and(|order| holds(*op, order)),
            TextRule::Version(op, wanted) => versions(value, wanted).is_some_and(|order| holds(*op, order)),
            TextRule::Never => false,
        }
    }

    /// What an agent without the attribute gets.
    pub fn accepts_absence(&self) -> bool {
        matches!(self, TextRule::NoneOf(_))
    }

    /// Whether every value must be accepted, not only one.
    pub fn wants_all(&self) -> bool {
        matches!(self, TextRule::NoneOf(_))
    }
}

fn holds(op: Comparison, order: Ordering) -> bool {
    match op {
        Comparison::Unspecified => false,
        Comparison::Less => order.is_lt(),
        Comparison::LessOrEqual => order.is_le(),
        Comparison::Equal => order.is_eq(),
        Comparison::GreaterOrEqual => order.is_ge(),
        Comparison::Greater => order.is_gt(),
    }
}

/// Compares decimal numbers exactly, as texts. None when one is no number.
pub fn numbers(left: &str, right: &str) -> Option<Ordering> {
    let (left, right) = (Decimal::parse(left)?, Decimal::parse(right)?);
    Some(match (left.negative, right.negative) {
        (false, true) => Ordering::Greater,
        (true, false) => Ordering::Less,
        (false, false) => left.size(&right),
        (true, true) => right.size(&left),
    })
}

struct Decimal<'a> {
    negative: bool,
    /// Without leading zeros.
    whole: &'a str,
    /// Without trailing zeros.
    part: &'a str,
}

impl<'a> Decimal<'a> {
    fn parse(text: &'a str) -> Option<Decimal<'a>> {
        let (negative, digits) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
        let digits_only = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if whole.len() + part.len() == 0 || !digits_only(whole) || !digits_only(part) {
            return None;
        }
        let (whole, part) = (whole.trim_start_matches('0'), part.trim_end_matches('0'));
        Some(Decimal { negative: negative && whole.len() + part.len() > 0, whole, part })
    }

    fn size(&self, other: &Decimal<'_>) -> Ordering {
        (self.whole.len(), self.whole, self.part).cmp(&(other.whole.len(), other.whole, other.part))
    }
}

/// Compares dotted versions part by part, numbers as numbers, a missing part as 0; a leading "v" is skipped and what
/// follows a "-" or "+" is left out. None when one has a part that is no number.
pub fn versions(left: &str, right: &str) -> Option<Ordering> {
    let parts = |text: &str| -> Option<Vec<u64>> {
        let text = text.strip_prefix('v').unwrap_or(text);
        let text = text.split(['-', '+']).next().unwrap_or_default();
        let mut parts = text.split('.').map(|part| part.parse().ok()).collect::<Option<Vec<u64>>>()?;
        while parts.last() == Some(&0) {
            parts.pop();
        }
        Some(parts)
    };
    Some(parts(left)?.cmp(&parts(right)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_compare_exactly_whatever_their_length() {
        for (left, right, order) in [
            ("10", "9", Ordering::Greater),
            ("1.50", "1.5", Ordering::Equal),
            ("-0", "0.0", Ordering::Equal),
            ("-2", "-10", Ordering::Greater),
            ("0.1", "0.09", Ordering::Greater),
            ("123456789012345678901234567890", "123456789012345678901234567891", Ordering::Less),
        ] {
            assert_eq!(numbers(left, right), Some(order), "{left} {right}");
        }
        for text in ["", ".", "1e3", "0x10", "1.2.3", "--1", "nan"] {
            assert_eq!(numbers(text, "1"), None, "{text:?}");
        }
    }

    #[test]
    fn versions_compare_part_by_part() {
        for (left, right, order) in [
            ("1.10", "1.9.9", Ordering::Greater),
            ("v6.1.0-21-amd64", "6.1", Ordering::Equal),
            ("6.0.99", "6.1", Ordering::Less),
        ] {
            assert_eq!(versions(left, right), Some(order), "{left} {right}");
        }
        assert_eq!(versions("six", "6"), None);
    }

    #[test]
    fn a_regex_matches_whole_values_and_can_not_run_away() {
        let rule = TextRule::new(&Rule::Regex("r(1|2)".into())).unwrap();
        assert!(rule.accepts("r1") && !rule.accepts("r12") && !rule.accepts("xr1"));
        let evil = TextRule::new(&Rule::Regex("(a+)+b".into())).unwrap();
        assert!(!evil.accepts(&"a".repeat(255)));
    }

    #[test]
    fn lacking_an_attribute_satisfies_only_none_of() {
        assert!(TextRule::new(&Rule::NoneOf(vec!["a".into()])).unwrap().accepts_absence());
        assert!(!TextRule::new(&Rule::Exists).unwrap().accepts_absence());
        assert!(TextRule::new(&Rule::Limit(1)).is_none());
    }
}
