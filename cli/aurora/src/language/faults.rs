//! The language's errors as people read them: the place in their own file, what is wrong, who called.
//! Not here: the wording of field errors (`value::coerce`).

use starlark::codemap::FileSpan;
use starlark::eval::Evaluator;

use super::{SOURCE_NAME, field_in_call};
use crate::errors::{ConfigError, ErrorKind, Position};
use crate::limits::Limits;
use crate::prepass::Source;
use crate::value::At;

/// A value that a type, a field or a function doesn't take.
#[derive(Debug, thiserror::Error)]
#[error("{}", self.text())]
pub struct FieldFault {
    /// The type or function.
    pub whose: String,
    /// The field in it; empty if it is about the whole.
    pub path: String,
    pub message: String,
}

impl FieldFault {
    /// As an error of the language.
    #[cold]
    pub fn raise(whose: &str, path: &str, message: String) -> starlark::Error {
        starlark::Error::new_native(FieldFault { whose: whose.into(), path: path.into(), message })
    }

    fn text(&self) -> String {
        // "Process has no field …" says whose field it is already.
        if self.message.contains(" has no field ") {
            return self.message.clone();
        }
        let dot = if self.path.is_empty() || self.path.starts_with('[') { "" } else { "." };
        format!("{}{dot}{}: {}", self.whose, self.path, self.message)
    }

    /// The field given in the call itself.
    fn first_field(&self) -> &str {
        self.path.split(['.', '[']).next().unwrap_or("")
    }
}

/// An error from parsing.
pub fn explain(error: &starlark::Error, source: &Source) -> ConfigError {
    let position = error.span().and_then(|span| position(span, source));
    let message = error.without_diagnostic().to_string();
    let message = message.strip_prefix("Parse error: ").unwrap_or(&message);
    ConfigError::new(ErrorKind::Syntax, position, message)
}

/// An error from running. `last` is the statement that was being run, for errors without a place of their own.
pub fn explain_run(
    error: &starlark::Error,
    source: &Source,
    eval: &Evaluator,
    limits: &Limits,
    last: Option<At>,
) -> ConfigError {
    let frames = error.call_stack().frames.iter().rev().filter_map(|frame| frame.location.as_ref());
    let spans: Vec<&FileSpan> =
        error.span().into_iter().chain(frames).filter(|span| span.filename() == SOURCE_NAME).collect();
    let mut positions: Vec<Position> = spans.iter().filter_map(|span| position(span, source)).collect();
    positions.dedup();
    let (kind, message) = classify(error, eval, limits);
    if let Some(fault) = field_fault(error)
        && let Some(span) = spans.first()
    {
        let begin = span.resolve_span().begin;
        let at = At { line: begin.line as u32, column: begin.column as u32 };
        let exact = field_in_call(&source.text, at, fault.first_field());
        if let Some(exact) = source.position(exact.line as usize, exact.column as usize)
            && !positions.is_empty()
        {
            positions[0] = exact;
        }
    }
    let mut positions = positions.into_iter();
    let position =
        positions.next().or_else(|| last.and_then(|at| source.position(at.line as usize, at.column as usize)));
    const MOST_CALLERS: usize = 8;
    ConfigError { position, kind, message, called_from: positions.take(MOST_CALLERS).collect() }
}

fn field_fault(error: &starlark::Error) -> Option<&FieldFault> {
    match error.kind() {
        starlark::ErrorKind::Native(cause) => cause.downcast_ref(),
        _ => None,
    }
}

fn classify(error: &starlark::Error, eval: &Evaluator, limits: &Limits) -> (ErrorKind, String) {
    let limit = |message: String| (ErrorKind::Limit, message);
    if matches!(error.kind(), starlark::ErrorKind::StackOverflow(_)) {
        return limit(format!("stopped: more than {} calls inside each other", limits.max_call_depth));
    }
    if matches!(error.kind(), starlark::ErrorKind::Other(_)) {
        if eval.get_total_tick_count() > limits.max_steps {
            return limit(format!("stopped: more than {} steps (calls and turns of loops)", limits.max_steps));
        }
        if (eval.heap().peak_allocated_bytes() + eval.frozen_heap().allocated_bytes()) as u64 > limits.max_heap_bytes {
            return limit(format!("stopped: more than {} MiB of values", limits.max_heap_bytes >> 20));
        }
    }
    let text = error.without_diagnostic().to_string();
    match (error.kind(), field_fault(error)) {
        (_, Some(_)) => (ErrorKind::Field, text),
        (starlark::ErrorKind::Fail(_), _) => {
            (ErrorKind::Evaluation, text.strip_prefix("fail: ").unwrap_or(&text).to_string())
        }
        _ => (ErrorKind::Evaluation, text),
    }
}

fn position(span: &FileSpan, source: &Source) -> Option<Position> {
    let begin = span.resolve_span().begin;
    source.position(begin.line, begin.column)
}
