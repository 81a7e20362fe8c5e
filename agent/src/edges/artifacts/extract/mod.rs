//! An archive unpacked below a folder. An entry that would land or point outside it refuses the whole archive; devices,
//! pipes and the like are refused as well; owners and set-user-id bits of the archive count nothing.

mod tarball;
mod zip;

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Component, Path, PathBuf};

use super::place::{Folder, parts};
use crate::packed::Packing;

/// Fewer in tests, which must get there.
const MAX_ENTRIES: usize = if cfg!(test) { 1_000 } else { 1_000_000 };
const BUFFER_BYTES: usize = 256 << 10;

/// Unpacks; the bytes it takes, of which `most` are allowed.
///
/// # Errors
/// What is wrong with the archive, in words, or what could not be written.
pub(super) fn extract(folder: &Folder, file: File, most: u64) -> Result<u64, String> {
    let mut into = Unpacking { folder, left: most, count: 0, modes: Vec::new() };
    let mut file = BufReader::with_capacity(BUFFER_BYTES, file);
    let packing = file.fill_buf().map(Packing::of);
    let unpacked = packing.and_then(|packing| match packing {
        Packing::Zip => zip::unpack(&mut into, file.into_inner()),
        _ => tarball::unpack(&mut into, file),
    });
    match unpacked.and_then(|()| into.finish()) {
        Ok(left) => Ok(most - left),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err("the archive breaks off".to_string()),
        Err(error) => Err(error.to_string()),
    }
}

/// Where entries go, of whatever kind of archive, and what they may still take.
struct Unpacking<'a> {
    folder: &'a Folder,
    left: u64,
    count: usize,
    /// Set at last: a folder may be read-only.
    modes: Vec<(PathBuf, u32)>,
}

impl Unpacking<'_> {
    /// To be told of each entry before it is looked at.
    fn next(&mut self) -> io::Result<()> {
        self.count += 1;
        match self.count > MAX_ENTRIES {
            true => Err(io::Error::other(format!("the archive has more than {MAX_ENTRIES} entries"))),
            false => Ok(()),
        }
    }

    fn folder(&mut self, path: &Path, mode: u32) -> io::Result<()> {
        if !parts(path)?.is_empty() {
            self.folder.folder(path)?;
            self.modes.push((path.to_path_buf(), mode));
        }
        Ok(())
    }

    /// The folder that an entry belongs into, how deep it lies, and the entry's name. None: it is the whole's own folder.
    fn parent<'p>(&self, path: &'p Path) -> io::Result<Option<(Folder, usize, &'p Path)>> {
        let plain = parts(path)?;
        let Some((name, parents)) = plain.split_last() else { return Ok(None) };
        Ok(Some((self.folder.folder(&parents.iter().collect::<PathBuf>())?, parents.len(), name)))
    }

    /// A file of `bytes` bytes, unless it breaks off.
    fn file(&mut self, path: &Path, mode: u32, content: impl Read, bytes: u64) -> io::Result<()> {
        let Some((parent, _, name)) = self.parent(path)? else { return Ok(()) };
        let mut content = Bounded { from: content, left: &mut self.left };
        match parent.file(name, mode, &mut content)? == bytes {
            true => Ok(()),
            false => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    fn link(&mut self, path: &Path, target: &Path) -> io::Result<()> {
        let Some((parent, depth, name)) = self.parent(path)? else { return Ok(()) };
        stays(depth, target)?;
        parent.link(name, target)
    }

    fn hard_link(&mut self, path: &Path, target: &Path) -> io::Result<()> {
        let Some((parent, _, name)) = self.parent(path)? else { return Ok(()) };
        parts(target)?;
        parent.hard_link(name, self.folder, target)
    }

    /// What is left of what was allowed.
    fn finish(self) -> io::Result<u64> {
        for (path, mode) in self.modes.iter().rev() {
            // The task's user must get in whatever the archive says.
            self.folder.folder(path)?.set_mode(mode | 0o700)?;
        }
        Ok(self.left)
    }
}

/// Not more than is left; the rest of a lying archive is never read.
struct Bounded<'a, R> {
    from: R,
    left: &'a mut u64,
}

impl<R: Read> Read for Bounded<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let got = self.from.read(buffer)?;
        *self.left = self
            .left
            .checked_sub(got as u64)
            .ok_or_else(|| io::Error::other("unpacked it is bigger than the disk that the task has left"))?;
        Ok(got)
    }
}

/// Whether a link so deep below the archive's own folder points to something below that.
fn stays(depth: usize, target: &Path) -> io::Result<()> {
    let mut depth = depth;
    for part in target.components() {
        let next = match part {
            Component::Normal(_) => Some(depth + 1),
            Component::CurDir => Some(depth),
            Component::ParentDir => depth.checked_sub(1),
            Component::RootDir | Component::Prefix(_) => None,
        };
        depth = next.ok_or_else(|| io::Error::other(format!("a link to {} leaves the folder", target.display())))?;
    }
    Ok(())
}
