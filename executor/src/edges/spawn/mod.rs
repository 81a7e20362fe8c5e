//! Starts one program: everything is looked up and laid out here, so that the child (child.rs) only makes system calls.

mod child;

use std::collections::BTreeMap;
use std::ffi::{CString, OsStr};
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;
use nix::libc;

use crate::model::{Command, Setting};

/// Why a program was not started; the text is the user's.
#[derive(Debug, thiserror::Error)]
pub enum SpawnError {
    #[error("exec {0}: not found in PATH {1:?}")]
    NotInPath(String, String),
    #[error("a NUL byte in the command or its environment")]
    Nul,
    #[error("{what}: {}", describe(source))]
    Step { what: String, source: io::Error },
}

/// The kernel's words, without the number.
fn describe(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(number) => nix::errno::Errno::from_raw(number).desc().to_string(),
        None => error.to_string(),
    }
}

/// A program and its variables, ready to be started.
#[derive(Debug)]
pub struct Program {
    argv: Vec<String>,
    env: BTreeMap<String, String>,
}

impl Program {
    /// The command with the variables all processes share and its own on top.
    pub fn new(command: &Command, shared: &BTreeMap<String, String>, own: &BTreeMap<String, String>) -> Self {
        let argv = match command {
            Command::Shell(line) => vec!["/bin/sh".to_string(), "-c".to_string(), line.clone()],
            Command::Argv(argv) => argv.clone(),
        };
        let mut env = shared.clone();
        env.extend(own.iter().map(|(key, value)| (key.clone(), value.clone())));
        Program { argv, env }
    }
}

/// A started program.
#[derive(Debug)]
pub struct Child {
    pub pid: i32,
    /// Reading ends; None when output was not wanted.
    pub output: Option<(OwnedFd, OwnedFd)>,
}

/// Starts `program` in the task's cgroups as the task's user, in a session of its own. It runs no code of its own
/// outside them. Without `output`, what it says goes nowhere.
///
/// # Errors
/// The step that failed; nothing runs then.
pub fn spawn(program: &Program, setting: &Setting, output: bool) -> Result<Child, SpawnError> {
    let text = |bytes: &[u8]| CString::new(bytes).map_err(|_| SpawnError::Nul);
    let path = look_up(&program.argv[0], &program.env, &setting.sandbox)?;
    let argv = program.argv.iter().map(|arg| text(arg.as_bytes())).collect::<Result<Vec<_>, _>>()?;
    let env = program.env.iter().map(|(key, value)| text(format!("{key}={value}").as_bytes()));
    let env = env.collect::<Result<Vec<_>, _>>()?;
    let step = |what: &str| {
        let what = what.to_string();
        move |source: io::Error| SpawnError::Step { what, source }
    };
    let mut joins = Joins::open(&setting.cgroup.join)?;
    let null = File::options().read(true).write(true).open("/dev/null").map_err(step("open /dev/null"))?;
    let pipe = || nix::unistd::pipe2(OFlag::O_CLOEXEC).map_err(|errno| step("pipe")(errno.into()));
    let pipes = if output { Some((pipe()?, pipe()?)) } else { None };
    let (stdout, stderr) = match &pipes {
        Some(((_, out), (_, err))) => (out.as_raw_fd(), err.as_raw_fd()),
        None => (null.as_raw_fd(), null.as_raw_fd()),
    };
    let euid = nix::unistd::geteuid().as_raw();
    let mut layout = child::Layout {
        path: text(path.as_os_str().as_bytes())?,
        argv: child::pointers(&argv),
        env: child::pointers(&env),
        joins: Vec::new(),
        born_in: None,
        stdio: [null.as_raw_fd(), stdout, stderr],
        sandbox: text(setting.sandbox.as_os_str().as_bytes())?,
        // Somebody other than root can only stay who they are.
        user: (euid == 0 || euid != setting.uid).then(|| (setting.uid, setting.gid, setting.groups.clone())),
        reset_oom_score: oom_score_is_changed(),
    };
    let pid = joins.start(&mut layout)?.map_err(|(failed, errno)| {
        let what = match failed {
            child::Step::Fork => match &joins.born_in {
                Some((dir, _)) => format!("fork into cgroup {}", dir.display()),
                None => "fork".to_string(),
            },
            child::Step::Join => "join cgroup".to_string(),
            child::Step::Stdio => "standard files".to_string(),
            child::Step::Chdir => format!("chdir {}", setting.sandbox.display()),
            child::Step::User => format!("become user {} group {}", setting.uid, setting.gid),
            child::Step::Exec => format!("exec {}", path.display()),
        };
        SpawnError::Step { what, source: io::Error::from_raw_os_error(errno) }
    })?;
    Ok(Child { pid, output: pipes.map(|((out, _), (err, _))| (out, err)) })
}

/// How a child gets into its groups.
struct Joins {
    files: Vec<File>,
    /// The v2 group: path and open directory.
    born_in: Option<(PathBuf, File)>,
}

impl Joins {
    /// v1 groups are joined through `tasks` rather than `cgroup.procs`: for a thread that moves itself the kernel then
    /// goes without its lock over all groups.
    fn open(dirs: &[PathBuf]) -> Result<Self, SpawnError> {
        let mut joins = Joins { files: Vec::new(), born_in: None };
        for dir in dirs {
            match File::options().write(true).open(dir.join("tasks")) {
                Ok(file) => joins.files.push(file),
                Err(error) if error.kind() == io::ErrorKind::NotFound && joins.born_in.is_none() => {
                    joins.born_in = Some((dir.clone(), File::open(dir).map_err(|error| no_group(dir, error))?));
                }
                Err(_) => joins.files.push(open_procs(dir)?),
            }
        }
        Ok(joins)
    }

    /// Starts the child in them; where the kernel can't let it be born in one (before 5.7), it joins that one too.
    fn start(&mut self, layout: &mut child::Layout<'_>) -> Result<Result<i32, (child::Step, i32)>, SpawnError> {
        layout.joins = self.files.iter().map(AsRawFd::as_raw_fd).collect();
        layout.born_in = self.born_in.as_ref().map(|(_, dir)| dir.as_raw_fd());
        match (child::start(layout), &self.born_in) {
            (Err((child::Step::Fork, libc::ENOSYS | libc::EINVAL | libc::E2BIG)), Some((dir, _))) => {
                self.files.push(open_procs(dir)?);
                layout.joins = self.files.iter().map(AsRawFd::as_raw_fd).collect();
                layout.born_in = None;
                Ok(child::start(layout))
            }
            (started, _) => Ok(started),
        }
    }
}

fn open_procs(dir: &Path) -> Result<File, SpawnError> {
    File::options().write(true).open(dir.join("cgroup.procs")).map_err(|error| no_group(dir, error))
}

fn no_group(dir: &Path, source: io::Error) -> SpawnError {
    SpawnError::Step { what: format!("cgroup {}", dir.display()), source }
}

/// Finds the program as a shell in the sandbox would; a name with a slash is taken as it is.
fn look_up(name: &str, env: &BTreeMap<String, String>, sandbox: &Path) -> Result<PathBuf, SpawnError> {
    if name.contains('/') {
        return Ok(PathBuf::from(name));
    }
    let search = env.get("PATH").map_or("", String::as_str);
    let found = search.split(':').map(|dir| Path::new(OsStr::new(dir)).join(name)).find(|candidate| {
        let metadata = std::fs::metadata(sandbox.join(candidate));
        metadata.is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
    });
    found
        .filter(|_| !name.is_empty())
        .map(|path| if path.is_absolute() { path } else { Path::new(".").join(path) })
        .ok_or_else(|| SpawnError::NotInPath(name.to_string(), search.to_string()))
}

/// The agent may protect itself from the OOM killer; its tasks must not inherit that.
fn oom_score_is_changed() -> bool {
    std::fs::read("/proc/self/oom_score_adj").is_ok_and(|text| text.trim_ascii() != b"0")
}

/// SIGKILL to the process group of a child and to the child; gone already is fine.
pub fn kill_group(pid: i32) {
    // SAFETY: sends a signal; pid is a live or unreaped child's, so the number can't have been given away.
    unsafe {
        libc::kill(-pid, libc::SIGKILL);
        libc::kill(pid, libc::SIGKILL);
    }
}
