//! Archives as they come, known by their first bytes and unpacked as they are read, never more of them than asked for.
//! Not here: what becomes of their entries.

mod zstd;

use std::cell::Cell;
use std::io::{self, BufRead, Read};
use std::rc::Rc;

use flate2::bufread::MultiGzDecoder;
use tar::{Archive, Entry};

/// Names and attributes before an entry; the library holds them in memory.
const MAX_BETWEEN_BYTES: u64 = 1 << 20;

/// Folders that an entry may lie within, each in the next: every one costs a look at all above it.
pub const MAX_DEPTH: usize = 256;

/// How a file is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packing {
    /// Not at all, as far as one can tell.
    None,
    Gzip,
    Zstd,
    Zip,
    /// In a way that is known and not read, by name.
    Other(&'static str),
}

impl Packing {
    /// What a file is that begins like this.
    pub fn of(start: &[u8]) -> Packing {
        match start {
            [0x1f, 0x8b, ..] => Packing::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Packing::Zstd,
            // A frame to be passed over.
            [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Packing::Zstd,
            // The second: an archive of nothing.
            [b'P', b'K', 3, 4, ..] | [b'P', b'K', 5, 6, ..] => Packing::Zip,
            [b'B', b'Z', b'h', b'1'..=b'9', 0x31, 0x41, 0x59, 0x26, ..] => Packing::Other("bzip2"),
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Packing::Other("xz"),
            _ => Packing::None,
        }
    }
}

/// What is read of an archive, unpacked.
pub struct Unpacked<'a> {
    from: Box<dyn Read + 'a>,
    left: Rc<Cell<u64>>,
}

impl Read for Unpacked<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let got = self.from.read(buffer)?;
        let left = self.left.get().checked_sub(got as u64).ok_or_else(|| {
            io::Error::other(format!("the archive has an entry with more than {MAX_BETWEEN_BYTES} bytes of names"))
        })?;
        self.left.set(left);
        Ok(got)
    }
}

/// A tar archive, packed or not.
pub struct Tar<'a> {
    archive: Archive<Unpacked<'a>>,
    left: Rc<Cell<u64>>,
}

impl<'a> Tar<'a> {
    /// # Errors
    /// It can't be read, or is packed in a way that is not possible.
    pub fn open(mut from: impl BufRead + 'a) -> io::Result<Tar<'a>> {
        let from: Box<dyn Read + 'a> = match Packing::of(from.fill_buf()?) {
            Packing::None => Box::new(from),
            Packing::Gzip => Box::new(MultiGzDecoder::new(from)),
            Packing::Zstd => Box::new(zstd::Frames::new(from)),
            Packing::Zip => {
                return Err(io::Error::other("it is a zip archive, where tar, tar.gz or tar.zst is needed"));
            }
            Packing::Other(name) => {
                return Err(io::Error::other(format!("it is packed by {name}; repack it as tar, tar.gz or tar.zst")));
            }
        };
        let left = Rc::new(Cell::new(0));
        Ok(Tar { archive: Archive::new(Unpacked { from, left: left.clone() }), left })
    }

    /// For how its entries are to be unpacked.
    pub fn archive(&mut self) -> &mut Archive<Unpacked<'a>> {
        &mut self.archive
    }

    /// Its entries, each to be read before the next: what is left of one counts as names of the next.
    ///
    /// # Errors
    /// It can't be read.
    pub fn entries(&mut self) -> io::Result<Entries<'_, 'a>> {
        Ok(Entries { entries: self.archive.entries()?, left: self.left.clone() })
    }
}

pub struct Entries<'t, 'a> {
    entries: tar::Entries<'t, Unpacked<'a>>,
    left: Rc<Cell<u64>>,
}

impl<'t, 'a> Iterator for Entries<'t, 'a> {
    type Item = io::Result<Entry<'t, Unpacked<'a>>>;

    fn next(&mut self) -> Option<Self::Item> {
        self.left.set(MAX_BETWEEN_BYTES);
        let entry = self.entries.next();
        // Its content is for the reader to bound.
        self.left.set(u64::MAX);
        entry
    }
}
