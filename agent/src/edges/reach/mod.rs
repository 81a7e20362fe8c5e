//! Clients' sessions with tasks: commands in them, files of their sandboxes, their ports, what they use.
//! One session is one tunnel; a client that vanishes closes it, and whatever was started for it is killed.

mod exec;
mod files;
mod forward;
mod inbox;
mod terminal;
mod usage;

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use dawn_proto::TaskId;
use dawn_proto::v1::agent_link_client::AgentLinkClient;
use dawn_proto::v1::reach_down::Message as Down;
use dawn_proto::v1::reach_open::What;
use dawn_proto::v1::reach_up::Message as Up;
use dawn_proto::v1::{self, TunnelUp};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tracing::debug;

use crate::model::{Reachable, ReachableTask, RefusalKind, TaskDir, TunnelRefusal};
use crate::wire;
use inbox::Inbox;

/// Messages on their way to the scheduler; more wait with whoever makes them.
const MESSAGES: usize = 4;
/// Largest piece of data in one message.
const CHUNK_BYTES: usize = 64 << 10;
/// The client's wish comes within this time.
const OPEN_WITHIN: Duration = Duration::from_secs(10);
/// For the scheduler to take the last of it and close.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(10);

/// What a session may need of the agent.
pub struct Means {
    pub about: Reachable,
    /// Of the task, if it has one.
    pub dir: Option<TaskDir>,
    /// Where a group for one exec may be made; None: nowhere.
    pub group: Option<PathBuf>,
    /// Command that starts an executor.
    pub executor: Vec<OsString>,
    /// Samples of a task, or of all; blocks.
    pub sample: Arc<dyn Fn(Option<TaskId>) -> Vec<v1::Usage> + Send + Sync>,
    /// What the agent keeps; blocks.
    pub keeping: Arc<dyn Fn() -> v1::Keeping + Send + Sync>,
}

/// The client or the way to it is gone.
struct Gone;

/// What is said to the client; waits while it is slow.
#[derive(Clone)]
struct Out(mpsc::Sender<TunnelUp>);

impl Out {
    async fn say(&self, message: Down) -> Result<(), Gone> {
        self.0.send(wire::encode_reach(message)).await.map_err(|_| Gone)
    }
}

/// Serves one session over its tunnel until it is done or the client is gone.
pub async fn serve(channel: Channel, tunnel: u64, means: Means) {
    let (up, stream) = mpsc::channel(MESSAGES);
    let (inbox, feed) = inbox::inbox();
    let mut client = AgentLinkClient::new(channel);
    let reader = async {
        let mut down = client.tunnel(ReceiverStream::new(stream)).await?.into_inner();
        while let Some(message) = down.message().await? {
            let taken = message.reach.and_then(|reach| reach.message).is_none_or(|message| feed.take(message));
            if message.close || !taken {
                break;
            }
        }
        // Tells the session that the client is gone.
        drop(feed);
        Ok::<(), tonic::Status>(())
    };
    let session = async {
        if up.send(wire::encode_tunnel_first(tunnel)).await.is_err() {
            return;
        }
        let failed = begin(inbox, Out(up.clone()), means).await.err();
        if let Some(why) = failed {
            let _ = up.send(wire::encode_tunnel_error(TunnelRefusal::new(RefusalKind::Failed, why))).await;
        }
        drop(up);
        tokio::time::sleep(CLOSE_TIMEOUT).await;
    };
    let mut session = std::pin::pin!(session);
    tokio::select! {
        () = &mut session => {}
        closed = reader => {
            debug!(tunnel, ?closed, "session closed");
            // It cleans up.
            session.await;
        }
    }
}

async fn begin(mut inbox: Inbox, out: Out, means: Means) -> Result<(), String> {
    let first = tokio::time::timeout(OPEN_WITHIN, inbox.next()).await;
    let Ok(Some(Up::Open(v1::ReachOpen { what: Some(what), .. }))) = first else {
        return Err("the session began with nothing this agent knows; is it older than the client?".into());
    };
    let task = match (&means.about, &what) {
        (Reachable::Agent, What::Usage(watch)) => {
            return usage::watch(*watch, None, means.sample, inbox, out).await;
        }
        (Reachable::Agent, What::Keeping(_)) => {
            let keeping = means.keeping.clone();
            let keeping = tokio::task::spawn_blocking(move || keeping()).await.map_err(|error| error.to_string())?;
            let _ = out.say(Down::Keeping(keeping)).await;
            return Ok(());
        }
        (Reachable::Agent, _) => return Err("that needs a task, and none was named".into()),
        (Reachable::Unknown(task), _) => {
            return Err(format!("the agent has nothing of {task} any more; its directory was removed"));
        }
        (Reachable::Task(task), _) => task.clone(),
    };
    let dir = means.dir.clone().ok_or("the task has no directory")?;
    match what {
        What::List(list) => files::list(&dir, list, out).await,
        What::Read(read) => files::read(&dir, read, inbox, out).await,
        What::Write(write) => files::write(&dir, &task, write, inbox, out).await,
        What::Exec(exec) => exec::exec(&living(task)?, &dir, &means, exec, inbox, out).await,
        What::Connect(connect) => forward::connect(&living(task)?, &connect, inbox, out).await,
        What::Usage(watch) => {
            let id = living(task)?.task;
            usage::watch(watch, Some(id), means.sample, inbox, out).await
        }
        What::Keeping(_) => Err("that is about an agent, not about a task".into()),
    }
}

fn living(task: ReachableTask) -> Result<ReachableTask, String> {
    if task.living { Ok(task) } else { Err(format!("{} has ended; only its files and logs can be read", task.task)) }
}
