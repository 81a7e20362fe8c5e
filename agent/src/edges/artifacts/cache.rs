//! The cache of an agent: files named by their checksum, bounded in size, the least lately used thrown out first.
//! A file is there whole and right, or not at all.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use rustix::fs::OFlags;
use sha2::{Digest, Sha256};

use super::FetchError;

pub(super) struct Cache {
    folder: PathBuf,
    limit_bytes: u64,
    next: AtomicU64,
    /// Files whose content this process has held against their names.
    checked: Checked,
}

type Checked = Arc<Mutex<BTreeSet<String>>>;

/// A file on its way into the cache; it vanishes unless it is kept.
pub(super) struct Coming {
    path: PathBuf,
    place: PathBuf,
    wanted: String,
    file: File,
    hash: Sha256,
    got: u64,
    limit_bytes: u64,
    checked: Checked,
}

impl Drop for Coming {
    fn drop(&mut self) {
        // Kept: nothing is there any more.
        let _ = fs::remove_file(&self.path);
    }
}

fn failed(operation: &'static str) -> impl Fn(io::Error) -> FetchError {
    move |source| FetchError::Cache { operation, source }
}

impl Cache {
    /// A cache of this folder. What can't be made now is made when a file comes.
    pub fn open(folder: &Path, limit_bytes: u64) -> Cache {
        let (next, checked) = Default::default();
        let cache = Cache { folder: folder.to_path_buf(), limit_bytes, next, checked };
        let coming = cache.coming();
        let emptied = match fs::remove_dir_all(&coming) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            // Something that is no directory is in its place.
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => fs::remove_file(&coming),
            emptied => emptied,
        };
        if let Err(error) = emptied.and_then(|()| fs::create_dir_all(&coming)) {
            tracing::warn!(path = %coming.display(), %error, "the artifact cache can't be made ready; tried again when a file comes");
        }
        cache.make_room(0);
        cache
    }

    fn coming(&self) -> PathBuf {
        self.folder.join("coming")
    }

    /// The file of this checksum, which counts as used now.
    pub fn get(&self, sha256: &str) -> io::Result<Option<File>> {
        let path = self.folder.join(sha256);
        // A pipe in its place must not be waited for.
        let opened = OpenOptions::new().read(true).custom_flags(OFlags::NONBLOCK.bits() as i32).open(path);
        match opened {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            file => {
                let file = file?;
                if !file.metadata()?.is_file() {
                    self.set_aside(sha256, "it is no file")?;
                    return Ok(None);
                }
                file.set_modified(SystemTime::now())?;
                Ok(Some(file))
            }
        }
    }

    /// The same, its content held against its name once in this process's life: a disk may have damaged it since.
    pub fn get_whole(&self, sha256: &str) -> io::Result<Option<File>> {
        let Some(mut file) = self.get(sha256)? else { return Ok(None) };
        if self.lock().contains(sha256) {
            return Ok(Some(file));
        }
        let mut hash = Sha256::new();
        io::copy(&mut file, &mut hash)?;
        if hex(&hash.finalize()) != sha256 {
            self.set_aside(sha256, "its content is not what its name says")?;
            return Ok(None);
        }
        file.rewind()?;
        self.lock().insert(sha256.to_string());
        Ok(Some(file))
    }

    fn lock(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.checked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is not right stays for a person to look at, until it is thrown out for its age.
    fn set_aside(&self, sha256: &str, why: &str) -> io::Result<()> {
        let (path, aside) = (self.folder.join(sha256), self.folder.join(format!("{sha256}.unreadable")));
        tracing::warn!(path = %path.display(), aside = %aside.display(), why, "left aside: a damaged file of the artifact cache");
        fs::rename(path, aside)
    }

    fn listed(&self) -> Vec<(SystemTime, u64, PathBuf)> {
        let entries = fs::read_dir(&self.folder).into_iter().flatten().flatten();
        let listed = entries.filter_map(|entry| {
            let meta = entry.metadata().ok().filter(fs::Metadata::is_file)?;
            Some((meta.modified().ok()?, meta.len(), entry.path()))
        });
        listed.collect()
    }

    pub fn held(&self) -> (u32, u64) {
        let listed = self.listed();
        let bytes = listed.iter().fold(0u64, |sum, (_, bytes, _)| sum.saturating_add(*bytes));
        (u32::try_from(listed.len()).unwrap_or(u32::MAX), bytes)
    }

    /// Throws out until `needed` more bytes fit. What is being read stays readable.
    fn make_room(&self, needed: u64) {
        let mut listed = self.listed();
        listed.sort();
        let mut total = listed.iter().fold(needed, |sum, (_, bytes, _)| sum.saturating_add(*bytes));
        for (_, bytes, path) in listed {
            if total <= self.limit_bytes {
                return;
            }
            tracing::info!(path = %path.display(), bytes, "thrown out of the artifact cache");
            if fs::remove_file(&path).is_ok() {
                total = total.saturating_sub(bytes);
            }
        }
    }

    /// Begins a file of so many bytes, as far as that is known.
    pub fn begin(&self, sha256: &str, bytes: Option<u64>) -> Result<Coming, FetchError> {
        if let Some(bytes) = bytes.filter(|bytes| *bytes > self.limit_bytes) {
            return Err(FetchError::TooBig { bytes, limit: self.limit_bytes });
        }
        self.make_room(bytes.unwrap_or(0));
        fs::create_dir_all(self.coming()).map_err(failed("write to"))?;
        let path = self.coming().join(self.next.fetch_add(1, Ordering::Relaxed).to_string());
        let file = File::create_new(&path).map_err(failed("write to"))?;
        Ok(Coming {
            path,
            place: self.folder.join(sha256),
            wanted: sha256.to_string(),
            file,
            hash: Sha256::new(),
            got: 0,
            limit_bytes: self.limit_bytes,
            checked: self.checked.clone(),
        })
    }
}

impl Coming {
    pub async fn add(mut self, piece: Vec<u8>) -> Result<Coming, FetchError> {
        self.got += piece.len() as u64;
        if self.got > self.limit_bytes {
            return Err(FetchError::TooBig { bytes: self.got, limit: self.limit_bytes });
        }
        blocking(move || {
            self.hash.update(&piece);
            self.file.write_all(&piece).map_err(failed("write to"))?;
            Ok(self)
        })
        .await
    }

    /// Puts it into its place if it is the right one.
    pub async fn keep(self) -> Result<(), FetchError> {
        blocking(move || {
            let found = hex(&self.hash.clone().finalize());
            if found != self.wanted {
                return Err(FetchError::Mismatch { found, wanted: self.wanted.clone() });
            }
            // A name must never stand for half a file, not even after a power cut.
            self.file.sync_all().map_err(failed("write to"))?;
            fs::rename(&self.path, &self.place).map_err(failed("write to"))?;
            self.checked.lock().unwrap_or_else(PoisonError::into_inner).insert(self.wanted.clone());
            Ok(())
        })
        .await
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

async fn blocking<T: Send + 'static>(
    deed: impl FnOnce() -> Result<T, FetchError> + Send + 'static,
) -> Result<T, FetchError> {
    match tokio::task::spawn_blocking(deed).await {
        Ok(done) => done,
        Err(error) => Err(FetchError::Cache { operation: "use", source: io::Error::other(error) }),
    }
}
