//! The types a configuration is made of. The vocabulary itself is data: `prelude.star`.
//! Not here: values, and how the language sees them.

pub mod json;

use std::fmt;
use std::sync::Arc;

use super::value::Obj;

/// Aurora's vocabulary and its helpers, in the language itself.
pub const PRELUDE: &str = include_str!("prelude.star");

/// The type of a field.
#[derive(Clone, Debug, PartialEq)]
pub enum Type {
    String,
    Integer,
    Float,
    Boolean,
    Enum(Arc<EnumType>),
    List(Arc<Type>),
    Map(Arc<(Type, Type)>),
    Struct(Arc<StructType>),
    Choice(Arc<ChoiceType>),
}

#[derive(Debug, PartialEq)]
pub struct EnumType {
    pub name: String,
    pub values: Vec<String>,
}

/// A value is of the first of the options that takes it.
#[derive(Debug, PartialEq)]
pub struct ChoiceType {
    pub name: String,
    pub options: Vec<Type>,
}

#[derive(Debug, PartialEq)]
pub struct StructType {
    pub name: String,
    pub fields: Vec<Field>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Field {
    pub name: String,
    pub signature: Signature,
}

/// A type with what happens when nothing is given.
#[derive(Clone, Debug, PartialEq)]
pub struct Signature {
    pub class: Type,
    pub required: bool,
    pub default: Option<Obj>,
}

impl StructType {
    pub fn position(&self, field: &str) -> Option<usize> {
        self.fields.iter().position(|f| f.name == field)
    }

    /// "Process has no field `comand`; did you mean `cmdline`?"
    pub fn unknown(&self, field: &str) -> String {
        let names = self.fields.iter().map(|f| f.name.as_str());
        let hint = match super::errors::nearest(field, names.clone()) {
            Some(name) => format!("did you mean `{name}`?"),
            None => format!("it has {}", names.collect::<Vec<_>>().join(", ")),
        };
        format!("{} has no field `{field}`; {hint}", self.name)
    }
}

/// Types inside each other, at most: what a field deep inside can see doubles with each of them.
pub const MAX_DEPTH: usize = 16;

impl Type {
    /// How many types lie inside each other.
    pub fn depth(&self) -> usize {
        let deepest = |types: &mut dyn Iterator<Item = &Type>| types.map(Type::depth).max().unwrap_or(0);
        1 + match self {
            Type::String | Type::Integer | Type::Float | Type::Boolean | Type::Enum(_) => 0,
            Type::List(item) => item.depth(),
            Type::Map(pair) => pair.0.depth().max(pair.1.depth()),
            Type::Struct(class) => deepest(&mut class.fields.iter().map(|field| &field.signature.class)),
            Type::Choice(class) => deepest(&mut class.options.iter()),
        }
    }

    /// With its article, for messages: "an integer", "a list of Process".
    pub fn described(&self) -> String {
        match self {
            Type::String => "a string".into(),
            Type::Integer => "an integer".into(),
            Type::Float => "a float".into(),
            Type::Boolean => "a boolean".into(),
            Type::Enum(class) => format!("one of {}", class.values.join(", ")),
            Type::List(item) => format!("a list of {item}"),
            Type::Map(pair) => format!("a map of {} to {}", pair.0, pair.1),
            Type::Struct(class) => {
                let article = if class.name.starts_with(['A', 'E', 'I', 'O', 'U']) { "an" } else { "a" };
                format!("{article} {}", class.name)
            }
            Type::Choice(class) => class.options.iter().map(Type::described).collect::<Vec<_>>().join(" or "),
        }
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Type::String => f.write_str("String"),
            Type::Integer => f.write_str("Integer"),
            Type::Float => f.write_str("Float"),
            Type::Boolean => f.write_str("Boolean"),
            Type::Enum(class) => f.write_str(&class.name),
            Type::List(item) => write!(f, "List({item})"),
            Type::Map(pair) => write!(f, "Map({}, {})", pair.0, pair.1),
            Type::Struct(class) => f.write_str(&class.name),
            Type::Choice(class) => f.write_str(&class.name),
        }
    }
}
