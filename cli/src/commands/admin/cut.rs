//! `dawn admin journal cut`: a journal in files ends where an operator says.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use crate::args::Context;
use crate::daemon;
use crate::exit::{Exit, Failure};
use crate::render::{json, time};

#[derive(Args)]
pub struct Cut {
    /// Last index that is kept
    #[arg(long, value_name = "INDEX", value_parser = clap::value_parser!(u64).range(1..))]
    at: u64,
    /// Directory that a scheduler keeps its journal in; what is there is moved aside within it
    #[arg(long, value_name = "DIR")]
    data_dir: PathBuf,
}

pub async fn run(args: Cut, context: &mut Context) -> Result<Exit, Failure> {
    let cut = daemon::cut(&args.data_dir, args.at).await?;
    let aside = cut.aside.as_ref().map(|path| path.display().to_string());
    if context.out.json {
        let fields = json!({
            "cluster_id": cut.cluster_id, "kept_index": args.at, "kept_at": time::rfc3339(cut.kept_at_ms),
            "given_up_to": cut.given_up_to, "index": cut.index, "epoch": cut.epoch, "aside": aside,
        });
        context.out.value(&json::object(fields));
        return Ok(Exit::Done);
    }
    let kept_at = time::local(cut.kept_at_ms);
    context.out.line(&format!("cut the journal of cluster {} after index {}, of {kept_at}", cut.cluster_id, args.at));
    if let Some(to) = cut.given_up_to {
        context.out.line(&format!("what was decided from index {} up to {to} at least is given up", args.at + 1));
    }
    if let Some(aside) = aside {
        context.out.line(&format!("what was there is in {aside}"));
    }
    context.out.line("start the scheduler now; tasks that agents run are taken in, nothing is placed before that");
    Ok(Exit::Done)
}
