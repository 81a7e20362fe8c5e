//! What a configuration may learn from the machine, each only when allowed: environment variables and files.
//! Not here: includes, which are part of the source.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Read;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use allocative::Allocative;
use starlark::environment::{Methods, MethodsBuilder, Module};
use starlark::eval::{Arguments, Evaluator};
use starlark::values::structs::AllocStruct;
use starlark::values::{
    Heap, NoSerialize, ProvidesStaticType, StarlarkPagablePanic, StarlarkValue, Value, starlark_value,
};
use starlark::{methods_static, starlark_module, starlark_simple_value};

use super::FieldFault;

/// What is allowed.
#[derive(Clone, Debug, Default)]
pub struct Host {
    /// The variables to be seen; `None`: reading them is not allowed.
    pub env: Option<Arc<BTreeMap<String, String>>>,
    /// The folder below which files may be read; `None`: reading files is not allowed.
    pub read_below: Option<PathBuf>,
}

/// Largest file that `open` reads.
const MAX_FILE_BYTES: u64 = 1 << 20;

impl Host {
    /// Defines `os`, `getpass` and `open`.
    pub(super) fn define(&self, module: &Module) {
        let heap = module.heap();
        let function = |which| heap.alloc(HostFunction { which, host: self.clone() });
        let environ = heap.alloc(Environ { env: self.env.clone() });
        let path = module.get("posixpath").unwrap_or_else(Value::new_none);
        let getenv = function(Which::Getenv);
        module.set("os", heap.alloc(AllocStruct([("environ", environ), ("getenv", getenv), ("path", path)])));
        module.set("getpass", heap.alloc(AllocStruct([("getuser", function(Which::Getuser))])));
        module.set("open", function(Which::Open));
    }

    fn variable(&self, function: &str, name: &str) -> starlark::Result<Option<String>> {
        variable(&self.env, function, name)
    }

    fn read(&self, path: &str) -> starlark::Result<String> {
        let refuse = |message: String| FieldFault::raise(&format!("open('{path}')"), "", message);
        let Some(root) = &self.read_below else {
            return Err(refuse("reading files is not allowed; allow it with --allow-read".into()));
        };
        let inside = Path::new(path).components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
        if !inside {
            return Err(refuse(format!("only files below {} can be read", root.display())));
        }
        let open = || -> std::io::Result<String> {
            let full = root.join(path).canonicalize()?;
            if !full.starts_with(root.canonicalize()?) || !full.is_file() {
                return Err(std::io::Error::other(format!("not a file below {}", root.display())));
            }
            let mut text = String::new();
            let read = std::fs::File::open(full)?.take(MAX_FILE_BYTES + 1).read_to_string(&mut text)?;
            match read as u64 > MAX_FILE_BYTES {
                true => Err(std::io::Error::other(format!("larger than {MAX_FILE_BYTES} bytes"))),
                false => Ok(text),
            }
        };
        open().map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => refuse(format!("no such file below {}", root.display())),
            _ => refuse(error.to_string()),
        })
    }
}

fn variable(
    env: &Option<Arc<BTreeMap<String, String>>>,
    function: &str,
    name: &str,
) -> starlark::Result<Option<String>> {
    match env {
        Some(env) => Ok(env.get(name).cloned()),
        None => {
            let message = format!("reading the environment ({name}) is not allowed; allow it with --allow-env");
            Err(FieldFault::raise(function, "", message))
        }
    }
}

/// `os.environ`: the variables, by name.
#[derive(Debug, ProvidesStaticType, NoSerialize, Allocative, StarlarkPagablePanic)]
struct Environ {
    #[allocative(skip)]
    env: Option<Arc<BTreeMap<String, String>>>,
}

starlark_simple_value!(Environ);

impl fmt::Display for Environ {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("os.environ")
    }
}

methods_static!(ENVIRON_METHODS = environ_methods);

#[starlark_module]
fn environ_methods(builder: &mut MethodsBuilder) {
    fn get<'v>(
        this: &Environ,
        #[starlark(require = pos)] name: &str,
        default: Option<Value<'v>>,
        heap: Heap<'v>,
    ) -> starlark::Result<Value<'v>> {
        Ok(match variable(&this.env, "os.environ", name)? {
            Some(value) => heap.alloc(value),
            None => default.unwrap_or_else(Value::new_none),
        })
    }
}

#[starlark_value(type = "environ")]
impl<'v> StarlarkValue<'v> for Environ {
    fn get_methods() -> Option<&'static Methods> {
        Some(ENVIRON_METHODS.methods())
    }

    fn at(&self, index: Value<'v>, heap: Heap<'v>) -> starlark::Result<Value<'v>> {
        let name = index.to_str();
        match variable(&self.env, "os.environ", &name)? {
            Some(value) => Ok(heap.alloc(value)),
            None => Err(FieldFault::raise("os.environ", "", format!("the variable {name} is not set"))),
        }
    }

    fn is_in(&self, other: Value<'v>) -> starlark::Result<bool> {
        Ok(variable(&self.env, "os.environ", &other.to_str())?.is_some())
    }
}

#[derive(Clone, Copy, Debug)]
enum Which {
    Getenv,
    Getuser,
    Open,
}

/// A function that needs to know what is allowed.
#[derive(Debug, ProvidesStaticType, NoSerialize, Allocative, StarlarkPagablePanic)]
struct HostFunction {
    #[allocative(skip)]
    which: Which,
    #[allocative(skip)]
    host: Host,
}

starlark_simple_value!(HostFunction);

impl fmt::Display for HostFunction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<function {:?}>", self.which)
    }
}

#[starlark_value(type = "function")]
impl<'v> StarlarkValue<'v> for HostFunction {
    fn invoke(
        &self,
        _me: Value<'v>,
        args: &Arguments<'v, '_>,
        eval: &mut Evaluator<'v, '_, '_>,
    ) -> starlark::Result<Value<'v>> {
        let heap = eval.heap();
        let given: Vec<Value> = args.positions(heap)?.collect();
        let first = || given.first().and_then(|value| value.unpack_str());
        match self.which {
            Which::Getenv => {
                let name = first().ok_or_else(|| FieldFault::raise("os.getenv", "", "takes a name".into()))?;
                Ok(match self.host.variable("os.getenv", name)? {
                    Some(value) => heap.alloc(value),
                    None => given.get(1).copied().unwrap_or_else(Value::new_none),
                })
            }
            Which::Getuser => {
                for name in ["LOGNAME", "USER", "LNAME", "USERNAME"] {
                    if let Some(user) = self.host.variable("getpass.getuser", name)? {
                        return Ok(heap.alloc(user));
                    }
                }
                let message = "none of LOGNAME, USER, LNAME and USERNAME is set";
                Err(FieldFault::raise("getpass.getuser", "", message.into()))
            }
            Which::Open => {
                let path = first().ok_or_else(|| FieldFault::raise("open", "", "takes a path".into()))?;
                if given.get(1).is_some_and(|mode| !matches!(mode.unpack_str(), Some("r" | "rt"))) {
                    return Err(FieldFault::raise("open", "", "files can only be read".into()));
                }
                Ok(heap.alloc(OpenFile { text: self.host.read(path)? }))
            }
        }
    }
}

/// An open file, read as a whole.
#[derive(Debug, ProvidesStaticType, NoSerialize, Allocative, StarlarkPagablePanic)]
struct OpenFile {
    text: String,
}

starlark_simple_value!(OpenFile);

impl fmt::Display for OpenFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<file>")
    }
}

methods_static!(FILE_METHODS = file_methods);

#[starlark_module]
fn file_methods(builder: &mut MethodsBuilder) {
    fn read(this: &OpenFile) -> anyhow::Result<String> {
        Ok(this.text.clone())
    }

    fn readlines(this: &OpenFile) -> anyhow::Result<Vec<String>> {
        Ok(this.text.split_inclusive('\n').map(str::to_string).collect())
    }

    fn close(#[starlark(this)] _this: &OpenFile) -> anyhow::Result<starlark::values::none::NoneType> {
        Ok(starlark::values::none::NoneType)
    }
}

#[starlark_value(type = "file")]
impl<'v> StarlarkValue<'v> for OpenFile {
    fn get_methods() -> Option<&'static Methods> {
        Some(FILE_METHODS.methods())
    }

    fn iterate_collect(&self, heap: Heap<'v>) -> starlark::Result<Vec<Value<'v>>> {
        Ok(self.text.split_inclusive('\n').map(|line| heap.alloc(line)).collect())
    }
}
