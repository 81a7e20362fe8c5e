//! Trees of directories that tasks have left, however deep and wide: measured and removed level by level, with one open
//! directory and no recursion. Links are not followed, nor mounts. Not here: which trees.

use std::collections::BTreeSet;
use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

/// Passes over a tree that does not get empty.
const MAX_TRIES: usize = 5;

/// What a tree takes on disk; a file with several names counts once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Size {
    pub bytes: u64,
    /// Files, directories and links.
    pub entries: u64,
}

/// What a tree takes, as far as its first `most_entries` entries; what vanishes meanwhile takes nothing.
///
/// # Errors
/// The directory itself can't be read.
pub fn measure(path: &Path, most_entries: u64) -> io::Result<Size> {
    let (mut size, mut seen) = (Size::default(), BTreeSet::new());
    let mut count = |stat: &Stat| {
        let has_more_names = stat.st_nlink > 1 && FileType::from_raw_mode(stat.st_mode) != FileType::Directory;
        if !has_more_names || seen.insert(stat.st_ino) {
            size.bytes = size.bytes.saturating_add(u64::try_from(stat.st_blocks).unwrap_or(0).saturating_mul(512));
        }
        size.entries += 1;
        size.entries < most_entries
    };
    Walk::of(path, false)?.go(&mut |_, _, stat| Ok(count(stat)), &mut |_, _| Ok(()))?;
    Ok(size)
}

/// Removes a tree. What its owner has locked (mode 0) is opened first.
///
/// # Errors
/// What could not be removed first.
pub fn remove(path: &Path) -> io::Result<()> {
    let is_dir = path.symlink_metadata()?.is_dir();
    if !is_dir {
        return std::fs::remove_file(path);
    }
    let mut tries = 0;
    loop {
        tries += 1;
        match remove_once(path) {
            // A directory that changes while it is read may leave some of it out.
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty && tries < MAX_TRIES => {}
            removed => return removed,
        }
    }
}

fn remove_once(path: &Path) -> io::Result<()> {
    let mut remove_file = |folder: &OwnedFd, name: &CStr, stat: &Stat| {
        if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
            gone(rustix::fs::unlinkat(folder, name, AtFlags::empty()))?;
        }
        Ok(true)
    };
    let mut remove_dir = |folder: &OwnedFd, name: &CStr| gone(rustix::fs::unlinkat(folder, name, AtFlags::REMOVEDIR));
    Walk::of(path, true)?.go(&mut remove_file, &mut remove_dir)?;
    std::fs::remove_dir(path)
}

/// Another pass may have been faster.
fn gone(removed: rustix::io::Result<()>) -> io::Result<()> {
    match removed {
        Err(Errno::NOENT) => Ok(()),
        removed => Ok(removed?),
    }
}

/// A directory on the way down to the one that is open.
struct Level {
    inode: u64,
    /// How it is called in the one above.
    name: CString,
    /// Directories in it that are still to be looked into.
    left: Vec<CString>,
}

struct Walk {
    open: OwnedFd,
    device: u64,
    /// Directories that are locked are opened for it.
    unlocks: bool,
    /// The last is the open one.
    levels: Vec<Level>,
}

/// What is done with each entry, in its folder; false: that was enough.
type See<'a> = &'a mut dyn FnMut(&OwnedFd, &CStr, &Stat) -> io::Result<bool>;
/// What is done with a directory, in its folder, after all that is in it.
type Leave<'a> = &'a mut dyn FnMut(&OwnedFd, &CStr) -> io::Result<()>;

impl Walk {
    fn of(path: &Path, unlocks: bool) -> io::Result<Walk> {
        let path = CString::new(path.as_os_str().as_encoded_bytes()).map_err(io::Error::other)?;
        let open = open_folder(CWD, &path, unlocks)?;
        let stat = rustix::fs::fstat(&open)?;
        let root = Level { inode: stat.st_ino, name: path, left: Vec::new() };
        Ok(Walk { open, device: stat.st_dev, unlocks, levels: vec![root] })
    }

    fn go(mut self, see: See<'_>, leave: Leave<'_>) -> io::Result<()> {
        let mut is_enough = !self.look(see)?;
        while !is_enough {
            let Some(level) = self.levels.last_mut() else { break };
            match level.left.pop() {
                Some(name) => is_enough = !self.enter(name, see)?,
                None if self.levels.len() == 1 => break,
                None => self.go_up(leave)?,
            }
        }
        Ok(())
    }

    /// Goes into a directory of the open one, unless it is gone or another file system.
    fn enter(&mut self, name: CString, see: See<'_>) -> io::Result<bool> {
        let open = match open_folder(self.open.as_fd(), &name, self.unlocks) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied && !self.unlocks => return Ok(true),
            opened => opened?,
        };
        let stat = rustix::fs::fstat(&open)?;
        if stat.st_dev != self.device {
            return Ok(true);
        }
        self.open = open;
        self.levels.push(Level { inode: stat.st_ino, name, left: Vec::new() });
        self.look(see)
    }

    /// Sees what is in the open directory.
    fn look(&mut self, see: See<'_>) -> io::Result<bool> {
        let Some(level) = self.levels.last_mut() else { return Ok(false) };
        for entry in Dir::read_from(&self.open)? {
            let entry = entry?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            let Ok(stat) = rustix::fs::statat(&self.open, name, AtFlags::SYMLINK_NOFOLLOW) else { continue };
            if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
                level.left.push(name.to_owned());
            }
            if !see(&self.open, name, &stat)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn go_up(&mut self, leave: Leave<'_>) -> io::Result<()> {
        let above = open_folder(self.open.as_fd(), c"..", false)?;
        let (Some(below), Some(level)) = (self.levels.pop(), self.levels.last()) else { return Ok(()) };
        if rustix::fs::fstat(&above)?.st_ino != level.inode {
            return Err(io::Error::other("it was moved meanwhile"));
        }
        self.open = above;
        leave(&self.open, &below.name)
    }
}

/// Opens a directory, which is unlocked if need be.
fn open_folder(folder: impl AsFd, name: &CStr, unlocks: bool) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let open = || rustix::fs::openat(&folder, name, flags, Mode::empty());
    match open() {
        Err(Errno::ACCESS) if unlocks => {
            rustix::fs::chmodat(&folder, name, Mode::RWXU, AtFlags::empty())?;
            Ok(open()?)
        }
        opened => Ok(opened?),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// Deeper than there may be open files, and than a thread's stack can follow.
    const DEEP: usize = 20_000;

    fn deep(root: &Path) {
        let mut folder = open_folder(CWD, &CString::new(root.as_os_str().as_encoded_bytes()).unwrap(), false).unwrap();
        for _ in 0..DEEP {
            rustix::fs::mkdirat(&folder, c"d", Mode::RWXU).unwrap();
            folder = open_folder(&folder, c"d", false).unwrap();
        }
        let flags = OFlags::CREATE | OFlags::WRONLY;
        rustix::io::write(rustix::fs::openat(&folder, c"file", flags, Mode::RWXU).unwrap(), &[1; 5_000]).unwrap();
    }

    #[test]
    fn a_tree_of_any_depth_is_measured_and_removed() {
        // In memory, where it is there: so many directories take a disk a minute.
        let memory = Path::new("/dev/shm");
        let dir = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
        let dir = dir.unwrap();
        let root = dir.path().join("root");
        fs::create_dir(&root).unwrap();
        deep(&root);
        assert_eq!(measure(&root, u64::MAX).unwrap().entries, DEEP as u64 + 1);
        assert_eq!(measure(&root, 7).unwrap().entries, 7, "no more than asked for");
        remove(&root).unwrap();
        assert!(!root.exists());
        assert!(remove(&root).is_err_and(|error| error.kind() == io::ErrorKind::NotFound));
    }

    #[test]
    fn a_file_of_many_names_takes_its_place_once() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("file"), vec![1; 1 << 20]).unwrap();
        (0..1_000).for_each(|n| fs::hard_link(dir.path().join("file"), dir.path().join(format!("{n}"))).unwrap());
        let size = measure(dir.path(), u64::MAX).unwrap();
        assert!((1 << 20..2 << 20).contains(&size.bytes) && size.entries == 1_001, "{size:?}");
    }

    #[test]
    fn links_are_neither_followed_nor_what_they_lead_to_removed_and_locks_are_opened() {
        let dir = tempfile::tempdir().unwrap();
        let (root, kept) = (dir.path().join("root"), dir.path().join("kept"));
        fs::create_dir_all(root.join("locked/inner")).unwrap();
        fs::create_dir(&kept).unwrap();
        fs::write(kept.join("file"), vec![1; 1 << 20]).unwrap();
        std::os::unix::fs::symlink(&kept, root.join("locked/inner/link")).unwrap();
        let locked: fs::Permissions = std::os::unix::fs::PermissionsExt::from_mode(0o000);
        fs::set_permissions(root.join("locked/inner"), locked.clone()).unwrap();
        fs::set_permissions(root.join("locked"), locked).unwrap();
        assert!(measure(&root, u64::MAX).unwrap().bytes < 1 << 20);
        remove(&root).unwrap();
        assert!(!root.exists() && kept.join("file").exists());
    }
}
