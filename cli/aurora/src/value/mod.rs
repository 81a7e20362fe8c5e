//! Values of a configuration: immutable trees of typed fields, each with the bindings it carries.
//! Not here: where values come from (`language`) and how templates in them resolve (`template`).

pub mod check;
pub mod coerce;
pub mod pytext;
pub mod scope;
pub mod tree;

use std::sync::Arc;

use self::scope::Scope;
use super::schema::{ChoiceType, StructType, Type};

/// Where something was written: line and column of the prepared source, from zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct At {
    pub line: u32,
    pub column: u32,
}

/// A plain value. Text in a number's place waits for its template.
#[derive(Clone, Debug, PartialEq)]
pub enum Scalar {
    Text(String),
    Int(i64),
    Float(f64),
    Bool(bool),
}

/// A field's value and where it was given; a default has no place.
#[derive(Clone, Debug)]
pub struct Slot {
    pub value: Obj,
    pub at: Option<At>,
}

#[derive(Debug)]
pub enum Node {
    Leaf(Type, Scalar),
    List(Arc<Type>, Vec<Obj>),
    Map(Arc<(Type, Type)>, Vec<(Obj, Obj)>),
    /// One slot for each field of the type.
    Struct(Arc<StructType>, Vec<Option<Slot>>),
    /// Every option that takes the value as written; the first that also takes it interpolated counts.
    Choice(Arc<ChoiceType>, Vec<Obj>),
}

/// A typed value with the scopes bound to it, innermost first.
#[derive(Clone, Debug)]
pub struct Obj {
    pub node: Arc<Node>,
    pub scopes: Arc<[Scope]>,
}

impl Obj {
    pub fn new(node: Node) -> Obj {
        Obj { node: Arc::new(node), scopes: Arc::new([]) }
    }

    pub fn class(&self) -> Type {
        match &*self.node {
            Node::Leaf(class, _) => class.clone(),
            Node::List(item, _) => Type::List(item.clone()),
            Node::Map(pair, _) => Type::Map(pair.clone()),
            Node::Struct(class, _) => Type::Struct(class.clone()),
            Node::Choice(class, _) => Type::Choice(class.clone()),
        }
    }

    /// The same value with `scopes` nearer than those it has; the last one given is the nearest.
    pub fn bind(&self, scopes: Vec<Scope>) -> Obj {
        let all = scopes.into_iter().rev().chain(self.scopes.iter().cloned()).collect();
        Obj { node: self.node.clone(), scopes: all }
    }

    /// The same value with `scopes` further away than those it has.
    pub fn in_scope(&self, scopes: &[Scope]) -> Obj {
        if scopes.is_empty() {
            return self.clone();
        }
        Obj { node: self.node.clone(), scopes: self.scopes.iter().chain(scopes).cloned().collect() }
    }

    /// The slot of a struct's field, if it is set.
    pub fn slot(&self, field: &str) -> Option<&Slot> {
        match &*self.node {
            Node::Struct(class, slots) => slots[class.position(field)?].as_ref(),
            _ => None,
        }
    }

    /// Where names in this value's fields are looked up, nearest first.
    pub fn lookup_scopes(&self) -> Arc<[Scope]> {
        match &*self.node {
            Node::Struct(..) => {
                let own = Scope::Fields(Obj { node: self.node.clone(), scopes: Arc::new([]) });
                let outer = self.scopes.iter().map(|scope| Scope::Below("super", Arc::new(scope.clone())));
                [Scope::Below("self", Arc::new(own.clone())), own]
                    .into_iter()
                    .chain(self.scopes.iter().cloned())
                    .chain(outer)
                    .collect()
            }
            _ => self.scopes.clone(),
        }
    }
}

impl PartialEq for Obj {
    /// By type and content as written, bindings left out.
    fn eq(&self, other: &Obj) -> bool {
        match (&*self.node, &*other.node) {
            (Node::Leaf(a, x), Node::Leaf(b, y)) => a == b && x == y,
            (Node::List(a, x), Node::List(b, y)) => a == b && x == y,
            (Node::Map(a, x), Node::Map(b, y)) => a == b && x == y,
            (Node::Choice(a, x), Node::Choice(b, y)) => a == b && x == y,
            (Node::Struct(a, x), Node::Struct(b, y)) => {
                a == b
                    && x.iter()
                        .zip(y)
                        .all(|(x, y)| x.as_ref().map(|slot| &slot.value) == y.as_ref().map(|slot| &slot.value))
            }
            _ => false,
        }
    }
}
