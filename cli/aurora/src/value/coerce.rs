//! From what a file says to typed values: which plain values a type takes, and what it says about the others.
//! Not here: the language's own values, which `language::convert` brings here.

use std::sync::Arc;

use super::{At, Node, Obj, Scalar, Slot, pytext};
use crate::schema::{ChoiceType, EnumType, StructType, Type};
use crate::template;

/// A value before it has a type.
#[derive(Clone, Debug)]
pub enum Raw {
    /// The marker for "not given".
    Empty,
    None,
    Scalar(Scalar),
    List(Vec<Raw>),
    Map(Vec<(Raw, Raw)>),
    Object(Obj),
    /// Something that no field takes, by its type's name.
    Other(String),
}

/// A value that a type doesn't take. `path` leads from the value given to the part that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch {
    pub path: String,
    pub message: String,
}

impl Mismatch {
    fn new(message: String) -> Mismatch {
        Mismatch { path: String::new(), message }
    }

    /// The same, seen from one level further out.
    #[must_use]
    pub fn below(mut self, step: &str) -> Mismatch {
        let dot = if self.path.is_empty() || self.path.starts_with('[') { "" } else { "." };
        self.path = format!("{step}{dot}{}", self.path);
        self
    }
}

/// Gives a value its type.
///
/// # Errors
/// What is wrong with the value, and where in it.
pub fn coerce(class: &Type, raw: &Raw, at: Option<At>) -> Result<Obj, Mismatch> {
    match (class, raw) {
        (Type::Choice(choice), _) => coerce_choice(choice, raw, at),
        (_, Raw::Object(object)) if object.class() == *class => Ok(object.clone()),
        (_, Raw::Object(object)) if matches!(&*object.node, Node::Choice(..)) => {
            let Node::Choice(_, options) = &*object.node else { return Err(refuse(class, raw)) };
            let inner = options.first().ok_or_else(|| refuse(class, raw))?.in_scope(&object.scopes);
            coerce(class, &Raw::Object(inner), at)
        }
        (Type::List(item), _) => coerce_list(class, item, raw, at),
        (Type::Map(pair), _) => coerce_map(class, pair, raw, at),
        (Type::Struct(class), Raw::Map(pairs)) => build(class, &named(class, pairs)?, at),
        (Type::Struct(_), _) => Err(refuse(class, raw)),
        (_, Raw::Scalar(scalar)) => leaf(class, scalar.clone()).map(Obj::new),
        (_, Raw::Object(object)) => match &*object.node {
            Node::Leaf(_, scalar) => {
                Ok(Obj { node: Arc::new(leaf(class, scalar.clone())?), scopes: object.scopes.clone() })
            }
            _ => Err(refuse(class, raw)),
        },
        _ => Err(refuse(class, raw)),
    }
}

/// A new struct with its defaults, and `fields` set.
///
/// # Errors
/// An unknown field, or a value that its field doesn't take.
pub fn build(class: &Arc<StructType>, fields: &[(String, Raw)], at: Option<At>) -> Result<Obj, Mismatch> {
    let defaults = class.fields.iter().map(|f| f.signature.default.clone().map(|value| Slot { value, at: None }));
    let mut slots: Vec<_> = defaults.collect();
    set_fields(class, &mut slots, fields, at)?;
    Ok(Obj::new(Node::Struct(class.clone(), slots)))
}

/// A copy of a struct with `fields` set anew.
///
/// # Errors
/// As for [`build`]; also when the object isn't a struct.
pub fn change(object: &Obj, fields: &[(String, Raw)], at: Option<At>) -> Result<Obj, Mismatch> {
    let Node::Struct(class, slots) = &*object.node else {
        return Err(Mismatch::new(format!("{} can't be called: only structs have fields to set", object.class())));
    };
    let mut slots = slots.clone();
    set_fields(class, &mut slots, fields, at)?;
    Ok(Obj { node: Arc::new(Node::Struct(class.clone(), slots)), scopes: object.scopes.clone() })
}

fn set_fields(
    class: &Arc<StructType>,
    slots: &mut [Option<Slot>],
    fields: &[(String, Raw)],
    at: Option<At>,
) -> Result<(), Mismatch> {
    for (name, raw) in fields {
        let Some(index) = class.position(name) else {
            return Err(Mismatch { path: name.clone(), message: class.unknown(name) });
        };
        slots[index] = match raw {
            Raw::Empty => None,
            raw => {
                let value = coerce(&class.fields[index].signature.class, raw, at).map_err(|e| e.below(name))?;
                Some(Slot { value, at })
            }
        };
    }
    Ok(())
}

fn named(class: &StructType, pairs: &[(Raw, Raw)]) -> Result<Vec<(String, Raw)>, Mismatch> {
    pairs
        .iter()
        .map(|(key, value)| match key {
            Raw::Scalar(Scalar::Text(name)) => Ok((name.clone(), value.clone())),
            other => Err(Mismatch::new(format!("{} is no field name of {}", described(other), class.name))),
        })
        .collect()
}

fn coerce_list(class: &Type, item: &Arc<Type>, raw: &Raw, at: Option<At>) -> Result<Obj, Mismatch> {
    let (values, scopes): (Vec<Raw>, _) = match raw {
        Raw::List(values) => (values.clone(), None),
        Raw::Object(object) => match &*object.node {
            Node::List(_, items) => (items.iter().cloned().map(Raw::Object).collect(), Some(object.scopes.clone())),
            _ => return Err(refuse(class, raw)),
        },
        _ => return Err(refuse(class, raw)),
    };
    let items = values
        .iter()
        .enumerate()
        .map(|(index, value)| coerce(item, value, at).map_err(|e| e.below(&format!("[{index}]"))))
        .collect::<Result<_, _>>()?;
    let mut list = Obj::new(Node::List(item.clone(), items));
    list.scopes = scopes.unwrap_or(list.scopes);
    Ok(list)
}

fn coerce_map(class: &Type, pair: &Arc<(Type, Type)>, raw: &Raw, at: Option<At>) -> Result<Obj, Mismatch> {
    let Raw::Map(entries) = raw else { return Err(refuse(class, raw)) };
    let mut pairs = Vec::with_capacity(entries.len());
    for (key, value) in entries {
        let key = coerce(&pair.0, key, at)?;
        let name = super::tree::to_json(&key).to_string();
        let value = coerce(&pair.1, value, at).map_err(|e| e.below(&format!("[{}]", name.trim_matches('"'))))?;
        pairs.push((key, value));
    }
    Ok(Obj::new(Node::Map(pair.clone(), pairs)))
}

fn coerce_choice(choice: &Arc<ChoiceType>, raw: &Raw, at: Option<At>) -> Result<Obj, Mismatch> {
    if let Raw::Object(object) = raw {
        if object.class() == Type::Choice(choice.clone()) {
            return Ok(object.clone());
        }
        if choice.options.contains(&object.class()) {
            return Ok(Obj::new(Node::Choice(choice.clone(), vec![object.clone()])));
        }
    }
    let tried: Vec<_> = choice.options.iter().map(|option| coerce(option, raw, at)).collect();
    let taken: Vec<Obj> = tried.into_iter().filter_map(Result::ok).collect();
    if taken.is_empty() {
        return Err(refuse(&Type::Choice(choice.clone()), raw));
    }
    Ok(Obj::new(Node::Choice(choice.clone(), taken)))
}

/// A leaf as written. Text with references keeps its form until they are resolved.
fn leaf(class: &Type, scalar: Scalar) -> Result<Node, Mismatch> {
    if let Scalar::Text(text) = &scalar
        && template::has_references(text).map_err(Mismatch::new)?
    {
        return Ok(Node::Leaf(class.clone(), scalar));
    }
    settle(class, &scalar).map(|scalar| Node::Leaf(class.clone(), scalar))
}

/// A plain value as its type holds it, once no reference is left in it.
///
/// # Errors
/// When the type doesn't take the value.
pub fn settle(class: &Type, scalar: &Scalar) -> Result<Scalar, Mismatch> {
    let refused = || Mismatch::new(not_a(class, &shown(scalar)));
    match class {
        Type::String => Ok(Scalar::Text(scalar.text())),
        Type::Integer => match scalar {
            Scalar::Int(_) => Ok(scalar.clone()),
            Scalar::Bool(value) => Ok(Scalar::Int(i64::from(*value))),
            // Towards zero, as Python's int() does; beyond 64 bits is refused.
            Scalar::Float(number) if number.is_finite() && number.abs() < 9.2e18 => Ok(Scalar::Int(*number as i64)),
            Scalar::Float(_) => Err(refused()),
            Scalar::Text(text) => text.trim().parse().map(Scalar::Int).map_err(|_| refused()),
        },
        Type::Float => match scalar {
            Scalar::Float(_) => Ok(scalar.clone()),
            Scalar::Int(number) => Ok(Scalar::Float(*number as f64)),
            Scalar::Bool(value) => Ok(Scalar::Float(f64::from(u8::from(*value)))),
            Scalar::Text(text) => text.trim().parse().map(Scalar::Float).map_err(|_| refused()),
        },
        Type::Boolean => match scalar {
            Scalar::Bool(_) => Ok(scalar.clone()),
            Scalar::Int(number) => Ok(Scalar::Bool(*number != 0)),
            Scalar::Float(number) => Ok(Scalar::Bool(*number != 0.0)),
            Scalar::Text(text) => match text.to_lowercase().as_str() {
                "true" | "1" => Ok(Scalar::Bool(true)),
                "false" | "0" => Ok(Scalar::Bool(false)),
                _ => Err(refused()),
            },
        },
        Type::Enum(options) => settle_enum(options, scalar),
        _ => Err(refused()),
    }
}

fn settle_enum(class: &EnumType, scalar: &Scalar) -> Result<Scalar, Mismatch> {
    let text = scalar.text();
    if class.values.contains(&text) {
        return Ok(Scalar::Text(text));
    }
    let values = class.values.iter().map(String::as_str);
    let hint = match crate::errors::nearest(&text, values) {
        Some(value) => format!("; did you mean '{value}'?"),
        None => String::new(),
    };
    Err(Mismatch::new(format!("{} is not one of {}{hint}", pytext::quoted(&text), class.values.join(", "))))
}

fn refuse(class: &Type, raw: &Raw) -> Mismatch {
    Mismatch::new(not_a(class, &described(raw)))
}

fn not_a(class: &Type, value: &str) -> String {
    format!("{value} is not {}", class.described())
}

fn shown(scalar: &Scalar) -> String {
    match scalar {
        Scalar::Text(text) => pytext::quoted(text),
        other => other.text(),
    }
}

fn described(raw: &Raw) -> String {
    match raw {
        Raw::Empty => "Empty".into(),
        Raw::None => "None".into(),
        Raw::Scalar(scalar) => shown(scalar),
        Raw::List(_) => "a list".into(),
        Raw::Map(_) => "a map".into(),
        Raw::Object(object) => match &*object.node {
            Node::Leaf(_, scalar) => shown(scalar),
            _ => object.class().described(),
        },
        Raw::Other(name) => format!("a {name}"),
    }
}
