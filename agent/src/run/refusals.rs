//! What a step of a launch met, as the refusal that tells whose fault it may be. Not here: whose it is, which the scheduler
//! finds out by trying elsewhere.

use std::error::Error;

use dawn_proto::v1::Reason;
use nix::errno::Errno;

use super::hands::chain;
use crate::edges::cgroup::CgroupError;
use crate::edges::checkpoint::CheckpointError;
use crate::edges::images::ImageError;
use crate::edges::sandbox::SandboxError;
use crate::model::Refusal;

pub(super) fn not_written(error: &CheckpointError) -> Refusal {
    of_disk(error).unwrap_or_else(|| Refusal::Checkpoint { message: chain(error) })
}

pub(super) fn no_sandbox(error: &SandboxError) -> Refusal {
    of_disk(error).unwrap_or_else(|| Refusal::Sandbox { message: chain(error) })
}

/// What the job names may be any file of the node, some of which always fail to be read (EIO): only the agent's own files
/// speak against the disk. An image that is too large for a disk fills it as well: that is not the node's fault alone.
pub(super) fn no_root(error: &ImageError) -> Refusal {
    let message = format!("root file system: {}", chain(error));
    match disk_reason(error) {
        Some(reason @ Reason::NodeDiskFailed) if matches!(error, ImageError::Own { .. }) => {
            Refusal::Disk { reason, message }
        }
        _ => Refusal::RootFs { message },
    }
}

pub(super) fn no_groups(error: &CgroupError) -> Refusal {
    let message = chain(error);
    if matches!(error, CgroupError::Asked(_)) { Refusal::Limit { message } } else { Refusal::Cgroup { message } }
}

/// What the agent's own small files met that is the disk's fault.
fn of_disk(error: &(dyn Error + 'static)) -> Option<Refusal> {
    Some(Refusal::Disk { reason: disk_reason(error)?, message: chain(error) })
}

/// Whether an error comes of a disk that is full or fails.
fn disk_reason(error: &(dyn Error + 'static)) -> Option<Reason> {
    let number = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::raw_os_error);
    match number.map(Errno::from_raw) {
        Some(Errno::ENOSPC) => Some(Reason::NodeDiskFull),
        Some(Errno::EIO | Errno::EROFS) => Some(Reason::NodeDiskFailed),
        _ => disk_reason(error.source()?),
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::path::PathBuf;

    use super::*;

    fn io_error(errno: Errno) -> io::Error {
        io::Error::from_raw_os_error(errno as i32)
    }

    #[test]
    fn a_full_or_failing_disk_is_the_nodes_fault_where_only_the_agents_own_files_are_written() {
        let path = || PathBuf::from("tasks/t1/plan");
        let met =
            |errno| not_written(&CheckpointError::Io { operation: "write", path: path(), source: io_error(errno) });
        let reason = |refusal: &Refusal| match refusal {
            Refusal::Disk { reason, .. } => Some(*reason),
            _ => None,
        };
        assert_eq!(reason(&met(Errno::ENOSPC)), Some(Reason::NodeDiskFull));
        assert_eq!(reason(&met(Errno::EIO)), Some(Reason::NodeDiskFailed));
        assert_eq!(reason(&met(Errno::EROFS)), Some(Reason::NodeDiskFailed));
        assert!(matches!(met(Errno::EACCES), Refusal::Checkpoint { message } if message.contains("tasks/t1/plan")));
    }

    #[test]
    fn an_image_that_is_not_there_or_too_large_may_be_the_jobs_fault() {
        let path = || PathBuf::from("/images/tpyo.tgz");
        let met = |errno| no_root(&ImageError::Named { what: "open", path: path(), source: io_error(errno) });
        for errno in [Errno::ENOENT, Errno::ENOSPC, Errno::EIO, Errno::EROFS] {
            assert!(
                matches!(met(errno), Refusal::RootFs { message } if message.contains("/images/tpyo.tgz")),
                "{errno}"
            );
        }
        let own = |errno| no_root(&ImageError::Own { what: "write", path: path(), source: io_error(errno) });
        assert!(matches!(own(Errno::EIO), Refusal::Disk { reason: Reason::NodeDiskFailed, .. }));
        assert!(matches!(own(Errno::ENOSPC), Refusal::RootFs { .. }));
        let bad = ImageError::Bad { path: "/images/layout".into(), why: "no image tagged \"v2\"".into() };
        assert!(matches!(no_root(&bad), Refusal::RootFs { .. }));
    }

    #[test]
    fn a_limit_that_the_job_asks_for_is_told_from_a_group_that_can_not_be_made() {
        let asked = CgroupError::Asked(Box::new(CgroupError::NoController("cpuset")));
        assert!(matches!(no_groups(&asked), Refusal::Limit { message } if message.contains("cpuset")));
        assert!(matches!(no_groups(&CgroupError::Unusable("none is mounted")), Refusal::Cgroup { .. }));
    }
}
