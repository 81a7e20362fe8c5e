//! Between the language's values and a configuration's. Not here: which values a field takes (`value::coerce`).

use starlark::values::dict::{AllocDict, DictRef};
use starlark::values::float::UnpackFloat;
use starlark::values::list::ListRef;
use starlark::values::tuple::TupleRef;
use starlark::values::{Heap, UnpackValue, Value, ValueLike};

use super::instance::{Empty, Instance};
use crate::value::coerce::Raw;
use crate::value::{Node, Obj, Scalar};

/// Lists and maps inside each other, at most.
const MAX_DEPTH: usize = 50;

/// A value of the language before it gets a type.
pub fn to_raw(value: Value) -> Raw {
    to_raw_at(value, 0)
}

fn to_raw_at(value: Value, depth: usize) -> Raw {
    if depth > MAX_DEPTH {
        return Raw::Other(format!("value nested more than {MAX_DEPTH} deep"));
    }
    let deeper = |value| to_raw_at(value, depth + 1);
    if value.is_none() {
        Raw::None
    } else if let Some(flag) = value.unpack_bool() {
        Raw::Scalar(Scalar::Bool(flag))
    } else if let Ok(Some(number)) = i64::unpack_value(value) {
        Raw::Scalar(Scalar::Int(number))
    } else if value.get_type() == "float"
        && let Ok(Some(UnpackFloat(number))) = UnpackFloat::unpack_value(value)
    {
        Raw::Scalar(Scalar::Float(number))
    } else if let Some(text) = value.unpack_str() {
        Raw::Scalar(Scalar::Text(text.to_string()))
    } else if let Some(list) = ListRef::from_value(value) {
        Raw::List(list.iter().map(deeper).collect())
    } else if let Some(tuple) = TupleRef::from_value(value) {
        Raw::List(tuple.iter().map(deeper).collect())
    } else if let Some(dict) = DictRef::from_value(value) {
        Raw::Map(dict.iter().map(|(key, value)| (deeper(key), deeper(value))).collect())
    } else if let Some(instance) = Instance::from_value(value) {
        Raw::Object(instance.object().clone())
    } else if value.downcast_ref::<Empty>().is_some() {
        Raw::Empty
    } else {
        Raw::Other(value.get_type().to_string())
    }
}

/// An interpolated value as a plain one: structs and maps as dicts, lists as lists.
pub fn to_plain<'v>(object: &Obj, heap: Heap<'v>) -> Value<'v> {
    match &*object.node {
        Node::Leaf(_, scalar) => scalar_value(scalar, heap),
        Node::List(_, items) => heap.alloc(items.iter().map(|item| to_plain(item, heap)).collect::<Vec<_>>()),
        Node::Map(_, pairs) => {
            heap.alloc(AllocDict(pairs.iter().map(|(key, value)| (to_plain(key, heap), to_plain(value, heap)))))
        }
        Node::Struct(class, slots) => {
            heap.alloc(AllocDict(class.fields.iter().zip(slots).filter_map(|(field, slot)| {
                let value = to_plain(&slot.as_ref()?.value, heap);
                Some((heap.alloc(field.name.as_str()), value))
            })))
        }
        Node::Choice(_, options) => options.first().map_or_else(Value::new_none, |taken| to_plain(taken, heap)),
    }
}

fn scalar_value<'v>(scalar: &Scalar, heap: Heap<'v>) -> Value<'v> {
    match scalar {
        Scalar::Text(text) => heap.alloc(text.as_str()),
        Scalar::Int(number) => heap.alloc(*number),
        Scalar::Float(number) => heap.alloc(*number),
        Scalar::Bool(value) => Value::new_bool(*value),
    }
}
