//! The folder of one `dawn dev`: locked before anything is done in it, so that two never share one, and which parts of
//! it this run's daemons have held. Not here: what is removed from those parts (`leftovers`).

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

use crate::exit::{Exit, Failure};

/// Its lock is the whole run's; it says who holds it.
const LOCK: &str = "dev.lock";
/// An agent writes its pid there when it has taken its work directory.
const AGENT_LOCK: &str = "agent.lock";

/// Held until dropped, or until the process ends however it does.
pub struct Folder {
    path: PathBuf,
    /// It was named, so its files stay.
    pub is_kept: bool,
    _lock: Flock<File>,
}

impl Folder {
    /// Makes the folder that was named, if it is missing, and takes its lock.
    ///
    /// # Errors
    /// When another `dawn dev` has it; nothing was changed then.
    pub fn named(path: &Path) -> Result<Folder, Failure> {
        Folder::take(path, true)
    }

    /// A temporary one, named after this process.
    ///
    /// # Errors
    /// When it can't be made.
    pub fn temporary() -> Result<Folder, Failure> {
        Folder::take(&std::env::temp_dir().join(format!("dawn-dev-{}", std::process::id())), false)
    }

    fn take(path: &Path, is_kept: bool) -> Result<Folder, Failure> {
        let failed = |error| Failure::new(Exit::Failed, format!("making {}: {error}", path.display()));
        fs::create_dir_all(path).map_err(failed)?;
        let lock = lock(path)?;
        // Tasks of other users must be able to reach their sandboxes.
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).map_err(failed)?;
        Ok(Folder { path: fs::canonicalize(path).map_err(failed)?, is_kept, _lock: lock })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What in it is this run's to clean up, with the pids of its agents by the names of their directories: of a named
    /// folder only the directories that those agents held. Another agent may have been started on one by hand.
    pub fn own_parts(&self, agents: &[(String, u32)]) -> Vec<PathBuf> {
        if !self.is_kept {
            return vec![self.path.clone()];
        }
        let held = |(name, pid): &(String, u32)| {
            let directory = self.path.join(name);
            let holder = fs::read_to_string(directory.join(AGENT_LOCK)).unwrap_or_default();
            (holder.trim() == pid.to_string()).then_some(directory)
        };
        agents.iter().filter_map(held).collect()
    }
}

fn lock(folder: &Path) -> Result<Flock<File>, Failure> {
    let path = folder.join(LOCK);
    let failed = |error| Failure::new(Exit::Failed, format!("locking {}: {error}", path.display()));
    let file = File::options().read(true).write(true).create(true).truncate(false).open(&path).map_err(failed)?;
    let mut file = Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(mut file, errno)| {
        if errno != Errno::EWOULDBLOCK {
            return failed(errno.into());
        }
        let mut holder = String::new();
        _ = file.read_to_string(&mut holder);
        let pid = crate::render::safe(holder.trim()).to_string();
        // It has no pid for the moment between its lock and its writing.
        let holder = if pid.is_empty() { "another `dawn dev`".into() } else { format!("`dawn dev` with pid {pid}") };
        let message = format!("the data directory {} is in use by {holder}; nothing was done", folder.display());
        Failure::new(Exit::Failed, message).hint("end that one with Ctrl-C, or give another --data-dir")
    })?;
    let written = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
    written.map_err(failed)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_has_one_cluster_at_a_time_and_the_second_is_told_whose_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let first = Folder::named(dir.path()).unwrap();
        let Err(failure) = Folder::named(dir.path()) else { panic!("it was taken twice") };
        let pid = std::process::id().to_string();
        assert!(failure.exit == Exit::Failed && failure.to_string().contains(&format!("pid {pid};")), "{failure}");
        drop(first);
        Folder::named(dir.path()).unwrap();
    }

    #[test]
    fn of_a_named_folder_only_what_its_own_agents_held_is_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::named(dir.path()).unwrap();
        for (name, holder) in [("node-1", "17\n"), ("node-2", "99\n")] {
            fs::create_dir(folder.path().join(name)).unwrap();
            fs::write(folder.path().join(name).join(AGENT_LOCK), holder).unwrap();
        }
        let agents = [("node-1", 17), ("node-2", 18), ("node-3", 19)].map(|(name, pid)| (name.to_string(), pid));
        assert_eq!(folder.own_parts(&agents), [folder.path().join("node-1")]);
        assert_eq!(folder.own_parts(&[]), Vec::<PathBuf>::new());
        let temporary = Folder { is_kept: false, ..folder };
        assert_eq!(temporary.own_parts(&[]), [temporary.path().to_path_buf()]);
    }
}
