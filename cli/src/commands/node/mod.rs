//! `dawn node …`: the machines, what they have, what of it is taken, and what is planned for them.

mod loss;
mod maintain;

use clap::Subcommand;
use dawn_proto::Dimension;
use dawn_proto::v1::{self, MaintenanceMode, NodeState};

use super::{keeping, leader};
use crate::args::Context;
use crate::client::{Client, Repeat};
use crate::exit::{Exit, Failure};
use crate::render::{self, Table, json, time};
use crate::spec::show_milli;

pub use loss::will_be_replaced;

#[derive(Subcommand)]
pub enum Node {
    /// List the nodes
    List,
    /// Show one node and the tasks on it
    Status {
        /// The node's host name, or its id where the name is not unique
        node: String,
    },
    /// Keep new tasks away from nodes; what runs there stays
    Cordon(maintain::Cordon),
    /// Move the tasks of nodes away, as their jobs' SLA policies permit, and by the deadline all of them
    Drain(maintain::Drain),
    /// Plan for nodes to be drained later
    Maintenance(maintain::Maintain),
    /// Bring nodes back into use; also calls a drain off
    Uncordon(maintain::Cordon),
    /// Forget the failures for which nodes are avoided: they take tasks again at once
    Forgive(maintain::Cordon),
    /// Say that silent nodes are gone for good: their tasks are given up at once, whatever the brake
    Down(loss::Down),
    /// Remove nodes that hold no tasks any more from the list
    Forget(loss::Forget),
}

pub async fn run(node: Node, context: &mut Context) -> Result<Exit, Failure> {
    match node {
        Node::List => list(context).await,
        Node::Status { node } => status(&node, context).await,
        Node::Cordon(cordon) => maintain::cordon(cordon, context).await,
        Node::Drain(drain) => maintain::drain(drain, context).await,
        Node::Maintenance(planned) => maintain::maintain(planned, context).await,
        Node::Uncordon(cordon) => maintain::uncordon(cordon, context).await,
        Node::Forgive(forgiven) => maintain::forgive(forgiven, context).await,
        Node::Down(down) => loss::down(down, context).await,
        Node::Forget(forget) => loss::forget(forget, context).await,
    }
}

pub async fn all(context: &mut Context) -> Result<Vec<v1::Node>, Failure> {
    let mut nodes = Vec::new();
    let mut request = v1::ListNodesRequest::default();
    loop {
        let call = async |client: &mut Client, request| client.nodes().list_nodes(request).await;
        let page = context.scheduler.call(request.clone(), Repeat::Harmless, call).await?;
        nodes.extend(page.nodes);
        if page.next_page_token.is_empty() {
            return Ok(nodes);
        }
        request.page_token = page.next_page_token;
    }
}

async fn list(context: &mut Context) -> Result<Exit, Failure> {
    // First: since when a node is silent the leader knows alone.
    let troubles = leader::troubles(context).await?;
    let mut nodes = all(context).await?;
    nodes.sort_by(|a, b| by_name(&a.hostname, &b.hostname).then_with(|| a.agent_id.cmp(&b.agent_id)));
    if context.out.json {
        let nodes: Vec<_> = nodes.iter().map(json::node).collect();
        context.out.value(&json::object(serde_json::json!({ "nodes": nodes, "troubles": troubles })));
        return Ok(Exit::Done);
    }
    troubles.iter().for_each(|trouble| context.out.line(&format!("trouble: {}", render::safe(trouble))));
    if nodes.is_empty() {
        context.out.line("no nodes; start one with `dawn agent --scheduler HOST:PORT --work-dir DIR`");
    } else {
        context.out.table(&table(&nodes, time::now_ms()));
        if nodes.iter().all(|node| node.last_heard_ms == 0) {
            let leads = leader::info(context).await.is_ok_and(|info| info.leader);
            context.out.line(if leads { UNHEARD } else { LEADERLESS });
        }
        lost_for_good(&nodes).iter().for_each(|hint| context.out.line(hint));
    }
    Ok(Exit::Done)
}

/// A leader knows only what it has heard itself.
const UNHEARD: &str = "no node has been heard since this leader was elected, so HEARD is not known yet; STATE is the last one in the journal";
/// Only the leader knows since when nodes are silent.
const LEADERLESS: &str = "no leader answers, and only a leader knows HEARD; STATE is the last one in the journal";

/// As people call it: its host name, or its id where it has none.
pub(super) fn shown(node: &v1::Node) -> String {
    render::safe(if node.hostname.is_empty() { &node.agent_id } else { &node.hostname })
}

/// "node-2" before "node-10": numbers count as numbers.
fn by_name(a: &str, b: &str) -> std::cmp::Ordering {
    let parts = |name: &str| {
        let is_digit = |c: char| c.is_ascii_digit();
        let (mut parts, mut rest) = (Vec::new(), name.to_string());
        while !rest.is_empty() {
            let digits = rest.starts_with(is_digit);
            let end = rest.find(|c: char| is_digit(c) != digits).unwrap_or(rest.len());
            let after = rest.split_off(end);
            let number = if digits { rest.parse::<u64>().unwrap_or(u64::MAX) } else { 0 };
            parts.push((number, rest));
            rest = after;
        }
        parts
    };
    parts(a).cmp(&parts(b))
}

/// What can be done about nodes that don't come back.
fn lost_for_good(nodes: &[v1::Node]) -> Vec<String> {
    let silent: Vec<_> = nodes.iter().filter(|node| node.state() != NodeState::Up).collect();
    let mut hints = Vec::new();
    if silent.iter().any(|node| node.tasks > 0 && node.declared_down) {
        hints.push("tasks on a node that was declared down go when they can't live any more (at_most_one)".to_string());
    }
    if silent.iter().any(|node| node.tasks > 0 && !node.declared_down) {
        hints.push("is a silent node gone for good? `dawn node down NODE…` has its tasks replaced at once".to_string());
    }
    if silent.iter().any(|node| node.tasks == 0) {
        hints.push("`dawn node forget NODE…` removes silent nodes without tasks from the list".to_string());
    }
    hints
}

fn state(node: &v1::Node, now_ms: i64) -> String {
    let state = match node.state() {
        NodeState::Unspecified => "unknown",
        NodeState::Up => "up",
        NodeState::Unreachable => "out of reach",
        NodeState::Down if node.declared_down => "declared down",
        NodeState::Down => "down",
    };
    let planned = node.maintenance.as_ref().map_or("", |planned| match planned.mode() {
        MaintenanceMode::None => "",
        MaintenanceMode::Cordoned => ", cordoned",
        MaintenanceMode::Scheduled => ", drains soon",
        MaintenanceMode::Draining => ", draining",
        MaintenanceMode::Drained => ", drained",
    });
    let avoided = if node.avoided_until_ms > now_ms { ", avoided" } else { "" };
    format!("{state}{planned}{avoided}")
}

/// "1.5/4": taken of all.
fn share(node: &v1::Node, dimension: Dimension) -> String {
    let amount = |of: &v1::Resources| of.amount(dimension);
    let (taken, all) = (node.used.as_ref().map_or(0, amount), node.total.as_ref().map_or(0, amount));
    let show = render::in_unit(dimension.unit());
    if all == 0 { String::new() } else { format!("{}/{}", show(taken), show(all)) }
}

fn attributes(node: &v1::Node) -> String {
    let one = |attribute: &v1::Attribute| format!("{}={}", attribute.name, attribute.values.join(","));
    node.attributes.iter().map(one).collect::<Vec<_>>().join(" ")
}

fn table(nodes: &[v1::Node], now_ms: i64) -> Table {
    let dimensions = Dimension::ALL.map(|dimension| format!(">{}", dimension.name().to_uppercase()));
    let mut names = vec!["NODE", "ID", "STATE", ">TASKS"];
    names.extend(dimensions.iter().map(String::as_str));
    names.extend([">HEARD", "ATTRIBUTES"]);
    let mut table = Table::new(&names);
    for node in nodes {
        let mut row = vec![shown(node), node.agent_id.clone(), state(node, now_ms), node.tasks.to_string()];
        row.extend(Dimension::ALL.map(|dimension| share(node, dimension)));
        row.extend([time::relative(node.last_heard_ms, now_ms), attributes(node)]);
        table.row(row);
    }
    table
}

fn ambiguous(name: &str) -> Failure {
    let message = format!("several nodes are named {}; name one by its id", render::safe(name));
    Failure::new(Exit::Usage, message).hint("see `dawn node list`")
}

async fn status(name: &str, context: &mut Context) -> Result<Exit, Failure> {
    // The leader is asked first, if it is found: since when the node is silent it knows alone.
    _ = leader::troubles(context).await;
    let get = async |client: &mut Client, request| client.nodes().get_node(request).await;
    let request = |id: &str| v1::GetNodeRequest { agent_id: id.to_string() };
    let found = match context.scheduler.call(request(name), Repeat::Harmless, get).await {
        Err(failure) if failure.exit == Exit::NotFound => {
            let nodes = all(context).await?;
            let mut named = nodes.iter().filter(|node| node.hostname == name);
            match (named.next(), named.next()) {
                (Some(node), None) => context.scheduler.call(request(&node.agent_id), Repeat::Harmless, get).await?,
                (Some(_), Some(_)) => return Err(ambiguous(name)),
                (None, _) => return Err(failure),
            }
        }
        other => other?,
    };
    let node = found.node.clone().unwrap_or_default();
    let keeping = keeping::ask(context, &node).await;
    if context.out.json {
        let fields = serde_json::json!({
            "node": json::node(&node), "tasks": json::tasks(&found.tasks), "index": found.index,
            "keeping": keeping.as_ref().map(keeping::json),
        });
        context.out.value(&json::object(fields));
        return Ok(Exit::Done);
    }
    let now_ms = time::now_ms();
    let mut head = head(&node, now_ms);
    keeping.iter().for_each(|keeping| keeping::rows(keeping, &mut head));
    context.out.table(&head);
    lost_for_good(std::slice::from_ref(&node)).iter().for_each(|hint| context.out.line(hint));
    if !found.tasks.is_empty() {
        context.out.line("");
        context.out.table(&on_node(&found.tasks, now_ms));
    }
    Ok(Exit::Done)
}

fn head(node: &v1::Node, now_ms: i64) -> Table {
    let mut table = Table::bare(2);
    let mut row = |name: &str, value: String| {
        if !value.is_empty() {
            table.row(vec![name.to_string(), value]);
        }
    };
    row("node", shown(node));
    row("id", node.agent_id.clone());
    row("state", format!("{}, heard {}", state(node, now_ms), time::relative(node.last_heard_ms, now_ms)));
    if node.avoided_until_ms > now_ms {
        row("avoided", format!("{}, for {}", node.avoided_why, time::span(node.avoided_until_ms - now_ms)));
    }
    if let Some(planned) = &node.maintenance {
        let by = format!("{} by {}", time::relative(planned.since_ms, now_ms), render::safe(&planned.author));
        row("maintenance", format!("since {by} {}", render::safe(&planned.message)));
        if planned.start_ms > 0 && planned.mode() == MaintenanceMode::Scheduled {
            row("drains", time::relative(planned.start_ms, now_ms));
        }
        if planned.mode() == MaintenanceMode::Draining {
            row("forced", time::relative(planned.deadline_ms, now_ms));
        }
        planned.waits.iter().for_each(|wait| row("waits", render::safe(wait)));
    }
    Dimension::ALL.into_iter().for_each(|dimension| row(dimension.name(), share(node, dimension)));
    let none = v1::Resources::default();
    for (name, all) in &node.total.as_ref().unwrap_or(&none).custom_milli {
        let taken = node.used.as_ref().unwrap_or(&none).custom_milli.get(name).copied().unwrap_or(0);
        row(name, format!("{}/{}", show_milli(taken), show_milli(*all)));
    }
    let ports = node.ports.iter().map(|range| format!("{}-{}", range.first, range.last));
    row("ports", ports.collect::<Vec<_>>().join(", "));
    for taken in &node.taken_ports {
        row("", format!("port {} {}", taken.port, dawn_proto::words::port_holder(taken.holder())));
    }
    row("attributes", attributes(node));
    row("isolation", node.isolation.clone());
    row("version", node.version.clone());
    table
}

fn on_node(tasks: &[v1::Task], now_ms: i64) -> Table {
    let mut table = Table::new(&["JOB", ">INSTANCE", "TASK", "STATE", ">SINCE", "PORTS"]);
    for task in tasks {
        let since_ms = task.history.last().map_or(now_ms, |last| last.at_ms);
        table.row(vec![
            render::key(task.job.as_ref()),
            task.instance.to_string(),
            dawn_proto::TaskId(task.id).to_string(),
            render::state(task.state()),
            time::span(now_ms - since_ms),
            render::ports(&task.ports),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn whether_a_leader_answers_is_asked_before_it_is_denied() {
        use crate::client::fake::{Fake, Script, answers, text};
        for (leader, said) in [(true, UNHEARD), (false, LEADERLESS)] {
            let node = v1::Node { agent_id: "a1".into(), hostname: "node-1".into(), ..Default::default() };
            let script = Script {
                info: answers([Ok(v1::ServerInfo { leader, ..Default::default() })]),
                nodes: answers([Ok(v1::ListNodesResponse { nodes: vec![node], ..Default::default() })]),
                ..Default::default()
            };
            let fake = Fake::start(script).await;
            let (mut context, memory) = fake.context(false);
            list(&mut context).await.unwrap();
            assert!(text(&memory).contains(said), "{}", text(&memory));
        }
    }

    #[test]
    fn nodes_are_sorted_as_people_count() {
        let mut names = ["node-10", "node-9", "alpha", "node-2b", "node-2"];
        names.sort_by(|a, b| by_name(a, b));
        assert_eq!(names, ["alpha", "node-2", "node-2b", "node-9", "node-10"]);
    }

    #[test]
    fn what_is_said_of_silent_nodes_is_what_can_still_be_done() {
        let node = |tasks, declared_down| v1::Node {
            state: NodeState::Down.into(),
            tasks,
            declared_down,
            ..Default::default()
        };
        let said = |node| lost_for_good(&[node]).join("; ");
        assert_eq!(
            said(node(1, false)),
            "is a silent node gone for good? `dawn node down NODE…` has its tasks replaced at once"
        );
        let declared = "tasks on a node that was declared down go when they can't live any more (at_most_one)";
        assert_eq!((said(node(1, true)).as_str(), state(&node(1, true), 0).as_str()), (declared, "declared down"));
        let forget = "`dawn node forget NODE…` removes silent nodes without tasks from the list";
        assert_eq!((said(node(0, true)).as_str(), said(node(0, false)).as_str()), (forget, forget));
    }

    #[test]
    fn nodes_show_what_is_taken_of_what_they_have() {
        let amounts = |cpu_milli, memory_bytes| v1::Resources { cpu_milli, memory_bytes, ..Default::default() };
        let rack = v1::Attribute { name: "rack".into(), values: vec!["a".into(), "b".into()] };
        let node = v1::Node {
            agent_id: "n1".into(),
            hostname: "node-1".into(),
            state: NodeState::Up.into(),
            attributes: vec![rack],
            total: Some(amounts(4_000, 8 << 30)),
            used: Some(amounts(1_500, 128 << 20)),
            tasks: 2,
            last_heard_ms: 9_000,
            avoided_until_ms: 20_000,
            avoided_why: "3 launches failed".into(),
            ..Default::default()
        };
        let expected = "\
NODE    ID  STATE        TASKS    CPU         MEMORY   HEARD  ATTRIBUTES
node-1  n1  up, avoided      2  1.5/4  128 MiB/8 GiB  1s ago  rack=a,b
";
        assert_eq!(table(std::slice::from_ref(&node), 10_000).text(), expected);
        assert!(head(&node, 10_000).text().contains("avoided     3 launches failed, for 10s\n"));
    }

    #[test]
    fn a_node_names_the_ports_that_it_leaves_out_and_what_holds_them() {
        let taken = |port, holder: v1::PortHolder| v1::TakenPort { port, holder: holder.into() };
        let node = v1::Node {
            ports: vec![v1::PortRange { first: 31_001, last: 31_399 }],
            taken_ports: vec![taken(31_000, v1::PortHolder::Unseen), taken(31_400, v1::PortHolder::Listener)],
            ..Default::default()
        };
        let said = head(&node, 10_000).text();
        let rows =
            ["31000 can't be bound; it may be held by", "31400 is held by a process that Dawn did not give it to\n"];
        assert!(said.contains("ports  31001-31399\n       port 31000"), "{said}");
        assert!(rows.iter().all(|row| said.contains(&format!("       port {row}"))), "{said}");
    }
}
