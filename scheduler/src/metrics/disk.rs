//! What is free on the disk of a scheduler's data directory: a journal that can't be written ends the scheduler.

use std::path::Path;

use nix::sys::statvfs::statvfs;

use super::Text;

/// What can't be asked is left out.
pub(super) fn write(data_dir: &Path, text: &mut Text) {
    let Ok(stat) = statvfs(data_dir) else { return };
    let bytes = |blocks: u64| blocks.saturating_mul(stat.fragment_size());
    let (free, total) = (bytes(stat.blocks_available()), bytes(stat.blocks()));
    text.one("scheduler_disk_free_bytes", "gauge", "Free on the disk of the data directory.", free);
    text.one("scheduler_disk_bytes", "gauge", "Size of the disk of the data directory.", total);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_that_is_there_has_figures_and_another_has_none() {
        let dir = tempfile::tempdir().unwrap();
        let mut text = Text::default();
        write(dir.path(), &mut text);
        assert!(text.0.contains("\ndawn_scheduler_disk_free_bytes "), "{}", text.0);
        assert!(text.0.contains("\ndawn_scheduler_disk_bytes "), "{}", text.0);
        let mut text = Text::default();
        write(&dir.path().join("none"), &mut text);
        assert_eq!(text.0, "");
    }
}
