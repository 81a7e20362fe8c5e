//! What an agent keeps on its machine and what bounds it, asked of the agent itself.

use std::time::Duration;

use dawn_proto::v1::reach_down::Message as Down;
use dawn_proto::v1::reach_open::What;
use dawn_proto::v1::{self, NodeState};
use serde_json::Value;

use crate::args::Context;
use crate::render::{self, Table, time};

/// A node that does not say is shown without it.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// None: it did not say, or can't be asked.
pub async fn ask(context: &mut Context, node: &v1::Node) -> Option<v1::Keeping> {
    if node.state() != NodeState::Up {
        return None;
    }
    let open = v1::ReachOpen { task_id: 0, agent_id: node.agent_id.clone(), what: Some(What::Keeping(true)) };
    let asked = async {
        let mut session = context.scheduler.again().reach(open).await.ok()?;
        match session.next().await {
            Ok(Some(Down::Keeping(keeping))) => Some(keeping),
            _ => None,
        }
    };
    tokio::time::timeout(ANSWER_WITHIN, asked).await.ok().flatten()
}

pub fn rows(keeping: &v1::Keeping, table: &mut Table) {
    let mut row = |name: &str, text: String| table.row(vec![name.to_string(), text]);
    let age = time::span(i64::try_from(keeping.sandbox_age_ms).unwrap_or(i64::MAX));
    row(
        "sandboxes",
        format!(
            "{} of {}, at most {} and {age}",
            render::bytes(keeping.sandbox_bytes),
            render::count(keeping.sandboxes, "ended task"),
            render::bytes(keeping.sandbox_limit_bytes),
        ),
    );
    if keeping.artifact_limit_bytes > 0 {
        let count = render::count(keeping.artifacts, "artifact");
        let (bytes, limit) = (render::bytes(keeping.artifact_bytes), render::bytes(keeping.artifact_limit_bytes));
        row("artifacts", format!("{bytes} in {count}, at most {limit}"));
    }
    let limit = match keeping.agent_memory_limit_bytes {
        0 => String::new(),
        limit => format!(", at most {} with its executors", render::bytes(limit)),
    };
    row("agent", format!("{}{limit}", render::bytes(keeping.agent_memory_bytes)));
}

pub fn json(keeping: &v1::Keeping) -> Value {
    serde_json::json!({
        "sandboxes": keeping.sandboxes, "sandbox_bytes": keeping.sandbox_bytes,
        "sandbox_limit_bytes": keeping.sandbox_limit_bytes, "sandbox_age_ms": keeping.sandbox_age_ms,
        "artifacts": keeping.artifacts, "artifact_bytes": keeping.artifact_bytes,
        "artifact_limit_bytes": keeping.artifact_limit_bytes, "agent_memory_bytes": keeping.agent_memory_bytes,
        "agent_memory_limit_bytes": keeping.agent_memory_limit_bytes,
    })
}
