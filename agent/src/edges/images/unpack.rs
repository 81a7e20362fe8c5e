//! Unpacks one layer: never outside its directory, never more than its bound, and only what its digest promises. What a
//! layer takes away from those below it is written in overlayfs's own way.

use std::fs;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Component, Path, PathBuf};

use dawn_proto::amounts;
use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use rustix::fs::XattrFlags;
use sha2::{Digest, Sha256};
use tar::{Entry, EntryType};

use super::{Blob, ImageError, bad, failed, hex};
use crate::packed::{MAX_DEPTH, Tar};

pub(super) const MAX_ENTRIES: u64 = 4_000_000;
const REMOVED: &str = ".wh.";
const OPAQUE: &str = ".wh..wh..opq";

/// Unpacks `archive`, which is the blob's file, into the empty directory `target`; the bytes it has there.
pub(super) fn unpack(archive: impl Read, blob: &Blob, target: &Path, most_bytes: u64) -> Result<u64, ImageError> {
    let Blob { file, digest } = blob;
    let mut reader = Hashed { inner: archive, hash: Sha256::new() };
    let bytes = entries(BufReader::new(&mut reader), file, target, most_bytes)?;
    // What follows the archive's end belongs to the digest too.
    io::copy(&mut reader, &mut io::sink()).map_err(failed("read", file))?;
    let found = hex(&reader.hash.finalize());
    if found == *digest {
        Ok(bytes)
    } else {
        Err(bad(file, format!("has digest sha256:{found}, expected sha256:{digest}")))
    }
}

struct Hashed<R> {
    inner: R,
    hash: Sha256,
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.hash.update(&buffer[..n]);
        Ok(n)
    }
}

fn entries(reader: impl BufRead, file: &Path, target: &Path, most_bytes: u64) -> Result<u64, ImageError> {
    let target = fs::canonicalize(target).map_err(failed("find", target))?;
    let mut tar = Tar::open(reader).map_err(failed("read", file))?;
    let archive = tar.archive();
    archive.set_preserve_permissions(true);
    archive.set_preserve_ownerships(nix::unistd::geteuid().is_root());
    archive.set_overwrite(true);
    let (mut bytes, mut count) = (0u64, 0);
    for entry in tar.entries().map_err(failed("read", file))? {
        let mut entry = entry.map_err(failed("read", file))?;
        (bytes, count) = (bytes.saturating_add(entry.size()), count + 1);
        if bytes > most_bytes || count > MAX_ENTRIES {
            return Err(bad(
                file,
                format!("unpacks to more than {} or {MAX_ENTRIES} entries", amounts::bytes(most_bytes)),
            ));
        }
        one(&mut entry, file, &target)?;
    }
    Ok(bytes)
}

fn one<R: Read>(entry: &mut Entry<'_, R>, file: &Path, target: &Path) -> Result<(), ImageError> {
    let path = entry.path().map_err(failed("read", file))?.into_owned();
    if path.components().any(|part| matches!(part, Component::ParentDir)) {
        return Err(bad(file, format!("has an entry {path:?}, which leads out of it")));
    }
    if path.components().count() > MAX_DEPTH {
        return Err(bad(file, format!("has an entry that lies within more than {MAX_DEPTH} folders")));
    }
    if let Some(name) = path.file_name().and_then(|name| name.to_str()).filter(|name| name.starts_with(REMOVED)) {
        return take_away(&path, name, target).map_err(failed("unpack", file));
    }
    match entry.header().entry_type() {
        EntryType::Regular
        | EntryType::Continuous
        | EntryType::GNUSparse
        | EntryType::Link
        | EntryType::Symlink
        | EntryType::Directory => match entry.unpack_in(target).map_err(failed("unpack", file))? {
            true => Ok(()),
            false => Err(bad(file, format!("has an entry {path:?}, which leads out of it"))),
        },
        // Devices and pipes of an image are not wanted: a task's /dev is its own.
        _ => Ok(()),
    }
}

/// A name, or everything below a directory, is gone from here on up.
fn take_away(path: &Path, name: &str, target: &Path) -> io::Result<()> {
    let parent: PathBuf = path
        .parent()
        .unwrap_or(Path::new(""))
        .components()
        .filter(|part| matches!(part, Component::Normal(_)))
        .collect();
    fs::create_dir_all(inside(&target.join(&parent), target)?)?;
    let parent = inside(&target.join(&parent), target)?;
    if name == OPAQUE {
        rustix::fs::setxattr(&parent, "trusted.overlay.opaque", b"y", XattrFlags::empty())?;
        return Ok(());
    }
    let gone = parent.join(&name[REMOVED.len()..]);
    Ok(mknod(&gone, SFlag::S_IFCHR, Mode::empty(), makedev(0, 0))?)
}

/// The path itself, once its nearest existing part is known to be inside.
fn inside(path: &Path, target: &Path) -> io::Result<PathBuf> {
    let there = path.ancestors().find(|part| part.symlink_metadata().is_ok()).unwrap_or(target);
    let real = fs::canonicalize(there)?;
    match real.starts_with(target) {
        true => Ok(real.join(path.strip_prefix(there).unwrap_or(Path::new("")))),
        false => Err(io::Error::other(format!("{} leads out of the archive", path.display()))),
    }
}
