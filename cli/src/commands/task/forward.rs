//! `dawn task port-forward`: connections to a port of this machine become connections to a task's. Of an instance the
//! task that lives when a connection is made.

use std::net::{Ipv4Addr, SocketAddr};

use clap::Args;
use dawn_proto::v1::reach_down::Message as Down;
use dawn_proto::v1::reach_open::What;
use dawn_proto::v1::reach_up::Message as Up;
use dawn_proto::{TaskId, v1};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::target::{Target, about};
use crate::args::Context;
use crate::client::Scheduler;
use crate::commands::job::{status, tasks};
use crate::commands::select::Selection;
use crate::exit::{Exit, Failure};
use crate::render;

/// Connections at once; more wait.
const MAX_CONNECTIONS: usize = 64;

#[derive(Args)]
pub struct PortForward {
    /// t12, or ROLE/ENV/NAME/INSTANCE: that is followed to its next task
    task: Target,
    /// Name of a port of the task
    port: String,
    /// Where to listen, as ADDRESS:PORT, or a PORT of 127.0.0.1; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:0", value_name = "ADDRESS:PORT", value_parser = listen_at)]
    listen: SocketAddr,
}

fn listen_at(text: &str) -> Result<SocketAddr, String> {
    if let Ok(port) = text.trim_start_matches(':').parse::<u16>() {
        return Ok((Ipv4Addr::LOCALHOST, port).into());
    }
    let named = text.replacen("localhost:", "127.0.0.1:", 1);
    named.parse().map_err(|_| "write a port as in 8080, or ADDRESS:PORT as in 127.0.0.1:8080".to_string())
}

/// What connections are led to.
struct Way {
    target: Target,
    port: String,
    /// Where the last connection was led.
    task: TaskId,
}

pub async fn run(args: PortForward, context: &mut Context) -> Result<Exit, Failure> {
    let PortForward { task: target, port, listen } = args;
    let task = match &target {
        Target::Task(task) => *task,
        Target::Instance(selection) => living(selection, &port, context).await?,
    };
    let mut way = Way { target, port, task };
    way.probe(context).await?;
    let failed = |error: std::io::Error| Failure::new(Exit::Failed, format!("listening on {listen}: {error}"));
    let listener = TcpListener::bind(listen).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    if context.out.json {
        let fields = serde_json::json!({ "task": task.to_string(), "port": way.port, "listen": address.to_string() });
        context.out.value(&render::json::object(fields));
    } else {
        context.out.line(&format!("{address} leads to port {} of {task}; Ctrl-C ends it", render::safe(&way.port)));
    }
    let mut connections = tokio::task::JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept(), if connections.len() < MAX_CONNECTIONS => {
                let (stream, _) = accepted.map_err(failed)?;
                if way.is_there(context).await? {
                    connections.spawn(carry(stream, context.scheduler.again(), way.task, way.port.clone()));
                }
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

/// The task of an instance that lives now and has the port.
async fn living(selection: &Selection, port: &str, context: &mut Context) -> Result<TaskId, Failure> {
    let all = tasks::list(context, selection, false).await?;
    let started: Vec<v1::Task> = all.into_iter().filter(|task| !task.agent_id.is_empty()).collect();
    let key = &selection.key;
    match tasks::newest(&started)[..] {
        [task] => with_port(task, port),
        [] => Err(Failure::new(Exit::Failed, format!("no task of {key} runs that a port could lead to"))
            .hint(format!("see `dawn job status {key}`"))),
        _ => {
            let message = format!("{key} has {} such tasks; name one", started.len());
            Err(Failure::new(Exit::Usage, message).hint(format!("as in {key}/0, or see `dawn job status {key}`")))
        }
    }
}

fn with_port(task: &v1::Task, port: &str) -> Result<TaskId, Failure> {
    let id = TaskId(task.id);
    if task.ports.iter().any(|given| given.name == port) {
        return Ok(id);
    }
    let there = match task.ports.is_empty() {
        true => "it has none (`ports` of the job)".to_string(),
        false => format!("it has {}", task.ports.iter().map(|port| port.name.as_str()).collect::<Vec<_>>().join(", ")),
    };
    Err(Failure::new(Exit::Usage, format!("{id} has no port `{port}`; {there}")))
}

impl Way {
    /// Of a task alone its agent knows the ports: it is asked before anybody connects. That nobody listens there yet is
    /// no reason to end.
    async fn probe(&self, context: &mut Context) -> Result<(), Failure> {
        if matches!(self.target, Target::Instance(_)) {
            return Ok(());
        }
        let connect = v1::Connect { port: self.port.clone() };
        let mut session = context.scheduler.again().reach(about(self.task, What::Connect(connect))).await?;
        match session.next().await {
            Err(failure) if is_final(&failure) => Err(failure),
            _ => Ok(()),
        }
    }

    /// Whether there is a task to lead to now; of an instance its newest. Says when it is another one than before.
    ///
    /// # Errors
    /// When there will be none any more.
    async fn is_there(&mut self, context: &mut Context) -> Result<bool, Failure> {
        let Target::Instance(selection) = self.target.clone() else {
            return self.probe(context).await.map(|()| true);
        };
        match living(&selection, &self.port, context).await {
            Ok(task) => {
                if task != self.task {
                    eprintln!("dawn: {} has ended; now it leads to {task}", self.task);
                }
                self.task = task;
                Ok(true)
            }
            Err(failure) if failure.exit == Exit::NotFound || failure.exit == Exit::Usage => Err(failure),
            Err(failure) if failure.may_pass() => {
                eprintln!("dawn: {failure}");
                Ok(false)
            }
            Err(_) => match status::get(context, &selection).await {
                Ok(found) if found.summary.as_ref().is_some_and(|summary| summary.ended) => {
                    Err(Failure::new(Exit::Failed, format!("{} has ended, and {} with it", selection.key, self.task)))
                }
                _ => {
                    eprintln!("dawn: {} has ended, and no next task of {} runs yet", self.task, selection.key);
                    Ok(false)
                }
            },
        }
    }
}

/// Whether no later connection can do better.
fn is_final(failure: &Failure) -> bool {
    let words = failure.to_string();
    failure.exit == Exit::NotFound
        || ["has no port", "has ended", "never started"].iter().any(|part| words.contains(part))
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
                Down::Data(data) if to.write_all(&data).await.is_err() => break,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_alone_is_one_of_this_machine() {
        for (text, address) in [
            ("8080", "127.0.0.1:8080"),
            (":8080", "127.0.0.1:8080"),
            ("localhost:8080", "127.0.0.1:8080"),
            ("0.0.0.0:80", "0.0.0.0:80"),
            ("[::1]:0", "[::1]:0"),
        ] {
            assert_eq!(listen_at(text).unwrap().to_string(), address, "{text}");
        }
        assert!(listen_at("somewhere").unwrap_err().contains("as in 8080"));
    }

    #[test]
    fn a_port_that_is_not_there_is_refused_with_those_that_are() {
        let port = |name: &str| v1::AssignedPort { name: name.into(), port: 31_000 };
        let task = v1::Task { id: 7, ports: vec![port("http"), port("admin")], ..Default::default() };
        assert_eq!(with_port(&task, "http").unwrap(), TaskId(7));
        let refused = with_port(&task, "8080").unwrap_err();
        assert_eq!(
            (refused.exit, refused.to_string().as_str()),
            (Exit::Usage, "t7 has no port `8080`; it has http, admin")
        );
    }
}
