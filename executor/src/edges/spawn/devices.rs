//! A /dev of the task's own: the harmless device files, those it asked for, terminals of its own, and no others.

use std::fs::{self, File};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::libc;
use nix::mount::{MsFlags, mount};

use super::mounts::{MountError, bind, failed, open, read_only};
use crate::model::Setting;

const DEVICES: [&str; 6] = ["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty"];
const DEVICE_LINKS: [(&str, &str); 5] = [
    ("/proc/self/fd", "/dev/fd"),
    ("/proc/self/fd/0", "/dev/stdin"),
    ("/proc/self/fd/1", "/dev/stdout"),
    ("/proc/self/fd/2", "/dev/stderr"),
    ("pts/ptmx", "/dev/ptmx"),
];
/// Where programs leave word for the node's own log; a link to a socket, or the socket.
const LOG: &str = "/dev/log";

/// Opened before anything is covered.
pub struct Devices<'a> {
    files: Vec<(&'a Path, File)>,
    log: Option<PathBuf>,
}

impl<'a> Devices<'a> {
    /// # Errors
    /// Names the one that is not there.
    pub fn open(setting: &'a Setting) -> Result<Self, MountError> {
        let wanted = DEVICES.iter().map(Path::new).chain(setting.isolation.devices.iter().map(PathBuf::as_path));
        let files = wanted.map(|path| Ok((path, open(path)?))).collect::<Result<_, MountError>>()?;
        Ok(Devices { files, log: fs::read_link(LOG).ok() })
    }

    /// Makes the directory and what is in it.
    ///
    /// # Errors
    /// The step that failed.
    pub fn place(&self) -> Result<(), MountError> {
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC;
        mount(Some("dev"), "/dev", Some("tmpfs"), flags, Some("mode=755,size=64k")).map_err(failed("mount", "/dev"))?;
        for dir in ["/dev/pts", "/dev/shm"] {
            fs::create_dir(dir).map_err(failed("make", dir))?;
        }
        let terminals = Some("newinstance,ptmxmode=0666,mode=0620");
        mount(Some("devpts"), "/dev/pts", Some("devpts"), flags, terminals).map_err(failed("mount", "/dev/pts"))?;
        let log = self.log.iter().map(|target| (target.as_path(), LOG));
        for (target, link) in DEVICE_LINKS.map(|(target, link)| (Path::new(target), link)).into_iter().chain(log) {
            std::os::unix::fs::symlink(target, link).map_err(failed("make", link))?;
        }
        self.files.iter().try_for_each(|(path, device)| place_file(device, path))
    }
}

/// A file of the node's, which it stays: neither its content nor its owner and mode can be changed from in here. What is
/// behind a device file takes writes all the same.
pub fn place_file(source: impl AsFd, target: &Path) -> Result<(), MountError> {
    if let Some(parent) = target.parent() {
        fs::create_dir_all(parent).map_err(failed("make", parent))?;
    }
    // An image may have a pipe there, which is not waited for.
    let mut options = File::options();
    let made = options.append(true).create(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(target);
    made.map_err(failed("make", target))?;
    bind(source, target)?;
    read_only(target, true)
}
