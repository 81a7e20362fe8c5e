//! Tunnels: one stream of bytes each, opened towards the scheduler when told to. Here: reading a task's log.

mod reading;
mod segments;
mod times;

use std::time::Duration;

use dawn_proto::v1::TunnelUp;
use dawn_proto::v1::agent_link_client::AgentLinkClient;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tracing::debug;

use crate::model::{LogRequest, RefusalKind, TaskDir, TunnelRefusal};
use crate::wire;
use reading::{Reading, StartError};

/// Between two looks at a log that is followed.
const POLL: Duration = Duration::from_millis(100);
const CLOSE_TIMEOUT: Duration = Duration::from_secs(10);

/// A log to be read.
#[derive(Debug)]
pub struct LogSource {
    pub dir: TaskDir,
    /// Names of the task's processes, in the spec's order.
    pub processes: Vec<String>,
    /// Whether the task has ended; looked at before each read, so that nothing is missed.
    pub is_over: fn(&TaskDir) -> bool,
}

/// Serves one log over its tunnel until all is sent, the reader is gone, or it can't go on.
pub async fn serve(channel: Channel, tunnel: u64, log: LogRequest, source: LogSource) {
    let (up, stream) = mpsc::channel(4);
    let mut client = AgentLinkClient::new(channel);
    let reader = async {
        if up.send(wire::encode_tunnel_first(tunnel)).await.is_err() {
            return;
        }
        let failed = match open(&log, &source) {
            Ok(reading) => read(reading, &log, &source, &up).await.err(),
            Err(why) => Some(why),
        };
        if let Some(why) = failed {
            let _ = up.send(wire::encode_tunnel_error(why)).await;
        }
        drop(up);
        // For the scheduler to take the last of it and close.
        tokio::time::sleep(CLOSE_TIMEOUT).await;
    };
    let down = async {
        let mut down = client.tunnel(ReceiverStream::new(stream)).await?.into_inner();
        while let Some(message) = down.message().await? {
            if message.close {
                break;
            }
        }
        Ok::<(), tonic::Status>(())
    };
    tokio::select! {
        () = reader => {}
        closed = down => debug!(tunnel, ?closed, "tunnel closed"),
    }
}

/// Says over a tunnel why it can't be served.
pub async fn refuse(channel: Channel, tunnel: u64, refusal: TunnelRefusal) {
    let messages = [wire::encode_tunnel_first(tunnel), wire::encode_tunnel_error(refusal)];
    let mut client = AgentLinkClient::new(channel);
    let told = async {
        let mut down = client.tunnel(tokio_stream::iter(messages)).await?.into_inner();
        // Closed by the scheduler once it has both.
        while down.message().await?.is_some_and(|message| !message.close) {}
        Ok::<(), tonic::Status>(())
    };
    if let Err(error) = tokio::time::timeout(CLOSE_TIMEOUT, told).await {
        debug!(tunnel, %error, "a tunnel's refusal was not taken");
    }
}

fn open(log: &LogRequest, source: &LogSource) -> Result<Reading, TunnelRefusal> {
    let process = if log.process.is_empty() { source.processes.first() } else { Some(&log.process) };
    match process.filter(|name| source.processes.contains(name)) {
        Some(name) => Ok(Reading::new(&source.dir.logs(), name, log.streams)),
        None => {
            let (task, name, others) = (log.task, &log.process, source.processes.join(", "));
            let words = format!("task {task} has no process {name}; it has: {others}");
            Err(TunnelRefusal::new(RefusalKind::NotFound, words))
        }
    }
}

/// Sends from the start asked for to the end, and what comes after it if followed.
async fn read(
    mut reading: Reading,
    log: &LogRequest,
    source: &LogSource,
    up: &mpsc::Sender<TunnelUp>,
) -> Result<(), TunnelRefusal> {
    let task = log.task;
    let failed = |error: std::io::Error| {
        TunnelRefusal::new(RefusalKind::Failed, format!("can't read the log of task {task}: {error}"))
    };
    let started = reading.start(log.from).await.map_err(|error| match error {
        StartError::Io(error) => failed(error),
        StartError::Beyond { end, offset } => {
            let words = format!("the log of task {task} ends at byte {end}; byte {offset} is beyond it");
            TunnelRefusal::new(RefusalKind::OutOfRange, words)
        }
    })?;
    for chunk in started.into_iter().chain(reading.begins()) {
        if up.send(wire::encode_chunk(chunk)).await.is_err() {
            return Ok(());
        }
    }
    loop {
        // Asked first: what an ended task wrote is all there by now.
        let is_over = (source.is_over)(&source.dir);
        while let Some(chunk) = reading.next().map_err(failed)? {
            if up.send(wire::encode_chunk(chunk)).await.is_err() {
                return Ok(());
            }
        }
        if is_over || !log.follow {
            // The receiver may be gone: then nobody waits for it.
            let _ = up.send(wire::encode_chunk(reading.last(is_over))).await;
            return Ok(());
        }
        tokio::time::sleep(POLL).await;
    }
}
