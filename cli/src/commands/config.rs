//! `dawn config …`: job files looked at without a scheduler.

mod fmt;

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::args::Context;
use crate::exit::{Exit, Failure};
use crate::jobfile::{self, Reading};
use crate::render::{self, json};
use crate::spec;

#[derive(Subcommand)]
pub enum Config {
    /// Read job files and say everything that is wrong with them
    Check(Check),
    /// Rewrite job files in the standard format; comments are kept
    Fmt(fmt::Fmt),
    /// Print the JSON Schema of job files in YAML and JSON, for editors
    Schema(Schema),
}

#[derive(Args)]
pub struct Check {
    /// Job files (YAML, JSON, .aurora, .star)
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    #[command(flatten)]
    reading: Reading,
}

#[derive(Args)]
pub struct Schema {
    /// That of jobs in Aurora's language, as they are evaluated
    #[arg(long)]
    aurora: bool,
}

pub async fn run(config: Config, context: &mut Context) -> Result<Exit, Failure> {
    match config {
        Config::Check(check) => {
            let specs = jobfile::load(&check.files, &check.reading)?;
            let keys: Vec<_> = specs.iter().map(|spec| render::key(spec.key.as_ref())).collect();
            if context.out.json {
                context.out.value(&json::object(serde_json::json!({ "jobs": keys })));
            } else {
                for (spec, key) in specs.iter().zip(&keys) {
                    context.out.line(&format!("{key}: good"));
                    if let Some(warning) = dawn_proto::validate::cannot_make_it(spec) {
                        eprintln!("dawn: warning: {key}: {warning}");
                    }
                }
            }
        }
        Config::Fmt(args) => return fmt::run(args, context),
        Config::Schema(Schema { aurora }) => {
            let schema = match aurora {
                true => dawn_aurora::json_schema().map_err(|e| Failure::new(Exit::Failed, e.to_string()))?,
                false => spec::json_schema(),
            };
            context.out.value(&schema);
        }
    }
    Ok(Exit::Done)
}
