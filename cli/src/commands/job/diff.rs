//! `dawn job diff`: two versions of a job, or its current one and a job file, line by line as job files.

use std::path::PathBuf;

use clap::Args;
use dawn_proto::v1;

use crate::args::Context;
use crate::client::{Client, Repeat};
use crate::commands::select::Selection;
use crate::commands::update::changes;
use crate::exit::{Exit, Failure};
use crate::jobfile::{self, Reading};
use crate::render::json;
use crate::spec;

#[derive(Args)]
pub struct Diff {
    /// ROLE/ENV/NAME, or ROLE/ENV/NAME/0-3,7 for some instances
    job: Selection,
    /// A job file to compare the current version with
    #[arg(conflicts_with_all = ["from", "to"])]
    file: Option<PathBuf>,
    /// An earlier version [default: the one before]
    #[arg(long)]
    from: Option<u32>,
    /// A later version [default: the current one]
    #[arg(long)]
    to: Option<u32>,
    #[command(flatten)]
    reading: Reading,
}

pub async fn run(args: Diff, context: &mut Context) -> Result<Exit, Failure> {
    match &args.file {
        Some(file) => with_file(&args, file.clone(), context).await,
        None => of_versions(&args, context).await,
    }
}

pub async fn version(context: &mut Context, key: &v1::JobKey, version: u32) -> Result<v1::JobStatus, Failure> {
    let request = v1::GetJobRequest { key: Some(key.clone()), version };
    let call = async |client: &mut Client, request| client.jobs().get_job(request).await;
    context.scheduler.call(request, Repeat::Harmless, call).await
}

async fn of_versions(args: &Diff, context: &mut Context) -> Result<Exit, Failure> {
    let key = v1::JobKey::from(&args.job.key);
    let to = version(context, &key, args.to.unwrap_or(0)).await?;
    let numbers: Vec<u32> = to.versions.iter().map(|version| version.version).collect();
    let current = to.versions.iter().find(|version| version.current).map_or(0, |version| version.version);
    let to_number = args.to.unwrap_or(current);
    let before = numbers.iter().rev().find(|number| **number < to_number).copied();
    let Some(from_number) = args.from.or(before) else {
        context.out.line(&format!("{} has no version before {to_number}", args.job.key));
        return Ok(Exit::Done);
    };
    let from = version(context, &key, from_number).await?;
    print(context, from.spec.as_ref(), to.spec.as_ref(), None);
    Ok(Exit::Done)
}

async fn with_file(args: &Diff, file: PathBuf, context: &mut Context) -> Result<Exit, Failure> {
    let key = v1::JobKey::from(&args.job.key);
    let specs = jobfile::load(&[file], &args.reading)?;
    let spec = specs.into_iter().find(|spec| spec.key.as_ref() == Some(&key));
    let missing = || Failure::new(Exit::Usage, format!("the file has no job {}", args.job.key));
    let request = v1::StartUpdateRequest {
        spec: Some(spec.ok_or_else(missing)?),
        instances: args.job.instances.clone(),
        ..Default::default()
    };
    let call = async |client: &mut Client, request| client.updates().diff_update(request).await;
    let diff = context.scheduler.call(request, Repeat::Harmless, call).await?;
    print(context, diff.current.as_ref(), diff.wanted.as_ref(), Some(&diff));
    Ok(Exit::Done)
}

fn print(context: &Context, from: Option<&v1::JobSpec>, to: Option<&v1::JobSpec>, diff: Option<&v1::UpdateDiff>) {
    let text = |spec: Option<&v1::JobSpec>| spec.map(spec::to_yaml).unwrap_or_default();
    let lines = lines(&text(from), &text(to));
    if context.out.json {
        let mut fields = serde_json::json!({ "lines": lines });
        if let Some(diff) = diff {
            fields["changed"] = json::ranges(&diff.changed);
            fields["added"] = json::ranges(&diff.added);
            fields["removed"] = json::ranges(&diff.removed);
            fields["unchanged"] = json::ranges(&diff.unchanged);
        }
        return context.out.value(&json::object(fields));
    }
    if lines.is_empty() {
        context.out.line("nothing differs");
    }
    lines.iter().for_each(|line| context.out.line(line));
    let instances = diff.map(changes).unwrap_or_default();
    instances.iter().for_each(|line| context.out.line(line));
}

/// The lines that differ, with "-" and "+", each group under the field it stands in.
pub fn lines(from: &str, to: &str) -> Vec<String> {
    let (from, to): (Vec<&str>, Vec<&str>) = (from.lines().collect(), to.lines().collect());
    // Longest common lines; job files are short.
    let mut common = vec![vec![0u32; to.len() + 1]; from.len() + 1];
    for i in (0..from.len()).rev() {
        for j in (0..to.len()).rev() {
            common[i][j] = match from[i] == to[j] {
                true => common[i + 1][j + 1] + 1,
                false => common[i + 1][j].max(common[i][j + 1]),
            };
        }
    }
    let (mut i, mut j, mut lines, mut field) = (0, 0, Vec::new(), "");
    let mut said = "";
    while i < from.len() || j < to.len() {
        if i < from.len() && j < to.len() && from[i] == to[j] {
            if !from[i].starts_with([' ', '-']) {
                field = from[i];
            }
            (i, j) = (i + 1, j + 1);
            continue;
        }
        let removes = i < from.len() && (j == to.len() || common[i + 1][j] >= common[i][j + 1]);
        let line = if removes { from[i] } else { to[j] };
        if line.starts_with([' ', '-']) && said != field {
            lines.push(format!("  {field}"));
            said = field;
        }
        lines.push(format!("{} {line}", if removes { '-' } else { '+' }));
        if removes { i += 1 } else { j += 1 }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_differ_stand_under_their_field() {
        let from = "job: a\ninstances: 2\nenv:\n  A: 1\n  B: 2\nlogs:\n  files: 3\n";
        let to = "job: a\ninstances: 3\nenv:\n  A: 1\n  B: 3\nlogs:\n  files: 3\n";
        assert_eq!(lines(from, to), ["- instances: 2", "+ instances: 3", "  env:", "-   B: 2", "+   B: 3"]);
        assert!(lines(from, from).is_empty());
        assert_eq!(lines("", "job: a\n"), ["+ job: a"]);
    }
}
