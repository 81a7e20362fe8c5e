//! A task's sandbox and log directory: made for its user, measured, never followed out of by symbolic links.

pub mod quota;

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use crate::model::{Identity, TaskDir};
use crate::tree;

/// Entries looked at when a directory is measured; what is beyond counts nothing.
const MAX_ENTRIES: u64 = 4_000_000;

/// A sandbox can't be made.
#[derive(Debug, thiserror::Error)]
#[error("can't {operation} {}", path.display())]
pub struct SandboxError {
    operation: &'static str,
    path: PathBuf,
    source: io::Error,
}

/// Makes the sandbox, owned by the task's user. A repeat is harmless.
///
/// # Errors
/// Names what could not be done to which directory.
pub fn make(dir: &TaskDir, identity: &Identity) -> Result<(), SandboxError> {
    let path = dir.sandbox();
    let error = |operation| {
        let path = path.clone();
        move |source| SandboxError { operation, path, source }
    };
    match DirBuilder::new().mode(0o750).create(&path) {
        Err(source) if source.kind() == io::ErrorKind::AlreadyExists => {}
        made => made.map_err(error("create"))?,
    }
    std::os::unix::fs::lchown(&path, Some(identity.uid), Some(identity.gid)).map_err(error("change the owner of"))
}

/// Has the file system itself hold the task, whose directories were just made, to so much disk and so many files. Nothing
/// is done where it can't.
///
/// # Errors
/// Names what could not be done to which directory.
pub fn limit(dir: &TaskDir, bytes: u64, files: u64) -> Result<(), SandboxError> {
    let (sandbox, private) = (dir.sandbox(), dir.private());
    let error = |operation, path: &Path| {
        let path = path.to_path_buf();
        move |source| SandboxError { operation, path, source }
    };
    // The executor finds it made, and nobody else looks in.
    match DirBuilder::new().mode(0o700).create(&private) {
        Err(source) if source.kind() == io::ErrorKind::AlreadyExists => {}
        made => made.map_err(error("create", &private))?,
    }
    quota::limit(&[&sandbox, &private], bytes, files).map_err(error("set the quota of", &sandbox))?;
    Ok(())
}

/// Bytes that a task's directory takes on disk. What vanishes meanwhile or can't be read counts nothing.
pub fn measure(dir: &TaskDir) -> u64 {
    tree::measure(dir.path(), MAX_ENTRIES).map_or(0, |size| size.bytes)
}

/// What a living task takes of its disk limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Used {
    pub bytes: u64,
    /// There are more files than were looked at.
    pub is_cut: bool,
}

/// Looks at what a living task takes of its disk limit: by the account that the file system keeps, or else file by
/// file, until `most_entries` were looked at.
pub fn used(dir: &TaskDir, most_entries: u64) -> Used {
    if let Some(bytes) = quota::used(&dir.sandbox()) {
        return Used { bytes, is_cut: false };
    }
    let mut used = Used { bytes: 0, is_cut: false };
    let mut left = most_entries;
    for path in [dir.sandbox(), dir.private()] {
        let size = tree::measure(&path, left).unwrap_or_default();
        used.bytes = used.bytes.saturating_add(size.bytes);
        left = left.saturating_sub(size.entries);
        if left == 0 {
            return Used { is_cut: true, ..used };
        }
    }
    used
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::MetadataExt;

    use dawn_proto::TaskId;
    use nix::unistd::{getgid, getuid};

    use super::*;

    #[test]
    fn a_sandbox_belongs_to_its_user_and_links_are_not_measured_through() {
        let work = tempfile::tempdir().unwrap();
        let dir = TaskDir::new(work.path(), TaskId(1));
        fs::create_dir_all(dir.path()).unwrap();
        let own = Identity { uid: getuid().as_raw(), gid: getgid().as_raw(), groups: Vec::new() };
        let identity = if getuid().is_root() { Identity { uid: 12_345, gid: 54_321, ..own } } else { own };
        make(&dir, &identity).unwrap();
        make(&dir, &identity).unwrap();
        let meta = fs::metadata(dir.sandbox()).unwrap();
        assert_eq!((meta.uid(), meta.gid(), meta.mode() & 0o777), (identity.uid, identity.gid, 0o750));
        fs::write(dir.sandbox().join("data"), vec![1u8; 100_000]).unwrap();
        std::os::unix::fs::symlink("/usr", dir.sandbox().join("link")).unwrap();
        let bytes = measure(&dir);
        assert!((100_000..1_000_000).contains(&bytes), "{bytes}");
    }

    #[test]
    fn of_a_living_task_sandbox_and_private_directories_count_and_no_more_files_than_asked_for() {
        let root = tempfile::tempdir().unwrap();
        let dir = TaskDir::new(root.path(), TaskId(1));
        let write = |path: PathBuf, bytes: usize| fs::write(path, vec![1; bytes]).unwrap();
        [dir.sandbox(), dir.private(), dir.logs()].iter().for_each(|path| fs::create_dir_all(path).unwrap());
        write(dir.sandbox().join("a"), 64 << 10);
        write(dir.private().join("b"), 64 << 10);
        write(dir.logs().join("c"), 1 << 20);
        let whole = used(&dir, 100);
        assert!(!whole.is_cut && (128 << 10..256 << 10).contains(&whole.bytes), "{whole:?}");
        let part = used(&dir, 1);
        assert!(part.is_cut && part.bytes < whole.bytes, "{part:?}");
    }

    #[test]
    fn a_sandbox_that_is_a_planted_link_is_not_followed() {
        let work = tempfile::tempdir().unwrap();
        let dir = TaskDir::new(work.path(), TaskId(1));
        let target = work.path().join("target");
        fs::create_dir_all(dir.path()).unwrap();
        fs::create_dir(&target).unwrap();
        std::os::unix::fs::symlink(&target, dir.sandbox()).unwrap();
        let owner = fs::metadata(&target).unwrap().uid();
        if getuid().is_root() {
            make(&dir, &Identity { uid: 12_345, gid: 54_321, ..Default::default() }).unwrap();
        }
        assert_eq!(fs::metadata(&target).unwrap().uid(), owner);
    }
}
