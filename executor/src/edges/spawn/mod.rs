//! Starts one program: everything is looked up and laid out here, so that the child (child.rs) only makes system calls.

mod check;
mod child;
mod confine;
mod devices;
mod limits;
mod mounts;
mod ports;
mod root;
mod seccomp;
mod space;

use std::collections::BTreeMap;
use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;
use nix::libc;
use seccompiler::sock_filter;

pub use check::{end_check, spawn_check};
pub use space::Space;

use crate::model::{Command, Isolation, Namespaces, Setting};

/// Why a program was not started; the text is the user's.
#[derive(Debug, thiserror::Error)]
pub enum SpawnError {
    #[error("exec {0}: not found in PATH {1:?}")]
    NotInPath(String, String),
    #[error("a NUL byte in the command or its environment")]
    Nul,
    #[error("{what}: {}", describe(source))]
    Step { what: String, source: io::Error },
    /// In the words of the process that was to start it.
    #[error("{0}")]
    Told(String),
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
    /// Reading ends.
    pub stdout: OwnedFd,
    pub stderr: OwnedFd,
}

/// What keeps a task to itself, made once: its namespaces, and the rules each of its processes takes on.
#[derive(Debug, Default)]
pub struct Walls {
    pub space: Option<Space>,
    filter: Option<Vec<sock_filter>>,
    ports: Option<OwnedFd>,
    limits: Vec<(libc::__rlimit_resource_t, u64)>,
    is_refused: bool,
}

impl Walls {
    /// What `setting` asks for. Namespaces that may be done without are done without where they can't be made, which is
    /// written to standard error.
    ///
    /// # Errors
    /// What can't be had and can't be done without.
    pub fn raise(&mut self, setting: &Setting) -> Result<(), SpawnError> {
        let isolation = &setting.isolation;
        if self.space.is_none() && !self.is_refused {
            match (isolation.namespaces, nix::unistd::geteuid().is_root()) {
                (Namespaces::Off, _) | (Namespaces::Auto, false) => {}
                (Namespaces::Auto, true) => match Space::make(setting) {
                    Ok(space) => self.space = Some(space),
                    Err(error) => {
                        self.is_refused = true;
                        note!("no namespaces of its own: {error}");
                    }
                },
                (Namespaces::Required, _) => self.space = Some(Space::make(setting)?),
            }
        }
        self.lay_down(isolation)
    }

    /// The rules that each process takes on.
    fn lay_down(&mut self, isolation: &Isolation) -> Result<(), SpawnError> {
        if self.filter.is_none() {
            self.filter = Some(if isolation.seccomp { seccomp::program() } else { Vec::new() });
        }
        if let (None, Some(ports)) = (&self.ports, &isolation.only_ports) {
            self.ports = Some(ports::ruleset(ports).map_err(step("enforce ports"))?);
        }
        if self.limits.is_empty() {
            let number = |(name, limit): &(String, u64)| Some((limits::resource(name)?, *limit));
            self.limits = isolation.rlimits.iter().filter_map(number).collect();
            // Core files are off unless the job allows them. A hard limit can't be raised again without the right to, so it is set
            // here, once.
            if !self.limits.iter().any(|(resource, _)| *resource == libc::RLIMIT_CORE) {
                self.limits.push((libc::RLIMIT_CORE, 0));
            }
        }
        Ok(())
    }
}

fn step<E: Into<io::Error>>(what: &str) -> impl FnOnce(E) -> SpawnError {
    let what = what.to_string();
    move |source| SpawnError::Step { what, source: source.into() }
}

/// Starts `program` in the task's cgroups and behind its walls, as the task's user, in a session of its own. It runs no
/// code of its own outside them.
///
/// # Errors
/// The step that failed; nothing runs then.
pub fn spawn(program: &Program, setting: &Setting, walls: &mut Walls) -> Result<Child, SpawnError> {
    walls.raise(setting)?;
    let prepared = Prepared::new(program, setting)?;
    let mut joins = Joins::open(&setting.cgroup.join)?;
    let pipe = || nix::unistd::pipe2(OFlag::O_CLOEXEC).map_err(step("pipe"));
    let ((stdout, out), (stderr, err)) = (pipe()?, pipe()?);
    let mut layout = prepared.layout(setting, walls, out.as_raw_fd(), err.as_raw_fd());
    let pid = joins.start(&mut layout)?.map_err(|failed| explain(failed, program, setting, &joins))?;
    Ok(Child { pid, stdout, stderr })
}

/// What a program's layout points to.
struct Prepared {
    paths: Vec<CString>,
    argv: Vec<CString>,
    env: Vec<CString>,
    sandbox: CString,
    null: File,
}

impl Prepared {
    fn new(program: &Program, setting: &Setting) -> Result<Self, SpawnError> {
        let text = |bytes: &[u8]| CString::new(bytes).map_err(|_| SpawnError::Nul);
        let argv = program.argv.iter().map(|arg| text(arg.as_bytes()));
        let env = program.env.iter().map(|(key, value)| text(format!("{key}={value}").as_bytes()));
        Ok(Prepared {
            paths: candidates(&program.argv[0], &program.env)?,
            argv: argv.collect::<Result<_, _>>()?,
            env: env.collect::<Result<_, _>>()?,
            sandbox: text(setting.sandbox.as_os_str().as_bytes())?,
            null: File::options().read(true).write(true).open("/dev/null").map_err(step("open /dev/null"))?,
        })
    }

    /// In no group yet, with these for standard output and error.
    fn layout<'a>(&'a self, setting: &Setting, walls: &'a Walls, stdout: i32, stderr: i32) -> child::Layout<'a> {
        let euid = nix::unistd::geteuid().as_raw();
        child::Layout {
            paths: child::pointers(&self.paths),
            argv: child::pointers(&self.argv),
            env: child::pointers(&self.env),
            joins: Vec::new(),
            born_in: None,
            stdio: [self.null.as_raw_fd(), stdout, stderr],
            sandbox: self.sandbox.clone(),
            enter: walls.space.as_ref().map(Space::entry),
            limits: walls.limits.clone(),
            drop_capabilities: confine::drops_capabilities(setting),
            ports: walls.ports.as_ref().map(AsRawFd::as_raw_fd),
            filter: walls.filter.as_deref().unwrap_or_default(),
            // Somebody other than root can only stay who they are.
            user: (euid == 0 || euid != setting.uid).then(|| (setting.uid, setting.gid, setting.groups.clone())),
            reset_oom_score: oom_score_is_changed(),
        }
    }
}

/// In the user's words.
fn explain((failed, errno): (child::Step, i32), program: &Program, setting: &Setting, joins: &Joins) -> SpawnError {
    let name = &program.argv[0];
    let what = match failed {
        child::Step::Fork => match &joins.born_in {
            Some((dir, _)) => format!("fork into cgroup {}", dir.display()),
            None => "fork".to_string(),
        },
        child::Step::Birth => "outlive its start".to_string(),
        child::Step::Join => "join cgroup".to_string(),
        child::Step::Namespaces => "enter namespaces".to_string(),
        child::Step::Stdio => "standard files".to_string(),
        child::Step::Chdir => format!("chdir {}", setting.sandbox.display()),
        child::Step::Limit(index) => match setting.isolation.rlimits.get(index) {
            Some((limit, value)) => format!("set rlimit {limit} to {value}"),
            None => "set rlimit".to_string(),
        },
        child::Step::Capabilities => "drop capabilities".to_string(),
        child::Step::User => format!("become user {} group {}", setting.uid, setting.gid),
        child::Step::Ports => "enforce ports".to_string(),
        child::Step::Filter => "filter system calls".to_string(),
        child::Step::Exec if errno == libc::ENOENT && !name.contains('/') => {
            let search = program.env.get("PATH").cloned().unwrap_or_default();
            return SpawnError::NotInPath(name.clone(), search);
        }
        child::Step::Exec => format!("exec {name}"),
    };
    SpawnError::Step { what, source: io::Error::from_raw_os_error(errno) }
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

    /// As fork, in the v2 group and with `flags`; the others are for the child to join.
    ///
    /// # Errors
    /// What the kernel answers.
    fn fork(&mut self, flags: u64) -> io::Result<i32> {
        loop {
            let born_in = self.born_in.as_ref().map(|(_, dir)| dir.as_raw_fd());
            // SAFETY: an executor has one thread.
            let pid = unsafe { child::clone(flags, born_in) };
            let error = io::Error::last_os_error();
            match (pid, error.raw_os_error()) {
                (-1, Some(libc::ENOSYS | libc::E2BIG)) if self.born_in.is_some() => {
                    self.born_nowhere().map_err(io::Error::other)?;
                }
                (-1, _) => return Err(error),
                (pid, _) => return Ok(pid),
            }
        }
    }

    /// Joins those the process was not born in.
    ///
    /// # Errors
    /// What the kernel answers.
    fn join(&self) -> io::Result<()> {
        self.files.iter().try_for_each(|mut file| io::Write::write_all(&mut file, b"0"))
    }

    /// From now on the v2 group is joined as the others are. Whether there is one.
    ///
    /// # Errors
    /// What the group answers.
    fn born_nowhere(&mut self) -> Result<bool, SpawnError> {
        let Some((dir, _)) = self.born_in.take() else { return Ok(false) };
        self.files.push(open_procs(&dir)?);
        Ok(true)
    }

    /// Starts the child in them; where it can't be born in one it joins that one too: before Linux 5.7, and (seen on 6.18) in
    /// a group that was killed once, where the kernel takes whoever is born for one of those it was to kill.
    fn start(&mut self, layout: &mut child::Layout<'_>) -> Result<Result<i32, (child::Step, i32)>, SpawnError> {
        layout.joins = self.files.iter().map(AsRawFd::as_raw_fd).collect();
        layout.born_in = self.born_in.as_ref().map(|(_, dir)| dir.as_raw_fd());
        match child::start(layout) {
            Err((child::Step::Fork, libc::ENOSYS | libc::EINVAL | libc::E2BIG) | (child::Step::Birth, _))
                if self.born_in.is_some() =>
            {
                self.born_nowhere()?;
                layout.joins = self.files.iter().map(AsRawFd::as_raw_fd).collect();
                layout.born_in = None;
                Ok(child::start(layout))
            }
            started => Ok(started),
        }
    }
}

fn open_procs(dir: &Path) -> Result<File, SpawnError> {
    File::options().write(true).open(dir.join("cgroup.procs")).map_err(|error| no_group(dir, error))
}

fn no_group(dir: &Path, source: io::Error) -> SpawnError {
    SpawnError::Step { what: format!("cgroup {}", dir.display()), source }
}

/// Where the program may be, as a shell in the sandbox would look for it; a name with a slash is taken as it is.
fn candidates(name: &str, env: &BTreeMap<String, String>) -> Result<Vec<CString>, SpawnError> {
    let text = |path: &Path| CString::new(path.as_os_str().as_bytes()).map_err(|_| SpawnError::Nul);
    if name.contains('/') {
        return Ok(vec![text(Path::new(name))?]);
    }
    let search = env.get("PATH").map_or("", String::as_str);
    let dirs = search.split(':').filter(|_| !name.is_empty());
    dirs.map(|dir| text(&Path::new(if dir.is_empty() { "." } else { dir }).join(name))).collect()
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
