//! Whether an interpolated value is complete: nothing required is missing, every field has its type.
//! Not here: rules between fields.

use super::{At, Node, Obj, Scalar, pytext};
use crate::schema::Type;

/// What is wrong with one field.
#[derive(Clone, Debug)]
pub struct Gap {
    /// Path of the field, such as `task.resources.cpu`.
    pub path: String,
    pub at: Option<At>,
    pub message: String,
}

/// Everything that keeps an interpolated value from being used, in field order.
pub fn check(object: &Obj) -> Vec<Gap> {
    let mut gaps = Vec::new();
    walk(object, "", None, &mut gaps);
    gaps
}

fn walk(object: &Obj, path: &str, at: Option<At>, gaps: &mut Vec<Gap>) {
    match &*object.node {
        Node::Leaf(class, scalar) => {
            if !matches!(
                (class, scalar),
                (Type::String, Scalar::Text(_))
                    | (Type::Integer, Scalar::Int(_))
                    | (Type::Float, Scalar::Float(_))
                    | (Type::Boolean, Scalar::Bool(_))
            ) && !matches!((class, scalar), (Type::Enum(class), Scalar::Text(text)) if class.values.contains(text))
            {
                let message = format!("{} is not {}", pytext::quoted(&scalar.text()), class.described());
                gaps.push(Gap { path: path.into(), at, message });
            }
        }
        Node::List(_, items) => {
            for (index, item) in items.iter().enumerate() {
                walk(item, &format!("{path}[{index}]"), at, gaps);
            }
        }
        Node::Map(_, pairs) => {
            for (key, value) in pairs {
                let name = super::tree::to_json(key);
                let step = format!("{path}[{}]", name.as_str().map_or_else(|| name.to_string(), str::to_string));
                walk(key, &step, at, gaps);
                walk(value, &step, at, gaps);
            }
        }
        Node::Struct(class, slots) => {
            for (field, slot) in class.fields.iter().zip(slots) {
                let dot = if path.is_empty() { "" } else { "." };
                let step = format!("{path}{dot}{}", field.name);
                match slot {
                    Some(slot) => walk(&slot.value, &step, slot.at.or(at), gaps),
                    None if field.signature.required => {
                        let message = format!("is required in {}", class.name);
                        gaps.push(Gap { path: step, at, message });
                    }
                    None => {}
                }
            }
        }
        Node::Choice(_, options) => {
            if let Some(taken) = options.first() {
                walk(taken, path, at, gaps);
            }
        }
    }
}
