//! From a file to its jobs: every template resolved as far as it goes, every default filled in, every gap named.
//! Not here: the process this runs in (`child`), and Dawn's own job specs (`lower`).

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::errors::{ConfigError, ErrorKind, Position};
use super::language::{self, Host, field_in_call};
use super::limits::Limits;
use super::prepass::{self, Source};
use super::rules;
use super::template::reference::Ref;
use super::template::{self, Context, bindings, interpolate};
use super::value::scope::{Bound, Scope};
use super::value::{At, Node, Obj, check, tree};

/// How a file is evaluated.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Options {
    /// Names and texts bound to every job, as by `--bind profile.cmd=ls`.
    pub binds: Vec<(String, String)>,
    /// The environment variables a file may see. `None`: asking for one is an error.
    pub env: Option<BTreeMap<String, String>>,
    /// The folder below which a file may `open` others. `None`: opening one is an error.
    pub read_below: Option<PathBuf>,
    /// Whether includes may be absolute paths.
    pub include_anywhere: bool,
    pub limits: Limits,
}

impl Options {
    /// Lets files see this process's environment. Variables that are not text are left out.
    #[must_use]
    pub fn allow_env(mut self) -> Options {
        self.env = Some(
            std::env::vars_os().filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?))).collect(),
        );
        self
    }

    /// Lets files open others below the folder of `path`.
    #[must_use]
    pub fn allow_read_beside(mut self, path: &Path) -> Options {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        self.read_below = Some(folder.unwrap_or(Path::new(".")).to_path_buf());
        self
    }
}

/// What a file evaluates to.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Evaluated {
    pub jobs: Vec<EvaluatedJob>,
    /// Lines that the file printed.
    pub printed: Vec<String>,
    /// Parts of the file that have no effect.
    pub notes: Vec<String>,
}

/// One job in Aurora's vocabulary.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct EvaluatedJob {
    /// Every set field, templates resolved, defaults filled in. Sizes in bytes, times in seconds.
    pub tree: Value,
    /// References that nothing is bound to, by name. Some are the agent's to fill in (`thermos.ports[http]`).
    pub unbound: Vec<UnboundReference>,
    /// What keeps the job from being used; empty if nothing.
    pub problems: Vec<Problem>,
}

/// A reference that no scope knows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnboundReference {
    pub reference: String,
    /// The first field that uses it.
    pub path: String,
    pub position: Option<Position>,
    /// The places that were searched, nearest first.
    pub looked_in: Vec<String>,
}

/// What is wrong with one field of a job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    pub path: String,
    pub position: Option<Position>,
    pub message: String,
}

impl EvaluatedJob {
    /// A field of the tree as text, as far down as `path` goes.
    pub fn text(&self, path: &[&str]) -> Option<&str> {
        path.iter().try_fold(&self.tree, |tree, step| tree.get(step))?.as_str()
    }

    /// `cluster/role/environment/name`, unset parts as `?`.
    pub fn key(&self) -> String {
        ["cluster", "role", "environment", "name"].map(|part| self.text(&[part]).unwrap_or("?")).join("/")
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(position) = &self.position {
            write!(f, "{position}: ")?;
        }
        write!(f, "{}: {}", self.path, self.message)
    }
}

impl std::fmt::Display for UnboundReference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(position) = &self.position {
            write!(f, "{position}: ")?;
        }
        write!(f, "{}: {{{{{}}}}} is not bound; {}", self.path, self.reference, self.searched())
    }
}

impl UnboundReference {
    /// "looked in Task's fields, Job's fields, bindings (profile)".
    pub fn searched(&self) -> String {
        format!("looked in {}", self.looked_in.join(", "))
    }
}

/// Evaluates a file in this process. Memory and time of single operations are not bounded; [`crate::evaluate()`] does.
///
/// # Errors
/// What is wrong with the file.
pub fn evaluate_in_process(path: &Path, options: &Options, progress: Option<&File>) -> Result<Evaluated, ConfigError> {
    // Deep calls of the language need more stack than a thread has by default.
    const STACK_BYTES: usize = 64 << 20;
    std::thread::scope(|scope| {
        let work = || evaluate_here(path, options, progress);
        let thread = std::thread::Builder::new().stack_size(STACK_BYTES).spawn_scoped(scope, work);
        let internal = |message: String| ConfigError::new(ErrorKind::Internal, None, message);
        match thread.map(|thread| thread.join()) {
            Ok(Ok(evaluated)) => evaluated,
            Ok(Err(panic)) if is_out_of_memory(&*panic) => {
                let most = options.limits.max_address_space_bytes >> 20;
                let message = format!("stopped: this file needs more than {most} MiB of memory");
                Err(ConfigError::new(ErrorKind::Limit, None, message))
            }
            Ok(Err(_)) => Err(internal("the evaluation broke off; this is a fault of Dawn's".into())),
            Err(error) => Err(internal(format!("no thread for the evaluation: {error}"))),
        }
    })
}

/// The allocator of the language panics where the system's ends the process.
fn is_out_of_memory(panic: &(dyn std::any::Any + Send)) -> bool {
    let said = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    said.is_some_and(|said| ["memory", "alloc", "capacity overflow"].iter().any(|word| said.contains(word)))
}

fn evaluate_here(path: &Path, options: &Options, progress: Option<&File>) -> Result<Evaluated, ConfigError> {
    let bound = command_line_scope(&options.binds)?;
    let source = prepass::prepare(path, &options.limits, options.include_anywhere)?;
    let host = Host { env: options.env.clone().map(Arc::new), read_below: options.read_below.clone() };
    let outcome = language::run(&source, &host, &options.limits, progress)?;
    let mut jobs: Vec<EvaluatedJob> = Vec::new();
    for object in outcome.jobs {
        let bindings = bound.iter().cloned().chain([standard_scope()]).collect();
        let job = finish(&object.bind(bindings), &source)?;
        if let Some(twin) = jobs.iter().find(|other| other.key() == job.key() && !job.key().contains("{{")) {
            let message = format!("two jobs have the key {}", twin.key());
            return Err(ConfigError::new(ErrorKind::Field, position_of(&object, &source, "name"), message));
        }
        jobs.push(job);
    }
    let mut notes = source.notes;
    if outcome.has_hooks {
        notes.push("`hooks` are code of the original client and are not run".into());
    }
    Ok(Evaluated { jobs, printed: outcome.printed, notes })
}

fn command_line_scope(binds: &[(String, String)]) -> Result<Option<Scope>, ConfigError> {
    let mut table = Vec::new();
    for (name, text) in binds {
        let Some(reference) = Ref::parse(name) else {
            let message = format!("--bind {name}=…: not a name that a template can refer to");
            return Err(ConfigError::new(ErrorKind::Field, None, message));
        };
        template::has_references(text)
            .map_err(|message| ConfigError::new(ErrorKind::Field, None, format!("--bind {name}: {message}")))?;
        table.push((reference, Bound::Text(text.clone())));
    }
    Ok((!table.is_empty()).then(|| bindings(table)))
}

/// The names Aurora binds in every job.
fn standard_scope() -> Scope {
    let names = [("mesos.role", "{{role}}"), ("mesos.cluster", "{{cluster}}"), ("thermos.user", "{{role}}")];
    bindings(names.iter().filter_map(|(name, text)| Some((Ref::parse(name)?, Bound::Text(text.to_string())))).collect())
}

fn finish(object: &Obj, source: &Source) -> Result<EvaluatedJob, ConfigError> {
    let mut context = Context::default();
    let done = interpolate(object, &mut context).map_err(|fault| {
        let position = fault.at.and_then(|at| exact_position(source, at, last_field(&fault.path)));
        let position = position.or_else(|| position_of(object, source, "name"));
        let path = if fault.path.is_empty() { "Job" } else { &fault.path };
        ConfigError::new(ErrorKind::Field, position, format!("{path}: {}", fault.message))
    })?;
    let unbound: Vec<UnboundReference> = context
        .unbound
        .into_iter()
        .map(|(reference, place)| UnboundReference {
            position: place.at.and_then(|at| exact_position(source, at, last_field(&place.path))),
            reference,
            path: place.path,
            looked_in: place.looked_in,
        })
        .collect();
    let mut gaps = check::check(&done);
    gaps.extend(rules::check(&done));
    let problems = gaps
        .into_iter()
        .map(|gap| {
            let given = gap.at.and_then(|at| exact_position(source, at, last_field(&gap.path)));
            let culprit = unbound.iter().find(|u| gap.message.contains(&format!("{{{{{}}}}}", u.reference)));
            let message = match culprit {
                Some(unbound) => {
                    format!("{}; {{{{{}}}}} is not bound: {}", gap.message, unbound.reference, unbound.searched())
                }
                None => gap.message,
            };
            Problem { path: gap.path, position: given.or_else(|| position_of(object, source, "name")), message }
        })
        .collect();
    Ok(EvaluatedJob { tree: tree::to_json(&done), unbound, problems })
}

/// `processes` of `task.processes[0]`.
fn last_field(path: &str) -> &str {
    path.split('.').next_back().and_then(|last| last.split('[').next()).unwrap_or("")
}

fn exact_position(source: &Source, at: At, field: &str) -> Option<Position> {
    let exact = field_in_call(&source.text, at, field);
    source.position(exact.line as usize, exact.column as usize)
}

/// Where a struct, or its `field`, was written.
fn position_of(object: &Obj, source: &Source, field: &str) -> Option<Position> {
    let Node::Struct(_, slots) = &*object.node else { return None };
    let named = object.slot(field).and_then(|slot| slot.at);
    let at = named.or_else(|| slots.iter().flatten().find_map(|slot| slot.at))?;
    exact_position(source, at, field)
}
