//! What a task sees of the file system in its own mount namespace: private temporary directories, processes of its
//! own, a read-only /sys; on request a read-only system, or another root. Runs in the first process of the namespaces.
//!
//! Sources are opened before anything is covered and mounted by descriptor; with another root, every path is resolved
//! inside it, so that no link in an image leads out.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::libc;
use nix::mount::{MsFlags, mount};

use super::devices::Devices;
use super::root;
use crate::model::Setting;

const NO: Option<&str> = None;
const SHM_BYTES: u64 = 64 << 20;
/// Of /proc, what a root user could change or read out the machine by.
const PROC_READ_ONLY: [&str; 7] =
    ["/proc/sys", "/proc/sysrq-trigger", "/proc/irq", "/proc/bus", "/proc/fs", "/proc/acpi", "/proc/scsi"];
const PROC_HIDDEN: [&str; 3] = ["/proc/kcore", "/proc/keys", "/proc/timer_list"];

/// A mount, or what comes before one, failed.
#[derive(Debug, thiserror::Error)]
#[error("{what} {}: {}", path.display(), super::describe(source))]
pub struct MountError {
    pub what: &'static str,
    pub path: PathBuf,
    pub source: io::Error,
}

pub fn failed<E: Into<io::Error>>(what: &'static str, path: impl AsRef<Path>) -> impl FnOnce(E) -> MountError {
    let path = path.as_ref().to_path_buf();
    move |source| MountError { what, path, source: source.into() }
}

/// The task's own directories.
struct Own {
    sandbox: File,
    /// Where it is mounted, with what.
    temporary: [(&'static str, File); 2],
}

/// Makes everything.
///
/// # Errors
/// The mount that failed.
pub fn make(setting: &Setting) -> Result<(), MountError> {
    let isolation = &setting.isolation;
    // What the machine unmounts later must not stay held in here.
    mount(NO, "/", NO, MsFlags::MS_REC | MsFlags::MS_SLAVE, NO).map_err(failed("part from", "/"))?;
    let own = Own {
        sandbox: open(&setting.sandbox)?,
        temporary: [("/tmp", private(setting, "tmp")?), ("/var/tmp", private(setting, "var-tmp")?)],
    };
    let is_rooted = !isolation.root_layers.is_empty();
    let outside = if is_rooted { Some(root::enter(setting)?) } else { None };
    for (place, directory) in &own.temporary {
        if is_rooted {
            fs::create_dir_all(place).map_err(failed("make", place))?;
        }
        if Path::new(place).is_dir() {
            bind(directory, Path::new(place))?;
        }
    }
    if setting.uid == 0 && !is_rooted {
        // Root opens what it likes; file permissions keep everybody else from both.
        if isolation.read_only_system {
            Devices::open(setting)?.place()?;
        }
        hide_tasks(setting)?;
    }
    // Before the sandbox, which may be below: what is mounted over it would hide it.
    shared_memory()?;
    if !setting.sandbox.is_dir() {
        fs::create_dir_all(&setting.sandbox).map_err(failed("make", &setting.sandbox))?;
    }
    bind(&own.sandbox, &setting.sandbox)?;
    if let Some(outside) = outside {
        outside.leave()?;
    } else {
        processes()?;
    }
    if setting.uid == 0 {
        guard_processes()?;
    }
    read_only(Path::new("/sys"), true)?;
    if isolation.read_only_system {
        read_only(Path::new("/"), true)?;
        let open = [setting.sandbox.as_path(), Path::new("/tmp"), Path::new("/var/tmp"), Path::new("/dev/shm")];
        for place in open.into_iter().filter(|place| place.is_dir()) {
            read_only(place, false)?;
        }
    }
    Ok(())
}

/// A directory that takes no part in anything but being mounted.
pub fn open(path: &Path) -> Result<File, MountError> {
    OpenOptions::new().read(true).custom_flags(libc::O_PATH).open(path).map_err(failed("open", path))
}

/// Plans, logs, event logs and sockets of this task and all others of the agent are none of the task's business.
fn hide_tasks(setting: &Setting) -> Result<(), MountError> {
    match setting.meta.parent().filter(|tasks| tasks.parent().is_some() && tasks.is_dir()) {
        // For the way to the sandbox alone.
        Some(tasks) => mount(Some("tasks"), tasks, Some("tmpfs"), MsFlags::MS_NOSUID, Some("mode=711,size=16k"))
            .map_err(failed("cover", tasks)),
        None => Ok(()),
    }
}

/// Lasts as long as the task's directory, so that a final process finds what the others left.
fn private(setting: &Setting, name: &str) -> Result<File, MountError> {
    let place = setting.meta.join("private").join(name);
    // From outside nobody gets at what everybody may write to, nor at what a task makes that takes on its owner's rights.
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(&place);
    let opened = made.and_then(|()| {
        // Whatever the umask, as every /tmp.
        fs::set_permissions(&place, std::os::unix::fs::PermissionsExt::from_mode(0o1777))
    });
    opened.map_err(failed("make", &place))?;
    open(&place)
}

/// Mounts what is open in another place too.
pub fn bind(source: impl AsFd, target: &Path) -> Result<(), MountError> {
    let source = format!("/proc/self/fd/{}", source.as_fd().as_raw_fd());
    mount(Some(source.as_str()), target, NO, MsFlags::MS_BIND | MsFlags::MS_REC, NO).map_err(failed("mount", target))
}

/// Memory shared by name is no part of the IPC namespace. What is put there counts as the task's memory.
fn shared_memory() -> Result<(), MountError> {
    let place = Path::new("/dev/shm");
    if !place.is_dir() {
        return Ok(());
    }
    let options = format!("mode=1777,size={SHM_BYTES}");
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    mount(Some("shm"), place, Some("tmpfs"), flags, Some(options.as_str())).map_err(failed("mount", place))
}

/// Those of the pid namespace alone.
pub fn processes() -> Result<(), MountError> {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(Some("proc"), "/proc", Some("proc"), flags, NO).map_err(failed("mount", "/proc"))
}

/// Root without capabilities is still the owner of the kernel's settings.
fn guard_processes() -> Result<(), MountError> {
    for place in PROC_READ_ONLY.map(Path::new).into_iter().filter(|place| place.exists()) {
        mount(Some(place), place, NO, MsFlags::MS_BIND, NO).map_err(failed("mount", place))?;
        read_only(place, true)?;
    }
    let null = open(Path::new("/dev/null"))?;
    PROC_HIDDEN.map(Path::new).into_iter().filter(|place| place.exists()).try_for_each(|place| bind(&null, place))
}

/// Makes the mounts from `place` on read-only, or the one at `place` writable.
pub fn read_only(place: &Path, is_read_only: bool) -> Result<(), MountError> {
    if !place.is_dir() && !place.exists() {
        return Ok(());
    }
    let path = std::ffi::CString::new(place.as_os_str().as_encoded_bytes());
    let path = path.map_err(|_| failed("change", place)(io::Error::from(io::ErrorKind::InvalidInput)))?;
    let (set, clear) = if is_read_only { (libc::MOUNT_ATTR_RDONLY, 0) } else { (0, libc::MOUNT_ATTR_RDONLY) };
    let attributes = libc::mount_attr { attr_set: set, attr_clr: clear, propagation: 0, userns_fd: 0 };
    let flags = if is_read_only { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: the kernel reads a path and so many bytes of a live value.
    let changed = unsafe {
        let size = size_of::<libc::mount_attr>();
        libc::syscall(libc::SYS_mount_setattr, libc::AT_FDCWD, path.as_ptr(), flags, &raw const attributes, size)
    };
    if changed == 0 { Ok(()) } else { Err(failed("make read-only", place)(io::Error::last_os_error())) }
}
