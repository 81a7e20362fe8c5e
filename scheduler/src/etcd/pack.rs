//! A segment's bytes: several batches behind one header, compressed, with a checksum. The same form packs snapshot chunks.

use std::sync::Arc;

use dawn_proto::v1;
use prost::Message;

use crate::model::Batch;
use crate::wire::{batch_from_wire, batch_to_wire};

const MAGIC: [u8; 4] = *b"DAWN";

/// Newest format this version reads, and the one it writes.
pub const FORMAT: u32 = 1;

/// Larger than anything a writer makes; keeps a forged length from taking all memory.
const MAX_UNPACKED_BYTES: usize = 64 << 20;

/// Why packed bytes can't be read.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum PackError {
    #[error("is no Dawn segment (its first bytes are not {:?})", "DAWN")]
    Foreign,
    #[error("has format {found}, this version reads up to {FORMAT}; run a scheduler at least as new as its writer")]
    Newer { found: u32 },
    #[error("does not match its checksum")]
    Checksum,
    #[error("holds what can't be decoded: {0}")]
    Content(String),
}

/// Magic, format, checksum of the packed body, then the body with its unpacked length in front.
pub fn pack(body: &[u8]) -> Vec<u8> {
    let packed = lz4_flex::compress_prepend_size(body);
    let mut bytes = Vec::with_capacity(packed.len() + 12);
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&FORMAT.to_le_bytes());
    bytes.extend_from_slice(&crc32fast::hash(&packed).to_le_bytes());
    bytes.extend_from_slice(&packed);
    bytes
}

/// # Errors
/// When the bytes are not what [`pack`] made, or a newer version made them.
pub fn unpack(bytes: &[u8]) -> Result<Vec<u8>, PackError> {
    let word = |at: usize| bytes.get(at..at + 4).and_then(|word| word.try_into().ok()).map(u32::from_le_bytes);
    if bytes.get(..4) != Some(&MAGIC[..]) {
        return Err(PackError::Foreign);
    }
    let (Some(found), Some(checksum), Some(packed)) = (word(4), word(8), bytes.get(12..)) else {
        return Err(PackError::Checksum);
    };
    if found > FORMAT {
        return Err(PackError::Newer { found });
    }
    if crc32fast::hash(packed) != checksum {
        return Err(PackError::Checksum);
    }
    if word(12).is_none_or(|length| length as usize > MAX_UNPACKED_BYTES) {
        return Err(PackError::Content("an absurd length".into()));
    }
    lz4_flex::decompress_size_prepended(packed).map_err(|error| PackError::Content(error.to_string()))
}

/// Batches of consecutive indexes as one segment.
pub fn pack_batches(batches: &[Arc<Batch>]) -> Vec<u8> {
    let mut body = Vec::new();
    for batch in batches {
        batch_to_wire(batch).encode_length_delimited(&mut body).unwrap_or_else(|_| unreachable!("a Vec grows"));
    }
    pack(&body)
}

/// # Errors
/// As [`unpack`], and when a batch inside is none.
pub fn unpack_batches(bytes: &[u8]) -> Result<Vec<Arc<Batch>>, PackError> {
    let body = unpack(bytes)?;
    let mut rest = &body[..];
    let mut batches = Vec::new();
    while !rest.is_empty() {
        let wire = v1::Batch::decode_length_delimited(&mut rest).map_err(|e| PackError::Content(e.to_string()))?;
        let batch = batch_from_wire(wire).map_err(|error| PackError::Content(error.to_string()))?;
        batches.push(Arc::new(batch));
    }
    Ok(batches)
}

#[cfg(test)]
mod tests {
    use dawn_proto::{Epoch, Timestamp};

    use super::*;
    use crate::model::Mutation;

    fn batch(index: u64) -> Arc<Batch> {
        let mutations = vec![Mutation::EpochBegun { epoch: Epoch(7) }];
        Arc::new(Batch { index, epoch: Epoch(7), at: Timestamp(1_000), mutations })
    }

    #[test]
    fn batches_read_back_in_order() {
        let read = unpack_batches(&pack_batches(&[batch(4), batch(5)])).unwrap();
        assert_eq!(
            read.iter().map(|batch| (batch.index, batch.epoch)).collect::<Vec<_>>(),
            [(4, Epoch(7)), (5, Epoch(7))]
        );
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_refused() {
        let bytes = pack_batches(&[batch(1)]);
        for at in 0..bytes.len() {
            assert!(unpack_batches(&bytes[..at]).is_err(), "cut at {at}");
            let mut flipped = bytes.clone();
            flipped[at] ^= 0x10;
            assert!(unpack_batches(&flipped).is_err(), "flipped at {at}");
        }
    }

    #[test]
    fn a_newer_format_is_refused_with_both_versions() {
        let mut bytes = pack(b"body");
        bytes[4] = 2;
        let error = unpack(&bytes).unwrap_err();
        assert_eq!(error, PackError::Newer { found: 2 });
        assert!(error.to_string().contains("format 2") && error.to_string().contains("up to 1"));
    }
}
