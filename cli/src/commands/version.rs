//! `dawn version`: of this program, and of the scheduler if one answers; and what the leader knows to be wrong.

use dawn_proto::v1;

use super::leader;
use crate::args::Context;
use crate::exit::{Exit, Failure};
use crate::render::{self, Table, json};

pub async fn run(context: &mut Context) -> Result<Exit, Failure> {
    let client = env!("CARGO_PKG_VERSION");
    let mut info = leader::info(context).await;
    let answered = context.scheduler.answered().unwrap_or_default().to_string();
    if let Ok(info) = &mut info {
        info.troubles = leader::troubles_beside(info.clone(), context).await?;
    }
    if context.out.json {
        let server = info.as_ref().ok().map(server);
        context.out.value(&json::object(serde_json::json!({ "client": client, "server": server })));
        return info.map(|_| Exit::Done);
    }
    let mut table = Table::bare(2);
    let mut row = |name: &str, value: String| table.row(vec![name.to_string(), value]);
    row("client", client.to_string());
    if let Ok(info) = &info {
        row("scheduler", format!("{} at {answered}", info.version));
        row("leader", leads(info));
        let (nodes, tasks) = (render::count(info.nodes, "node"), render::count(info.tasks, "task"));
        row("cluster", format!("{} ({nodes}, {tasks})", info.cluster_id));
        let role = if info.leader { "leader" } else { "follower" };
        row("journal", format!("{}, index {}, epoch {}, {role}", info.journal, info.index, info.epoch));
        info.troubles.iter().for_each(|trouble| row("trouble", trouble.clone()));
    }
    context.out.table(&table);
    info.map(|_| Exit::Done)
}

/// Who leads, as the scheduler that answered knows it.
fn leads(info: &v1::ServerInfo) -> String {
    match (info.leader, info.leader_address.as_str()) {
        (true, _) => "this one".to_string(),
        (false, "") => "none is known".to_string(),
        (false, address) => address.to_string(),
    }
}

fn server(info: &v1::ServerInfo) -> serde_json::Value {
    serde_json::json!({
        "version": info.version,
        "cluster_id": info.cluster_id,
        "epoch": info.epoch,
        "index": info.index,
        "leader": info.leader,
        "leader_address": info.leader_address,
        "journal": info.journal,
        "troubles": info.troubles,
        "nodes": info.nodes,
        "tasks": info.tasks,
    })
}
