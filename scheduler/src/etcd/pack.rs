//! A segment's bytes: several batches behind one header, compressed if that makes them fewer, with a checksum. The same form
//! packs snapshot chunks.

use std::sync::Arc;

use dawn_proto::v1;
use prost::Message;

use crate::model::Batch;
use crate::model::bounds::{SEGMENT_BYTES, VALUE_BYTES};
use crate::wire::{batch_from_wire, batch_to_wire};

const MAGIC: [u8; 4] = *b"DAWN";

/// Newest format this version reads.
pub const FORMAT: u32 = 2;

/// What it writes where nothing needs more, so that an older version reads it: a compressed body of whole steps. The other
/// says in a byte of its own whether the body is compressed, and may hold parts of steps.
const PLAIN_FORMAT: u32 = 1;

/// The byte behind the header of format 2.
const RAW: u8 = 0;
const COMPRESSED: u8 = 1;

/// No packed byte unpacks to more, whatever a version before this one wrote into one segment; keeps a forged length from
/// taking all memory.
const MOST_UNPACKED_OF_A_BYTE: usize = 255;

/// Magic, format, checksum, and how the body is stored.
const HEADER_BYTES: usize = 13;

const _: () = assert!(HEADER_BYTES + SEGMENT_BYTES <= VALUE_BYTES);

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

/// Magic, format, checksum of what follows, then the body: compressed with its unpacked length in front, or as it is where
/// that is shorter. `plain`: an older version may read it.
fn pack_as(body: &[u8], plain: bool) -> Vec<u8> {
    let packed = lz4_flex::compress_prepend_size(body);
    let shrinks = packed.len() < body.len();
    let (format, stored): (u32, Vec<u8>) = match (shrinks, plain) {
        (true, true) => (PLAIN_FORMAT, packed),
        (true, false) => (FORMAT, [&[COMPRESSED][..], &packed].concat()),
        (false, _) => (FORMAT, [&[RAW][..], body].concat()),
    };
    let mut bytes = Vec::with_capacity(stored.len() + HEADER_BYTES);
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&format.to_le_bytes());
    bytes.extend_from_slice(&crc32fast::hash(&stored).to_le_bytes());
    bytes.extend_from_slice(&stored);
    bytes
}

/// At most [`HEADER_BYTES`] longer than the body.
pub fn pack(body: &[u8]) -> Vec<u8> {
    pack_as(body, true)
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
    let packed = match (found, packed) {
        (..=PLAIN_FORMAT, packed) | (_, [COMPRESSED, packed @ ..]) => packed,
        (_, [RAW, body @ ..]) => return Ok(body.to_vec()),
        _ => return Err(PackError::Content("it is stored in a way this version does not know".into())),
    };
    let length = packed.first_chunk().map(|length| u32::from_le_bytes(*length) as usize);
    match length.filter(|length| *length <= packed.len() * MOST_UNPACKED_OF_A_BYTE) {
        Some(_) => lz4_flex::decompress_size_prepended(packed).map_err(|error| PackError::Content(error.to_string())),
        None => Err(PackError::Content("an absurd length".into())),
    }
}

/// Batches of consecutive indexes as one segment.
pub fn pack_batches(batches: &[Arc<Batch>]) -> Vec<u8> {
    let mut body = Vec::new();
    for batch in batches {
        batch_to_wire(batch).encode_length_delimited(&mut body).unwrap_or_else(|_| unreachable!("a Vec grows"));
    }
    // An older version would take a part for a whole step.
    pack_as(&body, batches.iter().all(|batch| batch.part.is_none()))
}

/// # Errors
/// As `unpack`, and when what is inside can't be read as batches.
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
    use crate::model::{EpochBegun, Mutation};

    fn batch(index: u64) -> Arc<Batch> {
        let mutations = vec![Mutation::EpochBegun(EpochBegun { epoch: Epoch(7) })];
        Arc::new(Batch { index, epoch: Epoch(7), at: Timestamp(1_000), part: None, mutations })
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
        bytes[4] = 3;
        let error = unpack(&bytes).unwrap_err();
        assert_eq!(error, PackError::Newer { found: 3 });
        assert!(error.to_string().contains("format 3") && error.to_string().contains("up to 2"));
    }

    /// Bytes that don't shrink.
    fn noise(length: usize) -> Vec<u8> {
        let mut word = 0x9e37_79b9_7f4a_7c15_u64;
        std::iter::repeat_with(|| {
            word ^= word << 13;
            word ^= word >> 7;
            word ^= word << 17;
            word.to_le_bytes()
        })
        .flatten()
        .take(length)
        .collect()
    }

    #[test]
    fn what_shrinks_is_compressed_for_older_versions_too_and_what_does_not_is_stored_as_it_is() {
        for (body, format) in [(vec![b'x'; SEGMENT_BYTES], 1), (noise(SEGMENT_BYTES), 2), (Vec::new(), 2)] {
            let bytes = pack(&body);
            assert_eq!(bytes[4], format, "{} bytes", body.len());
            assert!(bytes.len() <= body.len() + HEADER_BYTES && bytes.len() <= VALUE_BYTES);
            assert_eq!(unpack(&bytes).unwrap(), body);
        }
        let mut other = pack(&noise(100));
        other[12] = 9;
        let checksum = crc32fast::hash(&other[12..]);
        other[8..12].copy_from_slice(&checksum.to_le_bytes());
        assert!(matches!(unpack(&other), Err(PackError::Content(_))));
    }

    #[test]
    fn a_segment_of_a_version_without_bounds_is_read() {
        // Two hundred large specs were one segment.
        let body = vec![b'x'; 176 << 20];
        assert!(unpack(&pack(&body)).unwrap() == body);
    }

    #[test]
    fn a_forged_length_takes_no_more_memory_than_its_bytes_could_hold() {
        let mut bytes = pack(&[b'x'; 1_000]);
        let most = u32::try_from((bytes.len() - 12) * MOST_UNPACKED_OF_A_BYTE).unwrap();
        bytes[12..16].copy_from_slice(&(most + 1).to_le_bytes());
        let checksum = crc32fast::hash(&bytes[12..]);
        bytes[8..12].copy_from_slice(&checksum.to_le_bytes());
        assert_eq!(unpack(&bytes), Err(PackError::Content("an absurd length".into())));
    }

    #[test]
    fn a_part_of_a_step_is_nothing_that_an_older_version_reads() {
        let part = |number| Some(crate::model::Part { number, of: 2 });
        let parts: Vec<_> = [(4, part(1)), (5, part(2))]
            .map(|(index, part)| Arc::new(Batch { part, ..Batch::clone(&batch(index)) }))
            .into();
        let bytes = pack_batches(&parts);
        assert_eq!(bytes[4], 2);
        let read: Vec<_> = unpack_batches(&bytes).unwrap().iter().map(|batch| batch.part).collect();
        assert_eq!(read, [part(1), part(2)]);
    }
}
