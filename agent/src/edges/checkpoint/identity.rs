//! Who this agent is: its lock on the work directory, and the id that it keeps.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use dawn_proto::AgentId;
use rustix::fs::{FlockOperation, flock};
use tracing::warn;

use super::memory::read_memory;
use super::{CheckpointError, O_NONBLOCK, io_error, read_file, replace_file, set_aside};
use crate::model::Memory;

/// An agent that is just ending, or an executor it was just starting, still holds the lock for a moment.
const LOCK_TIMEOUT: Duration = Duration::from_secs(1);
const LOCK_RETRY: Duration = Duration::from_millis(20);

/// Held while the agent runs; nobody else may use its work directory.
#[derive(Debug)]
pub struct Lock {
    _dir: File,
    _file: Option<File>,
}

/// Makes the work directory and takes its lock: on the directory itself, and on a file in it that people can read and
/// agents of before look at.
///
/// # Errors
/// `Locked` when another agent has it.
pub fn lock(work_dir: &Path) -> Result<Lock, CheckpointError> {
    fs::create_dir_all(work_dir).map_err(io_error("create", work_dir))?;
    let dir = File::open(work_dir).map_err(io_error("open", work_dir))?;
    take(&dir, work_dir)?;
    let path = work_dir.join("agent.lock");
    let open = || {
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false).mode(0o600).custom_flags(O_NONBLOCK).open(&path)
    };
    let file = open().or_else(|error| {
        set_aside(&path, &error.to_string());
        open()
    });
    let file = match file {
        Ok(mut file) => {
            take(&file, work_dir)?;
            // For people only: who holds it. On a full disk nobody can be told.
            if let Err(error) = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id())) {
                warn!(path = %path.display(), %error, "can't note who holds the work directory");
            }
            Some(file)
        }
        Err(error) => {
            warn!(path = %path.display(), %error, "can't note who holds the work directory");
            None
        }
    };
    Ok(Lock { _dir: dir, _file: file })
}

fn take(file: &File, work_dir: &Path) -> Result<(), CheckpointError> {
    let deadline = Instant::now() + LOCK_TIMEOUT;
    loop {
        match flock(file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(()),
            Err(rustix::io::Errno::WOULDBLOCK) if Instant::now() < deadline => std::thread::sleep(LOCK_RETRY),
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let noted = fs::read_to_string(work_dir.join("agent.lock")).ok();
                let pid = noted.and_then(|pid| pid.trim().parse::<u32>().ok());
                let holder = pid.map_or_else(|| "its pid is not known".to_string(), |pid| format!("pid {pid}"));
                return Err(CheckpointError::Locked { path: work_dir.to_path_buf(), holder });
            }
            Err(error) => return Err(io_error("lock", work_dir)(error.into())),
        }
    }
}

/// Who this agent is, and what it remembers of its cluster. The id is kept from its first start, when it is `wanted` or
/// made by chance; a file that can't be read is left aside, and what it said is known by its copy.
///
/// # Errors
/// When the kept id is another than `wanted`, or a new one can't be kept.
pub fn recall(work_dir: &Path, wanted: Option<&str>) -> Result<(AgentId, Memory), CheckpointError> {
    let memory = read_memory(work_dir);
    let path = work_dir.join("agent.id");
    let kept = kept_id(&path);
    let remembered = AgentId::new(&memory.agent_id);
    let id = match (kept, remembered) {
        (Some(kept), Some(remembered)) if kept != remembered => {
            set_aside(&path, &format!("it names {kept}, and all else here is of {remembered}"));
            remembered
        }
        (Some(kept), _) => return with(kept, wanted, work_dir).map(|id| (id, memory)),
        (None, Some(remembered)) => remembered,
        (None, None) => {
            let made = match wanted {
                Some(wanted) => wanted.to_string(),
                None => random_id().map_err(io_error("read", Path::new("/dev/urandom")))?,
            };
            let bad = || CheckpointError::BadAgentId { text: made.chars().take(80).collect() };
            let id = AgentId::new(&made).ok_or_else(bad)?;
            replace_file(&path, 0o644, format!("{id}\n").as_bytes())?;
            return Ok((id, memory));
        }
    };
    let id = with(id, wanted, work_dir)?;
    // What can't be written now is known by the memory's copies.
    if let Err(error) = replace_file(&path, 0o644, format!("{id}\n").as_bytes()) {
        warn!(path = %path.display(), %error, "the agent's id can't be written again");
    }
    Ok((id, memory))
}

fn with(kept: AgentId, wanted: Option<&str>, work_dir: &Path) -> Result<AgentId, CheckpointError> {
    match wanted {
        Some(wanted) if wanted != kept.as_str() => Err(CheckpointError::OtherAgent {
            wanted: wanted.to_string(),
            kept: kept.to_string(),
            path: work_dir.to_path_buf(),
        }),
        _ => Ok(kept),
    }
}

/// The id that a file names; None when there is no file, or it can't be read, which is said.
fn kept_id(path: &Path) -> Option<AgentId> {
    match read_file(path) {
        Ok(None) => None,
        Ok(Some(bytes)) => {
            let id = std::str::from_utf8(&bytes).ok().and_then(|text| AgentId::new(text.trim()));
            if id.is_none() {
                set_aside(path, "what it says is no agent id: 1-63 characters of a-z A-Z 0-9 _ . -");
            }
            id
        }
        Err(error) => {
            set_aside(path, &error.to_string());
            None
        }
    }
}

fn random_id() -> io::Result<String> {
    let mut bytes = [0u8; 8];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(format!("a{:016x}", u64::from_le_bytes(bytes)))
}

#[cfg(test)]
mod tests {
    use super::super::write_memory;
    use super::*;

    fn id_of(dir: &Path, wanted: Option<&str>) -> Result<AgentId, CheckpointError> {
        recall(dir, wanted).map(|(id, _)| id)
    }

    #[test]
    fn a_work_directory_has_one_agent_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let first = lock(dir.path()).unwrap();
        let error = lock(dir.path()).unwrap_err();
        assert!(matches!(error, CheckpointError::Locked { .. }), "{error}");
        assert!(error.to_string().contains(&format!("(pid {})", std::process::id())), "{error}");
        assert!(error.to_string().contains("--work-dir"), "{error}");
        // Not even when the file that says so is gone, or is no file.
        fs::remove_file(dir.path().join("agent.lock")).unwrap();
        fs::create_dir(dir.path().join("agent.lock")).unwrap();
        assert!(matches!(lock(dir.path()), Err(CheckpointError::Locked { .. })));
        drop(first);
        lock(dir.path()).unwrap();
    }

    #[test]
    fn the_id_is_made_once_and_kept() {
        let dir = tempfile::tempdir().unwrap();
        let id = id_of(dir.path(), None).unwrap();
        assert_eq!(id_of(dir.path(), None).unwrap(), id);
        assert_eq!(id_of(dir.path(), Some(id.as_str())).unwrap(), id);
        let error = id_of(dir.path(), Some("other")).unwrap_err();
        assert!(matches!(error, CheckpointError::OtherAgent { .. }), "{error}");
        let other = tempfile::tempdir().unwrap();
        assert_ne!(id_of(other.path(), None).unwrap(), id);
        let third = tempfile::tempdir().unwrap();
        assert!(matches!(id_of(third.path(), Some("no/id")), Err(CheckpointError::BadAgentId { .. })));
    }

    #[test]
    fn an_id_that_is_damaged_is_known_by_the_memory() {
        let dir = tempfile::tempdir().unwrap();
        let (id, memory) = recall(dir.path(), None).unwrap();
        write_memory(dir.path(), &Memory { agent_id: id.to_string(), ..memory }).unwrap();
        let path = dir.path().join("agent.id");
        for damage in ["", "no/id", "another"] {
            fs::write(&path, damage).unwrap();
            assert_eq!(id_of(dir.path(), None).unwrap(), id, "{damage:?}");
            assert_eq!(fs::read_to_string(&path).unwrap().trim(), id.as_str(), "it is mended");
        }
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        assert_eq!(id_of(dir.path(), None).unwrap(), id);
        assert!(dir.path().join("agent.id.unreadable").exists(), "what was there is kept for a person");
    }
}
