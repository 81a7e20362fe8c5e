//! Opens files whose paths a job names or a task can replace: regular ones, and nothing else. A pipe is not waited for, and
//! no device is opened, for which opening alone can be a deed. Not here: how much of a file is read.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::libc;

/// Opens a regular file for reading, through links.
///
/// # Errors
/// It can't be opened, or is no regular file.
pub fn open(path: &Path) -> io::Result<File> {
    open_with(path, 0)
}

/// The same, unless the path itself is a link.
///
/// # Errors
/// It can't be opened, or is no regular file.
pub fn open_no_link(path: &Path) -> io::Result<File> {
    open_with(path, libc::O_NOFOLLOW)
}

fn open_with(path: &Path, flags: i32) -> io::Result<File> {
    // A handle first: what it leads to is known before it is opened, and stays the same.
    let handle = OpenOptions::new().read(true).custom_flags(libc::O_PATH | flags).open(path)?;
    if !handle.metadata()?.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    let again = format!("/proc/self/fd/{}", handle.as_raw_fd());
    OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(again)
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn a_pipe_is_not_waited_for_and_a_device_is_not_opened() {
        let dir = tempfile::tempdir().unwrap();
        let (file, pipe, link) = (dir.path().join("file"), dir.path().join("pipe"), dir.path().join("link"));
        std::fs::write(&file, "content").unwrap();
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        let read = |opened: io::Result<File>| {
            let mut text = String::new();
            opened.and_then(|mut file| file.read_to_string(&mut text)).map(|_| text).map_err(|error| error.to_string())
        };
        let began = Instant::now();
        assert_eq!(read(open(&file)).as_deref(), Ok("content"));
        assert_eq!(read(open(&link)).as_deref(), Ok("content"));
        assert_eq!(read(open_no_link(&file)).as_deref(), Ok("content"));
        for path in [pipe.as_path(), Path::new("/dev/zero"), dir.path()] {
            assert_eq!(read(open(path)), Err("it is no regular file".into()), "{}", path.display());
        }
        assert_eq!(read(open_no_link(&link)), Err("it is no regular file".into()));
        assert!(open(&dir.path().join("none")).is_err_and(|error| error.kind() == io::ErrorKind::NotFound));
        assert!(began.elapsed() < Duration::from_secs(30));
    }
}
