//! The floor: what a task's start asks of the kernel, asked in a bare loop. Beside the groups and programs of `bare` these
//! are its files with their syncs, its namespaces with their mounts, its first process and its executor's.

use std::ffi::CString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use nix::libc;
use nix::sched::{CloneFlags, setns};

use super::Figure;
use super::bare::{at, groups, join};

/// Bytes of a plan.
const PLAN: usize = 2048;
/// Bytes of one line of an event log, and how many are synced in a task's life.
const EVENT: usize = 64;
const SYNCS: usize = 3;

/// Runs the loop `count` times in this one process, in a folder below TMPDIR, which stays.
///
/// # Errors
/// What the kernel refused, with the path.
pub fn run(count: usize) -> io::Result<Figure> {
    let folder = tempfile::tempdir()?.keep();
    let parent = format!("dawn-bench-{}", std::process::id());
    let begun = Instant::now();
    let result = (0..count).try_for_each(|number| one(&folder, &parent, number));
    let took = begun.elapsed();
    for (folder, _) in groups(&parent) {
        _ = fs::remove_dir(folder);
    }
    result?;
    Ok(Figure::rate("bare loop of what a start asks of the kernel, namespaces and syncs included", count, took))
}

fn one(folder: &Path, parent: &str, number: usize) -> io::Result<()> {
    let task = folder.join(number.to_string());
    fs::create_dir(&task).map_err(|error| at(&task, error))?;
    // The plan is durable before anything is made.
    let mut plan = File::create(task.join("plan"))?;
    plan.write_all(&[b'.'; PLAN])?;
    plan.sync_all()?;
    File::open(&task)?.sync_all()?;
    File::open(folder)?.sync_all()?;
    fs::create_dir(task.join("sandbox"))?;
    let groups = groups(&format!("{parent}/{number}"));
    for (group, limits) in &groups {
        fs::create_dir_all(group).map_err(|error| at(group, error))?;
        for (file, value) in *limits {
            fs::write(group.join(file), value).map_err(|error| at(group, error))?;
        }
    }
    let appended = |name: &str| OpenOptions::new().create(true).append(true).open(task.join(name));
    let _files = (appended("executor.lock")?, appended("executor.log")?);
    // In the place of the executor's program.
    Command::new("/bin/true").status()?;
    let mut events = appended("events")?;
    fs::create_dir(task.join("logs"))?;
    let _socket = UnixListener::bind(task.join("socket"))?;
    let first = First::start(&task)?;
    let ran = first.run(&groups.iter().map(|(group, _)| group.clone()).collect::<Vec<_>>(), &task);
    for _ in 0..SYNCS {
        events.write_all(&[b'.'; EVENT])?;
        events.sync_data()?;
    }
    drop(first);
    ran?;
    fs::remove_file(task.join("socket"))?;
    groups.iter().try_for_each(|(group, _)| fs::remove_dir(group).map_err(|error| at(group, error)))
}

/// The first process of new namespaces; killed when dropped.
struct First {
    pid: libc::pid_t,
    fd: OwnedFd,
}

fn text(path: &Path) -> CString {
    // A path of ours has no zero in it.
    CString::new(path.as_os_str().as_bytes()).unwrap_or_default()
}

impl First {
    fn start(task: &Path) -> io::Result<First> {
        let sandbox = text(&task.join("sandbox"));
        let private: [(CString, CString); 2] = [("tmp", "/tmp"), ("var-tmp", "/var/tmp")].map(|(own, at)| {
            let own = task.join("private").join(own);
            (text(&own), CString::new(at).unwrap_or_default())
        });
        let folder = text(&task.join("private"));
        let flags = libc::CLONE_NEWNS | libc::CLONE_NEWUTS | libc::CLONE_NEWIPC | libc::CLONE_NEWPID;
        // SAFETY: without CLONE_VM it is a fork; the child makes system calls on memory made before, and no other.
        unsafe {
            let pid = libc::syscall(libc::SYS_clone, flags | libc::SIGCHLD, 0, 0, 0, 0) as libc::pid_t;
            match pid {
                -1 => return Err(io::Error::last_os_error()),
                0 => {
                    let none = std::ptr::null();
                    let bind = libc::MS_BIND | libc::MS_REC;
                    libc::mount(none, c"/".as_ptr(), none, libc::MS_REC | libc::MS_SLAVE, none.cast());
                    libc::mkdir(folder.as_ptr(), 0o755);
                    for (own, place) in &private {
                        libc::mkdir(own.as_ptr(), 0o755);
                        libc::chmod(own.as_ptr(), 0o1777);
                        libc::mount(own.as_ptr(), place.as_ptr(), none, bind, none.cast());
                    }
                    libc::mount(sandbox.as_ptr(), sandbox.as_ptr(), none, bind, none.cast());
                    libc::mount(c"shm".as_ptr(), c"/dev/shm".as_ptr(), c"tmpfs".as_ptr(), 0, none.cast());
                    libc::mount(c"proc".as_ptr(), c"/proc".as_ptr(), c"proc".as_ptr(), 0, none.cast());
                    let read_only = libc::MS_BIND | libc::MS_REMOUNT | libc::MS_RDONLY;
                    libc::mount(none, c"/sys".as_ptr(), none, read_only, none.cast());
                    loop {
                        libc::pause();
                    }
                }
                _ => {}
            }
            let fd = libc::syscall(libc::SYS_pidfd_open, pid, 0) as i32;
            if fd < 0 {
                let error = io::Error::last_os_error();
                libc::kill(pid, libc::SIGKILL);
                libc::waitpid(pid, std::ptr::null_mut(), 0);
                return Err(error);
            }
            Ok(First { pid, fd: OwnedFd::from_raw_fd(fd) })
        }
    }

    /// Runs /bin/true in the namespaces and groups, with log files.
    fn run(&self, groups: &[PathBuf], task: &Path) -> io::Result<()> {
        let own = File::open("/proc/self/ns/pid")?;
        let mut command = Command::new("/bin/true");
        command.stdout(File::create(task.join("logs/out"))?).stderr(File::create(task.join("logs/err"))?);
        let (join, fd) = (join(groups), self.fd.try_clone()?);
        // SAFETY: the child only opens, writes and closes files by paths made before the fork, and changes namespaces.
        unsafe {
            command.pre_exec(move || {
                join.iter().try_for_each(|path| fs::write(path, "0"))?;
                enter(fd.as_fd(), CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWUTS | CloneFlags::CLONE_NEWIPC)
            });
        }
        // What is forked from here on is in the others' namespace of processes.
        enter(self.fd.as_fd(), CloneFlags::CLONE_NEWPID)?;
        let child = command.spawn();
        enter(own.as_fd(), CloneFlags::CLONE_NEWPID)?;
        let status = child?.wait()?;
        if status.success() { Ok(()) } else { Err(io::Error::other(format!("/bin/true: {status}"))) }
    }
}

fn enter(fd: BorrowedFd<'_>, what: CloneFlags) -> io::Result<()> {
    setns(fd, what).map_err(io::Error::from)
}

impl Drop for First {
    fn drop(&mut self) {
        // SAFETY: our own child, not waited for before.
        unsafe {
            libc::kill(self.pid, libc::SIGKILL);
            libc::waitpid(self.pid, std::ptr::null_mut(), 0);
        }
    }
}
