//! The entries of a tar archive, one after the other.

use std::io::{self, BufRead, Read};
use std::path::PathBuf;

use tar::EntryType;

use super::Unpacking;
use crate::packed::Tar;

pub(super) fn unpack(into: &mut Unpacking<'_>, from: impl BufRead) -> io::Result<()> {
    let mut archive = Tar::open(from)?;
    for entry in archive.entries()? {
        let mut entry = entry?;
        into.next()?;
        let path = entry.path()?.into_owned();
        let mode = entry.header().mode().unwrap_or(0o644);
        let bytes = entry.size();
        match entry.header().entry_type() {
            EntryType::Directory => into.folder(&path, mode)?,
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
                into.file(&path, mode, &mut entry, bytes)?;
            }
            EntryType::Symlink => into.link(&path, &target(&entry)?)?,
            EntryType::Link => into.hard_link(&path, &target(&entry)?)?,
            // Of pax: comments for whoever reads.
            EntryType::XGlobalHeader => {}
            _ => return Err(io::Error::other(format!("{} is no file, folder or link", path.display()))),
        }
    }
    Ok(())
}

fn target<R: Read>(entry: &tar::Entry<'_, R>) -> io::Result<PathBuf> {
    let target = entry.link_name()?.ok_or_else(|| io::Error::other("a link that leads nowhere"))?;
    Ok(target.into_owned())
}
