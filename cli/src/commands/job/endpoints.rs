//! `dawn job endpoints`: where a job's healthy tasks listen.

use clap::Args;
use dawn_proto::v1;

use crate::args::Context;
use crate::client::{Client, Repeat};
use crate::commands::select::Selection;
use crate::exit::{Exit, Failure};
use crate::render::{Table, json};

#[derive(Args)]
pub struct Endpoints {
    /// ROLE/ENV/NAME, also with instances (ROLE/ENV/NAME/0-3,7)
    job: Selection,
    /// Only `host:port` of this port or alias, a line each
    #[arg(long, value_name = "NAME", conflicts_with = "plain")]
    port: Option<String>,
    /// Only `host:port` of the primary port, a line each
    #[arg(long)]
    plain: bool,
}

pub async fn run(args: Endpoints, context: &mut Context) -> Result<Exit, Failure> {
    let request = v1::ListEndpointsRequest { key: Some((&args.job.key).into()) };
    let call = async |client: &mut Client, request| client.jobs().list_endpoints(request).await;
    let mut listed = context.scheduler.call(request, Repeat::Harmless, call).await?;
    if !args.job.instances.is_empty() {
        let chosen = |instance| args.job.instances.iter().any(|run| (run.first..=run.last).contains(&instance));
        listed.endpoints.retain(|endpoint| chosen(endpoint.instance));
    }
    let endpoints = &listed.endpoints;
    if context.out.json {
        let all: Vec<_> = endpoints.iter().map(value).collect();
        context.out.value(&json::object(serde_json::json!({ "endpoints": all, "index": listed.index })));
    } else if args.plain || args.port.is_some() {
        for endpoint in endpoints {
            let port = match &args.port {
                Some(name) => endpoint.ports.get(name).copied().unwrap_or(0),
                None => endpoint.port,
            };
            if port == 0 {
                return Err(no_port(endpoint, args.port.as_deref()));
            }
            context.out.line(&address(&endpoint.hostname, port));
        }
    } else if endpoints.is_empty() {
        context.out.line(&format!("{} has no task that is running and healthy", args.job.key));
    } else {
        context.out.table(&table(endpoints));
    }
    Ok(Exit::Done)
}

fn no_port(endpoint: &v1::Endpoint, wanted: Option<&str>) -> Failure {
    let names: Vec<&str> = endpoint.ports.keys().map(String::as_str).collect();
    let have = if names.is_empty() { "no ports".to_string() } else { names.join(", ") };
    Failure::new(
        Exit::Usage,
        match wanted {
            Some(name) => format!("instance {} has no port {name:?}; it has {have}", endpoint.instance),
            None => format!(
                "instance {} has no primary port; name one with --port, or say `announce: {{ primary_port: … }}` in the \
                 job file. It has {have}",
                endpoint.instance
            ),
        },
    )
}

/// IPv6 addresses in brackets.
fn address(host: &str, port: u32) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

fn table(endpoints: &[v1::Endpoint]) -> Table {
    let mut table = Table::new(&[">INSTANCE", "ADDRESS", "PORTS", ">VERSION", "TASK"]);
    for endpoint in endpoints {
        let ports: Vec<String> = endpoint.ports.iter().map(|(name, port)| format!("{name}:{port}")).collect();
        let primary = match endpoint.port {
            0 => endpoint.hostname.clone(),
            port => address(&endpoint.hostname, port),
        };
        table.row(vec![
            endpoint.instance.to_string(),
            primary,
            ports.join(" "),
            endpoint.version.to_string(),
            format!("t{}", endpoint.task_id),
        ]);
    }
    table
}

fn value(endpoint: &v1::Endpoint) -> serde_json::Value {
    serde_json::json!({
        "instance": endpoint.instance,
        "task": format!("t{}", endpoint.task_id),
        "version": endpoint.version,
        "host": endpoint.hostname,
        "agent": endpoint.agent_id,
        "port": if endpoint.port > 0 { Some(endpoint.port) } else { None },
        "ports": endpoint.ports,
    })
}
