//! What an agent finds and can't use is moved aside, said in the log, and left there for a person.

use std::fs;
use std::path::{Path, PathBuf};

use tracing::{error, warn};

/// So many things of one name are kept aside; a further one takes the place of the last.
const MOST_KEPT: usize = 8;

/// Moves a file or directory aside, beside its place. What can't even be moved is left where it is, which is said too.
pub fn set_aside(path: &Path, why: &str) {
    let aside = free_name(path);
    match fs::rename(path, &aside) {
        Ok(()) => {
            warn!(path = %path.display(), aside = %aside.display(), why, "left aside; the agent goes on without it")
        }
        Err(error) => error!(path = %path.display(), why, %error, "can't be used, and can't be moved aside"),
    }
}

fn free_name(path: &Path) -> PathBuf {
    let named = |number: usize| {
        let mut name = path.file_name().unwrap_or_default().to_os_string();
        name.push(".unreadable");
        if number > 1 {
            name.push(format!(".{number}"));
        }
        path.with_file_name(name)
    };
    let free = (1..=MOST_KEPT).map(named).find(|name| name.symlink_metadata().is_err());
    free.unwrap_or_else(|| {
        let last = named(MOST_KEPT);
        // A file can't take a directory's place, nor the other way round.
        _ = fs::remove_file(&last).or_else(|_| fs::remove_dir_all(&last));
        last
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_set_aside_is_kept_under_another_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("agent.state");
        for number in 0..10 {
            fs::write(&path, number.to_string()).unwrap();
            set_aside(&path, "a test");
            assert!(!path.exists());
        }
        let kept = |name: &str| fs::read_to_string(dir.path().join(name)).unwrap();
        assert_eq!((kept("agent.state.unreadable"), kept("agent.state.unreadable.2")), ("0".into(), "1".into()));
        assert_eq!(kept("agent.state.unreadable.8"), "9", "bounded: the last place is taken again");
        fs::create_dir(&path).unwrap();
        set_aside(&path, "a directory");
        assert!(dir.path().join("agent.state.unreadable.8").is_dir());
        set_aside(&path, "nothing is there");
    }
}
