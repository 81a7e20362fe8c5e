//! `dawn node down|forget`: nodes that are gone for good.

use clap::Args;
use dawn_proto::v1;

use super::maintain::{by_name, ids, named};
use crate::args::Context;
use crate::client::{Client, Repeat};
use crate::commands::asking::agreed;
use crate::commands::author;
use crate::exit::{Exit, Failure};
use crate::render::{self, json, time};

#[derive(Args)]
pub struct Down {
    /// Nodes, by their host names or ids
    #[arg(required = true)]
    nodes: Vec<String>,
    /// Don't ask before tasks are replaced; needed where there is no terminal to ask on
    #[arg(long, short)]
    yes: bool,
}

#[derive(Args)]
pub struct Forget {
    /// Nodes, by their host names or ids
    #[arg(required = true)]
    nodes: Vec<String>,
}

/// What becomes of the tasks of nodes that are given up, as a sentence without its end.
pub fn will_be_replaced(replaced: &v1::ReplacedTasks) -> String {
    let v1::ReplacedTasks { tasks, waiting, wait_ms } = *replaced;
    let tasks = match tasks {
        0 => "no task".to_string(),
        count => render::count(count, "task"),
    };
    if waiting == 0 {
        return format!("{tasks} will be replaced");
    }
    let within = time::span(i64::try_from(wait_ms).unwrap_or(i64::MAX));
    format!(
        "{tasks} will be replaced, {waiting} of them only when they can't live any more (at_most_one), within {within}"
    )
}

pub async fn down(args: Down, context: &mut Context) -> Result<Exit, Failure> {
    let found = named(context, args.nodes).await?;
    let nodes = ids(&found);
    let call = async |client: &mut Client, request| client.nodes().declare_down(request).await;
    let mut request = v1::DeclareDownRequest { agent_ids: nodes.clone(), author: author(), preview: true };
    let before = context.scheduler.call(request.clone(), Repeat::Harmless, call).await;
    let before = before.map_err(|failure| by_name(failure, &found))?;
    let named = found.iter().map(|node| node.name.as_str()).collect::<Vec<_>>().join(", ");
    let words = will_be_replaced(&before.replaced.unwrap_or_default());
    if !agreed(&format!("Declare {named} gone for good? Then {words}."), args.yes)? {
        eprintln!("dawn: nothing was done");
        return Ok(Exit::Failed);
    }
    request.preview = false;
    let done = context.scheduler.call(request, Repeat::Harmless, call).await;
    let done = done.map_err(|failure| by_name(failure, &found))?;
    let replaced = done.replaced.unwrap_or_default();
    if context.out.json {
        let fields = serde_json::json!({
            "nodes": nodes, "tasks": replaced.tasks, "waiting": replaced.waiting, "wait_ms": replaced.wait_ms,
            "index": done.index,
        });
        context.out.value(&json::object(fields));
    } else {
        found.iter().for_each(|node| context.out.line(&format!("{}: is declared down", node.name)));
        context.out.line(&will_be_replaced(&replaced));
    }
    Ok(Exit::Done)
}

pub async fn forget(args: Forget, context: &mut Context) -> Result<Exit, Failure> {
    let found = named(context, args.nodes).await?;
    let nodes = ids(&found);
    let request = v1::ForgetNodesRequest { agent_ids: nodes.clone() };
    let call = async |client: &mut Client, request| client.nodes().forget_nodes(request).await;
    let done = context.scheduler.call(request, Repeat::Harmless, call).await;
    let done = done.map_err(|failure| by_name(failure, &found))?;
    if context.out.json {
        context.out.value(&json::object(serde_json::json!({ "nodes": nodes, "index": done.index })));
    } else {
        found.iter().for_each(|node| context.out.line(&format!("{}: is forgotten", node.name)));
    }
    Ok(Exit::Done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_replaced_and_what_waits_is_said_in_a_sentence() {
        let said = |tasks, waiting, wait_ms| will_be_replaced(&v1::ReplacedTasks { tasks, waiting, wait_ms });
        assert_eq!(said(0, 0, 0), "no task will be replaced");
        assert_eq!(said(1, 0, 0), "1 task will be replaced");
        assert_eq!(
            said(14, 2, 65_000),
            "14 tasks will be replaced, 2 of them only when they can't live any more (at_most_one), within 1m5s"
        );
    }
}
