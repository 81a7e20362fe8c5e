//! One look at what a task's directories take on disk, a few entries at a time, so that nothing else waits for it.

use std::collections::BTreeSet;
use std::fs::{self, File, ReadDir};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::PathBuf;
use std::rc::Rc;

use nix::libc;

/// Entries looked at in one turn.
const ENTRIES_PER_TURN: usize = 256;
/// The kernel takes paths of 4,096 bytes; from here on a directory is named by a descriptor of it, so that nothing is too
/// deep to be counted.
const LONG_PATH_BYTES: usize = 2_048;
/// Of these descriptors below each other; what is deeper counts as more than any limit.
const MAX_DESCRIPTORS: usize = 64;

/// What was found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Found {
    pub bytes: u64,
    /// Files, directories and links.
    pub files: u64,
}

/// A look under way. Links are not followed, nor mounts.
#[derive(Debug)]
pub(super) struct Walk {
    open: Option<(ReadDir, Option<Rc<Base>>)>,
    /// The last is the next, so that few wait.
    left: Vec<Directory>,
    /// Files with several names, each counted once.
    seen: BTreeSet<(u64, u64)>,
    device: Option<u64>,
    found: Found,
}

/// A directory to be looked into, by a path that may begin at a descriptor.
#[derive(Debug)]
struct Directory {
    path: PathBuf,
    base: Option<Rc<Base>>,
}

#[derive(Debug)]
struct Base {
    directory: File,
    depth: usize,
}

impl Base {
    fn path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.directory.as_raw_fd()))
    }
}

impl Walk {
    /// Beside `bytes` that no walk finds.
    pub(super) fn over(roots: &[PathBuf], bytes: u64) -> Self {
        let left = roots.iter().map(|path| Directory { path: path.clone(), base: None }).collect();
        Walk { open: None, left, seen: BTreeSet::new(), device: None, found: Found { bytes, files: 0 } }
    }

    /// Looks at some more; what there is once that was all.
    pub(super) fn go_on(&mut self) -> Option<Found> {
        for _ in 0..ENTRIES_PER_TURN {
            match self.open.as_mut().map(|(entries, _)| entries.next()) {
                Some(Some(entry)) => {
                    // What vanishes meanwhile takes nothing.
                    let Some((path, meta)) = entry.ok().and_then(|one| Some((one.path(), one.metadata().ok()?))) else {
                        continue;
                    };
                    self.count(path, &meta);
                }
                _ => match self.left.pop() {
                    Some(next) => self.look_into(next),
                    None => return Some(self.found),
                },
            }
        }
        None
    }

    fn look_into(&mut self, mut next: Directory) {
        if next.path.as_os_str().len() > LONG_PATH_BYTES {
            let depth = next.base.as_ref().map_or(0, |base| base.depth) + 1;
            if depth > MAX_DESCRIPTORS {
                self.found.bytes = u64::MAX;
                return;
            }
            let flags = libc::O_PATH | libc::O_DIRECTORY | libc::O_NOFOLLOW;
            let opened = File::options().read(true).custom_flags(flags).open(&next.path);
            let Ok(directory) = opened else { return };
            let base = Base { directory, depth };
            next = Directory { path: base.path(), base: Some(Rc::new(base)) };
        }
        self.open = fs::read_dir(&next.path).ok().map(|entries| (entries, next.base));
    }

    fn count(&mut self, path: PathBuf, meta: &fs::Metadata) {
        if meta.dev() != *self.device.get_or_insert(meta.dev()) {
            return;
        }
        if meta.is_dir() {
            let base = self.open.as_ref().and_then(|(_, base)| base.clone());
            self.left.push(Directory { path, base });
        } else if meta.nlink() > 1 && !self.seen.insert((meta.dev(), meta.ino())) {
            return;
        }
        self.found.bytes = self.found.bytes.saturating_add(meta.blocks().saturating_mul(512));
        self.found.files += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(roots: Vec<PathBuf>) -> Found {
        let mut walk = Walk::over(&roots, 0);
        (0..1_000).find_map(|_| walk.go_on()).expect("an end")
    }

    fn measured(roots: Vec<PathBuf>) -> u64 {
        found(roots).bytes
    }

    /// Makes directories below each other, each entered by the one before it, and writes a file into the last.
    fn dig(root: &std::path::Path, levels: usize) {
        use rustix::fs::{Mode, OFlags, mkdirat, openat};
        let flags = OFlags::DIRECTORY | OFlags::RDONLY;
        let mut at = std::os::fd::OwnedFd::from(File::open(root).unwrap());
        for _ in 0..levels {
            let name = "d".repeat(250);
            mkdirat(&at, &name, Mode::from_raw_mode(0o755)).unwrap();
            at = openat(&at, &name, flags, Mode::empty()).unwrap();
        }
        let file = openat(&at, "file", OFlags::CREATE | OFlags::WRONLY, Mode::from_raw_mode(0o644)).unwrap();
        std::io::Write::write_all(&mut File::from(file), &vec![1; 1 << 20]).unwrap();
    }

    #[test]
    fn nothing_is_too_deep_to_be_counted() {
        let dir = tempfile::tempdir().unwrap();
        dig(dir.path(), 40);
        let bytes = measured(vec![dir.path().to_path_buf()]);
        assert!((1 << 20..2 << 20).contains(&bytes), "{bytes}");
        let dir = tempfile::tempdir().unwrap();
        dig(dir.path(), 600);
        assert_eq!(measured(vec![dir.path().to_path_buf()]), u64::MAX, "more than any limit");
    }

    #[test]
    fn every_file_counts_once_and_what_is_linked_to_does_not() {
        let (dir, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::write(elsewhere.path().join("big"), vec![1; 1 << 20]).unwrap();
        std::os::unix::fs::symlink(elsewhere.path(), dir.path().join("link")).unwrap();
        let empty = measured(vec![dir.path().to_path_buf()]);
        for i in 0..600 {
            fs::create_dir(dir.path().join(format!("d{i}"))).unwrap();
        }
        fs::write(dir.path().join("d7/file"), vec![1; 64 << 10]).unwrap();
        fs::hard_link(dir.path().join("d7/file"), dir.path().join("d8/same")).unwrap();
        let full = measured(vec![dir.path().to_path_buf()]);
        assert_eq!(found(vec![dir.path().to_path_buf()]).files, 602, "directories, a file of two names, and a link");
        assert!(full >= empty + (64 << 10) && full < 600 * 4_096 + (100 << 10) + empty, "{empty} {full}");
    }
}
