//! Files without a name that a task's processes hold open: they take disk until they are closed, and no walk finds them.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Open files looked at in one look; what is beyond counts nothing.
const MAX_OPEN_FILES: usize = 100_000;

/// The bytes they take on the disk that holds `root`, each file once.
pub(super) fn bytes(root: &Path, pids: impl Iterator<Item = i32>) -> u64 {
    let Ok(device) = fs::metadata(root).map(|meta| meta.dev()) else { return 0 };
    let mut seen = BTreeSet::new();
    let open = pids.flat_map(|pid| fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten());
    let found = open.take(MAX_OPEN_FILES).filter_map(|entry| {
        // Followed: the kernel leads to the file itself, named or not.
        let meta = fs::metadata(entry.path()).ok()?;
        let is_unnamed = meta.is_file() && meta.nlink() == 0 && meta.dev() == device;
        (is_unnamed && seen.insert(meta.ino())).then(|| meta.blocks().saturating_mul(512))
    });
    found.fold(0, u64::saturating_add)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_file_without_a_name_counts_once_until_it_is_closed() {
        let dir = tempfile::tempdir().unwrap();
        let own = std::process::id() as i32;
        let before = bytes(dir.path(), [own].into_iter());
        let mut file = tempfile::tempfile_in(dir.path()).unwrap();
        file.write_all(&vec![1; 8 << 20]).unwrap();
        let same = file.try_clone().unwrap();
        let during = bytes(dir.path(), [own, own].into_iter());
        assert!((8 << 20..16 << 20).contains(&(during - before)), "{before} {during}");
        drop((file, same));
        assert!(bytes(dir.path(), [own].into_iter()) < during);
    }
}
