//! `dawn admin restore`: a journal's home begins anew with a backup.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use crate::args::Context;
use crate::daemon::{self, Home};
use crate::exit::{Exit, Failure};
use crate::render::{self, json, time};

#[derive(Args)]
pub struct Restore {
    /// A file that `dawn admin backup` made
    file: PathBuf,
    /// Also where a journal of this cluster is: files are moved aside, what is in etcd is overwritten
    #[arg(long)]
    replace: bool,
    #[command(flatten)]
    home: Home,
}

pub async fn run(args: Restore, context: &mut Context) -> Result<Exit, Failure> {
    let restored = daemon::restore(&args.file, args.home, args.replace).await?;
    let head = &restored.head;
    let aside = restored.aside.as_ref().map(|path| path.display().to_string());
    if context.out.json {
        let fields = json!({
            "cluster_id": head.cluster_id, "backup_index": head.index, "made_at": time::rfc3339(head.made_ms),
            "jobs": head.jobs, "tasks": head.tasks, "nodes": head.agents, "index": restored.index,
            "epoch": restored.epoch, "aside": aside,
        });
        context.out.value(&json::object(fields));
        return Ok(Exit::Done);
    }
    let (jobs, tasks) = (render::count(head.jobs, "job"), render::count(head.tasks, "task"));
    let made = time::local(head.made_ms);
    context.out.line(&format!("restored cluster {} as of {made}: {jobs}, {tasks}", head.cluster_id));
    if let Some(aside) = aside {
        context.out.line(&format!("what was there is in {aside}"));
    }
    context.out.line("start the schedulers now; tasks that agents run are taken in, nothing is placed before that");
    Ok(Exit::Done)
}
