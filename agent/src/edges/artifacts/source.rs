//! Where a file comes from, piece by piece.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::time::Duration;

use super::http::{self, Body};
use super::{FetchError, Settings};
use crate::model::Identity;
use crate::regular;

const PIECE_BYTES: usize = 256 << 10;

/// An open source.
pub(super) struct Source {
    /// As far as it says so.
    pub bytes: Option<u64>,
    from: From,
}

enum From {
    File(Option<File>),
    Http(Body),
}

/// Opens what an address names; a file of this machine as the task's user.
pub(super) async fn open(uri: &str, identity: &Identity, settings: &Settings) -> Result<Source, FetchError> {
    let Some(path) = uri.strip_prefix("file://") else {
        let (bytes, body) = http::get(uri, &settings.roots, settings.stall).await?;
        return Ok(Source { bytes, from: From::Http(body) });
    };
    let (path, identity) = (path.to_string(), identity.clone());
    let opened = tokio::task::spawn_blocking(move || open_as(&path, &identity)).await;
    let opened = opened.map_err(io::Error::other).and_then(|opened| opened);
    let file = opened.map_err(|error| FetchError::Source(format!("the task's user can't read it: {error}")))?;
    let bytes = file.metadata().ok().map(|meta| meta.len());
    Ok(Source { bytes, from: From::File(Some(file)) })
}

/// Opens a regular file with the rights of a user: on a thread of its own, whose identity for files is changed.
fn open_as(path: &str, identity: &Identity) -> io::Result<File> {
    let open = |path: &str| regular::open(Path::new(path));
    if !nix::unistd::geteuid().is_root() {
        return open(path);
    }
    let opened = std::thread::scope(|scope| {
        let opening = scope.spawn(|| {
            // SAFETY: by system call, so that this thread alone is changed, and it ends here. Without the capability
            // to read everything (dropped with the file system's user id), the user's own rights count.
            unsafe {
                let groups = &identity.groups;
                if nix::libc::syscall(nix::libc::SYS_setgroups, groups.len(), groups.as_ptr()) != 0 {
                    return Err(io::Error::last_os_error());
                }
                nix::libc::syscall(nix::libc::SYS_setfsgid, identity.gid);
                nix::libc::syscall(nix::libc::SYS_setfsuid, identity.uid);
                // It answers the one before: asked for nothing, the present one.
                if nix::libc::syscall(nix::libc::SYS_setfsuid, -1) != i64::from(identity.uid) {
                    return Err(io::Error::other("the agent may not act as the task's user"));
                }
            }
            open(path)
        });
        opening.join()
    });
    opened.unwrap_or_else(|_| Err(io::Error::other("the thread that opens it broke down")))
}

impl Source {
    /// The next piece; None: that was all.
    pub async fn next(&mut self, stall: Duration) -> Result<Option<Vec<u8>>, FetchError> {
        match &mut self.from {
            From::Http(body) => http::next(body, stall).await,
            From::File(place) => {
                let Some(mut file) = place.take() else { return Ok(None) };
                let read = tokio::task::spawn_blocking(move || {
                    let mut piece = vec![0; PIECE_BYTES];
                    let got = file.read(&mut piece)?;
                    piece.truncate(got);
                    Ok::<_, io::Error>((file, piece))
                });
                let read = read.await.map_err(io::Error::other).and_then(|read| read);
                let (file, piece) =
                    read.map_err(|error| FetchError::Source(format!("reading it broke off: {error}")))?;
                *place = Some(file);
                Ok(Some(piece).filter(|piece| !piece.is_empty()))
            }
        }
    }
}
