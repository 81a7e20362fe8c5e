//! From the cache into a sandbox: a file, or an archive's content, owned by the task's user. Every step is taken below an
//! open folder without following links, so nothing lands outside the sandbox.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Component, Path};

use dawn_proto::amounts;
use rustix::fs::{AtFlags, CWD, FileType, Gid, Mode, OFlags, ResolveFlags, Uid};
use rustix::io::Errno;

use super::{FetchError, extract};
use crate::model::{Artifact, Identity, TaskDir};
use crate::packed::MAX_DEPTH;

/// A folder below which things are made.
pub(super) struct Folder {
    fd: OwnedFd,
    uid: Uid,
    gid: Gid,
}

/// Puts an artifact into the sandbox; the bytes it takes there, of which `most` are allowed.
pub(super) fn place(
    dir: &TaskDir,
    identity: &Identity,
    artifact: &Artifact,
    mut file: File,
    most: u64,
) -> Result<u64, FetchError> {
    let failed = |error: io::Error| FetchError::Place(error.to_string());
    let flags = OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let fd = rustix::fs::openat(CWD, dir.sandbox(), flags, Mode::empty()).map_err(|error| failed(error.into()))?;
    let sandbox = Folder { fd, uid: Uid::from_raw(identity.uid), gid: Gid::from_raw(identity.gid) };
    let destination = Path::new(&artifact.destination);
    if artifact.extract {
        let folder = sandbox.folder(destination).map_err(failed)?;
        return extract::extract(&folder, file, most).map_err(FetchError::Place);
    }
    let bytes = file.metadata().map_err(failed)?.len();
    if bytes > most {
        let (bytes, most) = (amounts::bytes(bytes), amounts::bytes(most));
        return Err(FetchError::Place(format!("it has {bytes}, and the task's disk only {most} left")));
    }
    let parent = sandbox.folder(destination.parent().unwrap_or(Path::new(""))).map_err(failed)?;
    let name = destination.file_name().map(Path::new).ok_or_else(|| FetchError::Place("it has no name".into()))?;
    parent.file(name, artifact.mode, &mut file).map_err(failed)?;
    Ok(bytes)
}

/// The parts of a path that stays where it is; an error names what does not.
pub(super) fn parts(path: &Path) -> io::Result<Vec<&Path>> {
    let mut parts = Vec::new();
    for part in path.components() {
        match part {
            Component::Normal(part) => parts.push(Path::new(part)),
            Component::CurDir => {}
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => {
                return Err(io::Error::other(format!("{} would leave the folder", path.display())));
            }
        }
    }
    match parts.len() > MAX_DEPTH {
        true => Err(io::Error::other(format!("a path has more than {MAX_DEPTH} folders within each other"))),
        false => Ok(parts),
    }
}

impl Folder {
    fn again(&self, fd: OwnedFd) -> Folder {
        Folder { fd, uid: self.uid, gid: self.gid }
    }

    /// Opens a folder below this one, and makes what is missing. A link in the way is an error.
    pub fn folder(&self, path: &Path) -> io::Result<Folder> {
        let mut at = self.again(self.fd.try_clone()?);
        for part in parts(path)? {
            match rustix::fs::mkdirat(&at.fd, part, Mode::from_raw_mode(0o755)) {
                Err(Errno::EXIST) => {}
                made => {
                    made?;
                    rustix::fs::chownat(&at.fd, part, Some(self.uid), Some(self.gid), AtFlags::SYMLINK_NOFOLLOW)?;
                }
            }
            let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
            let flags = OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
            let next = rustix::fs::openat2(&at.fd, part, flags, Mode::empty(), resolve);
            let next = next.map_err(|error| io::Error::other(format!("{}: {error}", path.display())))?;
            at = self.again(next);
        }
        Ok(at)
    }

    /// Takes away what has the name, unless it is a folder.
    fn clear(&self, name: &Path) -> io::Result<()> {
        match rustix::fs::unlinkat(&self.fd, name, AtFlags::empty()) {
            Err(Errno::NOENT) | Ok(()) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// A file of this name with this content; the bytes of it.
    pub fn file(&self, name: &Path, mode: u32, content: &mut impl Read) -> io::Result<u64> {
        self.clear(name)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut file = File::from(rustix::fs::openat(&self.fd, name, flags, Mode::from_raw_mode(0o600))?);
        let bytes = io::copy(content, &mut file)?;
        rustix::fs::fchown(file.as_fd(), Some(self.uid), Some(self.gid))?;
        rustix::fs::fchmod(file.as_fd(), Mode::from_raw_mode(mode & 0o777))?;
        Ok(bytes)
    }

    pub fn link(&self, name: &Path, target: &Path) -> io::Result<()> {
        self.clear(name)?;
        rustix::fs::symlinkat(target, &self.fd, name)?;
        Ok(rustix::fs::chownat(&self.fd, name, Some(self.uid), Some(self.gid), AtFlags::SYMLINK_NOFOLLOW)?)
    }

    /// A second name of a file that is there below `root`.
    pub fn hard_link(&self, name: &Path, root: &Folder, target: &Path) -> io::Result<()> {
        let flags = OFlags::PATH | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        let held = rustix::fs::openat2(&root.fd, target, flags, Mode::empty(), resolve)?;
        if FileType::from_raw_mode(rustix::fs::fstat(&held)?.st_mode) != FileType::RegularFile {
            return Err(io::Error::other(format!("{} is no file to link to", target.display())));
        }
        self.clear(name)?;
        Ok(rustix::fs::linkat(&held, "", &self.fd, name, AtFlags::EMPTY_PATH)?)
    }

    pub fn set_mode(&self, mode: u32) -> io::Result<()> {
        Ok(rustix::fs::fchmod(self.fd.as_fd(), Mode::from_raw_mode(mode & 0o777))?)
    }
}
