//! What an agent remembers of its cluster, in two copies: a file that can't be read costs it nothing.

use std::path::{Path, PathBuf};

use dawn_proto::Epoch;
use prost::Message;
use tracing::warn;

use super::{CheckpointError, framed, read_framed, replace_file, set_aside};
use crate::model::Memory;

/// `Memory` as it is stored.
#[derive(Clone, PartialEq, prost::Message)]
struct StoredMemory {
    #[prost(string, tag = "1")]
    cluster_id: String,
    #[prost(uint64, tag = "2")]
    epoch_seen: u64,
    #[prost(string, tag = "3")]
    boot_id: String,
    #[prost(uint64, tag = "4")]
    offer_epoch: u64,
    #[prost(uint64, tag = "5")]
    lease_ms: u64,
    #[prost(string, tag = "6")]
    agent_id: String,
    #[prost(fixed64, tag = "7")]
    welcome: u64,
}

/// The copy is written first: where the two differ it is the newer one, or an agent of before wrote only the other.
fn places(work_dir: &Path) -> [PathBuf; 2] {
    ["agent.state.copy", "agent.state"].map(|name| work_dir.join(name))
}

/// What an earlier life remembered; the default at the first start, and where neither copy can be read.
pub(super) fn read_memory(work_dir: &Path) -> Memory {
    let mut newest: Option<Memory> = None;
    let mut is_damaged = false;
    for path in places(work_dir) {
        match read_one(&path) {
            Ok(Some(found)) => {
                let age = |memory: &Memory| (memory.offer_epoch, memory.epoch_seen);
                if newest.as_ref().is_none_or(|newest| age(&found) > age(newest)) {
                    newest = Some(found);
                }
            }
            Ok(None) => {}
            Err(error) => {
                is_damaged = true;
                set_aside(&path, &error.to_string());
            }
        }
    }
    if newest.is_none() && is_damaged {
        warn!(
            "nothing is remembered of the cluster: this agent obeys whichever leader of any cluster comes first, and is \
             taken for a copy of this machine until an operator says otherwise (dawn node forgive)"
        );
    }
    newest.unwrap_or_default()
}

fn read_one(path: &Path) -> Result<Option<Memory>, CheckpointError> {
    let Some(body) = read_framed(path)? else { return Ok(None) };
    let stored = StoredMemory::decode(&body[..])
        .map_err(|error| CheckpointError::Corrupt { path: path.to_path_buf(), source: error.into() })?;
    Ok(Some(Memory {
        agent_id: stored.agent_id,
        cluster_id: stored.cluster_id,
        epoch_seen: Epoch(stored.epoch_seen),
        boot_id: stored.boot_id,
        offer_epoch: stored.offer_epoch,
        lease_ms: stored.lease_ms,
        welcome: stored.welcome,
    }))
}

/// Remembers, durably.
///
/// # Errors
/// What the file system answers.
pub fn write_memory(work_dir: &Path, memory: &Memory) -> Result<(), CheckpointError> {
    let stored = StoredMemory {
        agent_id: memory.agent_id.clone(),
        cluster_id: memory.cluster_id.clone(),
        epoch_seen: memory.epoch_seen.0,
        boot_id: memory.boot_id.clone(),
        offer_epoch: memory.offer_epoch,
        lease_ms: memory.lease_ms,
        welcome: memory.welcome,
    };
    for path in places(work_dir) {
        replace_file(&path, 0o600, &framed(&stored.encode_to_vec(), &path)?)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn memory(epoch: u64) -> Memory {
        Memory {
            agent_id: "n1".into(),
            cluster_id: "c1".into(),
            epoch_seen: Epoch(epoch),
            boot_id: "b".into(),
            offer_epoch: 7,
            lease_ms: 1_000,
            welcome: u64::MAX,
        }
    }

    #[test]
    fn memory_reads_back_while_one_of_its_copies_is_whole() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(read_memory(dir.path()), Memory::default());
        write_memory(dir.path(), &memory(9)).unwrap();
        assert_eq!(read_memory(dir.path()), memory(9));
        for path in places(dir.path()) {
            let whole = fs::read(&path).unwrap();
            for byte in 0..whole.len() {
                for damaged in
                    [whole[..byte].to_vec(), [&whole[..byte], &[whole[byte] ^ 0x10], &whole[byte + 1..]].concat()]
                {
                    fs::write(&path, damaged).unwrap();
                    assert_eq!(read_memory(dir.path()), memory(9), "{} at byte {byte}", path.display());
                    write_memory(dir.path(), &memory(9)).unwrap();
                }
            }
            fs::remove_file(&path).unwrap();
            fs::create_dir(&path).unwrap();
            assert_eq!(read_memory(dir.path()), memory(9));
            write_memory(dir.path(), &memory(9)).unwrap();
        }
    }

    #[test]
    fn of_two_copies_the_newer_counts() {
        let dir = tempfile::tempdir().unwrap();
        write_memory(dir.path(), &memory(9)).unwrap();
        let [copy, main] = places(dir.path());
        let old = fs::read(&main).unwrap();
        write_memory(dir.path(), &memory(10)).unwrap();
        fs::write(&main, &old).unwrap();
        assert_eq!(read_memory(dir.path()), memory(10));
        write_memory(dir.path(), &memory(10)).unwrap();
        fs::write(&copy, &old).unwrap();
        assert_eq!(read_memory(dir.path()), memory(10));
    }

    #[test]
    fn without_a_whole_copy_nothing_is_remembered_and_the_damaged_ones_are_kept_aside() {
        let dir = tempfile::tempdir().unwrap();
        for path in places(dir.path()) {
            fs::write(path, "garbage").unwrap();
        }
        assert_eq!(read_memory(dir.path()), Memory::default());
        for path in places(dir.path()) {
            assert!(!path.exists());
        }
        assert!(dir.path().join("agent.state.unreadable").exists());
    }
}
