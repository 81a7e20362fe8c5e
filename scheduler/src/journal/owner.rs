//! Whose the files of a data directory are: the journal holds the environment of every job, so nobody else may read it.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, lchown};
use std::path::Path;

const OWNER_ALONE: u32 = 0o700;

/// Makes a directory that its owner alone can enter; one that is there becomes so.
pub(super) fn make_private(dir: &Path) -> io::Result<()> {
    fs::create_dir_all(dir)?;
    let mode = fs::metadata(dir)?.permissions().mode() & 0o777;
    match mode == OWNER_ALONE {
        true => Ok(()),
        false => fs::set_permissions(dir, Permissions::from_mode(OWNER_ALONE)),
    }
}

/// Gives everything in the directory to the one whose it is: an operator who works as root leaves nothing behind that the
/// scheduler, which runs as somebody else, can't open.
pub(super) fn give_to_owner(data_dir: &Path) -> io::Result<()> {
    let owner = fs::metadata(data_dir)?;
    let (uid, gid) = (owner.uid(), owner.gid());
    let mut folders = vec![data_dir.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let path = entry?.path();
            let file = fs::symlink_metadata(&path)?;
            if (file.uid(), file.gid()) != (uid, gid) {
                lchown(&path, Some(uid), Some(gid))?;
            }
            if file.is_dir() {
                folders.push(path);
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_root_makes_in_a_directory_is_its_owners_and_nobody_else_reads_it() {
        let dir = tempfile::tempdir().unwrap();
        let inner = dir.path().join("journal");
        fs::create_dir(&inner).unwrap();
        make_private(&inner).unwrap();
        assert_eq!(fs::metadata(&inner).unwrap().permissions().mode() & 0o777, OWNER_ALONE);
        fs::write(inner.join("a"), "x").unwrap();
        if !nix::unistd::geteuid().is_root() {
            give_to_owner(dir.path()).unwrap();
            return;
        }
        lchown(dir.path(), Some(65_534), Some(65_534)).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", inner.join("link")).unwrap();
        give_to_owner(dir.path()).unwrap();
        for path in [inner.clone(), inner.join("a"), inner.join("link")] {
            assert_eq!(fs::symlink_metadata(&path).unwrap().uid(), 65_534, "{}", path.display());
        }
        assert_eq!(fs::metadata("/etc/passwd").unwrap().uid(), 0, "what a link names is not touched");
    }
}
