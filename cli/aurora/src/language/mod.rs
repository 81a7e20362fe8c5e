//! The language: Starlark with configuration values, run within bounds. Not here: making files into Starlark
//! (`prepass`), and what the resulting values mean (`value`, `template`).

mod builtins;
mod class;
mod convert;
mod faults;
mod host;
mod instance;
mod locate;

use std::cell::{Cell, RefCell};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::rc::Rc;
use std::sync::OnceLock;

use anyhow::Context as _;
use starlark::PrintHandler;
use starlark::codemap::FileSpanRef;
use starlark::environment::{FrozenModule, Globals, GlobalsBuilder, LibraryExtension, Module};
use starlark::eval::{BeforeStmtFunc, BeforeStmtFuncDyn, Evaluator};
use starlark::syntax::{AstModule, Dialect, DialectTypes};

pub use self::faults::FieldFault;
pub use self::host::Host;
pub use self::instance::Instance;
pub use self::locate::field_in_call;
use super::errors::{ConfigError, ErrorKind, Position};
use super::limits::Limits;
use super::prepass::Source;
use super::schema::PRELUDE;
use super::value::coerce::Raw;
use super::value::{At, Obj};

/// Names under which the two sources appear in spans.
const PRELUDE_NAME: &str = "<dawn>";
const SOURCE_NAME: &str = "<configuration>";

/// What a run leaves behind.
#[derive(Debug)]
pub struct Outcome {
    pub jobs: Vec<Obj>,
    /// Lines that `print` wrote.
    pub printed: Vec<String>,
    /// Whether client hooks are defined, which nobody runs.
    pub has_hooks: bool,
}

fn dialect() -> Dialect {
    Dialect {
        enable_load: false,
        enable_keyword_only_arguments: true,
        enable_types: DialectTypes::Disable,
        enable_top_level_stmt: true,
        enable_f_strings: true,
        ..Dialect::Standard
    }
}

fn globals() -> Globals {
    use LibraryExtension::{Filter, Map, Partial, Print, SetType, StructType};
    GlobalsBuilder::extended_by(&[Filter, Map, Partial, Print, SetType, StructType])
        .with(class::types)
        .with(class::makers)
        .with(builtins::functions)
        .build()
}

/// Aurora's vocabulary, evaluated once for the process.
pub fn prelude() -> Result<&'static FrozenModule, ConfigError> {
    static PRELUDE_MODULE: OnceLock<Result<FrozenModule, String>> = OnceLock::new();
    let evaluated = PRELUDE_MODULE.get_or_init(|| {
        Module::with_temp_heap(|module| {
            let ast = AstModule::parse(PRELUDE_NAME, PRELUDE.to_string(), &dialect()).map_err(|e| e.to_string())?;
            Evaluator::new(&module).eval_module(ast, &globals()).map_err(|e| e.to_string())?;
            module.freeze().map_err(|e| format!("{e:?}"))
        })
    });
    evaluated.as_ref().map_err(|message| ConfigError::new(ErrorKind::Internal, None, message.clone()))
}

/// Evaluates a prepared source to its `jobs`. `progress` receives the line of the statement being run, for when the
/// process doesn't live to tell.
///
/// # Errors
/// Whatever the source does wrong, with its place; a bound that was reached.
pub fn run(source: &Source, host: &Host, limits: &Limits, progress: Option<&File>) -> Result<Outcome, ConfigError> {
    let prelude = prelude()?;
    let ast =
        AstModule::parse(SOURCE_NAME, source.text.clone(), &dialect()).map_err(|e| faults::explain(&e, source))?;
    Module::with_temp_heap(|module| {
        let globals = globals();
        // As variables rather than globals: a file may give such a name a value of its own, made from the first.
        for (name, value) in globals.iter() {
            module.set(name, value.to_value());
        }
        module.import_public_symbols(prelude);
        host.define(&module);
        let printed = Printed { lines: RefCell::default(), most: limits.max_printed_lines };
        let mut eval = Evaluator::new(&module);
        bound(&mut eval, limits).map_err(|e| ConfigError::new(ErrorKind::Internal, None, format!("{e:#}")))?;
        eval.set_print_handler(&printed);
        let last = Rc::new(Cell::new(None));
        let file = progress.and_then(|file| file.try_clone().ok());
        eval.before_stmt_for_dap(BeforeStmtFunc::from_dyn(Box::new(Progress { last: last.clone(), file })));
        if let Err(error) = eval.eval_module(ast, &globals) {
            return Err(faults::explain_run(&error, source, &eval, limits, last.get()));
        }
        let jobs = jobs(&module, limits).map_err(|error| ConfigError { position: jobs_place(source), ..error })?;
        Ok(Outcome { jobs, has_hooks: module.get("hooks").is_some(), printed: printed.lines.take() })
    })
}

fn bound(eval: &mut Evaluator, limits: &Limits) -> anyhow::Result<()> {
    eval.set_max_callstack_size(limits.max_call_depth)?;
    eval.set_max_tick_count(limits.max_steps)?;
    eval.set_max_heap_size(usize::try_from(limits.max_heap_bytes).context("max_heap_bytes")?)
}

fn jobs(module: &Module, limits: &Limits) -> Result<Vec<Obj>, ConfigError> {
    let refuse = |kind, message: String| ConfigError::new(kind, None, message);
    let Some(value) = module.get("jobs") else {
        return Err(refuse(ErrorKind::NoJobs, "the file defines no jobs: it needs `jobs = [Job(…), …]`".into()));
    };
    let Raw::List(values) = convert::to_raw(value) else {
        return Err(refuse(ErrorKind::Field, format!("`jobs` must be a list of jobs, not a {}", value.get_type())));
    };
    if values.len() > limits.max_jobs {
        return Err(refuse(
            ErrorKind::Limit,
            format!("{} jobs in one file; at most {}", values.len(), limits.max_jobs),
        ));
    }
    let job = |(index, raw): (usize, Raw)| match raw {
        Raw::Object(object) if object.class().to_string() == "Job" => Ok(object),
        Raw::Object(object) => {
            Err(refuse(ErrorKind::Field, format!("jobs[{index}] is {}", object.class().described())))
        }
        other => {
            let message = format!("jobs[{index}] is not a Job but {}; write Job(…) or Service(…)", described(&other));
            Err(refuse(ErrorKind::Field, message))
        }
    };
    values.into_iter().enumerate().map(job).collect()
}

fn described(raw: &Raw) -> String {
    match raw {
        Raw::List(_) => "a list".to_string(),
        Raw::Map(_) => "a dict".to_string(),
        Raw::Other(kind) => format!("a {kind}"),
        _ => "a single value".to_string(),
    }
}

/// Where the file gives `jobs` its value, the last time it does.
fn jobs_place(source: &Source) -> Option<Position> {
    let gives =
        |line: &str| line.strip_prefix("jobs").is_some_and(|rest| rest.trim_start().starts_with(['=', '+', '.']));
    let line = source.text.lines().enumerate().filter(|(_, line)| gives(line)).map(|(number, _)| number).last()?;
    source.position(line, 0)
}

/// Where the innermost call in the configuration's own files stands.
fn place(eval: &Evaluator) -> Option<At> {
    let here = eval.call_stack_top_location().filter(|span| span.filename() == SOURCE_NAME);
    let span = here.or_else(|| {
        let frames = eval.call_stack().into_frames();
        frames.into_iter().rev().filter_map(|frame| frame.location).find(|span| span.filename() == SOURCE_NAME)
    })?;
    let begin = span.resolve_span().begin;
    Some(At { line: begin.line as u32, column: begin.column as u32 })
}

struct Printed {
    lines: RefCell<Vec<String>>,
    most: usize,
}

impl PrintHandler for Printed {
    fn println(&self, text: &str) -> starlark::Result<()> {
        let mut lines = self.lines.borrow_mut();
        if lines.len() < self.most {
            lines.push(text.chars().take(1_000).collect());
        }
        Ok(())
    }
}

/// Keeps the place of the statement being run.
struct Progress {
    last: Rc<Cell<Option<At>>>,
    /// Each place is written over the one before it.
    file: Option<File>,
}

impl<'e> BeforeStmtFuncDyn<'e> for Progress {
    fn call<'v>(
        &mut self,
        span: FileSpanRef,
        _continued: bool,
        _eval: &mut Evaluator<'v, '_, 'e>,
    ) -> starlark::Result<()> {
        if span.filename() == SOURCE_NAME {
            let begin = span.resolve_span().begin;
            self.last.set(Some(At { line: begin.line as u32, column: begin.column as u32 }));
            if let Some(file) = &self.file {
                // Best effort: without it only the place is missing from one message.
                let _ = file.write_all_at(format!("{:>10} {:>10}", begin.line, begin.column).as_bytes(), 0);
            }
        }
        Ok(())
    }
}
