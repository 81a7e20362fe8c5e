//! From fork to exec inside the task. The process has one thread, so the child may do what any program may.

use std::convert::Infallible;
use std::ffi::CString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::fcntl::OFlag;
use nix::libc;
use nix::sched::{CloneFlags, setns};
use nix::sys::signal::{SigHandler, SigSet, SigmaskHow, Signal};
use nix::unistd::{ForkResult, Pid, fork, pipe2};

use super::Entry;
use crate::edges::spawn::Walls;
use crate::model::Setting;
use crate::run::Failure;

/// In the order in which they are entered; the last changes what paths mean.
const SPACES: [(&str, CloneFlags); 6] = [
    ("user", CloneFlags::CLONE_NEWUSER),
    ("ipc", CloneFlags::CLONE_NEWIPC),
    ("uts", CloneFlags::CLONE_NEWUTS),
    ("net", CloneFlags::CLONE_NEWNET),
    ("cgroup", CloneFlags::CLONE_NEWCGROUP),
    ("mnt", CloneFlags::CLONE_NEWNS),
];

/// Starts the command; it runs when this returns.
pub fn start(entry: &Entry, setting: &Setting) -> Result<Pid, Failure> {
    let joins = open_groups(entry, setting)?;
    let walls = Walls::rules(setting).map_err(|error| error.to_string())?;
    let spaces =
        SPACES.iter().filter_map(|(name, kind)| Some((different(entry.pid, name)?, *kind))).collect::<Vec<_>>();
    let pids = different(entry.pid, "pid");
    let (mut told, tell) = pipe2(OFlag::O_CLOEXEC).map(|(read, write)| (File::from(read), File::from(write)))?;
    if let Some(pids) = pids {
        // Of the children to come.
        setns(pids, CloneFlags::CLONE_NEWPID).map_err(|errno| format!("entering its process ids: {errno}"))?;
    }
    // SAFETY: this process has one thread.
    match unsafe { fork()? } {
        ForkResult::Parent { child } => {
            drop(tell);
            let mut why = String::new();
            told.read_to_string(&mut why)?;
            if why.is_empty() {
                return Ok(child);
            }
            nix::sys::wait::waitpid(child, None)?;
            Err(why.into())
        }
        ForkResult::Child => {
            let Err(why) = become_it(entry, setting, &walls, &joins, &spaces);
            let _ = (&tell).write_all(why.as_bytes());
            // SAFETY: ends the child without running anything of its parent's.
            unsafe { libc::_exit(127) }
        }
    }
}

fn open_groups(entry: &Entry, setting: &Setting) -> Result<Vec<File>, Failure> {
    let open = |dir: &Path| {
        let file = File::options().write(true).open(dir.join("cgroup.procs"));
        file.map_err(|error| format!("cgroup {}: {error}", dir.display()))
    };
    let mut files = Vec::new();
    for dir in &setting.cgroup.join {
        let own = entry.group.as_deref().filter(|own| own.parent() == Some(dir));
        files.push(open(own.unwrap_or(dir))?);
    }
    Ok(files)
}

/// The task's namespace of a kind, unless it is this process's own.
fn different(pid: i32, name: &str) -> Option<File> {
    let theirs = format!("/proc/{pid}/ns/{name}");
    let own = std::fs::read_link(format!("/proc/self/ns/{name}")).ok()?;
    (std::fs::read_link(&theirs).ok()? != own).then(|| File::open(theirs).ok())?
}

fn become_it(
    entry: &Entry,
    setting: &Setting,
    walls: &Walls,
    joins: &[File],
    spaces: &[(File, CloneFlags)],
) -> Result<Infallible, String> {
    let step = |what: &'static str| move |error: io::Error| format!("{what}: {error}");
    let os = |what: &'static str| move |errno: nix::errno::Errno| format!("{what}: {}", errno.desc());
    for mut join in joins {
        // 0 stands for the writer itself, in v1 and v2.
        join.write_all(b"0").map_err(step("joining the task's cgroup"))?;
    }
    for (space, kind) in spaces {
        setns(space.as_fd(), *kind).map_err(os("entering the task's namespaces"))?;
    }
    nix::unistd::setsid().map_err(os("setsid"))?;
    if entry.term.is_some() {
        // SAFETY: standard input is the terminal's slave.
        let taken = unsafe { libc::ioctl(io::stdin().as_raw_fd(), libc::TIOCSCTTY as _, 0) };
        nix::errno::Errno::result(taken).map_err(os("taking the terminal"))?;
    }
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o022));
    let home = setting.env.get("HOME").map(Path::new);
    let moved = nix::unistd::chdir(&setting.sandbox).or_else(|error| home.map_or(Err(error), nix::unistd::chdir));
    moved.map_err(os("entering the sandbox"))?;
    walls.give_up(setting).map_err(step("taking on the task's limits"))?;
    become_user(setting).map_err(os("becoming the task's user"))?;
    nix::sys::prctl::set_no_new_privs().map_err(os("no_new_privs"))?;
    // After the user, whose change takes it away: nothing lives on without this process's parent.
    nix::sys::prctl::set_pdeathsig(Signal::SIGKILL).map_err(os("pdeathsig"))?;
    for signal in [Signal::SIGPIPE, Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT, Signal::SIGTERM] {
        // SAFETY: the default installs no handler.
        unsafe { nix::sys::signal::signal(signal, SigHandler::SigDfl) }.map_err(os("signals"))?;
    }
    nix::sys::signal::sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None).map_err(os("signals"))?;
    walls.close().map_err(step("keeping to the task's rules"))?;
    run(entry, setting)
}

fn become_user(setting: &Setting) -> nix::Result<()> {
    use nix::unistd::{Gid, Uid, geteuid, setgroups, setresgid, setresuid};
    if !geteuid().is_root() && geteuid().as_raw() == setting.uid {
        return Ok(());
    }
    let groups: Vec<Gid> = setting.groups.iter().copied().map(Gid::from_raw).collect();
    let (uid, gid) = (Uid::from_raw(setting.uid), Gid::from_raw(setting.gid));
    setgroups(&groups)?;
    setresgid(gid, gid, gid)?;
    setresuid(uid, uid, uid)
}

fn run(entry: &Entry, setting: &Setting) -> Result<Infallible, String> {
    let program = entry.argv[0].display().to_string();
    let nul = |_| "a zero byte in the command or its variables".to_string();
    let argv =
        entry.argv.iter().map(|part| CString::new(part.as_bytes())).collect::<Result<Vec<_>, _>>().map_err(nul)?;
    let mut env = setting.env.clone();
    env.extend(entry.term.clone().map(|term| ("TERM".to_string(), term)));
    // The search for the program goes by this process's own variables.
    for (key, _) in std::env::vars_os() {
        // SAFETY: this process has one thread.
        unsafe { std::env::remove_var(key) };
    }
    for (key, value) in env.iter().filter(|(key, value)| !key.contains(['=', '\0']) && !value.contains('\0')) {
        // SAFETY: as above.
        unsafe { std::env::set_var(key, value) };
    }
    let Err(errno) = nix::unistd::execvp(&argv[0], &argv);
    Err(format!("exec {program}: {}", errno.desc()))
}
