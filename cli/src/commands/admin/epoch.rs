//! `dawn admin epoch raise`: a cluster whose journal went back in time goes on above every epoch that agents show.

use clap::{Args, Subcommand};
use dawn_proto::v1;
use serde_json::json;

use crate::args::Context;
use crate::client::{Client, Repeat};
use crate::exit::{Exit, Failure};
use crate::render::json;

#[derive(Args)]
pub struct Epoch {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Have the leader go on above the highest epoch that agents show, as after a restore: the journal went back in time
    Raise,
}

pub async fn run(args: Epoch, context: &mut Context) -> Result<Exit, Failure> {
    let Action::Raise = args.action;
    let call = async |client: &mut Client, request| client.admin().raise_epoch(request).await;
    let raised = context.scheduler.call(v1::RaiseEpochRequest {}, Repeat::Never, call).await?;
    let v1::RaiseEpochResponse { index, epoch, agents } = raised;
    if context.out.json {
        context.out.value(&json::object(json!({ "epoch": epoch, "agents": agents, "index": index })));
        return Ok(Exit::Done);
    }
    let plural = if agents == 1 { "agent" } else { "agents" };
    context.out.line(&format!("the scheduler leads under epoch {epoch} now, above what {agents} {plural} showed"));
    context.out.line("agents dial again within a minute and are asked what they hold; nothing is placed before that");
    Ok(Exit::Done)
}
