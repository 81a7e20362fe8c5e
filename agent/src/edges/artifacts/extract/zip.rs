//! The entries of a zip archive, as its directory lists them; the directory is read piece by piece and never held.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use flate2::read::DeflateDecoder;
use rawzip::{
    CompressionMethod, CreatorSystem, ErrorKind, FileReader, RECOMMENDED_BUFFER_SIZE, ZipArchive, ZipFileHeaderRecord,
};

use super::Unpacking;

const KIND: u32 = 0o170_000;
const FOLDER: u32 = 0o040_000;
const FILE: u32 = 0o100_000;
const LINK: u32 = 0o120_000;
/// The kernel takes no longer path.
const MAX_TARGET_BYTES: u64 = 4_096;

pub(super) fn unpack(into: &mut Unpacking<'_>, file: File) -> io::Result<()> {
    // One for the directory, one to find it.
    let mut buffer = vec![0; RECOMMENDED_BUFFER_SIZE];
    let archive = ZipArchive::from_file(file, &mut buffer).map_err(damaged)?;
    let mut entries = archive.entries(&mut buffer);
    while let Some(entry) = entries.next_entry().map_err(damaged)? {
        into.next()?;
        one(into, &archive, &entry)?;
    }
    // Many that write zip archives only keep the last 16 bits.
    let told = archive.entries_hint();
    if (told ^ into.count as u64) & 0xffff != 0 {
        return Err(io::Error::other(format!("the zip archive has {} entries and tells of {told}", into.count)));
    }
    Ok(())
}

fn damaged(error: rawzip::Error) -> io::Error {
    match error.into_kind() {
        ErrorKind::IO(error) => error,
        ErrorKind::Eof | ErrorKind::MissingEndOfCentralDirectory => io::ErrorKind::UnexpectedEof.into(),
        other => io::Error::other(format!("the zip archive is damaged: {other}")),
    }
}

fn one(into: &mut Unpacking<'_>, archive: &ZipArchive<FileReader>, entry: &ZipFileHeaderRecord<'_>) -> io::Result<()> {
    let path = PathBuf::from(OsStr::from_bytes(entry.file_path().as_bytes()));
    let mode = mode(entry);
    let kind = if entry.is_dir() { FOLDER } else { mode & KIND };
    if kind == FOLDER {
        return into.folder(&path, mode);
    }
    if entry.flags().is_encrypted() {
        return Err(io::Error::other(format!("{} is encrypted", path.display())));
    }
    let found = archive.get_entry(entry.wayfinder()).map_err(damaged)?;
    let content: Box<dyn Read> = match entry.compression_method() {
        CompressionMethod::STORE => Box::new(found.reader()),
        CompressionMethod::DEFLATE => Box::new(DeflateDecoder::new(found.reader())),
        other => {
            let message = format!("{} is packed by method {other}; deflate and none are possible", path.display());
            return Err(io::Error::other(message));
        }
    };
    // Its size and sum are looked at when all of it is read.
    let content = found.verifying_reader(content);
    match kind {
        FILE => into.file(&path, mode, content, entry.uncompressed_size_hint()),
        LINK => into.link(&path, &target(content, &path)?),
        _ => Err(io::Error::other(format!("{} is no file, folder or link", path.display()))),
    }
}

/// Kind and permissions, as far as the system that made the archive has them.
fn mode(entry: &ZipFileHeaderRecord<'_>) -> u32 {
    let mode = entry.mode().value();
    match entry.version_made_by().creator_system() {
        // Writers that leave the permissions out mean no file that nobody may read.
        CreatorSystem::UNIX | CreatorSystem::MACOS if mode & 0o777 != 0 => mode,
        CreatorSystem::UNIX | CreatorSystem::MACOS => mode | 0o644,
        // Only the owner may write, as if the files were made here.
        _ => mode & !0o022,
    }
}

/// A link's content is where it leads to.
fn target(content: impl Read, path: &Path) -> io::Result<PathBuf> {
    let mut target = Vec::new();
    content.take(MAX_TARGET_BYTES + 1).read_to_end(&mut target)?;
    if target.is_empty() || target.len() as u64 > MAX_TARGET_BYTES {
        return Err(io::Error::other(format!("the link {} leads nowhere", path.display())));
    }
    Ok(PathBuf::from(OsStr::from_bytes(&target)))
}
