//! A snapshot's chunks: as many items in each as its bounds allow, an item that is too large in pieces, and the digest of
//! them all. Not here: what is in them (`snapshot`).

use dawn_proto::v1;
use prost::Message;

use super::parse::WireError;
use crate::model::bounds::CHUNK_BYTES;

/// Most items in one chunk, so that neither side holds a second copy of the whole.
const CHUNK_ITEMS: usize = 4096;

/// Around an item in a chunk: its tag and its length.
const ITEM_HEADER_BYTES: usize = 8;

/// As few chunks as their bounds allow; an item that is larger than a chunk has one to itself.
pub(super) fn chunk<T: Message>(
    chunks: &mut Vec<Vec<u8>>,
    items: impl Iterator<Item = T>,
    wrap: impl Fn(Vec<T>) -> v1::Snapshot,
) {
    let (mut together, mut bytes) = (Vec::new(), 0);
    for item in items {
        let more = item.encoded_len() + ITEM_HEADER_BYTES;
        if together.len() == CHUNK_ITEMS || !together.is_empty() && bytes + more > CHUNK_BYTES {
            chunks.push(wrap(std::mem::take(&mut together)).encode_to_vec());
            bytes = 0;
        }
        bytes += more;
        together.push(item);
    }
    if !together.is_empty() {
        chunks.push(wrap(together).encode_to_vec());
    }
}

/// Around a piece: its tag, its length, and whether another one follows.
const PIECE_HEADER_BYTES: usize = 16;

/// A chunk of one item that is too large, in pieces; any other as it is.
pub(super) fn in_pieces(chunk: Vec<u8>) -> Vec<Vec<u8>> {
    if chunk.len() <= CHUNK_BYTES {
        return vec![chunk];
    }
    let pieces = chunk.chunks(CHUNK_BYTES - PIECE_HEADER_BYTES);
    let last = pieces.len() - 1;
    let piece = |(number, piece): (usize, &[u8])| {
        let piece_continues = number < last;
        v1::Snapshot { piece: piece.to_vec(), piece_continues, ..Default::default() }.encode_to_vec()
    };
    pieces.enumerate().map(piece).collect()
}

/// The pieces of one chunk while they come.
#[derive(Debug, Default)]
pub(super) struct Pieces(Vec<u8>);

impl Pieces {
    /// The whole chunk, with its last piece.
    pub fn join(&mut self, mut wire: v1::Snapshot) -> Option<Vec<u8>> {
        self.0.append(&mut wire.piece);
        (!wire.piece_continues).then(|| std::mem::take(&mut self.0))
    }

    /// # Errors
    /// When a chunk has begun and its last piece is missing.
    pub fn none_left(&self) -> Result<(), WireError> {
        match self.0.is_empty() {
            true => Ok(()),
            false => Err(WireError::new("piece", "the last one of its chunk is missing")),
        }
    }
}

/// The digest of the state that has these chunks.
pub fn digest_of(chunks: &[Vec<u8>]) -> u64 {
    let mut digest = Digest::default();
    chunks.iter().for_each(|chunk| digest.add(chunk));
    digest.value()
}

/// A digest while its chunks come one by one.
#[derive(Default)]
pub struct Digest {
    hasher: crc32fast::Hasher,
    length: u32,
}

impl Digest {
    pub fn add(&mut self, chunk: &[u8]) {
        self.hasher.update(chunk);
        self.length = self.length.wrapping_add(chunk.len() as u32);
    }

    pub fn value(self) -> u64 {
        u64::from(self.length) << 32 | u64::from(self.hasher.finalize())
    }
}
