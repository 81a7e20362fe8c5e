//! Types as the language sees them: `String`, `List(Process)`, `Required(Integer)`, user-made structs, and calling
//! a type for a value of it. Not here: the vocabulary (`schema/prelude.star`).

use std::fmt;
use std::sync::Arc;

use allocative::Allocative;
use starlark::collections::SmallMap;
use starlark::environment::GlobalsBuilder;
use starlark::eval::{Arguments, Evaluator};
use starlark::values::list_or_tuple::UnpackListOrTuple;
use starlark::values::tuple::UnpackTuple;
use starlark::values::{
    Heap, NoSerialize, ProvidesStaticType, StarlarkPagablePanic, StarlarkValue, UnpackValue, Value, ValueLike,
    starlark_value,
};
use starlark::{starlark_module, starlark_simple_value};

use super::instance::{Empty as NotGiven, Instance};
use super::{FieldFault, convert, place};
use crate::schema::{ChoiceType, EnumType, Field, MAX_DEPTH, Signature, StructType, Type};
use crate::value::Scalar;
use crate::value::coerce::{self, Raw};

/// A type.
#[derive(Debug, ProvidesStaticType, NoSerialize, Allocative, StarlarkPagablePanic)]
pub struct Class(#[allocative(skip)] pub Type);

starlark_simple_value!(Class);

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

#[starlark_value(type = "type")]
impl<'v> StarlarkValue<'v> for Class {
    fn invoke(
        &self,
        _me: Value<'v>,
        args: &Arguments<'v, '_>,
        eval: &mut Evaluator<'v, '_, '_>,
    ) -> starlark::Result<Value<'v>> {
        let at = place(eval);
        let object = match &self.0 {
            Type::Struct(class) => coerce::build(class, &fields(args, eval.heap())?, at),
            class => {
                args.no_named_args()?;
                coerce::coerce(class, &convert::to_raw(args.positional1(eval.heap())?), at)
            }
        };
        let object = object.map_err(|e| FieldFault::raise(&self.0.to_string(), &e.path, e.message))?;
        Ok(eval.heap().alloc(Instance::new(object)))
    }

    fn equals(&self, other: Value<'v>) -> starlark::Result<bool> {
        Ok(Class::from_value(other).is_some_and(|other| other.0 == self.0))
    }
}

/// A call's arguments as fields: named ones, and dicts of them in order.
pub(super) fn fields<'v>(args: &Arguments<'v, '_>, heap: Heap<'v>) -> starlark::Result<Vec<(String, Raw)>> {
    let mut fields = Vec::new();
    for value in args.positions(heap)? {
        let Raw::Map(pairs) = convert::to_raw(value) else {
            let message = format!("takes named fields, such as `name = …`, not a {}", value.get_type());
            return Err(FieldFault::raise("this type", "", message));
        };
        for (key, value) in pairs {
            match key {
                Raw::Scalar(Scalar::Text(name)) => fields.push((name, value)),
                _ => return Err(FieldFault::raise("this type", "", "field names must be strings".into())),
            }
        }
    }
    for (name, value) in args.names_map()? {
        fields.push((name.as_str().to_string(), convert::to_raw(value)));
    }
    Ok(fields)
}

/// `Required(T)` and `Default(T, value)`.
#[derive(Debug, ProvidesStaticType, NoSerialize, Allocative, StarlarkPagablePanic)]
struct Marked(#[allocative(skip)] Signature);

starlark_simple_value!(Marked);

impl fmt::Display for Marked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}({})", if self.0.required { "Required" } else { "Default" }, self.0.class)
    }
}

#[starlark_value(type = "field_type")]
impl<'v> StarlarkValue<'v> for Marked {}

fn class_of(value: Value, whose: &str) -> starlark::Result<Type> {
    match Class::from_value(value) {
        Some(class) if class.0.depth() < MAX_DEPTH => Ok(class.0.clone()),
        Some(_) => Err(FieldFault::raise(whose, "", format!("more than {MAX_DEPTH} types inside each other"))),
        None => Err(FieldFault::raise(whose, "", format!("takes a type, such as String, not a {}", value.get_type()))),
    }
}

/// The plain types, and what marks a field.
#[starlark_module]
pub(super) fn types(builder: &mut GlobalsBuilder) {
    const String: Class = Class(Type::String);
    const Integer: Class = Class(Type::Integer);
    const Float: Class = Class(Type::Float);
    const Boolean: Class = Class(Type::Boolean);
    const Empty: NotGiven = NotGiven;

    /// A list whose elements have one type.
    fn List<'v>(#[starlark(require = pos)] item: Value<'v>) -> starlark::Result<Class> {
        Ok(Class(Type::List(Arc::new(class_of(item, "List")?))))
    }

    /// A map with one type for keys and one for values.
    fn Map<'v>(
        #[starlark(require = pos)] key: Value<'v>,
        #[starlark(require = pos)] value: Value<'v>,
    ) -> starlark::Result<Class> {
        Ok(Class(Type::Map(Arc::new((class_of(key, "Map")?, class_of(value, "Map")?)))))
    }

    /// A field that must be given.
    fn Required<'v>(#[starlark(require = pos)] class: Value<'v>) -> starlark::Result<Marked> {
        Ok(Marked(Signature { class: class_of(class, "Required")?, required: true, default: None }))
    }

    /// A field with a value when it isn't given.
    fn Default<'v>(
        #[starlark(require = pos)] class: Value<'v>,
        #[starlark(require = pos)] default: Value<'v>,
    ) -> starlark::Result<Marked> {
        let class = class_of(class, "Default")?;
        let default = match convert::to_raw(default) {
            Raw::Empty => None,
            raw => {
                Some(coerce::coerce(&class, &raw, None).map_err(|e| FieldFault::raise("Default", &e.path, e.message))?)
            }
        };
        Ok(Marked(Signature { class, required: false, default }))
    }
}

/// Makers of types with parts of their own.
#[starlark_module]
pub(super) fn makers(builder: &mut GlobalsBuilder) {
    /// One of several strings: `Enum("a", "b")` or `Enum("Name", ["a", "b"])`.
    fn Enum<'v>(#[starlark(args)] args: UnpackTuple<Value<'v>>) -> starlark::Result<Class> {
        let raws: Vec<Raw> = args.items.into_iter().map(convert::to_raw).collect();
        let (name, values) = match raws.as_slice() {
            [Raw::Scalar(Scalar::Text(name)), Raw::List(values)] => (name.clone(), texts(values)?),
            values => {
                let values = texts(values)?;
                (format!("Enum_{}", values.join("_")), values)
            }
        };
        Ok(Class(Type::Enum(Arc::new(EnumType { name, values }))))
    }

    /// A value of the first type that takes it: `Choice([A, B])` or `Choice("Name", [A, B])`.
    fn Choice<'v>(#[starlark(args)] args: UnpackTuple<Value<'v>>) -> starlark::Result<Class> {
        let (name, list) = match args.items.as_slice() {
            [list] => (None, *list),
            [name, list] => (name.unpack_str().map(str::to_string), *list),
            _ => return Err(FieldFault::raise("Choice", "", "takes a list of types".into())),
        };
        let items = UnpackListOrTuple::<Value>::unpack_value_err(list)?;
        let options: Vec<Type> =
            items.items.into_iter().map(|item| class_of(item, "Choice")).collect::<Result<_, _>>()?;
        let joined = || format!("Choice_{}", options.iter().map(Type::to_string).collect::<Vec<_>>().join("_"));
        let name = name.unwrap_or_else(joined);
        Ok(Class(Type::Choice(Arc::new(ChoiceType { name, options }))))
    }

    /// A type with named fields: `Struct("Profile", cmd = Required(String), count = Default(Integer, 1))`.
    fn Struct<'v>(
        #[starlark(require = pos)] name: &str,
        #[starlark(kwargs)] fields: SmallMap<String, Value<'v>>,
    ) -> starlark::Result<Class> {
        let mut known = Vec::new();
        for (field, value) in fields {
            let signature = match value.downcast_ref::<Marked>() {
                Some(marked) => marked.0.clone(),
                None => {
                    Signature { class: class_of(value, &format!("{name}.{field}"))?, required: false, default: None }
                }
            };
            known.push(Field { name: field, signature });
        }
        Ok(Class(Type::Struct(Arc::new(StructType { name: name.to_string(), fields: known }))))
    }
}

fn texts(raws: &[Raw]) -> starlark::Result<Vec<String>> {
    raws.iter()
        .map(|raw| match raw {
            Raw::Scalar(Scalar::Text(text)) => Ok(text.clone()),
            _ => Err(FieldFault::raise("Enum", "", "takes strings".into())),
        })
        .collect()
}
