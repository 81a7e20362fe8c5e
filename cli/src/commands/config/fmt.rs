//! `dawn config fmt`: rewrites job files in the standard format, or says which are not in it.

use std::path::{Path, PathBuf};

use clap::Args;

use crate::args::Context;
use crate::exit::{Exit, Failure};
use crate::jobfile::{self, Style};
use crate::render::{json, safe, time};
use crate::spec;

#[derive(Args)]
pub struct Fmt {
    /// Job files (YAML, JSON, .aurora, .star); - formats standard input (YAML or JSON) to standard output
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Change nothing; exit with 1 if a file would change
    #[arg(long)]
    check: bool,
}

pub fn run(args: Fmt, context: &mut Context) -> Result<Exit, Failure> {
    let (mut changed, mut wrong) = (Vec::new(), Vec::new());
    if args.files.iter().any(|file| file == Path::new("-")) {
        return standard_input(&args, context);
    }
    for file in &args.files {
        match formatted(file) {
            Ok(None) => {}
            Ok(Some(text)) => {
                changed.push(safe(&file.display().to_string()));
                if !args.check {
                    replace(file, &text).map_err(|error| failed(file, &error.to_string()))?;
                }
            }
            Err(message) => wrong.push(message),
        }
    }
    if !wrong.is_empty() {
        return Err(Failure::in_files(wrong.join("\n")));
    }
    if context.out.json {
        context.out.value(&json::object(serde_json::json!({ "changed": changed })));
    } else {
        let what = if args.check { "is not formatted" } else { "formatted" };
        changed.iter().for_each(|file| context.out.line(&format!("{file}: {what}")));
    }
    Ok(if args.check && !changed.is_empty() { Exit::Failed } else { Exit::Done })
}

/// From standard input to standard output.
fn standard_input(args: &Fmt, context: &mut Context) -> Result<Exit, Failure> {
    if args.files.len() > 1 {
        return Err(Failure::new(Exit::Usage, "- stands for standard input and is given alone"));
    }
    if context.out.json && !args.check {
        let message = "the file goes to standard output, so that there is no room for --json";
        return Err(Failure::new(Exit::Usage, message).hint("give --check with it, or leave --json out"));
    }
    let text = std::io::read_to_string(std::io::stdin()).map_err(|error| failed(Path::new("-"), &error.to_string()))?;
    let style = if text.trim_start().starts_with(['{', '[']) { Style::Language } else { Style::Yaml };
    let new = formatted_text("-", &text, style).map_err(Failure::in_files)?;
    if context.out.json {
        let changed: Vec<&str> = new.iter().map(|_| "-").collect();
        context.out.value(&json::object(serde_json::json!({ "changed": changed })));
    } else if !args.check {
        context.out.write(new.as_ref().unwrap_or(&text).as_bytes());
    } else if new.is_some() {
        context.out.line("-: is not formatted");
    }
    Ok(if args.check && new.is_some() { Exit::Failed } else { Exit::Done })
}

fn failed(file: &Path, message: &str) -> Failure {
    Failure::new(Exit::Usage, format!("{}: {message}", file.display()))
}

/// A file's text as it should be; none when it is.
fn formatted(file: &Path) -> Result<Option<String>, String> {
    let name = file.display();
    let style = jobfile::style(file).ok_or_else(|| {
        format!("{name}: is not named as a job file; job files end in .yaml, .yml, .json, .aurora or .star")
    })?;
    let text = std::fs::read_to_string(file).map_err(|error| format!("{name}: {error}"))?;
    formatted_text(&name.to_string(), &text, style)
}

fn formatted_text(name: &str, text: &str, style: Style) -> Result<Option<String>, String> {
    let new = match style {
        Style::Language => {
            dawn_aurora::format::language(text).map_err(|(line, message)| format!("{name}:{line}: {message}"))?
        }
        Style::Yaml => {
            let jobs = |text: &str| spec::parse(name, text, time::now_ms());
            let before = jobs(text).map_err(|error| error.to_string())?;
            let new = spec::format_yaml(text);
            let same = jobs(&new).is_ok_and(|after| after == before);
            if !same {
                return Err(format!("{name}: can't be formatted without changing what it says"));
            }
            new
        }
    };
    Ok((new != text).then_some(new))
}

/// Whole or not at all: a file half written is a file lost.
fn replace(file: &Path, text: &str) -> std::io::Result<()> {
    let target = std::fs::canonicalize(file)?;
    let beside = target.with_extension(format!("dawn-fmt-{}", std::process::id()));
    std::fs::write(&beside, text)?;
    std::fs::set_permissions(&beside, std::fs::metadata(&target)?.permissions())?;
    std::fs::rename(&beside, &target).inspect_err(|_| _ = std::fs::remove_file(&beside))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_formatted_once_and_keeps_its_jobs() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let yaml = path("a.yaml", "job:  a/b/c \nkind: batch\nrun: |\n  x  y\n");
        let new = formatted(&yaml).unwrap().unwrap();
        assert_eq!(new, "job: a/b/c\nkind: batch\nrun: |\n  x  y\n");
        replace(&yaml, &new).unwrap();
        assert_eq!(formatted(&yaml), Ok(None));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
        assert!(formatted(&path("b.yaml", "job: x\n")).unwrap_err().contains("b.yaml:1"));
        assert!(formatted(&path("c.star", "x = (\n")).unwrap_err().ends_with("c.star:1: `(` is never closed"));
        assert!(formatted(&path("d.txt", "x")).unwrap_err().contains("d.txt: is not named as a job file"));
        assert!(formatted(&folder.path().join("none.yaml")).is_err());
    }
}
