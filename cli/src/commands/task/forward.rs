//! `dawn task port-forward`: connections to a port of this machine become connections to a task's.

use std::net::SocketAddr;

use clap::Args;
use dawn_proto::TaskId;
use dawn_proto::v1;
use dawn_proto::v1::reach_down::Message as Down;
use dawn_proto::v1::reach_open::What;
use dawn_proto::v1::reach_up::Message as Up;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::target::{Target, about};
use crate::args::Context;
use crate::client::Scheduler;
use crate::exit::{Exit, Failure};

/// Connections at once; more wait.
const MAX_CONNECTIONS: usize = 64;

#[derive(Args)]
pub struct PortForward {
    /// t12, or ROLE/ENV/NAME/INSTANCE
    task: Target,
    /// Name of a port of the task
    port: String,
    /// Where to listen; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:0", value_name = "ADDRESS:PORT")]
    listen: SocketAddr,
}

pub async fn run(args: PortForward, context: &mut Context) -> Result<Exit, Failure> {
    let task = args.task.find(context).await?;
    let listen = |error: std::io::Error| Failure::new(Exit::Failed, format!("listening on {}: {error}", args.listen));
    let listener = TcpListener::bind(args.listen).await.map_err(listen)?;
    let address = listener.local_addr().map_err(listen)?;
    if context.out.json {
        let fields = serde_json::json!({ "task": task.to_string(), "port": args.port, "listen": address.to_string() });
        context.out.value(&crate::render::json::object(fields));
    } else {
        context.out.line(&format!("{address} leads to port {} of {task}; Ctrl-C ends it", args.port));
    }
    let mut connections = tokio::task::JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept(), if connections.len() < MAX_CONNECTIONS => {
                let (stream, _) = accepted.map_err(listen)?;
                let (scheduler, port) = (context.scheduler.again(), args.port.clone());
                connections.spawn(carry(stream, scheduler, task, port));
            }
            Some(done) = connections.join_next(), if !connections.is_empty() => {
                if let Ok(Err(failure)) = done {
                    eprintln!("dawn: {failure}");
                }
            }
            _ = tokio::signal::ctrl_c() => return Ok(Exit::Done),
        }
    }
}

/// One connection, until both sides have said all.
async fn carry(mut stream: TcpStream, mut scheduler: Scheduler, task: TaskId, port: String) -> Result<(), Failure> {
    let _ = stream.set_nodelay(true);
    let mut session = scheduler.reach(about(task, What::Connect(v1::Connect { port }))).await?;
    let up = session.up.clone();
    let (mut from, mut to) = stream.split();
    let upwards = async {
        let mut buffer = vec![0; 32 << 10];
        loop {
            match from.read(&mut buffer).await {
                Ok(0) => break,
                // The client here is gone: so is the session.
                Err(_) => return,
                Ok(got) => {
                    if !up.data(&buffer[..got]).await {
                        return;
                    }
                }
            }
        }
        up.say(Up::End(true)).await;
        std::future::pending::<()>().await;
    };
    let downwards = async {
        while let Some(message) = session.next().await? {
            match message {
                Down::Data(data) => {
                    if to.write_all(&data).await.is_err() {
                        break;
                    }
                }
                Down::Done(_) => break,
                _ => {}
            }
        }
        let _ = to.shutdown().await;
        Ok(())
    };
    tokio::select! {
        () = upwards => Ok(()),
        done = downwards => done,
    }
}
