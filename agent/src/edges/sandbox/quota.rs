//! A task's disk limit kept by the file system itself: a project of its own for its directories, where the file system
//! enforces quotas of projects (XFS, ext4 and others mounted with `prjquota`) and the kernel takes a descriptor of it (Linux
//! 5.14). Not here: what is done elsewhere; there executors look at what tasks take, and they do here too, as the
//! owner of a file may take it out of a project.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use nix::libc;

/// `FS_IOC_FSGETXATTR` and `FS_IOC_FSSETXATTR`.
const GET_ATTRIBUTES: libc::c_ulong = 0x801c_581f;
const SET_ATTRIBUTES: libc::c_ulong = 0x401c_5820;
/// `FS_XFLAG_PROJINHERIT`: what is made in the directory is of its project.
const INHERIT: u32 = 0x200;
/// Kinds of quotas: of users, of groups, of projects.
const PROJECTS: u32 = 2;
/// `Q_XSETQLIM` and `Q_XGETQSTATV`, which file systems with either kind of quota files answer.
const SET_LIMITS: u32 = 0x5804;
/// `Q_XGETQUOTA`, which both answer too.
const GET_QUOTA: u32 = 0x5803;
const GET_STATE: u32 = 0x5808;
/// `FS_QUOTA_PDQ_ENFD`: quotas of projects are enforced.
const ENFORCED: u16 = 1 << 5;
/// `FS_DQ_BHARD | FS_DQ_IHARD`: the hard limits are set, of bytes and of files.
const HARD_LIMITS: u16 = 1 << 3 | 1 << 1;
/// `FS_PROJ_QUOTA`.
const OF_A_PROJECT: i8 = 2;
/// What amounts of disk are counted in, bytes.
const BLOCK: u64 = 512;
/// Projects of tasks are numbered from here on, by their sandbox's inode: those of people are small numbers.
const FIRST_PROJECT: u64 = 1 << 31;

/// `struct fsxattr`.
#[repr(C)]
#[derive(Default)]
struct Attributes {
    flags: u32,
    extent_size: u32,
    extents: u32,
    project: u32,
    cow_extent_size: u32,
    padding: [u8; 8],
}

/// `struct fs_disk_quota`.
#[repr(C)]
#[derive(Default)]
struct Quota {
    version: i8,
    kind: i8,
    fields: u16,
    project: u32,
    max_blocks: u64,
    soft_blocks: u64,
    max_files: u64,
    soft_files: u64,
    blocks: u64,
    files: u64,
    /// Timers, warnings, and quotas of realtime devices.
    rest: [u64; 7],
}

/// `struct fs_quota_statv`.
#[repr(C)]
struct State {
    version: i8,
    padding: u8,
    flags: u16,
    rest: [u32; 39],
}

/// Puts directories, which hold nothing yet, into a project of their own with these hard limits. False: this file system
/// or kernel keeps none.
///
/// # Errors
/// What the kernel answers where quotas of projects are enforced.
pub fn limit(directories: &[&Path], bytes: u64, files: u64) -> io::Result<bool> {
    let Some(first) = directories.first().map(|path| open(path)).transpose()? else { return Ok(false) };
    let Some(project) = project_of(&first)?.filter(|_| is_enforced(&first)) else { return Ok(false) };
    // Rounded up: a task may have all of what it was promised.
    set_limits(&first, project, bytes.div_ceil(BLOCK), files)?;
    for path in directories {
        let directory = open(path)?;
        let mut attributes = Attributes::default();
        // SAFETY: the kernel fills in, then reads, a struct of its own layout.
        check(unsafe { libc::ioctl(directory.as_raw_fd(), GET_ATTRIBUTES, &raw mut attributes) })?;
        (attributes.project, attributes.flags) = (project, attributes.flags | INHERIT);
        // SAFETY: as above.
        check(unsafe { libc::ioctl(directory.as_raw_fd(), SET_ATTRIBUTES, &raw const attributes) })?;
    }
    Ok(true)
}

/// Whether the file system that holds a directory keeps limits of projects.
pub fn is_kept(directory: &Path) -> bool {
    open(directory).is_ok_and(|directory| is_enforced(&directory))
}

/// What the directories of a task's project take on disk, bytes, files without names included. None: nobody keeps account.
pub fn used(directory: &Path) -> Option<u64> {
    let directory = open(directory).ok()?;
    let project = project_of(&directory).ok()?.filter(|_| is_enforced(&directory))?;
    let mut quota = Quota::default();
    quotactl(&directory, GET_QUOTA, project, &raw mut quota).ok()?;
    Some(quota.blocks.saturating_mul(BLOCK))
}

/// Takes the limits of a task's project away, before its number can be another's: the directory's inode is about to go.
/// There may be none.
pub fn lift(directory: &Path) {
    if let Ok(directory) = open(directory)
        && is_enforced(&directory)
        && let Ok(Some(project)) = project_of(&directory)
    {
        // A limit left behind is set anew with the next task that has the number.
        let _ = set_limits(&directory, project, 0, 0);
    }
}

/// None: its inode has too large a number.
fn project_of(directory: &File) -> io::Result<Option<u32>> {
    let inode = directory.metadata()?.ino();
    Ok(if inode < FIRST_PROJECT { u32::try_from(FIRST_PROJECT + inode).ok() } else { None })
}

fn is_enforced(directory: &File) -> bool {
    let mut state = State { version: 1, padding: 0, flags: 0, rest: [0; 39] };
    quotactl(directory, GET_STATE, 0, &raw mut state).is_ok() && state.flags & ENFORCED != 0
}

fn set_limits(directory: &File, project: u32, max_blocks: u64, max_files: u64) -> io::Result<()> {
    let mut quota = Quota {
        version: 1,
        kind: OF_A_PROJECT,
        fields: HARD_LIMITS,
        project,
        max_blocks,
        max_files,
        ..Quota::default()
    };
    quotactl(directory, SET_LIMITS, project, &raw mut quota)
}

fn quotactl<T>(directory: &File, command: u32, id: u32, data: *mut T) -> io::Result<()> {
    let command = command << 8 | PROJECTS;
    // SAFETY: the kernel reads or fills in a struct of its own layout, which the caller holds.
    let answer = unsafe { libc::syscall(libc::SYS_quotactl_fd, directory.as_raw_fd(), command, id, data) };
    check(i32::try_from(answer).unwrap_or(-1))
}

fn check(answer: i32) -> io::Result<()> {
    if answer < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Never through a planted link.
fn open(path: &Path) -> io::Result<File> {
    let flags = libc::O_DIRECTORY | libc::O_NOFOLLOW;
    File::options().read(true).custom_flags(flags).open(path)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;
    use std::process::Command;

    use super::*;
    use crate::skip::skip;

    const MIB: u64 = 1 << 20;
    /// Somebody who is not above quotas.
    const NOBODY: u32 = 65_534;

    #[test]
    fn the_structs_are_the_kernels() {
        assert_eq!((size_of::<Attributes>(), size_of::<Quota>(), size_of::<State>()), (28, 112, 160));
    }

    #[test]
    fn where_no_quota_is_kept_that_is_said_and_nothing_is_changed() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(used(dir.path()), None);
        assert!(!is_kept(dir.path()) && !limit(&[dir.path()], MIB, 10).unwrap());
        lift(dir.path());
        assert!(!limit(&[], MIB, 10).unwrap());
    }

    /// A mounted file system with quotas of projects, which whoever runs the tests has made: see tests/on-cgroup-v2.
    fn with_quotas() -> Vec<PathBuf> {
        let places: Vec<PathBuf> = std::env::var_os("DAWN_TEST_PROJECT_QUOTAS")
            .map(|places| std::env::split_paths(&places).collect())
            .unwrap_or_default();
        if places.is_empty() {
            skip("this kernel has no file system with quotas of projects");
        }
        places
    }

    /// What a shell of another user answers and says.
    fn tried(dir: &Path, line: &str) -> String {
        use std::os::unix::process::CommandExt;
        let mut shell = Command::new("/bin/sh");
        let output = shell.args(["-c", line]).uid(NOBODY).gid(NOBODY).current_dir(dir).output().unwrap();
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
    }

    /// How often it was told that the quota is used up; XFS says of one project's what it says of a full disk.
    fn refusals(said: &str) -> usize {
        said.matches("Disk quota exceeded").count() + said.matches("No space left on device").count()
    }

    fn blocks_and_files(dir: &Path) -> (u64, u64) {
        let directory = open(dir).unwrap();
        let project = project_of(&directory).unwrap().unwrap();
        let mut quota = Quota::default();
        quotactl(&directory, GET_QUOTA, project, &raw mut quota).unwrap();
        (quota.blocks, quota.files)
    }

    #[test]
    fn a_task_can_take_what_it_was_promised_and_not_a_block_or_a_file_more() {
        for place in with_quotas() {
            let task = tempfile::tempdir_in(&place).unwrap();
            let (sandbox, private) = (task.path().join("sandbox"), task.path().join("private"));
            for dir in [task.path(), &sandbox, &private] {
                let _ = fs::create_dir(dir);
                std::os::unix::fs::chown(dir, Some(NOBODY), Some(NOBODY)).unwrap();
            }
            assert!(limit(&[&sandbox, &private], 4 * MIB, 20).unwrap(), "{}", place.display());
            let said = tried(&sandbox, "fallocate -l 16777216 big; head -c 8388608 /dev/zero > big; stat -c %b big");
            assert_eq!(refusals(&said), 2, "{said}");
            let (blocks, _) = blocks_and_files(&sandbox);
            assert!((3 * MIB..=4 * MIB).contains(&(blocks * BLOCK)), "{blocks} blocks on {}", place.display());
            assert_eq!(used(&sandbox), Some(blocks * BLOCK));
            let said = tried(&private, "head -c 1048576 /dev/zero > other");
            assert_eq!(refusals(&said), 1, "both are of one project: {said}");
            let said = tried(&sandbox, "rm big; i=0; while : > f$i; do i=$((i+1)); done; ls | wc -l");
            assert_eq!(refusals(&said), 1, "{said}");
            assert_eq!(blocks_and_files(&sandbox).1, 20, "{said}");
            // What is no longer a task's is nobody's limit.
            lift(&sandbox);
            assert_eq!(tried(&sandbox, "head -c 8388608 /dev/zero > big && echo all"), "all\n");
        }
    }
}
