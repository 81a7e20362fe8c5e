//! What a task takes on disk beside what it may: bytes and files.

use dawn_proto::amounts::bytes as shown;
use dawn_proto::v1::Reason;

use super::Step;
use crate::model::{Ended, Soft};

/// A task that is being ended for its disk has its grace until it has taken so much more.
const BYTES_IN_GRACE: u64 = 256 << 20;
/// The same of files, as a part of what is allowed.
const FILES_IN_GRACE: u64 = 4;

/// What is told of a task above its limit. `u64::MAX`: its directories can't be measured.
fn over_limit(bytes: u64, limit: u64) -> String {
    match bytes {
        u64::MAX => "disk limit: directories lie too deep within each other to be measured".to_string(),
        _ => format!("disk limit: {} used, {} allowed", shown(bytes), shown(limit)),
    }
}

impl Step<'_> {
    pub(super) fn measured(&mut self, bytes: u64, files: u64) {
        let (limit, max_files) = (self.plan.disk_limit_bytes, self.plan.max_files);
        let is_over = |allowed: u64, used: u64| allowed > 0 && used > allowed;
        if is_over(limit, bytes) {
            self.fail(Reason::DiskLimit, over_limit(bytes, limit));
        }
        if is_over(max_files, files) {
            let message = format!("too many files: {files}, {max_files} allowed (max_files)");
            self.fail(Reason::DiskLimit, message);
        }
        let is_far_over = is_over(limit, bytes.saturating_sub(BYTES_IN_GRACE))
            || is_over(max_files, files.saturating_sub(max_files / FILES_IN_GRACE));
        if is_far_over && self.state.outcome.is_some() {
            // It uses its grace to take more.
            self.kill(Reason::DiskLimit, Some(0));
        }
        self.warn_of_files(files);
    }

    fn warn_of_files(&mut self, files: u64) {
        let max_files = self.plan.max_files;
        if self.state.is_warned_of_files || self.state.outcome.is_some() || files < max_files.div_ceil(2) {
            return;
        }
        self.soft(Soft::WarnedOfFiles);
        let message = format!("{files} files of at most {max_files} (max_files): above that the task is ended");
        self.report(self.state.task, Reason::None, message, Ended::default());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_measured_is_told_without_an_amount() {
        assert_eq!(over_limit(3 << 20, 1 << 20), "disk limit: 3 MiB used, 1 MiB allowed");
        let words = over_limit(u64::MAX, 1 << 20);
        assert!(words.contains("too deep") && !words.contains(" used"), "{words}");
    }
}
