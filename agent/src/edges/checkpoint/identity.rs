//! Who this agent is and what it remembers of its cluster.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use dawn_proto::{AgentId, Epoch};
use prost::Message;
use rustix::fs::{FlockOperation, flock};

use super::{CheckpointError, framed, io_error, read_framed, replace_file, sync_dir};
use crate::model::Memory;

/// An agent that is just ending, or an executor it was just starting, still holds the lock for a moment.
const LOCK_TIMEOUT: Duration = Duration::from_secs(1);
const LOCK_RETRY: Duration = Duration::from_millis(20);

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
}

/// Held while the agent runs; nobody else may use its work directory.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

/// Makes the work directory and takes its lock.
///
/// # Errors
/// `Locked` when another agent has it.
pub fn lock(work_dir: &Path) -> Result<Lock, CheckpointError> {
    fs::create_dir_all(work_dir).map_err(io_error("create", work_dir))?;
    let path = work_dir.join("agent.lock");
    let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path);
    let mut file = file.map_err(io_error("open", &path))?;
    let deadline = Instant::now() + LOCK_TIMEOUT;
    loop {
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => break,
            Err(rustix::io::Errno::WOULDBLOCK) if Instant::now() < deadline => std::thread::sleep(LOCK_RETRY),
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let noted = fs::read_to_string(&path).ok().and_then(|pid| pid.trim().parse::<u32>().ok());
                let holder = noted.map_or_else(|| "its pid is not known".to_string(), |pid| format!("pid {pid}"));
                return Err(CheckpointError::Locked { path: work_dir.to_path_buf(), holder });
            }
            Err(error) => return Err(io_error("lock", &path)(error.into())),
        }
    }
    // For people only: who holds it.
    let noted = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
    noted.map_err(io_error("write", &path))?;
    Ok(Lock { _file: file })
}

/// The agent's lasting id: kept from its first start, when it is `wanted` or made by chance.
///
/// # Errors
/// When the kept one is another than `wanted`.
pub fn agent_id(work_dir: &Path, wanted: Option<&str>) -> Result<AgentId, CheckpointError> {
    let path = work_dir.join("agent.id");
    let parse = |text: &str| {
        let bad = || CheckpointError::BadAgentId { text: text.chars().take(80).collect(), path: path.clone() };
        AgentId::new(text).ok_or_else(bad)
    };
    match fs::read_to_string(&path) {
        Ok(kept) => {
            let kept = parse(kept.trim())?;
            match wanted {
                Some(wanted) if wanted != kept.as_str() => Err(CheckpointError::OtherAgent {
                    wanted: wanted.to_string(),
                    kept: kept.to_string(),
                    path: work_dir.to_path_buf(),
                }),
                _ => Ok(kept),
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let made = match wanted {
                Some(wanted) => wanted.to_string(),
                None => random_id().map_err(io_error("read", Path::new("/dev/urandom")))?,
            };
            let id = parse(&made)?;
            replace_file(&path, 0o644, format!("{id}\n").as_bytes())?;
            Ok(id)
        }
        Err(error) => Err(io_error("read", &path)(error)),
    }
}

fn random_id() -> io::Result<String> {
    let mut bytes = [0u8; 8];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(format!("a{:016x}", u64::from_le_bytes(bytes)))
}

/// What an earlier life remembered; the default at the first start.
///
/// # Errors
/// When it is there but unreadable: an agent that forgot its epoch would obey a deposed leader.
pub fn read_memory(work_dir: &Path) -> Result<Memory, CheckpointError> {
    let path = work_dir.join("agent.state");
    let Some(body) = read_framed(&path)? else { return Ok(Memory::default()) };
    let stored = StoredMemory::decode(&body[..])
        .map_err(|error| CheckpointError::Corrupt { path: path.clone(), source: error.into() })?;
    Ok(Memory {
        cluster_id: stored.cluster_id,
        epoch_seen: Epoch(stored.epoch_seen),
        boot_id: stored.boot_id,
        offer_epoch: stored.offer_epoch,
        lease_ms: stored.lease_ms,
    })
}

/// Remembers, durably.
///
/// # Errors
/// What the file system answers.
pub fn write_memory(work_dir: &Path, memory: &Memory) -> Result<(), CheckpointError> {
    let path = work_dir.join("agent.state");
    let stored = StoredMemory {
        cluster_id: memory.cluster_id.clone(),
        epoch_seen: memory.epoch_seen.0,
        boot_id: memory.boot_id.clone(),
        offer_epoch: memory.offer_epoch,
        lease_ms: memory.lease_ms,
    };
    replace_file(&path, 0o600, &framed(&stored.encode_to_vec(), &path)?)?;
    sync_dir(work_dir)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_work_directory_has_one_agent_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let first = lock(dir.path()).unwrap();
        let error = lock(dir.path()).unwrap_err();
        assert!(matches!(error, CheckpointError::Locked { .. }), "{error}");
        assert!(error.to_string().contains(&format!("(pid {})", std::process::id())), "{error}");
        assert!(error.to_string().contains("--work-dir"), "{error}");
        drop(first);
        lock(dir.path()).unwrap();
    }

    #[test]
    fn the_id_is_made_once_and_kept() {
        let dir = tempfile::tempdir().unwrap();
        let id = agent_id(dir.path(), None).unwrap();
        assert_eq!(agent_id(dir.path(), None).unwrap(), id);
        assert_eq!(agent_id(dir.path(), Some(id.as_str())).unwrap(), id);
        let error = agent_id(dir.path(), Some("other")).unwrap_err();
        assert!(matches!(error, CheckpointError::OtherAgent { .. }), "{error}");
        let other = tempfile::tempdir().unwrap();
        assert_ne!(agent_id(other.path(), None).unwrap(), id);
        let third = tempfile::tempdir().unwrap();
        assert!(matches!(agent_id(third.path(), Some("no/id")), Err(CheckpointError::BadAgentId { .. })));
    }

    #[test]
    fn memory_reads_back_and_a_damaged_one_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(read_memory(dir.path()).unwrap(), Memory::default());
        let memory = Memory {
            cluster_id: "c1".into(),
            epoch_seen: Epoch(9),
            boot_id: "b".into(),
            offer_epoch: 7,
            lease_ms: 1_000,
        };
        write_memory(dir.path(), &memory).unwrap();
        assert_eq!(read_memory(dir.path()).unwrap(), memory);
        let path = dir.path().join("agent.state");
        let whole = fs::read(&path).unwrap();
        for cut in 0..whole.len() {
            fs::write(&path, &whole[..cut]).unwrap();
            assert!(matches!(read_memory(dir.path()), Err(CheckpointError::Corrupt { .. })), "cut at {cut}");
        }
        for bit in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[bit] ^= 0x10;
            fs::write(&path, &bytes).unwrap();
            assert!(read_memory(dir.path()).is_err(), "byte {bit}");
        }
    }
}
