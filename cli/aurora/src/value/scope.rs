//! What a template can see: bindings, the fields around it, and the way to a named value in them.
//! Not here: the text of templates.

use std::sync::Arc;

use super::{Node, Obj, Scalar};
use crate::template::reference::{Ref, Step};

/// A bound value.
#[derive(Clone, Debug)]
pub enum Bound {
    Text(String),
    Object(Obj),
}

/// A place where references are looked up.
#[derive(Clone, Debug)]
pub enum Scope {
    /// Names bound by `.bind(…)` or on the command line.
    Bindings(Arc<Vec<(Ref, Bound)>>),
    /// The fields of a struct, by name.
    Fields(Obj),
    /// A whole value, bound without a name.
    Object(Obj),
    /// Another scope under one more name: `self`, `super`.
    Below(&'static str, Arc<Scope>),
}

impl Scope {
    pub fn find(&self, path: &[Step]) -> Option<Bound> {
        match self {
            Scope::Bindings(table) => find_in_table(table, path),
            Scope::Fields(object) => {
                let (Step::Field(name), rest) = path.split_first()? else { return None };
                let value = &object.slot(name)?.value;
                if rest.is_empty() { Some(Bound::Object(value.clone())) } else { find_in(value, rest) }
            }
            Scope::Object(object) => find_in(object, path),
            Scope::Below(name, inner) => {
                let (first, rest) = path.split_first()?;
                if !matches!(first, Step::Field(field) if field == name) || rest.is_empty() {
                    return None;
                }
                inner.find(rest)
            }
        }
    }

    /// For messages: what this place is. `self` and `super` are other names for places that are named anyway.
    pub fn described(&self) -> Option<String> {
        match self {
            Scope::Bindings(table) => {
                // Names under `mesos` and `thermos` are bound everywhere and explain nothing.
                let own = |name: &Ref| !matches!(&name.0[..], [Step::Field(f), ..] if f == "mesos" || f == "thermos");
                let names = table.iter().filter(|(name, _)| own(name)).take(8).map(|(name, _)| name.to_string());
                let names: Vec<_> = names.collect();
                (!names.is_empty()).then(|| format!("bindings ({})", names.join(", ")))
            }
            Scope::Fields(object) | Scope::Object(object) => match &*object.node {
                Node::Struct(class, _) => Some(format!("{}'s fields", class.name)),
                _ => None,
            },
            Scope::Below(..) => None,
        }
    }
}

fn find_in_table(table: &[(Ref, Bound)], path: &[Step]) -> Option<Bound> {
    if let Some((_, bound)) = table.iter().find(|(name, _)| name.0 == path) {
        return Some(bound.clone());
    }
    let mut above: Vec<_> = table.iter().filter(|(name, _)| path.starts_with(&name.0)).collect();
    above.sort_by_key(|(name, _)| std::cmp::Reverse(name.0.len()));
    above.into_iter().find_map(|(name, bound)| match bound {
        Bound::Object(object) => find_in(object, &path[name.0.len()..]),
        Bound::Text(_) => None,
    })
}

/// The value at `path` below an object, with the scopes it has there.
fn find_in(object: &Obj, path: &[Step]) -> Option<Bound> {
    let (first, rest) = path.split_first()?;
    let child = match (&*object.node, first) {
        (Node::Struct(..), Step::Field(name)) => object.slot(name)?.value.clone(),
        (Node::List(_, items), Step::Index(index)) => items.get(index.parse::<usize>().ok()?)?.clone(),
        (Node::Map(_, pairs), Step::Index(key)) => {
            pairs.iter().find(|(name, _)| is_key(name, key)).map(|(_, value)| value.clone())?
        }
        (Node::Choice(_, options), _) => {
            return options.first()?.in_scope(&object.scopes).find(path);
        }
        _ => return None,
    };
    let child = child.in_scope(&object.lookup_scopes());
    if rest.is_empty() { Some(Bound::Object(child)) } else { find_in(&child, rest) }
}

fn is_key(name: &Obj, key: &str) -> bool {
    match &*name.node {
        Node::Leaf(_, Scalar::Text(text)) => text == key,
        Node::Leaf(_, Scalar::Int(number)) => key.parse() == Ok(*number),
        _ => false,
    }
}

impl Obj {
    /// The value at `path`, with the scopes it has there.
    pub fn find(&self, path: &[Step]) -> Option<Bound> {
        find_in(self, path)
    }
}
