//! One process per data directory: an exclusive lock on its `lock` file, which says who holds it.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

use super::OpenError;

/// Held until dropped, or until the process ends however it does.
pub struct Lock {
    _file: Flock<File>,
}

impl Lock {
    /// In a directory that is made when missing.
    ///
    /// # Errors
    /// [`OpenError::Locked`] with the holder's words when another process has it.
    pub fn take(data_dir: &Path) -> Result<Lock, OpenError> {
        std::fs::create_dir_all(data_dir).map_err(|source| OpenError::io("creating", data_dir, source))?;
        let path = data_dir.join("lock");
        let options = File::options().read(true).write(true).create(true).truncate(false).open(&path);
        let file = options.map_err(|source| OpenError::io("opening", &path, source))?;
        let mut file = Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(mut file, errno)| {
            if errno != Errno::EWOULDBLOCK {
                return OpenError::io("locking", &path, errno.into());
            }
            let mut holder = String::new();
            let read = file.read_to_string(&mut holder);
            let holder = read.ok().filter(|_| !holder.trim().is_empty()).map(|_| holder.trim().to_string());
            OpenError::Locked { dir: data_dir.to_path_buf(), holder: holder.unwrap_or("another process".into()) }
        })?;
        let host = nix::unistd::gethostname().map(|host| host.to_string_lossy().into_owned()).unwrap_or_default();
        let words = format!("pid {} on host {host}\n", std::process::id());
        let written = file.set_len(0).and_then(|()| file.seek(SeekFrom::Start(0)));
        written
            .and_then(|_| file.write_all(words.as_bytes()))
            .map_err(|source| OpenError::io("writing", &path, source))?;
        Ok(Lock { _file: file })
    }
}
