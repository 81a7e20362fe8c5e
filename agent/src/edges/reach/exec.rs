//! A command inside a task: started by a process of the executor's program, which enters the task and kills all it
//! started when its control socket closes, whatever becomes of this agent.

use std::ffi::OsString;
use std::io;
use std::os::fd::AsRawFd;
use std::process::Stdio;
use std::time::Duration;

use dawn_proto::v1::reach_down::Message as Down;
use dawn_proto::v1::reach_up::Message as Up;
use dawn_proto::v1::{Begun, Exec, ExitStatus, TerminalSize};
use nix::libc;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader, Lines};
use tokio::net::UnixStream;
use tokio::net::unix::OwnedReadHalf;
use tokio::process::{Child, Command};
use tokio::sync::mpsc;

use super::inbox::{Inbox, Used};
use super::terminal::Terminal;
use super::{CHUNK_BYTES, Gone, Means, Out};
use crate::model::{ReachableTask, TaskDir};

/// Where the entering process finds its control socket.
const CONTROL: i32 = 3;
/// The command runs within this time, or it is given up.
const START_WITHIN: Duration = Duration::from_secs(30);
/// For what was started to be killed.
const END_WITHIN: Duration = Duration::from_secs(15);
const MAX_ARGUMENTS_BYTES: usize = 128 << 10;

/// A command under way.
struct Running {
    child: Child,
    control: UnixStream,
    input: Box<dyn AsyncWrite + Send + Unpin>,
    output: Box<dyn AsyncRead + Send + Unpin>,
    errors: Option<Box<dyn AsyncRead + Send + Unpin>>,
    terminal: Option<Terminal>,
}

/// Runs a command to its end, or kills it when the client is gone.
pub async fn exec(
    task: &ReachableTask,
    dir: &TaskDir,
    means: &Means,
    exec: Exec,
    inbox: Inbox,
    out: Out,
) -> Result<(), String> {
    check(&exec)?;
    let inside = task.processes.first().ok_or_else(|| format!("{} has no living process just now", task.task))?;
    let group = means.group.as_ref().map(|parent| parent.join(format!("exec-{}", group_number())));
    if let Some(group) = &group {
        std::fs::create_dir(group).map_err(|error| format!("can't make a cgroup for the command: {error}"))?;
    }
    let mut arguments: Vec<OsString> = vec!["--enter".into(), dir.plan().into(), inside.pid.to_string().into()];
    arguments.push(inside.start_ticks.to_string().into());
    arguments.push(group.as_ref().map_or_else(|| "-".into(), OsString::from));
    let term = if exec.term.is_empty() { "xterm" } else { &exec.term };
    arguments.push(if exec.terminal.is_some() { term.into() } else { "-".into() });
    arguments.extend(exec.argv.iter().map(OsString::from));
    let started = start(&means.executor, &arguments, exec.terminal);
    let remove = || group.as_ref().map(std::fs::remove_dir);
    let running = started.map_err(|error| {
        let _ = remove();
        format!("can't start the command: {error}")
    })?;
    let done = talk(running, inbox, out).await;
    // Gone already when the entering process ended in order.
    let _ = remove();
    done
}

fn check(exec: &Exec) -> Result<(), String> {
    let bytes: usize = exec.argv.iter().map(|argument| argument.len() + 1).sum();
    if exec.argv.first().is_none_or(String::is_empty) {
        return Err("no command was given".into());
    }
    if bytes > MAX_ARGUMENTS_BYTES || exec.argv.iter().any(|argument| argument.contains('\0')) {
        return Err(format!("the command is longer than {MAX_ARGUMENTS_BYTES} bytes, or holds a zero byte"));
    }
    if exec.term.contains(['\0', '/']) || exec.term.len() > 64 {
        return Err("TERM is no name of a terminal".into());
    }
    Ok(())
}

fn group_number() -> u64 {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(0);
    // An agent started again must not meet the groups of its earlier life.
    u64::from(std::process::id()) << 32 | NEXT.fetch_add(1, Ordering::Relaxed)
}

fn start(executor: &[OsString], arguments: &[OsString], size: Option<TerminalSize>) -> io::Result<Running> {
    let (program, first) = executor.split_first().ok_or_else(|| io::Error::other("no executor command"))?;
    let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
    ours.set_nonblocking(true)?;
    let mut command = Command::new(program);
    command.args(first).args(arguments).env_clear().current_dir("/").kill_on_drop(false);
    let terminal = size.map(Terminal::open).transpose()?;
    match &terminal {
        Some((_, slave)) => {
            command.stdin(Stdio::from(slave.try_clone()?)).stdout(Stdio::from(slave.try_clone()?));
            command.stderr(Stdio::from(slave.try_clone()?));
        }
        None => {
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        }
    }
    let control = theirs.as_raw_fd();
    // SAFETY: the child only makes system calls on numbers made before the fork.
    unsafe {
        command.pre_exec(move || {
            let made =
                if control == CONTROL { libc::fcntl(control, libc::F_SETFD, 0) } else { libc::dup2(control, CONTROL) };
            if made < 0 || libc::setsid() < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
        });
    }
    let mut child = command.spawn()?;
    drop(theirs);
    let control = UnixStream::from_std(ours)?;
    let missing = || io::Error::other("a standard file is missing");
    match terminal {
        Some((terminal, _)) => Ok(Running {
            child,
            control,
            input: Box::new(terminal.writer()?),
            output: Box::new(terminal.reader()?),
            errors: None,
            terminal: Some(terminal),
        }),
        None => Ok(Running {
            control,
            input: Box::new(child.stdin.take().ok_or_else(missing)?),
            output: Box::new(child.stdout.take().ok_or_else(missing)?),
            errors: Some(Box::new(child.stderr.take().ok_or_else(missing)?)),
            child,
            terminal: None,
        }),
    }
}

async fn talk(running: Running, mut inbox: Inbox, out: Out) -> Result<(), String> {
    let Running { mut child, control, input, output, errors, terminal } = running;
    let (control, mut signals) = control.into_split();
    let mut control = BufReader::new(control).lines();
    let used = inbox.used();
    let (feed, fed) = mpsc::unbounded_channel::<Option<Vec<u8>>>();
    let client = async {
        while let Some(message) = inbox.next().await {
            match message {
                // Bounded by the client's credit.
                Up::Data(data) => _ = feed.send(Some(data)),
                Up::End(_) => _ = feed.send(None),
                Up::Resize(size) => _ = terminal.as_ref().map(|terminal| terminal.resize(size)),
                Up::Signal(number) => {
                    if let Ok(number) = u8::try_from(number) {
                        _ = signals.write_all(&[number]).await;
                    }
                }
                Up::Open(_) => {}
            }
        }
    };
    let ended = tokio::select! {
        ended = attend(&mut control, output, errors, &out) => ended,
        () = client => Ok(None),
        () = take_input(input, terminal.is_some(), fed, &used, &out) => Ok(None),
    };
    // Closing it makes the entering process kill all that it started.
    drop(signals);
    drop(control);
    let _ = tokio::time::timeout(END_WITHIN, child.wait()).await;
    if let Some(line) = ended? {
        let _ = out.say(Down::Exited(exit_status(&line))).await;
    }
    Ok(())
}

/// From the start of the command to its end, as the entering process tells it; None: the client is gone.
async fn attend(
    control: &mut Lines<BufReader<OwnedReadHalf>>,
    output: Box<dyn AsyncRead + Send + Unpin>,
    errors: Option<Box<dyn AsyncRead + Send + Unpin>>,
    out: &Out,
) -> Result<Option<String>, String> {
    let first = tokio::time::timeout(START_WITHIN, control.next_line()).await;
    let first = first.map_err(|_| {
        format!("the command did not start within {}", dawn_proto::amounts::whole_seconds(START_WITHIN))
    })?;
    match first.ok().flatten().as_deref() {
        Some("started") => {}
        Some(line) => return Err(line.trim_start_matches("error ").to_string()),
        None => return Err("the process that enters the task died".to_string()),
    }
    if out.say(Down::Begun(Begun::default())).await.is_err() {
        return Ok(None);
    }
    let errors = async {
        match errors {
            Some(errors) => pump(errors, out, Down::Stderr).await,
            None => Ok(()),
        }
    };
    let (ended, told, wrong) = tokio::join!(control.next_line(), pump(output, out, Down::Stdout), errors);
    Ok(ended.ok().flatten().filter(|_| told.is_ok() && wrong.is_ok()))
}

/// Gives the command what the client sends, and the client credit for it; never ends while the client is there.
async fn take_input(
    input: Box<dyn AsyncWrite + Send + Unpin>,
    is_terminal: bool,
    mut fed: mpsc::UnboundedReceiver<Option<Vec<u8>>>,
    used: &Used,
    out: &Out,
) {
    let mut input = Some(input);
    while let Some(data) = fed.recv().await {
        let Some(data) = data else {
            // A terminal has no end of its own: the client types it.
            input = input.filter(|_| is_terminal);
            continue;
        };
        // Nobody may read it any more; then it is taken and lost, as by a pipe that is closed.
        if let Some(open) = &mut input
            && open.write_all(&data).await.is_err()
        {
            input = None;
        }
        if out.say(Down::Credit(used.credit(data.len()))).await.is_err() {
            break;
        }
    }
    std::future::pending().await
}

fn exit_status(line: &str) -> ExitStatus {
    let number = |prefix: &str| line.strip_prefix(prefix).and_then(|number| number.parse().ok());
    ExitStatus { exit_code: number("exit "), signal: number("signal ") }
}

async fn pump(
    mut from: Box<dyn AsyncRead + Send + Unpin>,
    out: &Out,
    message: fn(Vec<u8>) -> Down,
) -> Result<(), Gone> {
    let mut buffer = vec![0; CHUNK_BYTES / 2];
    loop {
        // A terminal whose last user is gone answers EIO: its end.
        let got = from.read(&mut buffer).await.unwrap_or(0);
        if got == 0 {
            return Ok(());
        }
        out.say(message(buffer[..got].to_vec())).await?;
    }
}
