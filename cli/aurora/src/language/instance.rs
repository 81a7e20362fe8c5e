//! Configuration values as the language sees them: `job(name = …)`, `job.bind(…)`, `job.name()`.
//! Not here: their types (`class`), and the meaning of any of it (`value`, `template`).

use std::fmt;

use allocative::Allocative;
use starlark::collections::SmallMap;
use starlark::environment::{Methods, MethodsBuilder};
use starlark::eval::{Arguments, Evaluator};
use starlark::values::tuple::UnpackTuple;
use starlark::values::{
    Heap, NoSerialize, ProvidesStaticType, StarlarkPagablePanic, StarlarkValue, Value, ValueLike, starlark_value,
};
use starlark::{methods_static, starlark_module, starlark_simple_value};

use super::{FieldFault, convert, place};
use crate::schema::Type;
use crate::template::reference::Ref;
use crate::template::{Context, bindings, interpolate};
use crate::value::coerce::{self, Raw};
use crate::value::scope::{Bound, Scope};
use crate::value::{Node, Obj, tree};

/// A typed value.
#[derive(Debug, ProvidesStaticType, NoSerialize, Allocative, StarlarkPagablePanic)]
pub struct Instance(#[allocative(skip)] Obj);

starlark_simple_value!(Instance);

impl Instance {
    pub fn new(object: Obj) -> Instance {
        Instance(object)
    }

    pub fn object(&self) -> &Obj {
        &self.0
    }

    /// As it stands, with what its own scopes give.
    fn resolved(&self) -> starlark::Result<Obj> {
        resolve(&self.0)
    }
}

fn resolve(object: &Obj) -> starlark::Result<Obj> {
    let class = object.class().to_string();
    interpolate(object, &mut Context::default()).map_err(|fault| FieldFault::raise(&class, &fault.path, fault.message))
}

impl fmt::Display for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let object = self.resolved().unwrap_or_else(|_| self.0.clone());
        match &*object.node {
            Node::Leaf(_, scalar) => f.write_str(&scalar.text()),
            _ => write!(f, "{}({})", object.class(), tree::to_json(&object)),
        }
    }
}

methods_static!(INSTANCE_METHODS = instance_methods);

#[starlark_module]
fn instance_methods(builder: &mut MethodsBuilder) {
    /// A copy in which templates also see these names.
    fn bind<'v>(
        this: &Instance,
        #[starlark(args)] scopes: UnpackTuple<Value<'v>>,
        #[starlark(kwargs)] names: SmallMap<String, Value<'v>>,
    ) -> starlark::Result<Instance> {
        Ok(Instance(this.0.bind(scopes_of(scopes.items, names)?)))
    }

    /// A copy in which templates see these names after those that are bound already.
    fn in_scope<'v>(
        this: &Instance,
        #[starlark(args)] scopes: UnpackTuple<Value<'v>>,
        #[starlark(kwargs)] names: SmallMap<String, Value<'v>>,
    ) -> starlark::Result<Instance> {
        Ok(Instance(this.0.in_scope(&scopes_of(scopes.items, names)?)))
    }

    /// As a plain value: text, number, list or dict.
    fn get<'v>(this: &Instance, heap: Heap<'v>) -> starlark::Result<Value<'v>> {
        Ok(convert::to_plain(&this.resolved()?, heap))
    }

    /// A copy with its templates resolved as far as possible, and the references that remain.
    fn interpolate(this: &Instance) -> starlark::Result<(Instance, Vec<String>)> {
        let mut context = Context::default();
        let done = interpolate(&this.0, &mut context)
            .map_err(|fault| FieldFault::raise(&this.0.class().to_string(), &fault.path, fault.message))?;
        Ok((Instance(done), context.unbound.into_keys().collect()))
    }
}

fn scopes_of<'v>(positional: Vec<Value<'v>>, names: SmallMap<String, Value<'v>>) -> starlark::Result<Vec<Scope>> {
    let mut scopes = Vec::new();
    for value in positional {
        scopes.push(match convert::to_raw(value) {
            Raw::Object(object) if matches!(&*object.node, Node::Struct(..)) => Scope::Object(object),
            Raw::Map(pairs) => {
                let mut table = Vec::new();
                for (key, value) in pairs {
                    add_binding(&mut table, &Ref(vec![]), &key, &value)?;
                }
                bindings(table)
            }
            _ => {
                return Err(FieldFault::raise(
                    "bind",
                    "",
                    format!("takes dicts and structs, not a {}", value.get_type()),
                ));
            }
        });
    }
    if !names.is_empty() {
        let mut table = Vec::new();
        for (name, value) in names {
            let key = Raw::Scalar(crate::value::Scalar::Text(name));
            add_binding(&mut table, &Ref(vec![]), &key, &convert::to_raw(value))?;
        }
        scopes.push(bindings(table));
    }
    Ok(scopes)
}

fn add_binding(table: &mut Vec<(Ref, Bound)>, prefix: &Ref, key: &Raw, value: &Raw) -> starlark::Result<()> {
    let name = match key {
        Raw::Scalar(scalar) => scalar.text(),
        _ => return Err(FieldFault::raise("bind", "", "names must be strings".into())),
    };
    let Some(own) = Ref::parse(&name) else {
        return Err(FieldFault::raise("bind", &name, "is not a name that a template can refer to".into()));
    };
    let full = Ref(prefix.0.iter().chain(&own.0).cloned().collect());
    let bound = match value {
        Raw::Map(pairs) => {
            for (key, value) in pairs {
                add_binding(table, &full, key, value)?;
            }
            return Ok(());
        }
        Raw::Object(object) => Bound::Object(object.clone()),
        Raw::Scalar(scalar) => Bound::Text(scalar.text()),
        Raw::Empty | Raw::None | Raw::List(_) | Raw::Other(_) => {
            let message = "can't be bound: a template can refer to strings, numbers, structs and dicts of them";
            return Err(FieldFault::raise("bind", &name, message.into()));
        }
    };
    table.retain(|(name, _)| *name != full);
    table.push((full, bound));
    Ok(())
}

#[starlark_value(type = "config")]
impl<'v> StarlarkValue<'v> for Instance {
    fn get_methods() -> Option<&'static Methods> {
        Some(INSTANCE_METHODS.methods())
    }

    fn collect_str(&self, collector: &mut String) {
        collector.push_str(&self.to_string());
    }

    fn invoke(
        &self,
        _me: Value<'v>,
        args: &Arguments<'v, '_>,
        eval: &mut Evaluator<'v, '_, '_>,
    ) -> starlark::Result<Value<'v>> {
        let fields = super::class::fields(args, eval.heap())?;
        let class = self.0.class().to_string();
        let object =
            coerce::change(&self.0, &fields, place(eval)).map_err(|e| FieldFault::raise(&class, &e.path, e.message))?;
        Ok(eval.heap().alloc(Instance(object)))
    }

    fn get_attr(&self, attribute: &str, heap: Heap<'v>) -> Option<Value<'v>> {
        let Node::Struct(class, _) = &*self.0.node else { return None };
        let (field, asks) = match attribute.strip_prefix("has_") {
            Some(field) if class.position(field).is_some() => (field, true),
            _ => (attribute, false),
        };
        class.position(field)?;
        Some(heap.alloc(Getter { object: self.0.clone(), field: field.to_string(), asks }))
    }

    fn dir_attr(&self) -> Vec<String> {
        match &*self.0.node {
            Node::Struct(class, _) => class.fields.iter().map(|field| field.name.clone()).collect(),
            _ => Vec::new(),
        }
    }

    fn equals(&self, other: Value<'v>) -> starlark::Result<bool> {
        let Some(other) = Instance::from_value(other) else { return Ok(false) };
        Ok(self.0.class() == other.0.class() && tree::to_json(&self.resolved()?) == tree::to_json(&other.resolved()?))
    }

    fn iterate_collect(&self, heap: Heap<'v>) -> starlark::Result<Vec<Value<'v>>> {
        let object = self.resolved()?;
        match &*object.node {
            Node::List(_, items) => Ok(items.iter().map(|item| heap.alloc(Instance(item.clone()))).collect()),
            Node::Map(_, pairs) => Ok(pairs.iter().map(|(key, _)| heap.alloc(Instance(key.clone()))).collect()),
            _ => Err(FieldFault::raise(&object.class().to_string(), "", "can't be iterated over".into())),
        }
    }

    fn length(&self) -> starlark::Result<i32> {
        match &*self.0.node {
            Node::List(_, items) => Ok(items.len() as i32),
            Node::Map(_, pairs) => Ok(pairs.len() as i32),
            _ => Err(FieldFault::raise(&self.0.class().to_string(), "", "has no length".into())),
        }
    }

    fn at(&self, index: Value<'v>, heap: Heap<'v>) -> starlark::Result<Value<'v>> {
        let object = self.resolved()?;
        let found = match &*object.node {
            Node::List(_, items) => index.unpack_i32().and_then(|number| {
                let from_end = number + if number < 0 { items.len() as i32 } else { 0 };
                items.get(usize::try_from(from_end).ok()?).cloned()
            }),
            Node::Map(_, pairs) => {
                let key = index.to_str();
                pairs.iter().find(|(name, _)| Instance(name.clone()).to_string() == key).map(|(_, value)| value.clone())
            }
            _ => None,
        };
        match found {
            Some(value) => Ok(heap.alloc(Instance(value))),
            None => {
                Err(FieldFault::raise(&object.class().to_string(), "", format!("has no element {}", index.to_repr())))
            }
        }
    }

    fn is_in(&self, other: Value<'v>) -> starlark::Result<bool> {
        let wanted = other.to_str();
        let object = self.resolved()?;
        Ok(match &*object.node {
            Node::List(_, items) => items.iter().any(|item| Instance(item.clone()).to_string() == wanted),
            Node::Map(_, pairs) => pairs.iter().any(|(key, _)| Instance(key.clone()).to_string() == wanted),
            _ => false,
        })
    }

    fn add(&self, rhs: Value<'v>, heap: Heap<'v>) -> Option<starlark::Result<Value<'v>>> {
        let (Node::List(item, items), Raw::List(more)) = (&*self.0.node, list_of(rhs)) else { return None };
        let mut all: Vec<Raw> = items.iter().map(|item| Raw::Object(item.in_scope(&self.0.scopes))).collect();
        all.extend(more);
        let class = Type::List(item.clone());
        let sum = coerce::coerce(&class, &Raw::List(all), None);
        Some(
            sum.map(|list| heap.alloc(Instance(list)))
                .map_err(|e| FieldFault::raise(&class.to_string(), &e.path, e.message)),
        )
    }
}

/// The elements of a list of either kind.
fn list_of(value: Value) -> Raw {
    match convert::to_raw(value) {
        Raw::Object(object) => match &*object.node {
            Node::List(_, items) => Raw::List(items.iter().map(|i| Raw::Object(i.in_scope(&object.scopes))).collect()),
            _ => Raw::Object(object),
        },
        other => other,
    }
}

/// What `job.name` and `job.has_name` give: to be called for the value.
#[derive(Debug, ProvidesStaticType, NoSerialize, Allocative, StarlarkPagablePanic)]
struct Getter {
    #[allocative(skip)]
    object: Obj,
    field: String,
    asks: bool,
}

starlark_simple_value!(Getter);

impl fmt::Display for Getter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<field {} of {}; call it for its value>", self.field, self.object.class())
    }
}

#[starlark_value(type = "field")]
impl<'v> StarlarkValue<'v> for Getter {
    fn invoke(
        &self,
        _me: Value<'v>,
        args: &Arguments<'v, '_>,
        eval: &mut Evaluator<'v, '_, '_>,
    ) -> starlark::Result<Value<'v>> {
        args.no_named_args()?;
        args.no_positional_args(eval.heap())?;
        let slot = self.object.slot(&self.field);
        if self.asks {
            return Ok(Value::new_bool(slot.is_some()));
        }
        match slot {
            None => Ok(eval.heap().alloc(Empty)),
            Some(slot) => {
                let value = resolve(&slot.value.in_scope(&self.object.lookup_scopes()))?;
                Ok(eval.heap().alloc(Instance(value)))
            }
        }
    }
}

/// The marker for a field that is not given.
#[derive(Debug, ProvidesStaticType, NoSerialize, Allocative, StarlarkPagablePanic)]
pub struct Empty;

starlark_simple_value!(Empty);

impl fmt::Display for Empty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Empty")
    }
}

#[starlark_value(type = "Empty")]
impl<'v> StarlarkValue<'v> for Empty {
    fn to_bool(&self) -> bool {
        false
    }

    fn equals(&self, other: Value<'v>) -> starlark::Result<bool> {
        Ok(other.downcast_ref::<Empty>().is_some())
    }
}
