//! How far this machine has seen the journal in etcd, in a file outside it: an etcd restored from an old backup, or another
//! cluster's, is noticed and refused. Not here: when it is noted.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use dawn_proto::Epoch;

/// The file's name in the scheduler's own directory.
pub const FILE: &str = "etcd-seen";
/// First word of its text, with the version.
const HEADER: &str = "dawn-seen-1";

/// What the journal came to when last seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    pub cluster_id: String,
    pub epoch: Epoch,
    pub index: u64,
}

/// Why the journal in etcd is not gone on with.
#[derive(Debug, thiserror::Error)]
pub enum WitnessError {
    #[error(
        "the journal in etcd ends at batch {index} of epoch {epoch}, but {} has seen batch {} of epoch {}: etcd was \
         restored from an older backup. Nothing was changed. Restore a newer backup; or, to go on without what is \
         missing, remove that file on every scheduler", path.display(), seen.index, seen.epoch
    )]
    WentBack { path: PathBuf, index: u64, epoch: Epoch, seen: Seen },
    #[error("{} is damaged ({text:?}); remove it if the journal in etcd is the right one", path.display())]
    Damaged { path: PathBuf, text: String },
    #[error("remembering the journal in {}", path.display())]
    Io { path: PathBuf, source: io::Error },
}

/// The file.
#[derive(Clone, Debug)]
pub struct Witness {
    path: PathBuf,
}

impl Witness {
    /// In `dir`, which is made when missing.
    ///
    /// # Errors
    /// When it can't be made.
    pub fn open(dir: &Path) -> Result<Witness, WitnessError> {
        let witness = Witness { path: dir.join(FILE) };
        fs::create_dir_all(dir).map_err(|source| witness.failed(source))?;
        Ok(witness)
    }

    fn failed(&self, source: io::Error) -> WitnessError {
        WitnessError::Io { path: self.path.clone(), source }
    }

    /// None when nothing was noted yet.
    ///
    /// # Errors
    /// When the file can't be read, or is not ours.
    pub fn recall(&self) -> Result<Option<Seen>, WitnessError> {
        let text = match fs::read_to_string(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(self.failed(error)),
        };
        let words: Vec<&str> = text.split_whitespace().collect();
        match words[..] {
            [HEADER, cluster_id, epoch, index] => {
                let numbers = epoch.parse().ok().zip(index.parse().ok());
                let seen = |(epoch, index)| Seen { cluster_id: cluster_id.into(), epoch: Epoch(epoch), index };
                numbers.map(|numbers| Some(seen(numbers))).ok_or(())
            }
            _ => Err(()),
        }
        .map_err(|()| WitnessError::Damaged { path: self.path.clone(), text: text.clone() })
    }

    /// Notes it durably, in place of what was noted before.
    ///
    /// # Errors
    /// When the file system does not take it; the older note stays.
    pub fn note(&self, seen: &Seen) -> Result<(), WitnessError> {
        let fresh = self.path.with_extension("new");
        let write = || {
            let mut file = File::create(&fresh)?;
            writeln!(file, "{HEADER} {} {} {}", seen.cluster_id, seen.epoch.0, seen.index)?;
            file.sync_all()?;
            fs::rename(&fresh, &self.path)
        };
        write().map_err(|source| self.failed(source))
    }

    /// Holds a journal that ends at `index` under `epoch` against what was seen.
    ///
    /// # Errors
    /// When it has gone back.
    pub fn check(&self, seen: &Seen, epoch: Epoch, index: u64) -> Result<(), WitnessError> {
        if index >= seen.index && epoch >= seen.epoch {
            return Ok(());
        }
        Err(WitnessError::WentBack { path: self.path.clone(), index, epoch, seen: seen.clone() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(epoch: u64, index: u64) -> Seen {
        Seen { cluster_id: "c1".into(), epoch: Epoch(epoch), index }
    }

    #[test]
    fn what_is_noted_last_is_recalled() {
        let dir = tempfile::tempdir().unwrap();
        let witness = Witness::open(&dir.path().join("made")).unwrap();
        assert_eq!(witness.recall().unwrap(), None);
        witness.note(&seen(3, 10)).unwrap();
        witness.note(&seen(4, 12)).unwrap();
        assert_eq!(witness.recall().unwrap(), Some(seen(4, 12)));
        for text in ["", "dawn-seen-1 c1 4", "dawn-seen-1 c1 4 x", "dawn-seen-2 c1 4 12"] {
            fs::write(&witness.path, text).unwrap();
            let error = witness.recall().unwrap_err().to_string();
            assert!(error.contains("is damaged") && error.contains(FILE), "{error}");
        }
    }

    #[test]
    fn only_a_journal_that_went_back_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let witness = Witness::open(dir.path()).unwrap();
        for (epoch, index) in [(4, 12), (4, 13), (5, 12)] {
            witness.check(&seen(4, 12), Epoch(epoch), index).unwrap();
        }
        for (epoch, index) in [(4, 11), (3, 12), (3, 20), (0, 0)] {
            let error = witness.check(&seen(4, 12), Epoch(epoch), index).unwrap_err().to_string();
            assert!(error.contains("has seen batch 12 of epoch 4: etcd was restored"), "{error}");
        }
    }
}
