//! What root writes into a scheduler's data directory belongs to whom the directory belongs to: a unit with a user of its own
//! could not open it otherwise.

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, lchown};
use std::path::Path;

use crate::exit::{Exit, Failure};

/// Gives all that is in the directory to its owner, links as links. Whoever is not root has written files of its own.
pub fn give_to_owner(dir: &Path) -> Result<(), Failure> {
    if !nix::unistd::geteuid().is_root() {
        return Ok(());
    }
    let given = fs::metadata(dir).and_then(|owner| give(dir, owner.uid(), owner.gid()));
    given.map_err(|error| {
        let message = format!("the journal is there, but can't be given to the owner of {}: {error}", dir.display());
        Failure::new(Exit::Failed, message).hint("see that the scheduler's user may read and write the files in it")
    })
}

fn give(dir: &Path, uid: u32, gid: u32) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let found = fs::symlink_metadata(&path)?;
        if (found.uid(), found.gid()) != (uid, gid) {
            lchown(&path, Some(uid), Some(gid))?;
        }
        if found.is_dir() {
            give(&path, uid, gid)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOMEBODY: u32 = 65_534;

    #[test]
    fn what_root_wrote_belongs_to_the_owner_of_the_directory_and_nothing_else_does() {
        if !nix::unistd::geteuid().is_root() {
            return;
        }
        let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let outside = other.path().join("file");
        fs::write(&outside, "").unwrap();
        fs::create_dir(dir.path().join("journal")).unwrap();
        let inside = dir.path().join("journal/segment");
        fs::write(&inside, "").unwrap();
        std::os::unix::fs::symlink(&outside, dir.path().join("link")).unwrap();
        std::os::unix::fs::chown(dir.path(), Some(SOMEBODY), Some(SOMEBODY)).unwrap();
        give_to_owner(dir.path()).unwrap();
        for path in [inside, dir.path().join("journal"), dir.path().join("link")] {
            let owner = fs::symlink_metadata(&path).unwrap();
            assert_eq!((owner.uid(), owner.gid()), (SOMEBODY, SOMEBODY), "{}", path.display());
        }
        assert_eq!(fs::metadata(&outside).unwrap().uid(), 0);
    }
}
