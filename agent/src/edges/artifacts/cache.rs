//! The cache of an agent: files named by their checksum, bounded in size, the least lately used thrown out first.
//! A file is there whole and right, or not at all.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use sha2::{Digest, Sha256};

use super::FetchError;

pub(super) struct Cache {
    folder: PathBuf,
    limit_bytes: u64,
    next: AtomicU64,
}

/// A file on its way into the cache; it vanishes unless it is kept.
pub(super) struct Coming {
    path: PathBuf,
    place: PathBuf,
    wanted: String,
    file: File,
    hash: Sha256,
    got: u64,
    limit_bytes: u64,
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
    pub fn open(folder: &Path, limit_bytes: u64) -> io::Result<Cache> {
        let coming = folder.join("coming");
        match fs::remove_dir_all(&coming) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        fs::create_dir_all(&coming)?;
        let cache = Cache { folder: folder.to_path_buf(), limit_bytes, next: AtomicU64::new(0) };
        cache.make_room(0);
        Ok(cache)
    }

    /// The file of this checksum, which counts as used now.
    pub fn get(&self, sha256: &str) -> io::Result<Option<File>> {
        match File::open(self.folder.join(sha256)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            file => {
                let file = file?;
                file.set_modified(SystemTime::now())?;
                Ok(Some(file))
            }
        }
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
        let path = self.folder.join("coming").join(self.next.fetch_add(1, Ordering::Relaxed).to_string());
        let file = File::create_new(&path).map_err(failed("write to"))?;
        Ok(Coming {
            path,
            place: self.folder.join(sha256),
            wanted: sha256.to_string(),
            file,
            hash: Sha256::new(),
            got: 0,
            limit_bytes: self.limit_bytes,
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
            let found: String = self.hash.clone().finalize().iter().map(|byte| format!("{byte:02x}")).collect();
            if found != self.wanted {
                return Err(FetchError::Mismatch { found, wanted: self.wanted.clone() });
            }
            // A name must never stand for half a file, not even after a power cut.
            self.file.sync_all().map_err(failed("write to"))?;
            fs::rename(&self.path, &self.place).map_err(failed("write to"))
        })
        .await
    }
}

async fn blocking<T: Send + 'static>(
    deed: impl FnOnce() -> Result<T, FetchError> + Send + 'static,
) -> Result<T, FetchError> {
    match tokio::task::spawn_blocking(deed).await {
        Ok(done) => done,
        Err(error) => Err(FetchError::Cache { operation: "use", source: io::Error::other(error) }),
    }
}
