//! The fields that say what a job follows and what a template is given.

use dawn_proto::v1;

use super::decode::{Fields, Place, Reader};
use super::node::{Node, Value};

pub const AFTER: &[&str] = &["job", "on"];
pub const PARAMETERS: &[&str] = &["required", "optional", "payload"];

pub const ONS: [(&str, v1::DependsOn); 3] =
    [("success", v1::DependsOn::Success), ("failure", v1::DependsOn::Failure), ("any", v1::DependsOn::AnyEnd)];
pub const PAYLOADS: [(&str, v1::PayloadRule); 3] = [
    ("forbidden", v1::PayloadRule::Forbidden),
    ("optional", v1::PayloadRule::Optional),
    ("required", v1::PayloadRule::Required),
];

/// A list of keys, whose success is waited for, or of mappings; a single one needs no list.
pub fn dependencies(r: &mut Reader, f: &Fields) -> Vec<v1::Dependency> {
    let Some((node, place)) = f.take(r, "after", "dependencies") else { return Vec::new() };
    if !matches!(node.value, Value::List(_) | Value::Null) {
        return dependency(r, node, place.item(0)).into_iter().collect();
    }
    let items = r.items(node, &place).iter().enumerate();
    items.filter_map(|(i, item)| dependency(r, item, place.item(i))).collect()
}

fn dependency(r: &mut Reader, node: &Node, place: Place) -> Option<v1::Dependency> {
    let key = |text: &str| text.parse::<dawn_proto::JobKey>().ok();
    if matches!(node.value, Value::Scalar { .. }) {
        r.remember(&place, node.at);
        let text = r.text(node, &place)?;
        let Some(key) = key(text) else {
            r.wrong(node.at, &place.file, super::job::BAD_KEY);
            return None;
        };
        return Some(v1::Dependency { job: Some((&key).into()), on: v1::DependsOn::Success.into() });
    }
    let f = r.fields(node, place, AFTER)?;
    let job = f.parsed(r, ("job", "job"), |text| key(text).ok_or_else(|| super::job::BAD_KEY.to_string()));
    let on = f.choice(r, "on", &ONS).unwrap_or(v1::DependsOn::Success);
    Some(v1::Dependency { job: job.as_ref().map(Into::into), on: on.into() })
}

pub fn parameters(r: &mut Reader, f: &Fields) -> Option<v1::Parameters> {
    let f = f.fields(r, "parameters", "parameters", PARAMETERS)?;
    let required = f.take(r, "required", "required").map(|(node, place)| r.texts(node, &place));
    Some(v1::Parameters {
        required: required.unwrap_or_default(),
        optional: f.table(r, "optional", "optional"),
        payload: f.choice(r, "payload", &PAYLOADS).map_or(0, Into::into),
    })
}
