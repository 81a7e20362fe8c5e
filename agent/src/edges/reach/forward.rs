//! A connection to a port of a task, carried to the client.

use std::net::Ipv4Addr;
use std::time::Duration;

use dawn_proto::v1::reach_down::Message as Down;
use dawn_proto::v1::reach_up::Message as Up;
use dawn_proto::v1::{Begun, Connect};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use super::inbox::Inbox;
use super::{CHUNK_BYTES, Out};
use crate::model::ReachableTask;

const CONNECT_WITHIN: Duration = Duration::from_secs(5);

/// Connects, and carries bytes both ways until both are done or one side is gone.
pub async fn connect(task: &ReachableTask, connect: &Connect, mut inbox: Inbox, out: Out) -> Result<(), String> {
    let port = task.ports.iter().find(|port| port.name == connect.port).ok_or_else(|| {
        let names: Vec<&str> = task.ports.iter().map(|port| port.name.as_str()).collect();
        format!("{} has no port {:?}; it has: {}", task.task, connect.port, names.join(", "))
    })?;
    let address = (Ipv4Addr::LOCALHOST, port.number);
    let refused = |why: String| format!("port {} ({}) of {}: {why}", port.name, port.number, task.task);
    let connected = tokio::time::timeout(CONNECT_WITHIN, TcpStream::connect(address)).await;
    let connected = connected.map_err(|_| refused("no answer".into()))?;
    let mut stream = connected.map_err(|error| refused(error.to_string()))?;
    let _ = stream.set_nodelay(true);
    if out.say(Down::Begun(Begun::default())).await.is_err() {
        return Ok(());
    }
    let used = inbox.used();
    let (mut from, mut to) = stream.split();
    let (feed, mut fed) = mpsc::unbounded_channel::<Vec<u8>>();
    let client = async move {
        let mut feed = Some(feed);
        while let Some(message) = inbox.next().await {
            match message {
                // Bounded by the client's credit.
                Up::Data(data) => _ = feed.as_ref().map(|feed| feed.send(data)),
                Up::End(_) => feed = None,
                _ => {}
            }
        }
    };
    let upwards = async {
        while let Some(data) = fed.recv().await {
            if to.write_all(&data).await.is_err() || out.say(Down::Credit(used.credit(data.len()))).await.is_err() {
                return;
            }
        }
        let _ = to.shutdown().await;
    };
    let downwards = async {
        let mut buffer = vec![0; CHUNK_BYTES / 2];
        loop {
            match from.read(&mut buffer).await {
                Ok(0) | Err(_) => break,
                Ok(got) => {
                    if out.say(Down::Data(buffer[..got].to_vec())).await.is_err() {
                        return;
                    }
                }
            }
        }
        let _ = out.say(Down::Done(true)).await;
    };
    tokio::select! {
        // What the task says last counts; a client that closed its side may still read.
        () = downwards => {}
        () = async { upwards.await; std::future::pending().await } => {}
        () = client => {}
    }
    Ok(())
}
