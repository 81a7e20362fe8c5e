//! `dawn job inspect`: what a job file evaluates to, or what was submitted, with every default.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use dawn_proto::v1::{self, JobSpec};

use crate::args::Context;
use crate::client::{Client, Repeat};
use crate::commands::select::Selection;
use crate::exit::{Exit, Failure};
use crate::jobfile::{self, Reading};
use crate::spec;

#[derive(Args)]
pub struct Inspect {
    /// ROLE/ENV/NAME of a submitted job, or a job file
    #[arg(value_name = "JOB|FILE")]
    target: String,
    /// How to print it
    #[arg(long = "as", value_enum, default_value_t = Format::Yaml)]
    format: Format,
    /// An earlier version of a submitted job
    #[arg(long, default_value_t = 0, hide_default_value = true)]
    version: u32,
    #[command(flatten)]
    reading: Reading,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Yaml,
    Json,
}

pub async fn run(args: Inspect, context: &mut Context) -> Result<Exit, Failure> {
    let specs = if is_file(&args.target) {
        jobfile::load(&[PathBuf::from(&args.target)], &args.reading)?
    } else {
        vec![submitted(context, &args).await?]
    };
    let json = context.out.json || args.format == Format::Json;
    context.out.write(text(&specs, json).as_bytes());
    Ok(Exit::Done)
}

/// A file that is there, standard input, or a name that only a file has.
fn is_file(target: &str) -> bool {
    jobfile::is_named_as_file(target) || Path::new(target).is_file()
}

async fn submitted(context: &mut Context, args: &Inspect) -> Result<JobSpec, Failure> {
    let selection: Selection = args.target.parse().map_err(|error| {
        let target = crate::render::safe(&args.target);
        Failure::new(Exit::Usage, format!("`{target}` is neither a job file nor a job: {error}"))
    })?;
    let request = v1::GetJobRequest { key: Some((&selection.key).into()), version: args.version };
    let call = async |client: &mut Client, request| client.jobs().get_job(request).await;
    let status = context.scheduler.call(request, Repeat::Harmless, call).await?;
    let missing = || Failure::new(Exit::Failed, format!("the scheduler sent no spec of {}", selection.key));
    status.spec.ok_or_else(missing)
}

/// One document for each job; as JSON a list under `jobs` when there are several. Both are job files again.
fn text(specs: &[JobSpec], json: bool) -> String {
    match specs {
        [spec] if json => spec::to_json(spec),
        specs if json => {
            let jobs: Vec<String> = specs.iter().map(spec::to_json).collect();
            format!("{{\"jobs\": [\n{}]}}\n", jobs.join(",\n"))
        }
        specs => specs.iter().map(spec::to_yaml).collect::<Vec<_>>().join("---\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_is_a_job_file_again() {
        let file = "job: a/b/c\nkind: batch\nrun: x\n---\njob: a/b/d\nkind: service\nrun: y\n";
        let specs = spec::parse("x", file, 0).unwrap();
        for json in [true, false] {
            assert_eq!(spec::parse("again", &text(&specs, json), 0).unwrap(), specs);
            assert_eq!(spec::parse("again", &text(&specs[..1], json), 0).unwrap(), specs[..1]);
        }
        assert!(serde_json::from_str::<serde_json::Value>(&text(&specs, true)).is_ok());
    }

    #[test]
    fn a_path_of_three_parts_is_told_from_a_key() {
        assert!(is_file("deploy/jobs/web.yaml") && is_file("-") && is_file("a/b/c.json"));
        assert!(!is_file("www/prod/web") && !is_file("www/prod/web-1.2"));
    }
}
