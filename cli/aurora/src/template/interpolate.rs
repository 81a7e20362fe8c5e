//! Whole values with their templates resolved, and the record of what stayed open.
//! Not here: checking that nothing required is missing (`value::check`).

use std::collections::BTreeMap;

use super::reference::{Ref, Step};
use super::resolve;
use crate::value::coerce::settle;
use crate::value::scope::{Bound, Scope};
use crate::value::{At, Node, Obj, Scalar, Slot};

/// A reference that no scope knows, with the first field that uses it.
#[derive(Clone, Debug)]
pub struct Unbound {
    /// Path of the field, such as `task.processes[0].cmdline`.
    pub path: String,
    pub at: Option<At>,
    /// For people: the places that were searched, nearest first.
    pub looked_in: Vec<String>,
}

/// Why a value can't be interpolated.
#[derive(Clone, Debug)]
pub struct Fault {
    /// Path of the field from the value that was interpolated.
    pub path: String,
    pub at: Option<At>,
    pub message: String,
}

impl Fault {
    pub fn text(message: impl Into<String>) -> Fault {
        Fault { path: String::new(), at: None, message: message.into() }
    }
}

/// What one interpolation has used and found.
pub struct Context {
    /// Work left, in units of about one lookup.
    budget: usize,
    path: Vec<String>,
    places: Vec<Option<At>>,
    within: Vec<Ref>,
    pub unbound: BTreeMap<String, Unbound>,
}

impl Default for Context {
    fn default() -> Self {
        Context { budget: 4_000_000, path: vec![], places: vec![], within: vec![], unbound: BTreeMap::new() }
    }
}

/// References inside the values of references, at most.
const MAX_DEPTH: usize = 40;

impl Context {
    pub(super) fn spend(&mut self, units: usize) -> Result<(), Fault> {
        self.budget =
            self.budget.checked_sub(units).ok_or_else(|| self.fault("its templates are too much work".into()))?;
        Ok(())
    }

    /// Works on the value of a reference: what stays open in it is not recorded, and circles are found.
    pub(super) fn nested<T>(
        &mut self,
        reference: &Ref,
        work: impl FnOnce(&mut Context) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        if self.within.len() >= MAX_DEPTH {
            let chain: Vec<_> = self.within.iter().rev().take(4).rev().map(Ref::to_string).collect();
            return Err(self.fault(format!("its references lead back to themselves: … → {}", chain.join(" → "))));
        }
        self.within.push(reference.clone());
        let done = work(self);
        self.within.pop();
        done
    }

    fn fault(&self, message: String) -> Fault {
        Fault { path: self.joined(), at: self.places.iter().rev().find_map(|at| *at), message }
    }

    fn joined(&self) -> String {
        let mut path = String::new();
        for step in &self.path {
            if !path.is_empty() && !step.starts_with('[') {
                path.push('.');
            }
            path.push_str(step);
        }
        path
    }

    fn step<T>(
        &mut self,
        step: String,
        at: Option<At>,
        work: impl FnOnce(&mut Context) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        self.path.push(step);
        self.places.push(at);
        let done = work(self).map_err(|mut fault| {
            if fault.path.is_empty() {
                fault = self.fault(fault.message);
            }
            fault
        });
        self.path.pop();
        self.places.pop();
        done
    }

    fn record(&mut self, references: Vec<Ref>, scopes: &[Scope]) {
        if !self.within.is_empty() {
            return;
        }
        for reference in references {
            let place = Unbound {
                path: self.joined(),
                at: self.places.iter().rev().find_map(|at| *at),
                looked_in: looked_in(&reference, scopes),
            };
            self.unbound.entry(reference.to_string()).or_insert(place);
        }
    }
}

/// The places a reference was looked for; a bound struct that only lacks the field says so.
fn looked_in(reference: &Ref, scopes: &[Scope]) -> Vec<String> {
    let first = &reference.0[..1];
    if let (Some(Bound::Object(object)), Some(Step::Field(field))) =
        (scopes.iter().find_map(|scope| scope.find(first)), reference.0.get(1))
        && let Node::Struct(class, _) = &*object.node
    {
        return vec![match class.position(field) {
            Some(_) => format!("`{}`, whose {field} is not set", Ref(first.to_vec())),
            None => format!("`{}`: {}", Ref(first.to_vec()), class.unknown(field)),
        }];
    }
    let mut places: Vec<String> = Vec::new();
    for place in scopes.iter().filter_map(Scope::described) {
        if !places.contains(&place) {
            places.push(place);
        }
    }
    places
}

/// Resolves every template in a value as far as its scopes allow.
///
/// # Errors
/// A resolved text that its field doesn't take, references in a circle, or too much work.
pub fn interpolate(object: &Obj, context: &mut Context) -> Result<Obj, Fault> {
    context.spend(1)?;
    match &*object.node {
        Node::Leaf(class, scalar) => {
            let Scalar::Text(text) = scalar else {
                return settle(class, scalar)
                    .map(|s| Obj::new(Node::Leaf(class.clone(), s)))
                    .map_err(|e| Fault::text(e.message));
            };
            let (text, unbound) = resolve(text, &object.scopes, context)?;
            if unbound.is_empty() {
                let settled = settle(class, &Scalar::Text(text)).map_err(|e| Fault::text(e.message))?;
                return Ok(Obj { node: Node::Leaf(class.clone(), settled).into(), scopes: object.scopes.clone() });
            }
            context.record(unbound, &object.scopes);
            Ok(Obj::new(Node::Leaf(class.clone(), Scalar::Text(text))))
        }
        Node::List(item, items) => {
            let items = items.iter().enumerate().map(|(index, value)| {
                context.step(format!("[{index}]"), None, |cx| interpolate(&value.in_scope(&object.scopes), cx))
            });
            Ok(Obj::new(Node::List(item.clone(), items.collect::<Result<_, _>>()?)))
        }
        Node::Map(pair, pairs) => {
            let pairs = pairs.iter().map(|(key, value)| {
                let key = interpolate(&key.in_scope(&object.scopes), context)?;
                let step = format!("[{}]", crate::value::tree::to_json(&key).as_str().unwrap_or("?"));
                let value = context.step(step, None, |cx| interpolate(&value.in_scope(&object.scopes), cx))?;
                Ok((key, value))
            });
            Ok(Obj::new(Node::Map(pair.clone(), pairs.collect::<Result<_, _>>()?)))
        }
        Node::Struct(class, slots) => {
            let scopes = object.lookup_scopes();
            let slots = class.fields.iter().zip(slots).map(|(field, slot)| {
                let Some(Slot { value, at }) = slot else { return Ok(None) };
                let value = context.step(field.name.clone(), *at, |cx| interpolate(&value.in_scope(&scopes), cx))?;
                Ok(Some(Slot { value, at: *at }))
            });
            Ok(Obj::new(Node::Struct(class.clone(), slots.collect::<Result<_, _>>()?)))
        }
        Node::Choice(class, options) => {
            let mut fault = Fault::text(format!("no option of {} takes it", class.name));
            for option in options {
                match interpolate(&option.in_scope(&object.scopes), context) {
                    Ok(taken) => return Ok(Obj::new(Node::Choice(class.clone(), vec![taken]))),
                    Err(why) => fault = why,
                }
            }
            Err(fault)
        }
    }
}
