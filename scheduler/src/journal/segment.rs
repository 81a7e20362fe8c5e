//! Segment files: a header, then frames. A frame is one group commit: the index that was durable when it was written,
//! then length-delimited batches, fsynced together. What a crash tears is always the last frame alone, and never one
//! that anything names as durable.

use std::fs::File;
use std::io::Write;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use dawn_proto::v1;
use prost::Message;

use super::{OpenError, frame, sync_dir};

/// Newest segment format this version reads, and the one it writes.
pub const FORMAT: u32 = 2;
/// From this format on a frame names the index that was durable when it was written.
const FORMAT_NAMES_DURABLE: u32 = 2;
const DURABLE_BYTES: usize = size_of::<u64>();
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

/// Checks a file's header against its name, and answers its format.
pub fn check_header(path: &Path, bytes: &[u8], magic: &[u8; 8], newest: u32, number: u64) -> Result<u32, OpenError> {
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
    Ok(format)
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

/// Encodes a group of batches as one frame; everything up to index `durable` was synced before.
pub fn group<'a>(durable: u64, batches: impl Iterator<Item = &'a v1::Batch>) -> std::io::Result<Vec<u8>> {
    let mut body = durable.to_le_bytes().to_vec();
    for batch in batches {
        // Writing into a Vec can't run out of room.
        batch.encode_length_delimited(&mut body).map_err(std::io::Error::other)?;
    }
    let mut framed = Vec::with_capacity(body.len() + frame::HEADER_BYTES);
    let too_long = || std::io::Error::new(std::io::ErrorKind::InvalidInput, "a group of batches above 4 GiB");
    frame::push(&mut framed, &body).ok_or_else(too_long)?;
    Ok(framed)
}

/// What a frame's body holds.
struct Group<'b> {
    /// None in a format that does not say it.
    durable: Option<u64>,
    batches: &'b [u8],
}

impl Group<'_> {
    fn parse(body: &[u8], format: u32) -> Option<Group<'_>> {
        if format < FORMAT_NAMES_DURABLE {
            return Some(Group { durable: None, batches: body });
        }
        let (durable, batches) = body.split_first_chunk::<DURABLE_BYTES>()?;
        Some(Group { durable: Some(u64::from_le_bytes(*durable)), batches })
    }

    /// The highest index that it proves to have been written; None: it is no group.
    fn highest(&self) -> Option<u64> {
        let (mut rest, mut highest) = (self.batches, self.durable);
        while !rest.is_empty() {
            highest = highest.max(Some(v1::Batch::decode_length_delimited(&mut rest).ok()?.index));
        }
        highest
    }
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

/// What is known of the end of a journal without its last segment.
#[derive(Clone, Copy, Debug)]
pub struct Known {
    /// Was durable: a journal that ends before it has lost something.
    pub durable: u64,
    /// What lies up to here is held by a snapshot too.
    pub held: u64,
}

/// A segment to be read.
#[derive(Clone, Copy, Debug)]
pub struct Segment<'p> {
    pub path: &'p Path,
    pub first: u64,
    /// Given for the last segment alone: no other may be torn.
    pub end: Option<Known>,
}

/// What came of reading a segment.
#[derive(Debug)]
pub struct Scanned {
    pub end: End,
    /// Bytes up to its end.
    pub bytes: u64,
    pub format: u32,
}

impl Scanned {
    /// Whether frames as this version writes them can follow its own.
    pub fn goes_on(&self) -> bool {
        self.format == FORMAT
    }

    /// Whether its writer kept a head file.
    pub fn has_head(&self) -> bool {
        self.format >= FORMAT_NAMES_DURABLE
    }
}

/// What is done with each batch of a segment and the byte at which its frame begins.
pub type Take<'t> = dyn FnMut(v1::Batch, u64) -> Result<ControlFlow<()>, OpenError> + 't;

/// Reads every batch of a segment in order, until `take` breaks.
///
/// # Errors
/// When it is damaged at or below what is known to have been durable, or what `take` answers.
pub fn read(segment: &Segment, take: &mut Take) -> Result<Scanned, OpenError> {
    let bytes = std::fs::read(segment.path).map_err(|source| OpenError::io("reading", segment.path, source))?;
    scan(segment, &bytes, take)
}

/// The same of a segment's bytes; errors name the path.
///
/// # Errors
/// As `read`.
pub fn scan(segment: &Segment, bytes: &[u8], take: &mut Take) -> Result<Scanned, OpenError> {
    let Segment { path, first, end: known } = *segment;
    let format = check_header(path, bytes, MAGIC, FORMAT, first)?;
    let scanned = |end, at: usize| Ok(Scanned { end, bytes: at as u64, format });
    let (mut at, mut last) = (HEADER_BYTES, first.saturating_sub(1));
    loop {
        let (next, mut batches) = match frame::at(bytes, at) {
            frame::Found::End => {
                return match known.and_then(|known| known.lost_after(last)) {
                    Some(cause) => Err(OpenError::corrupt(path, at as u64, cause)),
                    None => scanned(End::Whole, at),
                };
            }
            frame::Found::Frame { body, next } => match Group::parse(body, format) {
                Some(group) => (next, group.batches),
                None => return Err(OpenError::corrupt(path, at as u64, "a record is too short")),
            },
            frame::Found::Bad(cause) => {
                let Some(known) = known else { return Err(OpenError::corrupt(path, at as u64, cause)) };
                let known = known.and_after(bytes, at, format);
                return match known.lost_after(last) {
                    Some(lost) => Err(OpenError::corrupt(path, at as u64, format!("{cause}; {lost}"))),
                    None => scanned(End::Torn { at: at as u64, cause }, at),
                };
            }
        };
        while !batches.is_empty() {
            let batch = v1::Batch::decode_length_delimited(&mut batches);
            let batch = batch.map_err(|error| OpenError::corrupt(path, at as u64, error))?;
            last = batch.index;
            if take(batch, at as u64)?.is_break() {
                return scanned(End::Whole, at);
            }
        }
        at = next;
    }
}

impl Known {
    /// Whole frames behind a damaged one prove that it was durable.
    fn and_after(self, bytes: &[u8], damaged: usize, format: u32) -> Known {
        let mut durable = self.durable;
        let mut from = damaged;
        while let Some((body, next)) = frame::any_after(bytes, from) {
            let highest = Group::parse(body, format).and_then(|group| group.highest());
            durable = durable.max(highest.unwrap_or(0));
            from = next - 1;
        }
        Known { durable, ..self }
    }

    /// Words for what a journal that ends with `last` has lost.
    fn lost_after(self, last: u64) -> Option<String> {
        (self.durable > last.max(self.held))
            .then(|| format!("the journal ends with index {last} here, and index {} was durable", self.durable))
    }
}
