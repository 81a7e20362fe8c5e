//! Rules between the fields of a job that types can't say: names that must exist, orders that must end.
//! Not here: the scheduler's own rules, which hold for every spec.

use std::collections::BTreeMap;

use super::value::check::Gap;
use super::value::{At, Node, Obj, Scalar};

/// Everything wrong between the fields of an interpolated job.
pub fn check(job: &Obj) -> Vec<Gap> {
    let Some(task) = job.slot("task") else { return Vec::new() };
    let at = |field: &str| task.value.slot(field).and_then(|slot| slot.at);
    let names = names(&task.value);
    let mut gaps = Vec::new();
    if names.is_empty() {
        let message = "is required in Task: a task runs at least one process".to_string();
        gaps.push(Gap { path: "task.processes".into(), at: task.at, message });
    }
    for (index, name) in names.iter().enumerate() {
        if names[..index].contains(name) {
            let message = format!("two processes are called '{name}'");
            gaps.push(Gap { path: format!("task.processes[{index}].name"), at: at("processes"), message });
        }
    }
    orders(&task.value, &names, at("constraints"), &mut gaps);
    gaps
}

fn text(object: &Obj) -> Option<&str> {
    match &*object.node {
        Node::Leaf(_, Scalar::Text(text)) => Some(text),
        _ => None,
    }
}

fn items<'a>(object: &'a Obj, field: &str) -> &'a [Obj] {
    match object.slot(field).map(|slot| &*slot.value.node) {
        Some(Node::List(_, items)) => items,
        _ => &[],
    }
}

fn names(task: &Obj) -> Vec<&str> {
    items(task, "processes").iter().filter_map(|process| text(&process.slot("name")?.value)).collect()
}

fn orders(task: &Obj, names: &[&str], at: Option<At>, gaps: &mut Vec<Gap>) {
    let mut after: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (index, constraint) in items(task, "constraints").iter().enumerate() {
        let order: Vec<&str> = items(constraint, "order").iter().filter_map(text).collect();
        let path = format!("task.constraints[{index}].order");
        for name in order.iter().filter(|name| !names.contains(name)) {
            let hint = match super::errors::nearest(name, names.iter().copied()) {
                Some(near) => format!("did you mean '{near}'?"),
                None => format!("it has {}", names.join(", ")),
            };
            gaps.push(Gap { path: path.clone(), at, message: format!("the task has no process '{name}'; {hint}") });
        }
        for pair in order.windows(2) {
            after.entry(pair[0]).or_default().push(pair[1]);
        }
    }
    if let Some(circle) = circle(&after) {
        let message = format!("the order leads back to itself: {}", circle.join(" → "));
        gaps.push(Gap { path: "task.constraints".into(), at, message });
    }
}

/// A way from a name back to itself.
fn circle<'a>(after: &BTreeMap<&'a str, Vec<&'a str>>) -> Option<Vec<&'a str>> {
    let mut done: Vec<&str> = Vec::new();
    for start in after.keys() {
        let mut way: Vec<(&str, usize)> = vec![(start, 0)];
        while let Some((name, next)) = way.last_mut() {
            let name = *name;
            let Some(target) = after.get(name).and_then(|targets| targets.get(*next)).copied() else {
                done.push(name);
                way.pop();
                continue;
            };
            *next += 1;
            if let Some(from) = way.iter().position(|(name, _)| *name == target) {
                return Some(way[from..].iter().map(|(name, _)| *name).chain([target]).collect());
            }
            if !done.contains(&target) {
                way.push((target, 0));
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_circle_is_found_and_shown_whole() {
        let after = BTreeMap::from([("a", vec!["b"]), ("b", vec!["c", "d"]), ("d", vec!["b"])]);
        assert_eq!(circle(&after), Some(vec!["b", "d", "b"]));
        assert_eq!(circle(&BTreeMap::from([("a", vec!["b", "c"]), ("b", vec!["c"])])), None);
        assert_eq!(circle(&BTreeMap::from([("a", vec!["a"])])), Some(vec!["a", "a"]));
    }
}
