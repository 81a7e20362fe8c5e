//! What the free space of the disk that holds the sandboxes says: whether room is needed, and whether something was lost.

use crate::model::Free;

/// Room is needed below this part of the disk, and is made up to twice as much.
const SCARCE_PART: u64 = 20;
/// A loss since the most that was free: whoever took it is to be found.
const LOST_BYTES: u64 = 64 << 20;
const LOST_FILES: u64 = 10_000;

/// Bytes to be freed so that room is no longer scarce; None: it is not. At least 1, where only files are scarce.
pub fn wanted(free: &Free) -> Option<u64> {
    // A file system without a number of files has no lack of them.
    let are_files_scarce = free.total_files > 0 && free.files < free.total_files / SCARCE_PART;
    let is_scarce = free.bytes < free.total_bytes / SCARCE_PART;
    (is_scarce || are_files_scarce).then(|| (free.total_bytes / SCARCE_PART * 2).saturating_sub(free.bytes).max(1))
}

/// Whether so much is gone since `highest` that executors are to look at what their tasks take.
pub fn is_lost(highest: &Free, free: &Free) -> bool {
    highest.bytes.saturating_sub(free.bytes) >= LOST_BYTES || highest.files.saturating_sub(free.files) >= LOST_FILES
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn free(mib: u64, files: u64) -> Free {
        Free { bytes: mib * MIB, total_bytes: 1_000 * MIB, files, total_files: 100_000 }
    }

    #[test]
    fn room_is_made_up_to_twice_of_what_is_scarce() {
        assert_eq!(wanted(&free(50, 5_000)), None);
        assert_eq!(wanted(&free(49, 5_000)), Some(51 * MIB));
        assert_eq!(wanted(&free(900, 4_999)), Some(1), "files are scarce");
        assert_eq!(wanted(&Free { files: 0, total_files: 0, ..free(900, 0) }), None, "of files there is no number");
    }

    #[test]
    fn a_loss_is_one_of_bytes_or_of_files() {
        assert!(!is_lost(&free(500, 50_000), &free(437, 40_001)));
        assert!(is_lost(&free(500, 50_000), &free(436, 50_000)));
        assert!(is_lost(&free(500, 50_000), &free(500, 40_000)));
        assert!(!is_lost(&free(400, 40_000), &free(500, 50_000)), "a gain");
    }
}
