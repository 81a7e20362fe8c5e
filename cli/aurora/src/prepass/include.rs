//! Joins a file with those it includes, in place, and remembers where each line came from.
//! Not here: what is changed inside one file (`rewrite`).

use std::path::{Path, PathBuf};

use super::edit::original_column;
use super::rewrite::{Rewritten, rewrite};
use crate::errors::{ConfigError, ErrorKind, Position};
use crate::limits::Limits;

/// A file with everything it includes, ready for evaluation.
#[derive(Debug, Default)]
pub struct Source {
    pub text: String,
    files: Vec<FileAnchors>,
    /// File and its line for each line of `text`.
    origins: Vec<(usize, usize)>,
    /// Things left out on purpose, for people.
    pub notes: Vec<String>,
}

#[derive(Debug)]
struct FileAnchors {
    name: String,
    anchors: Vec<Vec<(usize, usize)>>,
}

impl Source {
    /// The place in a file of a line and column of `text`, both from zero.
    pub fn position(&self, line: usize, column: usize) -> Option<Position> {
        let (file, own_line) = *self.origins.get(line)?;
        let file = &self.files[file];
        let anchors = file.anchors.get(own_line).map_or(&[][..], Vec::as_slice);
        Some(Position {
            file: file.name.clone(),
            line: own_line as u32 + 1,
            column: original_column(anchors, column) as u32 + 1,
        })
    }
}

struct Joiner<'a> {
    source: Source,
    lines: Vec<String>,
    /// The files being read, outermost first: as shown and as found.
    stack: Vec<(String, PathBuf)>,
    bytes: u64,
    limits: &'a Limits,
    anywhere: bool,
}

/// Reads a file and what it includes. `anywhere` allows includes by absolute path.
///
/// # Errors
/// A file that can't be read, an include that leads back to itself, too many or too large files, or something that
/// can't be made into Starlark.
pub fn prepare(root: &Path, limits: &Limits, anywhere: bool) -> Result<Source, ConfigError> {
    let stack = Vec::new();
    let mut joiner = Joiner { source: Source::default(), lines: Vec::new(), stack, bytes: 0, limits, anywhere };
    joiner.add(root, None)?;
    joiner.source.text = joiner.lines.join("\n");
    joiner.source.text.push('\n');
    Ok(joiner.source)
}

impl Joiner<'_> {
    fn add(&mut self, path: &Path, from: Option<(&str, &Position)>) -> Result<(), ConfigError> {
        let position = from.map(|(_, position)| position.clone());
        let refuse = |kind, message: String| Err(ConfigError::new(kind, position.clone(), message));
        let shown = path.display().to_string();
        let what = match from {
            Some((written, _)) => format!("include('{written}')"),
            None => "the configuration".to_string(),
        };
        let found = match path.canonicalize() {
            Ok(found) => found,
            Err(error) => return refuse(ErrorKind::File, format!("{what}: cannot read {shown}: {}", reason(&error))),
        };
        if self.stack.iter().any(|(_, open)| *open == found) {
            let chain: Vec<_> = self.stack.iter().map(|(name, _)| name.as_str()).chain([shown.as_str()]).collect();
            return refuse(ErrorKind::File, format!("{what} leads back to itself: {}", chain.join(" → ")));
        }
        if self.source.files.len() >= self.limits.max_files || self.stack.len() >= self.limits.max_include_depth {
            let (files, depth) = (self.limits.max_files, self.limits.max_include_depth);
            return refuse(ErrorKind::Limit, format!("{what}: more than {files} files, or includes {depth} deep"));
        }
        let text = match read(&found, self.limits.max_source_bytes.saturating_sub(self.bytes)) {
            Ok(Some(text)) => text,
            Ok(None) => {
                let most = self.limits.max_source_bytes;
                return refuse(
                    ErrorKind::Limit,
                    format!("{what}: {shown} and what came before it exceed {most} bytes"),
                );
            }
            Err(error) => return refuse(ErrorKind::File, format!("{what}: cannot read {shown}: {}", reason(&error))),
        };
        self.bytes += text.len() as u64;
        let rewritten = rewrite(&shown, &text)?;
        self.stack.push((shown, found));
        self.splice(path, rewritten)?;
        self.stack.pop();
        Ok(())
    }

    fn splice(&mut self, path: &Path, rewritten: Rewritten) -> Result<(), ConfigError> {
        let file = self.source.files.len();
        let name = path.display().to_string();
        self.source.files.push(FileAnchors { name: name.clone(), anchors: rewritten.edited.anchors });
        self.source.notes.extend(rewritten.notes);
        let mut includes = rewritten.includes.into_iter().peekable();
        for (number, line) in rewritten.edited.lines.into_iter().enumerate() {
            self.lines.push(line);
            self.source.origins.push((file, number));
            while let Some(include) = includes.next_if(|include| include.line == number) {
                let position =
                    Position { file: name.clone(), line: number as u32 + 1, column: include.column as u32 + 1 };
                if Path::new(&include.path).is_absolute() && !self.anywhere {
                    let message = format!("include('{}'): paths are relative to the file", include.path);
                    return Err(ConfigError::new(ErrorKind::File, Some(position), message));
                }
                let target = path.parent().unwrap_or(Path::new("")).join(&include.path);
                self.add(&target, Some((&include.path, &position)))?;
            }
        }
        Ok(())
    }
}

fn reason(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => "no such file".into(),
        _ => error.to_string(),
    }
}

/// A file's text, or `None` if it is larger than `most` bytes.
fn read(path: &Path, most: u64) -> std::io::Result<Option<String>> {
    use std::io::Read;
    let file = std::fs::File::open(path)?;
    if !file.metadata()?.is_file() {
        return Err(std::io::Error::other("not a file"));
    }
    let mut text = String::new();
    file.take(most + 1).read_to_string(&mut text)?;
    if text.len() as u64 > most {
        return Ok(None);
    }
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    Ok(Some(text.replace("\r\n", "\n")))
}
