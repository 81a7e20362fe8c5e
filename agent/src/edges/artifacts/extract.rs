//! A tar archive, plain or gzip, unpacked below a folder. An entry that would land or point outside it refuses the whole
//! archive; devices, pipes and the like are refused as well; owners and set-user-id bits of the archive count nothing.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;
use tar::{Archive, EntryType};

use super::place::{Folder, parts};

const MAX_ENTRIES: usize = 1_000_000;
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// Unpacks; the bytes it takes, of which `most` are allowed.
///
/// # Errors
/// What is wrong with the archive, in words, or what could not be written.
pub(super) fn extract(folder: &Folder, mut file: File, most: u64) -> Result<u64, String> {
    let mut magic = [0; 2];
    let gzip = file.read_exact(&mut magic).is_ok() && magic == GZIP;
    file.seek(SeekFrom::Start(0)).map_err(|error| error.to_string())?;
    let file = io::BufReader::with_capacity(256 << 10, file);
    let unpacked = if gzip { unpack(folder, MultiGzDecoder::new(file), most) } else { unpack(folder, file, most) };
    unpacked.map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => "the archive breaks off".to_string(),
        _ => error.to_string(),
    })
}

/// Not more than is left; the rest of a lying archive is never read.
struct Bounded<R> {
    from: R,
    left: u64,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let got = self.from.read(buffer)?;
        self.left = self
            .left
            .checked_sub(got as u64)
            .ok_or_else(|| io::Error::other("unpacked it is bigger than the disk that the task has left"))?;
        Ok(got)
    }
}

fn unpack(folder: &Folder, from: impl Read, most: u64) -> io::Result<u64> {
    let mut archive = Archive::new(from);
    let (mut taken, mut count) = (0u64, 0usize);
    // Set at last: a folder may be read-only.
    let mut modes: Vec<(PathBuf, u32)> = Vec::new();
    for entry in archive.entries()? {
        let mut entry = entry?;
        count += 1;
        if count > MAX_ENTRIES {
            return Err(io::Error::other(format!("the archive has more than {MAX_ENTRIES} entries")));
        }
        let path = entry.path()?.into_owned();
        let plain = parts(&path)?;
        let Some((name, parents)) = plain.split_last() else { continue };
        let mode = entry.header().mode().unwrap_or(0o644);
        let kind = entry.header().entry_type();
        if kind == EntryType::Directory {
            folder.folder(&path)?;
            modes.push((path, mode));
            continue;
        }
        let parent = folder.folder(&parents.iter().collect::<PathBuf>())?;
        match kind {
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
                let mut content = Bounded { from: &mut entry, left: most - taken };
                taken += parent.file(name, mode, &mut content)?;
            }
            EntryType::Symlink => {
                let target = target(&entry)?;
                stays(parents, &target)?;
                parent.link(name, &target)?;
            }
            EntryType::Link => {
                let target = target(&entry)?;
                parts(&target)?;
                parent.hard_link(name, folder, &target)?;
            }
            // Of pax: comments for whoever reads.
            EntryType::XGlobalHeader => {}
            _ => return Err(io::Error::other(format!("{} is no file, folder or link", path.display()))),
        }
    }
    for (path, mode) in modes.iter().rev() {
        // The task's user must get in whatever the archive says.
        folder.folder(path)?.set_mode(mode | 0o700)?;
    }
    Ok(taken)
}

fn target<R: Read>(entry: &tar::Entry<'_, R>) -> io::Result<PathBuf> {
    let target = entry.link_name()?.ok_or_else(|| io::Error::other("a link that leads nowhere"))?;
    Ok(target.into_owned())
}

/// Whether a link in a folder points to something below the archive's own.
fn stays(parents: &[&Path], target: &Path) -> io::Result<()> {
    let mut depth = parents.len();
    for part in target.components() {
        let next = match part {
            std::path::Component::Normal(_) => Some(depth + 1),
            std::path::Component::CurDir => Some(depth),
            std::path::Component::ParentDir => depth.checked_sub(1),
            _ => None,
        };
        depth = next.ok_or_else(|| io::Error::other(format!("a link to {} leaves the folder", target.display())))?;
    }
    Ok(())
}
