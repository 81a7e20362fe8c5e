//! `dawn task exec`: a command inside a task, with this terminal or with plain pipes.

use std::io::{Read, Write};

use clap::Args;
use dawn_proto::v1;
use dawn_proto::v1::reach_down::Message as Down;
use dawn_proto::v1::reach_open::What;
use dawn_proto::v1::reach_up::Message as Up;
use nix::libc;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use super::target::{Target, about};
use super::terminal::{self, Raw};
use crate::args::Context;
use crate::client::Upward;
use crate::exit::{Exit, Failure};
use crate::render::time;

#[derive(Args)]
pub struct Exec {
    /// Give the command a terminal [default: when this has one and no command is named]
    #[arg(long, short, overrides_with = "no_terminal")]
    terminal: bool,
    /// Give it none
    #[arg(long, short = 'T')]
    no_terminal: bool,
    /// t12, or ROLE/ENV/NAME/INSTANCE
    task: Target,
    /// Command and arguments [default: /bin/sh]
    #[arg(last = true)]
    command: Vec<String>,
}

/// Signals that are passed on when there is no terminal to type them.
const PASSED_ON: [SignalKind; 4] =
    [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::quit(), SignalKind::hangup()];

pub async fn run(args: Exec, context: &mut Context) -> Result<Exit, Failure> {
    let Some(timeout) = context.timeout else { return exec(args, context).await };
    // The session ends with the future, and with it the command.
    tokio::time::timeout(timeout, exec(args, context)).await.unwrap_or_else(|_| {
        let waited = time::span(i64::try_from(timeout.as_millis()).unwrap_or(i64::MAX));
        Err(Failure::new(Exit::Waited, format!("timed out after {waited}; the command was killed")))
    })
}

async fn exec(args: Exec, context: &mut Context) -> Result<Exit, Failure> {
    let task = args.task.find(context).await?;
    let with_terminal = args.terminal || (!args.no_terminal && args.command.is_empty() && terminal::is_there());
    if with_terminal && !terminal::is_there() {
        let failure = Failure::new(Exit::Usage, "standard input and output are no terminal");
        return Err(failure.hint("leave --terminal out"));
    }
    let argv = if args.command.is_empty() { vec!["/bin/sh".to_string()] } else { args.command };
    let exec = v1::Exec {
        argv,
        terminal: with_terminal.then(terminal::size),
        term: std::env::var("TERM").unwrap_or_default(),
    };
    let mut session = context.scheduler.reach(about(task, What::Exec(exec))).await?;
    // What can't be started says so before the terminal is touched.
    match session.next().await? {
        Some(Down::Begun(_)) => {}
        _ => return Err(Failure::new(Exit::Failed, "the session ended before the command began")),
    }
    let raw = if with_terminal { Raw::enter().ok() } else { None };
    let up = session.up.clone();
    let attended = async {
        tokio::join!(input(up.clone(), with_terminal), signals(up.clone(), with_terminal));
    };
    let output = async {
        loop {
            match session.next().await {
                Ok(Some(Down::Stdout(data))) => context.out.write(&data),
                Ok(Some(Down::Stderr(data))) => {
                    let mut stderr = std::io::stderr();
                    _ = stderr.write_all(&data).and_then(|()| stderr.flush());
                }
                Ok(Some(Down::Exited(status))) => return Ok(status),
                Ok(Some(_)) => {}
                Ok(None) => return Err(Failure::new(Exit::Failed, "the session ended before the command did")),
                Err(failure) => return Err(failure),
            }
        }
    };
    let ended = tokio::select! {
        ended = output => ended,
        () = attended => Err(Failure::new(Exit::Waited, "interrupted; the command was killed")),
    };
    drop(raw);
    let status = ended?;
    let code = status.exit_code.unwrap_or_else(|| 128 + status.signal.unwrap_or(libc::SIGKILL));
    if code == 0 {
        return Ok(Exit::Done);
    }
    // The command's own; a thread may still wait for input.
    std::process::exit(code)
}

/// Carries standard input to the command, to its end.
async fn input(up: Upward, with_terminal: bool) {
    let (sender, mut read) = mpsc::channel::<Vec<u8>>(4);
    // Not on the runtime: its end would wait for the next key.
    std::thread::spawn(move || {
        let mut buffer = vec![0; 32 << 10];
        let mut stdin = std::io::stdin().lock();
        while let Ok(got) = stdin.read(&mut buffer)
            && got > 0
            && sender.blocking_send(buffer[..got].to_vec()).is_ok()
        {}
    });
    while let Some(data) = read.recv().await {
        if !up.data(&data).await {
            break;
        }
    }
    if !with_terminal {
        up.say(Up::End(true)).await;
    }
    std::future::pending::<()>().await;
}

/// Passes signals and the terminal's size on; ends on what ends this program.
async fn signals(up: Upward, with_terminal: bool) {
    if with_terminal {
        let (Ok(mut resized), Ok(mut terminated), Ok(mut hung_up)) =
            (signal(SignalKind::window_change()), signal(SignalKind::terminate()), signal(SignalKind::hangup()))
        else {
            return std::future::pending().await;
        };
        loop {
            tokio::select! {
                _ = resized.recv() => {
                    up.say(Up::Resize(terminal::size())).await;
                }
                _ = terminated.recv() => return,
                _ = hung_up.recv() => return,
            }
        }
    }
    let passing = PASSED_ON.map(|kind| {
        let up = up.clone();
        async move {
            let Ok(mut caught) = signal(kind) else { return };
            while caught.recv().await.is_some() {
                up.say(Up::Signal(u32::try_from(kind.as_raw_value()).unwrap_or(0))).await;
            }
        }
    });
    futures_util::future::join_all(passing).await;
}
