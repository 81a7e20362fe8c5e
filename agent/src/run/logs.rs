//! Reading a task's log for a client: which log it is, and whether there is room for one more reader.

use std::sync::Arc;

use dawn_proto::TaskId;
use tracing::warn;

use super::DEFAULT_MAX_PIDS;
use super::hands::{MAX_TUNNELS, Shared, chain};
use crate::edges::executors;
use crate::edges::link;
use crate::edges::tunnel::{self, LogSource};
use crate::model::{LogRequest, RefusalKind, TaskDir, TunnelRefusal};

/// Serves a log at `address`, where the scheduler that asked is; `known`: whether the agent
/// holds the task, or why not.
pub(super) async fn serve(
    shared: Arc<Shared>,
    address: String,
    tunnel: u64,
    log: LogRequest,
    known: Result<(), String>,
) {
    let permit = shared.tunnels.try_acquire();
    let source = match (&permit, known) {
        (Err(_), _) => {
            let words = format!("this agent reads {MAX_TUNNELS} logs already; end some of them, or try again later");
            warn!(tunnel, "{words}");
            Err(TunnelRefusal::new(RefusalKind::TooMany, words))
        }
        (Ok(_), Ok(())) => source(&shared, log.task),
        (Ok(_), Err(why)) => Err(TunnelRefusal::new(RefusalKind::NotFound, why)),
    };
    match link::connect(&address).await {
        Ok(channel) => match source {
            Ok(source) => tunnel::serve(channel, tunnel, log, source).await,
            Err(refusal) => tunnel::refuse(channel, tunnel, refusal).await,
        },
        Err(error) => warn!(tunnel, error = chain(&error), "can't open the tunnel"),
    }
}

fn source(shared: &Shared, task: TaskId) -> Result<LogSource, TunnelRefusal> {
    let dir: TaskDir = shared.tasks.dir(task);
    let unreadable = || TunnelRefusal::new(RefusalKind::Failed, "the task's plan can't be read");
    let kept = shared.tasks.kept(task, DEFAULT_MAX_PIDS).ok_or_else(unreadable)?;
    Ok(LogSource { dir, processes: kept.processes, is_over: executors::is_over })
}
