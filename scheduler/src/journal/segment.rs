//! Segment files: a header, then frames. A frame is one group commit: length-delimited batches, fsynced together,
//! so that what a crash tears is always the last frame alone.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use dawn_proto::v1;
use prost::Message;

use super::{OpenError, frame, sync_dir};

/// Newest segment format this version reads, and the one it writes.
pub const FORMAT: u32 = 1;
const MAGIC: &[u8; 8] = b"DAWNJRNL";
/// Magic, format, first index, checksum of these.
pub const HEADER_BYTES: usize = 24;

pub fn path_of(dir: &Path, first: u64) -> PathBuf {
    dir.join(format!("{first:020}.seg"))
}

/// The segments there are, by first index.
pub fn list(dir: &Path) -> std::io::Result<Vec<(u64, PathBuf)>> {
    list_numbered(dir, "seg")
}

/// Files named `<20 digits>.<extension>`, by number.
pub fn list_numbered(dir: &Path, extension: &str) -> std::io::Result<Vec<(u64, PathBuf)>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        let number = path.file_stem().and_then(|stem| stem.to_str()).filter(|stem| stem.len() == 20);
        if let Some(number) = number.and_then(|stem| stem.parse().ok())
            && path.extension().is_some_and(|found| found == extension)
        {
            found.push((number, path));
        }
    }
    found.sort_unstable();
    Ok(found)
}

pub fn header(magic: &[u8; 8], format: u32, number: u64) -> Vec<u8> {
    let mut header = Vec::with_capacity(HEADER_BYTES);
    header.extend_from_slice(magic);
    header.extend_from_slice(&format.to_le_bytes());
    header.extend_from_slice(&number.to_le_bytes());
    header.extend_from_slice(&crc32fast::hash(&header).to_le_bytes());
    header
}

/// What a file's header says: magic, format, number. None when it does not match its checksum.
pub fn parse_header(bytes: &[u8]) -> Option<([u8; 8], u32, u64)> {
    let (fields, checksum) = bytes.get(..HEADER_BYTES)?.split_at(HEADER_BYTES - 4);
    if crc32fast::hash(fields).to_le_bytes() != *checksum {
        return None;
    }
    let (mut magic, mut format, mut number) = ([0; 8], [0; 4], [0; 8]);
    magic.copy_from_slice(&fields[..8]);
    format.copy_from_slice(&fields[8..12]);
    number.copy_from_slice(&fields[12..]);
    Some((magic, u32::from_le_bytes(format), u64::from_le_bytes(number)))
}

/// Checks a file's header against its name.
pub fn check_header(path: &Path, bytes: &[u8], magic: &[u8; 8], newest: u32, number: u64) -> Result<(), OpenError> {
    let corrupt = |cause: &str| Err(OpenError::corrupt(path, 0, cause));
    let Some(head) = bytes.get(..HEADER_BYTES) else { return corrupt("the file ends inside its header") };
    let (fields, checksum) = head.split_at(HEADER_BYTES - 4);
    if crc32fast::hash(fields).to_le_bytes() != *checksum {
        return corrupt("its header does not match its checksum");
    }
    if fields[..8] != *magic {
        return corrupt("it is no file of this kind");
    }
    let mut format = [0; 4];
    format.copy_from_slice(&fields[8..12]);
    let format = u32::from_le_bytes(format);
    if format > newest {
        return Err(OpenError::Newer { path: path.to_path_buf(), found: format, supported: newest });
    }
    if fields[12..] != number.to_le_bytes() {
        return corrupt("its header has another number than its name");
    }
    Ok(())
}

/// An empty segment's bytes.
pub fn begin(first: u64) -> Vec<u8> {
    header(MAGIC, FORMAT, first)
}

/// Makes an empty segment: whole or not there at all.
pub fn create(dir: &Path, first: u64) -> std::io::Result<(File, PathBuf)> {
    let path = path_of(dir, first);
    let temporary = path.with_extension("tmp");
    let mut file = File::create(&temporary)?;
    file.write_all(&begin(first))?;
    file.sync_all()?;
    std::fs::rename(&temporary, &path)?;
    sync_dir(dir)?;
    Ok((file, path))
}

/// Encodes a group of batches as one frame.
pub fn group<'a>(batches: impl Iterator<Item = &'a v1::Batch>) -> std::io::Result<Vec<u8>> {
    let mut body = Vec::new();
    for batch in batches {
        // Writing into a Vec can't run out of room.
        batch.encode_length_delimited(&mut body).map_err(std::io::Error::other)?;
    }
    let mut framed = Vec::with_capacity(body.len() + frame::HEADER_BYTES);
    let too_long = || std::io::Error::new(std::io::ErrorKind::InvalidInput, "a group of batches above 4 GiB");
    frame::push(&mut framed, &body).ok_or_else(too_long)?;
    Ok(framed)
}

/// How a segment ends.
#[derive(Debug, PartialEq, Eq)]
pub enum End {
    Whole,
    /// The last write is not whole: everything from this byte on is to be cut off.
    Torn {
        at: u64,
        cause: &'static str,
    },
}

/// Reads every batch of a segment in order. Only the last segment may be torn.
///
/// # Errors
/// When it is damaged, or what `take` answers.
pub fn read(
    path: &Path,
    first: u64,
    is_last: bool,
    take: impl FnMut(v1::Batch, u64) -> Result<(), OpenError>,
) -> Result<(End, u64), OpenError> {
    let bytes = std::fs::read(path).map_err(|source| OpenError::io("reading", path, source))?;
    scan(path, &bytes, first, is_last, take)
}

/// The same of a segment's bytes; errors name `path`.
///
/// # Errors
/// As [`read`].
pub fn scan(
    path: &Path,
    bytes: &[u8],
    first: u64,
    is_last: bool,
    mut take: impl FnMut(v1::Batch, u64) -> Result<(), OpenError>,
) -> Result<(End, u64), OpenError> {
    check_header(path, bytes, MAGIC, FORMAT, first)?;
    let mut at = HEADER_BYTES;
    loop {
        match frame::at(bytes, at) {
            frame::Found::End => return Ok((End::Whole, at as u64)),
            frame::Found::Frame { mut body, next } => {
                while !body.is_empty() {
                    let batch = v1::Batch::decode_length_delimited(&mut body);
                    let batch = batch.map_err(|error| OpenError::corrupt(path, at as u64, error))?;
                    take(batch, at as u64)?;
                }
                at = next;
            }
            frame::Found::Bad(cause) if is_last && frame::any_after(bytes, at).is_none() => {
                return Ok((End::Torn { at: at as u64, cause }, at as u64));
            }
            frame::Found::Bad(cause) => return Err(OpenError::corrupt(path, at as u64, cause)),
        }
    }
}
