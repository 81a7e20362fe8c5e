//! Functions that job files know from Python: json, textwrap, math, exceptions. Not here: whatever reaches outside
//! the evaluation (`host`).

use std::fmt;

use allocative::Allocative;
use starlark::environment::GlobalsBuilder;
use starlark::eval::{Arguments, Evaluator};
use starlark::values::dict::{AllocDict, DictRef};
use starlark::values::float::UnpackFloat;
use starlark::values::list::ListRef;
use starlark::values::tuple::{TupleRef, UnpackTuple};
use starlark::values::{
    Heap, NoSerialize, ProvidesStaticType, StarlarkPagablePanic, StarlarkValue, Value, starlark_value,
};
use starlark::{starlark_module, starlark_simple_value};

use super::FieldFault;

/// Something made by Python code that is not run. It can be made and passed on, and nothing else.
#[derive(Debug, ProvidesStaticType, NoSerialize, Allocative, StarlarkPagablePanic)]
struct Opaque {
    name: String,
}

starlark_simple_value!(Opaque);

impl fmt::Display for Opaque {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{} (Python code, not run)>", self.name)
    }
}

#[starlark_value(type = "opaque")]
impl<'v> StarlarkValue<'v> for Opaque {
    fn invoke(
        &self,
        _me: Value<'v>,
        _args: &Arguments<'v, '_>,
        eval: &mut Evaluator<'v, '_, '_>,
    ) -> starlark::Result<Value<'v>> {
        Ok(eval.heap().alloc(Opaque { name: self.name.clone() }))
    }
}

#[starlark_module]
pub(super) fn functions(builder: &mut GlobalsBuilder) {
    /// Stands for a Python class that is not a struct.
    fn _opaque(#[starlark(require = pos)] name: &str) -> anyhow::Result<Opaque> {
        Ok(Opaque { name: name.to_string() })
    }

    /// Messages of exceptions, for `raise`.
    fn _exception<'v>(#[starlark(args)] args: UnpackTuple<Value<'v>>) -> anyhow::Result<String> {
        Ok(args.items.iter().map(|value| value.to_str()).collect::<Vec<_>>().join(", "))
    }

    /// Python's json.dumps with its default separators.
    fn _json_dumps<'v>(
        #[starlark(require = pos)] value: Value<'v>,
        #[starlark(require = named, default = false)] sort_keys: bool,
    ) -> starlark::Result<String> {
        let mut text = String::new();
        write_json(value, sort_keys, 0, &mut text)?;
        Ok(text)
    }

    fn _json_loads<'v>(#[starlark(require = pos)] text: &str, heap: Heap<'v>) -> starlark::Result<Value<'v>> {
        let tree: serde_json::Value =
            serde_json::from_str(text).map_err(|e| FieldFault::raise("json.loads", "", e.to_string()))?;
        Ok(from_json(&tree, heap))
    }

    /// Takes away the white space that all lines start with.
    fn _dedent(#[starlark(require = pos)] text: &str) -> anyhow::Result<String> {
        Ok(dedent(text))
    }

    fn _ceil(#[starlark(require = pos)] number: UnpackFloat) -> anyhow::Result<i64> {
        Ok(number.0.ceil() as i64)
    }

    fn _floor(#[starlark(require = pos)] number: UnpackFloat) -> anyhow::Result<i64> {
        Ok(number.0.floor() as i64)
    }
}

fn dedent(text: &str) -> String {
    let margin_of = |line: &str| line.len() - line.trim_start_matches([' ', '\t']).len();
    let filled: Vec<&str> = text.split('\n').filter(|line| !line.trim_matches([' ', '\t']).is_empty()).collect();
    let mut margin = filled.first().map_or("", |line| &line[..margin_of(line)]);
    for line in &filled {
        let same = margin.bytes().zip(line.bytes()).take_while(|(a, b)| a == b).count();
        margin = &margin[..same.min(margin_of(line))];
    }
    let shortened = text.split('\n').map(|line| match line.trim_matches([' ', '\t']).is_empty() {
        true => "",
        false => &line[margin.len()..],
    });
    shortened.collect::<Vec<_>>().join("\n")
}

const MAX_JSON_DEPTH: usize = 100;

fn write_json(value: Value, sort_keys: bool, depth: usize, text: &mut String) -> starlark::Result<()> {
    if depth > MAX_JSON_DEPTH {
        return Err(FieldFault::raise("json.dumps", "", format!("nested more than {MAX_JSON_DEPTH} deep")));
    }
    let items = |values: Vec<Value>, text: &mut String| -> starlark::Result<()> {
        text.push('[');
        for (index, item) in values.into_iter().enumerate() {
            text.push_str(if index == 0 { "" } else { ", " });
            write_json(item, sort_keys, depth + 1, text)?;
        }
        text.push(']');
        Ok(())
    };
    if value.is_none() {
        text.push_str("null");
    } else if let Some(flag) = value.unpack_bool() {
        text.push_str(if flag { "true" } else { "false" });
    } else if let Some(string) = value.unpack_str() {
        write_json_text(string, text);
    } else if let Some(list) = ListRef::from_value(value) {
        items(list.iter().collect(), text)?;
    } else if let Some(tuple) = TupleRef::from_value(value) {
        items(tuple.iter().collect(), text)?;
    } else if let Some(dict) = DictRef::from_value(value) {
        let mut pairs: Vec<(String, Value)> = dict.iter().map(|(key, value)| (key.to_str(), value)).collect();
        if sort_keys {
            pairs.sort_by(|(a, _), (b, _)| a.cmp(b));
        }
        text.push('{');
        for (index, (key, value)) in pairs.into_iter().enumerate() {
            text.push_str(if index == 0 { "" } else { ", " });
            write_json_text(&key, text);
            text.push_str(": ");
            write_json(value, sort_keys, depth + 1, text)?;
        }
        text.push('}');
    } else if matches!(value.get_type(), "int" | "float") {
        text.push_str(&value.to_str());
    } else if let Some(instance) = super::Instance::from_value(value) {
        write_json_text(&instance.to_string(), text);
    } else {
        return Err(FieldFault::raise("json.dumps", "", format!("a {} is not JSON", value.get_type())));
    }
    Ok(())
}

fn write_json_text(string: &str, text: &mut String) {
    text.push('"');
    for c in string.chars() {
        match c {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            '\t' => text.push_str("\\t"),
            ' '..='~' => text.push(c),
            _ => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    text.push_str(&format!("\\u{unit:04x}"));
                }
            }
        }
    }
    text.push('"');
}

fn from_json<'v>(tree: &serde_json::Value, heap: Heap<'v>) -> Value<'v> {
    use serde_json::Value as Json;
    match tree {
        Json::Null => Value::new_none(),
        Json::Bool(flag) => Value::new_bool(*flag),
        Json::Number(number) => match number.as_i64() {
            Some(integer) => heap.alloc(integer),
            None => heap.alloc(number.as_f64().unwrap_or(f64::NAN)),
        },
        Json::String(text) => heap.alloc(text.as_str()),
        Json::Array(items) => heap.alloc(items.iter().map(|item| from_json(item, heap)).collect::<Vec<_>>()),
        Json::Object(fields) => {
            heap.alloc(AllocDict(fields.iter().map(|(name, value)| (name.as_str(), from_json(value, heap)))))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::dedent;

    #[test]
    fn dedent_takes_the_margin_all_filled_lines_share() {
        assert_eq!(dedent("\n    a\n      b\n  \n    c"), "\na\n  b\n\nc");
        assert_eq!(dedent("a\n  b"), "a\n  b");
    }
}
