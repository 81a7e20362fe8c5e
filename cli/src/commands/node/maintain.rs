//! `dawn node cordon|drain|maintenance|uncordon|forgive`: machines out of use and back.

use std::time::Duration;

use clap::Args;
use dawn_proto::v1::{self, MaintenanceMode};
use tokio::time::{Instant, sleep};

use crate::args::{self, Context};
use crate::client::{Client, Repeat};
use crate::commands::author;
use crate::exit::{Exit, Failure};
use crate::render::{self, Progress, json, time};

/// Between two looks.
const LOOK: Duration = Duration::from_millis(500);

#[derive(Args)]
pub struct Cordon {
    /// Nodes, by their host names or ids
    #[arg(required = true)]
    nodes: Vec<String>,
    /// Why
    #[arg(long, short, default_value = "")]
    message: String,
}

#[derive(Args)]
pub struct Drain {
    /// Nodes, by their host names or ids
    #[arg(required = true)]
    nodes: Vec<String>,
    /// How long the jobs' SLA policies are heeded; then everything is stopped
    #[arg(long, value_name = "DURATION", value_parser = args::duration, default_value = "30m")]
    deadline: Duration,
    /// Don't wait until the nodes are empty
    #[arg(long)]
    detach: bool,
    /// Why
    #[arg(long, short, default_value = "")]
    message: String,
}

#[derive(Args)]
pub struct Maintain {
    /// Nodes, by their host names or ids
    #[arg(required = true)]
    nodes: Vec<String>,
    /// When to begin to drain them; until then they only take nothing new
    #[arg(long = "in", value_name = "DURATION", value_parser = args::duration)]
    start_in: Duration,
    /// How long the jobs' SLA policies are heeded from then on
    #[arg(long, value_name = "DURATION", value_parser = args::duration, default_value = "30m")]
    deadline: Duration,
    /// Why
    #[arg(long, short, default_value = "")]
    message: String,
}

impl Cordon {
    fn request(self, mode: MaintenanceMode) -> v1::SetMaintenanceRequest {
        v1::SetMaintenanceRequest {
            agent_ids: self.nodes,
            mode: mode.into(),
            author: author(),
            message: self.message,
            ..Default::default()
        }
    }
}

pub async fn cordon(args: Cordon, context: &mut Context) -> Result<Exit, Failure> {
    set(context, args.request(MaintenanceMode::Cordoned), "takes nothing new; what runs there stays").await
}

pub async fn uncordon(args: Cordon, context: &mut Context) -> Result<Exit, Failure> {
    set(context, args.request(MaintenanceMode::None), "takes new tasks again").await
}

pub async fn maintain(args: Maintain, context: &mut Context) -> Result<Exit, Failure> {
    let said = format!("takes nothing new, and drains in {}", time::span(args.start_in.as_millis() as i64));
    let request = v1::SetMaintenanceRequest {
        agent_ids: args.nodes,
        mode: MaintenanceMode::Scheduled.into(),
        deadline_ms: Some(args.deadline.as_millis() as u64),
        start_in_ms: args.start_in.as_millis() as u64,
        author: author(),
        message: args.message,
    };
    set(context, request, &said).await
}

/// Forgets what speaks against nodes: they are avoided no longer.
pub async fn forgive(args: Cordon, context: &mut Context) -> Result<Exit, Failure> {
    let nodes = named(context, args.nodes).await?;
    let request = v1::ForgiveNodesRequest { agent_ids: ids(&nodes), author: author(), message: args.message };
    let call = async |client: &mut Client, request| client.nodes().forgive_nodes(request).await;
    let done = context.scheduler.call(request, Repeat::Harmless, call).await?;
    if context.out.json {
        context.out.value(&json::object(serde_json::json!({ "nodes": ids(&nodes), "index": done.index })));
    } else {
        nodes.iter().for_each(|node| context.out.line(&format!("{}: nothing speaks against it any more", node.name)));
    }
    Ok(Exit::Done)
}

/// A node as the scheduler and as people call it.
pub(super) struct Named {
    pub id: String,
    /// Without anything that a terminal would act on.
    pub name: String,
}

pub(super) fn ids(nodes: &[Named]) -> Vec<String> {
    nodes.iter().map(|node| node.id.clone()).collect()
}

/// Nodes by id or host name. What is neither stays as it is: the scheduler says so.
pub(super) async fn named(context: &mut Context, names: Vec<String>) -> Result<Vec<Named>, Failure> {
    let nodes = super::all(context).await?;
    let found = |node: &v1::Node| Named { id: node.agent_id.clone(), name: super::shown(node) };
    let one = |name: String| {
        if let Some(node) = nodes.iter().find(|node| node.agent_id == name) {
            return Ok(found(node));
        }
        let mut named = nodes.iter().filter(|node| node.hostname == name);
        match (named.next(), named.next()) {
            (Some(node), None) => Ok(found(node)),
            (Some(_), Some(_)) => Err(super::ambiguous(&name)),
            (None, _) => Ok(Named { name: render::safe(&name), id: name }),
        }
    };
    names.into_iter().map(one).collect()
}

/// A refusal that speaks of nodes by the names that were typed; the scheduler knows them by their ids.
pub(super) fn by_name(failure: Failure, nodes: &[Named]) -> Failure {
    nodes.iter().fold(failure, |failure, Named { id, name }| failure.with_instead_of(id, name))
}

async fn set(context: &mut Context, mut request: v1::SetMaintenanceRequest, said: &str) -> Result<Exit, Failure> {
    let nodes = named(context, request.agent_ids).await?;
    request.agent_ids = ids(&nodes);
    let call = async |client: &mut Client, request| client.nodes().set_maintenance(request).await;
    let done = context.scheduler.call(request, Repeat::Harmless, call).await;
    let done = done.map_err(|failure| by_name(failure, &nodes))?;
    if context.out.json {
        context.out.value(&json::object(serde_json::json!({ "nodes": ids(&nodes), "index": done.index })));
    } else {
        nodes.iter().for_each(|node| context.out.line(&format!("{}: {said}", node.name)));
    }
    Ok(Exit::Done)
}

pub async fn drain(args: Drain, context: &mut Context) -> Result<Exit, Failure> {
    let named = named(context, args.nodes).await?;
    let nodes = ids(&named);
    let request = v1::SetMaintenanceRequest {
        agent_ids: nodes.clone(),
        mode: MaintenanceMode::Draining.into(),
        deadline_ms: Some(args.deadline.as_millis() as u64),
        author: author(),
        message: args.message,
        ..Default::default()
    };
    let call = async |client: &mut Client, request| client.nodes().set_maintenance(request).await;
    let done = context.scheduler.call(request, Repeat::Harmless, call).await;
    let done = done.map_err(|failure| by_name(failure, &named))?;
    let exit = if args.detach { Exit::Done } else { until_empty(context, &nodes).await? };
    if context.out.json {
        let fields = serde_json::json!({ "nodes": nodes, "index": done.index, "exit": exit as i32 });
        context.out.value(&json::object(fields));
    } else if args.detach {
        for Named { name, .. } in &named {
            let by = time::span(args.deadline.as_millis() as i64);
            context.out.line(&format!("{name}: is being drained, by force in {by}; see `dawn node status {name}`"));
        }
    }
    Ok(exit)
}

async fn until_empty(context: &mut Context, nodes: &[String]) -> Result<Exit, Failure> {
    let deadline = context.timeout.map(|timeout| Instant::now() + timeout);
    let mut progress = Progress::new(&context.out);
    let interrupted = tokio::signal::ctrl_c();
    tokio::pin!(interrupted);
    loop {
        let (mut lines, mut drained) = (Vec::new(), 0);
        for node in nodes {
            let request = v1::GetNodeRequest { agent_id: node.clone() };
            let call = async |client: &mut Client, request| client.nodes().get_node(request).await;
            let found = match context.scheduler.call(request, Repeat::Harmless, call).await {
                Ok(found) => found.node.unwrap_or_default(),
                Err(failure) if failure.exit == Exit::Unreachable => continue,
                Err(failure) => return Err(failure),
            };
            let mode = found.maintenance.as_ref().map_or(MaintenanceMode::None, |planned| planned.mode());
            if mode != MaintenanceMode::Draining {
                drained += 1;
            }
            lines.push(line(&found, mode));
        }
        if !lines.is_empty() {
            progress.show(&lines.join("\n"));
        }
        if drained == nodes.len() {
            return Ok(Exit::Done);
        }
        if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            eprintln!("dawn: timed out; the drain goes on");
            return Ok(Exit::Waited);
        }
        tokio::select! {
            () = sleep(LOOK) => {}
            _ = &mut interrupted => {
                eprintln!("dawn: not waiting any more; the drain goes on");
                return Ok(Exit::Waited);
            }
        }
    }
}

fn line(node: &v1::Node, mode: MaintenanceMode) -> String {
    let waits = node.maintenance.as_ref().map(|planned| planned.waits.as_slice()).unwrap_or_default();
    let forbidden = waits.iter().find(|wait| wait.contains("may not") || wait.contains("waits for"));
    let why = forbidden.map_or_else(String::new, |wait| format!("; {}", render::safe(wait)));
    let left = render::count(node.tasks, "task");
    let name = super::shown(node);
    match mode {
        MaintenanceMode::Drained => format!("{name}: drained"),
        MaintenanceMode::Draining => format!("{name}: {left} left{why}"),
        _ => format!("{name}: no longer being drained"),
    }
}
